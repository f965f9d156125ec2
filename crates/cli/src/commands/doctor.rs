//! `knobgate doctor`: what this machine can do, and what a workload could do about it.

mod detaching;
mod finding;
mod leaving;
mod machine;
mod process_mounts;
mod visible_cgroups;
mod workload;

use std::process::ExitCode;

use crate::failure::{Failure, MACHINE};
use crate::json;
use crate::output::Output;
use finding::State;

/// Tell what this machine can do, and what a workload could do to get around a policy
///
/// Each line says what was found and what follows from it. `no` means that no policy can be enforced, `less` that one
/// holds for less, or does less well, than it could.
///
/// Exit status: 3 if no policy can be enforced here, else 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON: one object for each line
    #[arg(long)]
    json: bool,
    /// Tell what this process could do to get around a policy on its cgroup
    #[arg(long)]
    pid: Option<u32>,
}

impl Doctor {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let findings = match self.pid {
            None => machine::examine(),
            Some(pid) => workload::examine(pid)?,
        };
        for finding in &findings {
            output.line(if self.json { json::line(finding) } else { finding.text() })?;
        }
        let impossible = findings.iter().any(|finding| finding.state == State::No);
        Ok(ExitCode::from(if impossible { MACHINE } else { 0 }))
    }
}
