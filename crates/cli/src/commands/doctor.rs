//! `knobgate doctor`: what this machine can enforce, and how a workload could get around it.

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

/// Report what this machine can enforce, and how a workload could get around a policy
///
/// Each line shows a finding and its consequence. `no` means that no policy can be enforced, `less` that a policy can
/// enforce less, or works less well, than it could.
///
/// Exit status: 3 if no policy can be enforced here, otherwise 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON: one object for each line
    #[arg(long)]
    json: bool,
    /// Report how this process could get around a policy on its cgroup
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
