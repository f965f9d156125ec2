//! `knobgate attach`: attach a policy to cgroups persistently.

use std::collections::{BTreeSet, HashSet};
use std::process::ExitCode;

use clap::ArgGroup;
use knobgate::{Applied, Attachments, CgroupRef};
use knobgate_kernel::{Cgroup, CgroupType, LinkSource, MovedAway, ThreadCount};

use crate::attachment_failure::parse_name;
use crate::bpf_token::BpfTokenArgs;
use crate::cgroup_argument::{summarize, type_of};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::program_source::{ProgramSource, ProgramSourceArgs};
use crate::target::{TARGETS, Target, TargetArgs};

/// Attach a policy, or a program of your own, to cgroups; it stays until it is detached
///
/// The policy applies to the cgroups and all below them, immediately and to every process there. It stays until
/// `knobgate detach NAME`, until the cgroup is removed, or until the machine is shut down. No process has to keep
/// running. The cgroups share one program, and so the counters of its rules.
///
/// Attaching again under the same name to the same cgroups replaces the policy; every access is judged either by the
/// old policy or by the new one. You can add more cgroups at the same time. If you name only some of the cgroups, or
/// others, the policy must be exactly the attached one; new cgroups then share its program.
///
/// If the policy cannot be attached to one of the cgroups, nothing changes on any. What is off (`knobgate off`) is not attached.
///
/// --cgroup, --pid, --container, --unit and --pod can be repeated. A container, a unit or a pod means the topmost cgroup that
/// it has for itself. When the container ends, the cgroup is removed, and the policy is gone with it: one for all containers
/// goes on the cgroup above.
///
/// With --bpf-token, root of a user namespace to which BPF is delegated attaches policies. Replacing one is not possible then:
/// detach it before. Attachments are in the bpffs at /sys/fs/bpf, so it is best mounted there.
///
/// Privileges: root, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; to attach again under a name that is in use: CAP_SYS_ADMIN; with
/// --bpf-token, those of a user namespace are enough to attach.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("where").args(TARGETS).required(true).multiple(true), after_long_help = EXAMPLES)]
pub(crate) struct Attach {
    #[command(flatten)]
    source: ProgramSourceArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    token: BpfTokenArgs,
    /// The name of the attachment; by default the name of the policy or program
    #[arg(long)]
    name: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  knobgate attach --policy web.knob --cgroup machine.slice
  knobgate attach --policy web.knob --unit nginx
  knobgate attach --policy web.knob --container shop-web-1 --name shop";

impl Attach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let source = self.source.read(output)?;
        self.token.apply(output)?;
        let name = match &self.name {
            Some(name) => parse_name(name)?,
            None => parse_name(source.name())
                .map_err(|failure| Failure::usage("give a name with --name").because(failure))?,
        };
        let cgroups = self.cgroups(output)?;
        // Loading needs privileges, so it comes before anything is created.
        // A directory that cannot be used is moved away then, or reported.
        let existing = Attachments::open().ok().flatten();
        let loaded = source.load(existing.as_ref().map(|attachments| (attachments, &name)), output)?;
        let attachments = create_attachments(output)?;

        let applied = attachments.apply(&name, &loaded, &cgroups, LinkSource::Hand)?;
        let summary = summary(&applied, &source, &cgroups);
        output.done(format_args!("{name}: {summary}; decided by {}", DecidingHook::of_this_machine()));
        Ok(ExitCode::SUCCESS)
    }

    /// The cgroups, without duplicates.
    fn cgroups(&self, output: &Output) -> Result<Vec<CgroupRef>, Failure> {
        let (mut cgroups, mut seen) = (Vec::new(), HashSet::new());
        for target in self.targets.find()? {
            let cgroup = target.open()?;
            match target {
                Target::Process(pid, _) => check_process(pid, &cgroup)?,
                Target::Cgroup(_) | Target::Workload(..) => warn_about(&cgroup, output)?,
            }
            if seen.insert(cgroup.id()) {
                cgroups.push(CgroupRef::from(&cgroup));
            }
        }
        Ok(cgroups)
    }
}

