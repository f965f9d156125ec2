//! `knobgate on`: end what `knobgate off` has begun.

use std::process::ExitCode;

use knobgate::{Off, OffBy};

use super::off::check_known;
use crate::attachment_names::named;
use crate::failure::Failure;
use crate::off::{describe, failure, since};
use crate::output::Output;

/// Let policies be put in force again that are off
///
/// Without a name, everything that is off is on again, each policy that was put off by its name as well.
///
/// It attaches nothing itself. The agent puts the policies of /etc/knobgate/policies.d back at once; without an agent, they are on
/// containers that start from then on. What was attached by hand has to be attached again.
///
/// Privileges: root.
///
/// Exit status: 0; 2 if there is no such policy; 3 if it stays off for another reason.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TurnOn {
    /// What was put off: the name of an attachment or of a policy for containers; by default everything
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  knobgate on
  knobgate on web";

impl TurnOn {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = self.name.as_deref().map(named).transpose()?;
        let removed = Off::unset(name.as_ref())?;
        for by in &removed {
            let what = match by {
                OffBy::Name(name, _) => format!("{name}: is on again; it was"),
                _ => "all policies are on again; they were".to_owned(),
            };
            output.done(format_args!("{what} off{}", since(by)));
        }
        let off = Off::read()?;
        let Some(name) = name else {
            if let Some(by) = off.all() {
                return Err(failure("put policies in force again", &by));
            }
            if removed.is_empty() {
                output.note("nothing was off");
            }
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(by) = off.of(&name) {
            return Err(Failure::machine(format!("\"{name}\" stays off")).because(describe(&by)));
        }
        if removed.is_empty() {
            check_known(&name)?;
            output.note(format!("\"{name}\" was not off"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
