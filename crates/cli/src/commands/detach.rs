//! `knobgate detach`: take an attached policy off.

use std::process::ExitCode;

use crate::attachments::{Lock, cannot, describe_cgroup, open_link, open_pins, parse_name};
use crate::failure::Failure;
use crate::output::Output;

/// Detach a policy
///
/// From then on it judges no access, wherever it was pinned or held besides.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The name of the attachment
    name: String,
}

impl Detach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = parse_name(&self.name)?;
        let pins = open_pins()?;
        let _lock = pins.as_ref().map(Lock::take).transpose()?;
        let link = open_link(pins.as_ref(), &name, "detach")?;
        let cgroup = link.info().map_err(|error| cannot("examine", &name).because(error))?.cgroup_id;
        // Linux before 5.9 has no detaching; there it goes with its pin.
        let detached = link.detach();
        if let Some(pins) = &pins {
            pins.remove(&name).map_err(|error| cannot("detach", &name).because(error))?;
        }
        drop(link);
        if let Err(error) = detached {
            output.warning(format!(
                "{error}; if somebody else holds the link of \"{name}\", it stays in force"
            ));
        }
        output.line(match cgroup {
            Some(id) => format!("{name}: detached from {}", describe_cgroup(id)),
            None => format!("{name}: removed; the cgroup that it was on was gone already"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
