//! `knobgate attach`: put a policy on cgroups, to stay.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_kernel::{Cgroup, CgroupType, ThreadCount};

use crate::attachments::{Lock, create_pins, parse_name};
use crate::chosen_cgroup::{ChosenCgroup, cgroup_at, cgroup_of, kind_of, places};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::put_in_force::{Done, put_in_force};
use crate::what_runs::{WhatRuns, WhatRunsArgs};

/// Attach a policy, or a program of your own, to cgroups; it stays until it is detached
///
/// The policy holds for the cgroups and all below them, at once for every process there, until `knobgate detach NAME`,
/// or until a cgroup is removed, or the machine is shut down. Nothing keeps running for that: the kernel has it all. The
/// cgroups share one program, and so the counters of its rules.
///
/// Attaching again under the same name to the same cgroups replaces the policy; every access is judged by the old one or
/// by the new one. More cgroups can be named then: the policy is attached to those. Where only some or other cgroups are
/// named, it must be what is attached already, to the last rule; those that are new then share the program of the others.
///
/// If the policy cannot be put in force on one of the cgroups, nothing changes on any.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    #[command(flatten)]
    what: WhatRunsArgs,
    /// A cgroup: a path in the file system, or below the root of the hierarchy; once for each cgroup
    #[arg(long = "cgroup", value_name = "PATH", required_unless_present = "pids")]
    cgroups: Vec<PathBuf>,
    /// A process, whose cgroup is meant; can be repeated
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// What the attachment is called; by default as the policy or the program is
    #[arg(long)]
    name: Option<String>,
}

impl Attach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let what = self.what.read(output)?;
        let name = match &self.name {
            Some(name) => parse_name(name)?,
            None => parse_name(what.name())
                .map_err(|failure| Failure::usage("give a name with --name").because(failure))?,
        };
        let cgroups = self.chosen(output)?;
        // Loading takes the privileges; before it, nothing is made.
        let loaded = what.load(output)?;
        let pins = create_pins(output)?;

        let _lock = Lock::take(&pins)?;
        let done = put_in_force(&pins, &name, &loaded, &cgroups)?;
        let done = told(&done, &what, &cgroups);
        output.done(format_args!("{name}: {done}; decided by {}", DecidingHook::of_this_machine()));
        Ok(ExitCode::SUCCESS)
    }

    /// The cgroups, each once.
    fn chosen(&self, output: &Output) -> Result<Vec<ChosenCgroup>, Failure> {
        let (mut chosen, mut seen) = (Vec::new(), HashSet::new());
        let mut choose = |cgroup: &Cgroup| {
            let cgroup = ChosenCgroup::from(cgroup);
            if seen.insert(cgroup.id()) {
                chosen.push(cgroup);
            }
        };
        for path in &self.cgroups {
            let cgroup = cgroup_at(path)?;
            let place = cgroup.path().display();
            match kind_of(&cgroup)? {
                CgroupType::Root => output.warning(format!(
                    "{place} is the root of all cgroups: the policy holds for every process of this machine"
                )),
                CgroupType::Threaded => output.warning(format!("{place} {HAS_THREADS}")),
                CgroupType::DomainInvalid => output.warning(format!(
                    "the cgroup.type of {place} is \"domain invalid\": no process can be there, and the policy holds for nobody"
                )),
                _ => {}
            }
            choose(&cgroup);
        }
        for &pid in &self.pids {
            let cgroup = cgroup_of(pid)?;
            let place = cgroup.path().display();
            match kind_of(&cgroup)? {
                CgroupType::Root => {
                    return Err(Failure::usage(format!(
                        "process {pid} is in {place}, the root of all cgroups, where a policy would hold for every \
                         process of this machine; if that is meant, say --cgroup {place}"
                    )));
                }
                CgroupType::Threaded => {
                    let threads = ThreadCount::of_pid(pid).map_err(|error| {
                        Failure::machine(format!("cannot examine process {pid}")).because(error)
                    })?;
                    let ThreadCount { inside, elsewhere, .. } = threads;
                    let whole = match domain_of(&cgroup) {
                        Some(domain) => format!("all of them are in --cgroup {}; ", domain.path().display()),
                        None => String::new(),
                    };
                    return Err(Failure::usage(format!(
                        "process {pid} is in {place}, which {HAS_THREADS} (of this one, {} in it, {elsewhere} not); \
                         {whole}if these threads alone are meant, say --cgroup {place}",
                        count(inside, "thread")
                    )));
                }
                _ => {}
            }
            choose(&cgroup);
        }
        Ok(chosen)
    }
}

/// The cgroup that has the whole processes whose threads are in this one.
fn domain_of(threaded: &Cgroup) -> Option<Cgroup> {
    let mut above = threaded.parent().ok()??;
    while above.kind().ok()? == CgroupType::Threaded {
        above = above.parent().ok()??;
    }
    Some(above)
}

/// What to know of a threaded cgroup before one relies on a policy there.
const HAS_THREADS: &str = "is a threaded cgroup: the policy holds for the threads in it, and not for other threads of \
                           their processes";

/// What was done, for people.
fn told(done: &Done, what: &WhatRuns, named: &[ChosenCgroup]) -> String {
    match done {
        Done::Attached => format!("attached {what} to {}", places(named)),
        Done::Renewed => {
            format!("attached {what} to {}, for what it was on before is gone", places(named))
        }
        Done::Replaced { old, on, added } => {
            let more = match &added[..] {
                [] => String::new(),
                added => format!(", and attached it to {}", places(added)),
            };
            format!("replaced {} on {} by {what}{more}", programs(old), places(on))
        }
        Done::Shared { program, added, cgroups } => {
            let all = count(*cgroups, "cgroup");
            match &added[..] {
                [] => format!("{what} is on {} already; program {program} is on {all}", places(named)),
                added => {
                    format!("attached {what} to {} too; program {program} is now on {all}", places(added))
                }
            }
        }
    }
}

fn programs(ids: &BTreeSet<u32>) -> String {
    let several = if ids.len() == 1 { "" } else { "s" };
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("program{several} {}", ids.join(" and "))
}