/// Warns if the policy does not apply to what one might think.
fn warn_about(cgroup: &Cgroup, output: &Output) -> Result<(), Failure> {
    let place = cgroup.path().display();
    match type_of(cgroup)? {
        CgroupType::Root => output.warning(format!(
            "{place} is the root of all cgroups: the policy applies to every process on this machine"
        )),
        CgroupType::Threaded => output.warning(format!("{place} {HAS_THREADS}")),
        CgroupType::DomainInvalid => output.warning(format!(
            "the cgroup.type of {place} is \"domain invalid\": no process can be there, so the policy applies to none"
        )),
        _ => {}
    }
    Ok(())
}

/// Checks that a policy on the cgroup of a process applies to all of the process, and not to all processes.
fn check_process(pid: u32, cgroup: &Cgroup) -> Result<(), Failure> {
    let place = cgroup.path().display();
    match type_of(cgroup)? {
        CgroupType::Root => Err(Failure::usage(format!(
            "process {pid} is in {place}, the root of all cgroups, where a policy would apply to every process on this \
             machine; if you mean that, use --cgroup {place}"
        ))),
        CgroupType::Threaded => {
            let threads = ThreadCount::of_pid(pid)
                .map_err(|error| Failure::machine(format!("cannot examine process {pid}")).because(error))?;
            let ThreadCount { inside, elsewhere, .. } = threads;
            let whole = match domain_of(cgroup) {
                Some(domain) => format!("all of them are in --cgroup {}; ", domain.path().display()),
                None => String::new(),
            };
            Err(Failure::usage(format!(
                "process {pid} is in {place}, which {HAS_THREADS} (of this one, {} in it, {elsewhere} not); {whole}if \
                 these threads alone are meant, say --cgroup {place}",
                count(inside, "thread")
            )))
        }
        _ => Ok(()),
    }
}

/// The cgroup that contains the whole processes whose threads are in this one.
fn domain_of(threaded: &Cgroup) -> Option<Cgroup> {
    let mut above = threaded.parent().ok()??;
    while above.kind().ok()? == CgroupType::Threaded {
        above = above.parent().ok()??;
    }
    Some(above)
}

/// The warning about a policy on a threaded cgroup.
const HAS_THREADS: &str = "is a threaded cgroup: the policy applies to the threads in it, and not to other threads of \
                           their processes";

/// The directory of attachments, created if necessary. Warns if something else had to be moved away.
pub(super) fn create_attachments(output: &Output) -> Result<Attachments, Failure> {
    let attachments = Attachments::create()?;
    let path = attachments.path();
    for MovedAway { owner, path: moved_to, .. } in attachments.moved_away() {
        output.warning(format!(
            "{} belonged to user {owner}, and was moved to {}; remove that, and keep others out: chmod 700 {}",
            path.display(),
            moved_to.display(),
            path.parent().unwrap_or(path).display()
        ));
    }
    Ok(attachments)
}

/// A summary as text.
fn summary(applied: &Applied, source: &ProgramSource, cgroups: &[CgroupRef]) -> String {
    let all = summarize(cgroups);
    match applied {
        Applied::Attached => format!("attached {source} to {all}"),
        Applied::Renewed => {
            format!("attached {source} to {all}, because its previous cgroup was removed")
        }
        Applied::Replaced { old, on, added } => {
            let more = match &added[..] {
                [] => String::new(),
                added => format!(", and attached it to {}", summarize(added)),
            };
            format!("replaced {} on {} by {source}{more}", programs(old), summarize(on))
        }
        Applied::Shared { program, added, cgroups } => {
            let total = count(*cgroups, "cgroup");
            match &added[..] {
                [] => format!("{source} is already on {all}; program {program} is on {total}"),
                added => {
                    format!(
                        "attached {source} to {} too; program {program} is now on {total}",
                        summarize(added)
                    )
                }
            }
        }
        _ => format!("{source} is on {all}"),
    }
}

fn programs(ids: &BTreeSet<u32>) -> String {
    let several = if ids.len() == 1 { "" } else { "s" };
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("program{several} {}", ids.join(" and "))
}
