//! `knobgate doctor`: what this machine can enforce, and how a workload could get around it.

mod agent;
mod bpf_token;
mod detaching;
mod finding;
mod for_systemd;
mod leaving;
mod machine;
mod process_mounts;
mod sandboxes;
mod visible_cgroups;
mod workload;

use std::process::ExitCode;

use knobgate_kernel::{Cgroup, CgroupError, ProcessId, StartedProcess};

use crate::bpf_token::BpfTokenArgs;
use crate::failure::{Failure, MACHINE};
use crate::json;
use crate::output::Output;
use crate::printable::printable_path;
use crate::target::{Target, TargetArgs};
use finding::State;

/// Report what this machine can enforce, and how a workload could get around a policy
///
/// Each line shows a finding and its consequence. `no` means that no policy can be enforced, `less` that a policy can
/// enforce less, or works less well, than it could.
///
/// With --pid, it reports how this process could get around a policy on its cgroup. With --cgroup, --container, --unit or --pod, that is
/// the process in there that has run longest: of a container, the one that it was started with.
///
/// With --bpf-token, it reports what this machine can do for a user namespace to which it delegates BPF.
///
/// Privileges: none; to examine a process: CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN.
///
/// Exit status: 3 if no policy can be enforced here, otherwise 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON: one object for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    token: BpfTokenArgs,
}

impl Doctor {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let findings = match self.target.find_one("doctor examines one process")? {
            None => {
                self.token.apply(output)?;
                machine::examine()
            }
            Some(_) if self.token.is_given() => {
                return Err(Failure::usage(
                    "--bpf-token is about what this machine can do; leave it out to examine a process",
                ));
            }
            Some(target) => {
                let pid = process_of(&target)?;
                if !matches!(target, Target::Process(..)) {
                    output.note(format_args!("examining process {pid}"));
                }
                workload::examine(pid)?
            }
        };
        for finding in &findings {
            output.line(if self.json { json::line(finding) } else { finding.text() })?;
        }
        let impossible = findings.iter().any(|finding| finding.state == State::No);
        Ok(ExitCode::from(if impossible { MACHINE } else { 0 }))
    }
}

/// The process that was named, or that has run longest of those in a cgroup.
///
/// # Errors
/// [`Failure::Usage`] if there is none; [`Failure::Machine`].
fn process_of(target: &Target) -> Result<u32, Failure> {
    if let Target::Process(pid, _) = target {
        return Ok(*pid);
    }
    let place = printable_path(target.cgroup().path());
    let cannot =
        |error: CgroupError| Failure::machine(format!("cannot list the processes in {place}")).because(error);
    let cgroup = target.open()?;
    let mut pids = cgroup.procs().map_err(cannot)?;
    for (_, path) in cgroup.descendants().map_err(cannot)? {
        // It may have been removed in the meantime, or may have only threads.
        pids.extend(Cgroup::open(path).and_then(|cgroup| cgroup.procs()).unwrap_or_default());
    }
    // A process of another pid namespace has the id 0.
    let oldest = pids
        .into_iter()
        .filter_map(ProcessId::new)
        .filter_map(StartedProcess::of)
        .min_by_key(StartedProcess::ticks);
    oldest
        .map(|process| process.id().get())
        .ok_or_else(|| Failure::usage(format!("there is no process in {place}")))
}
