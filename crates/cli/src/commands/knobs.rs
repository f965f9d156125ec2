//! `knobgate knobs`: what is known about knobs, and where this machine differs.

mod document;
mod entry;
mod full;
mod machine;
mod selection;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_kernel::PROC_SYS;
use knobgate_policy::catalogue::starting_policy;

use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use document::KnobsDocument;
use entry::Entry;
use machine::ThisMachine;
use selection::Selection;

/// List knobs: what they do, whose they are, what they take, and where this machine differs
///
/// Knows the knobs of several kernels, also those that this machine lacks, and the machine's own. What is known of them is in the
/// program; of the machine, their modes and whether their values are like that. Nothing is written, and values are shown only for a
/// knob that is named. Secret ones are not read.
///
/// Without a PATTERN, it lists all. The name of one knob, without wildcards, shows everything about it.
///
/// `--format policy` writes a policy to start with: it denies writes of knobs that the whole machine has one of, and allows those of
/// knobs that belong to a namespace.
///
/// Privileges: none.
///
/// Exit status: 0 for success, 2 if a PATTERN matches no knob.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Knobs {
    /// The knobs, as in policies: net.ipv4.tcp_*, or with slashes
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// The format of the result
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Compare with the knobs of this directory instead: /proc/PID/root/proc/sys are those that a process sees
    #[arg(long, value_name = "DIR", default_value = PROC_SYS)]
    proc_sys: PathBuf,
}

const EXAMPLES: &str = "Examples:
  knobgate knobs 'net.ipv4.tcp_*'
  knobgate knobs net.ipv4.ip_forward
  knobgate knobs 'net.ipv4.conf.<interface>.rp_filter'
  knobgate knobs --format json | jq -r '.knobs[] | select(.acts) | .knob'
  knobgate knobs --format policy 'vm.**' 'net.ipv4.**'";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line for each knob, and one for each difference
    Table,
    /// One JSON object with everything
    Json,
    /// A policy to start with
    Policy,
}

impl Knobs {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let machine = ThisMachine::at(self.proc_sys.clone()).unwrap_or_else(|failure| {
            output.note(format_args!("{}: only the catalogue is known", crate::output::chain(&failure)));
            ThisMachine::unknown(self.proc_sys)
        });
        let selection = Selection::of(&self.patterns, &machine)?;
        if self.format == Format::Policy {
            let knobs: Vec<_> = selection.entries.iter().filter_map(Entry::knob).collect();
            output.raw(starting_policy(&knobs).as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        match self.format {
            Format::Json => output.line(json::line(&KnobsDocument::of(&selection.entries, &machine)))?,
            _ if selection.is_named => full::print(&selection.entries, &machine, output)?,
            _ => table::print(&selection.entries, &machine, output)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
