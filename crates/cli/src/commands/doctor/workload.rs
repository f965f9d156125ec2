//! What a process could do to get around a policy on its cgroup.
//!
//! The hook judges a task by its cgroup at that moment. A process can get around it by leaving the cgroup, by having a
//! process outside do the write, by detaching or overruling the program, or by changing the state of a knob by
//! other means. This reports what can be seen from outside the process.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knobgate::AttachedPolicy;
use knobgate_kernel::{
    BpfObjectError, Capability, CapabilitySet, Cgroup, CgroupType, Credentials, Hierarchy, ProgramFd,
    ThreadCount,
};

use super::finding::Finding;
use super::process_mounts::{ProcessMounts, VisibleFile};
use super::visible_cgroups::VisibleCgroups;
use super::{bpf_token, detaching, leaving};
use crate::cgroup_argument::{cgroup_of, type_of};
use crate::failure::Failure;
use crate::plural::count;

/// # Errors
/// [`Failure::Usage`] if there is no such process, [`Failure::Machine`] if it cannot be examined.
pub(super) fn examine(pid: u32) -> Result<Vec<Finding>, Failure> {
    let cgroup = cgroup_of(pid)?;
    let cannot = |error| Failure::machine(format!("cannot examine process {pid}")).because(error);
    // What it has mounted and open is shown to those who may trace it. To others it would look as if it had nothing.
    if fs::read_link(format!("/proc/{pid}/root"))
        .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    {
        return Err(Failure::machine(format!("cannot examine process {pid}"))
            .because("it takes CAP_SYS_PTRACE to see what a process has mounted and open"));
    }
    let workload = Workload::read(pid).map_err(cannot)?;
    let mounts = ProcessMounts::of(pid).map_err(cannot)?;
    let threads = match type_of(&cgroup)? {
        CgroupType::Threaded => Some(ThreadCount::of_pid(pid).map_err(cannot)?),
        _ => None,
    };
    Ok(vec![
        policies(&cgroup),
        threads_apart(threads, &cgroup),
        privileges(&workload),
        leaving::examine(&workload, &mounts, &cgroup),
        detaching::examine(&workload, &mounts, &cgroup),
        overruling(&workload, &mounts, &cgroup),
        other_means(&workload, &mounts),
        sysrq(&workload, &mounts),
        others(&workload, &mounts),
        Finding::less(
            "passing descriptors",
            "always possible",
            "if a process outside writes to a knob that was opened inside, it is judged by its own cgroup",
        ),
    ])
}

/// The credentials and capabilities of the examined process.
pub(super) struct Workload {
    credentials: Credentials,
    /// Its capabilities, including those that it would get by an exec.
    capabilities: CapabilitySet,
    in_our_user_namespace: bool,
}

impl Workload {
    fn read(pid: u32) -> std::io::Result<Self> {
        let credentials = Credentials::of_pid(pid)?;
        let has = credentials.effective.union(credentials.permitted);
        // Root gets its bounding set with every exec. These capabilities let a process become root, or give its
        // capabilities to a file.
        let becomes_root = [Capability::Setuid, Capability::Setfcap].into_iter().any(|one| has.has(one));
        let is_root = credentials.uids.contains(&0) || becomes_root;
        let capabilities = if is_root { has.union(credentials.bounding) } else { has };
        Ok(Self { credentials, capabilities, in_our_user_namespace: shares(pid, "user") })
    }

    pub(super) fn can(&self, capability: Capability) -> bool {
        self.in_our_user_namespace && self.capabilities.has(capability)
    }

    /// Whether the permissions of a file allow it to write, or it can become a user for whom they do. Ignores read-only
    /// mounts.
    pub(super) fn may_write(&self, file: &fs::Metadata) -> bool {
        use Capability::{Chown, DacOverride, Fowner, Setgid, Setuid};
        // An owner can change the permissions.
        self.credentials.uids.contains(&file.uid())
            || self.credentials.gids.contains(&file.gid()) && file.mode() & 0o020 != 0
            || file.mode() & 0o002 != 0
            || [DacOverride, Chown, Fowner, Setuid, Setgid].into_iter().any(|one| self.can(one))
    }

    /// Whether it has this one in another user namespace, or gets it there with an exec if it is root in it.
    pub(super) fn may_have_elsewhere(&self, capability: Capability) -> bool {
        !self.in_our_user_namespace && self.capabilities.union(self.credentials.bounding).has(capability)
    }

    /// Whether it has capabilities in another user namespace, with permissions that are unknown here.
    pub(super) fn has_capabilities_elsewhere(&self) -> bool {
        !self.in_our_user_namespace && !self.capabilities.is_empty()
    }
}

/// Whether a process shares a namespace with us. True if that is unknown.
fn shares(pid: u32, namespace: &str) -> bool {
    let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).ok();
    link(&pid.to_string()).zip(link("self")).is_none_or(|(theirs, ours)| theirs == ours)
}

fn policies(cgroup: &Cgroup) -> Finding {
    let what = "policies";
    let place = cgroup.path().display();
    let ids = match cgroup.effective() {
        Ok(ids) => ids,
        Err(error) => return Finding::less(what, "unknown", error.to_string()),
    };
    let name = |&id: &u32| {
        let read = ProgramFd::by_id(id).and_then(|program| AttachedPolicy::read(&program));
        match read {
            Err(error @ BpfObjectError::NotPermitted { .. }) => format!("program {id} ({error})"),
            read => match read.ok().flatten().as_ref().and_then(AttachedPolicy::name) {
                Some(name) => name.to_owned(),
                None => format!("program {id}, not ours"),
            },
        }
    };
    let names: Vec<String> = ids.iter().map(name).collect();
    if names.is_empty() {
        Finding::less(what, format!("none on {place}"), "no policy applies to this process")
    } else {
        Finding::ok(what, format!("{} (on {place} and above)", names.join(", ")))
    }
}

/// `threads` is `Some` in a threaded cgroup. In others, all threads are there or below.
fn threads_apart(threads: Option<ThreadCount>, cgroup: &Cgroup) -> Finding {
    let what = "threads";
    let Some(ThreadCount { inside, elsewhere, .. }) = threads else {
        return Finding::ok(what, "all are judged like the process");
    };
    let found =
        format!("{} in its cgroup, {elsewhere} in others; the cgroup is threaded", count(inside, "thread"));
    match leaving::held(cgroup).and_then(|held| Ok((held.kind()?, held))) {
        Ok((CgroupType::Threaded, _)) => Finding::less(
            what,
            found,
            "each thread is judged by its own cgroup; put the policy on the threaded domain above",
        ),
        Ok((_, held)) => Finding::ok(what, found)
            .so(format!("all of them are judged by the policy on {}", held.path().display())),
        Err(error) => Finding::less(what, found, error.to_string()),
    }
}

fn privileges(workload: &Workload) -> Finding {
    let what = "privileges";
    let mattering = [Capability::SysAdmin, Capability::Bpf, Capability::NetAdmin, Capability::SysPtrace];
    let held: Vec<String> =
        mattering.into_iter().filter(|&one| workload.can(one)).map(|one| one.to_string()).collect();
    let namespace = if workload.in_our_user_namespace { "" } else { ", in another user namespace" };
    let held = if held.is_empty() { "none that matter".to_owned() } else { held.join(", ") };
    Finding::ok(what, format!("user {}{namespace}; {held}", workload.credentials.uids[1]))
}

fn overruling(workload: &Workload, mounts: &ProcessMounts, cgroup: &Cgroup) -> Finding {
    let what = "overruling";
    let loads = workload.can(Capability::SysAdmin)
        || (workload.can(Capability::Bpf) && workload.can(Capability::NetAdmin));
    let (how, remedy) = match bpf_token::way_to_load(workload, mounts) {
        _ if loads => (String::new(), "drop CAP_BPF"),
        Some(token) => (format!(" (with {token})"), "mount its bpffs without delegate_progs=cgroup_sysctl"),
        None => return Finding::ok(what, "needs CAP_BPF and CAP_NET_ADMIN, which it does not have"),
    };
    match reaches_policy(workload, mounts, cgroup) {
        Ok(true) => Finding::less(
            what,
            format!("possible: it can load programs{how} and reach the cgroup with the policy, or one above"),
            format!("a program there can let pass what the policy denied; {remedy}"),
        ),
        Ok(false) => Finding::ok(
            what,
            format!(
                "it can load programs{how}, but reaches neither the cgroup with the policy nor one above"
            ),
        ),
        Err(error) => Finding::less(what, "unknown", error.to_string()),
    }
}

/// Whether it can reach the cgroup with the policy, or one above, where a program runs after ours.
fn reaches_policy(
    workload: &Workload,
    mounts: &ProcessMounts,
    cgroup: &Cgroup,
) -> Result<bool, Box<dyn std::error::Error>> {
    if workload.can(Capability::SysAdmin) {
        return Ok(true);
    }
    let held = leaving::held(cgroup)?;
    let seen = VisibleCgroups::of(mounts, &Hierarchy::find()?)?.views;
    // It can open any cgroup by handle.
    let any = !seen.is_empty() && workload.can(Capability::DacReadSearch);
    Ok(any || seen.iter().any(|view| view.shows(held.path())))
}

fn other_means(workload: &Workload, mounts: &ProcessMounts) -> Finding {
    let what = "other means";
    let owns = |capability, namespace| workload.can(capability) && shares(mounts.pid(), namespace);
    let binfmt_misc = workload.can(Capability::SysAdmin)
        && fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\tbinfmt_misc\n"))
        || mounts.find("binfmt_misc", Path::new("/register")).any(|file| file.is_writable(workload));
    let ways: Vec<&str> = [
        (owns(Capability::SysAdmin, "uts"), "host and domain name by sethostname(2)"),
        (owns(Capability::NetAdmin, "net"), "interfaces' settings by netlink and /sys"),
        (binfmt_misc, "what executes files, in fs/binfmt_misc"),
    ]
    .into_iter()
    .filter_map(|(can, way)| can.then_some(way))
    .collect();
    if ways.is_empty() {
        Finding::ok(what, "no way to the machine's own state is known")
    } else {
        Finding::less(
            what,
            format!("it can change {}", ways.join(", ")),
            "give it namespaces of its own, drop the capability, or mask the files",
        )
    }
}

fn sysrq(workload: &Workload, mounts: &ProcessMounts) -> Finding {
    let what = "/proc/sysrq-trigger";
    match mounts.find("proc", Path::new("/sysrq-trigger")).find(|file| file.is_writable(workload)) {
        Some(VisibleFile { at, .. }) => Finding::less(
            what,
            format!("writable: {}", at.display()),
            "it triggers any SysRq command, whatever kernel.sysrq says; mount it read-only, or mount something over it",
        ),
        None => Finding::ok(what, "not writable"),
    }
}

/// The kernel's rule for tracing is `__ptrace_may_access()`, kernel/ptrace.c.
fn others(workload: &Workload, mounts: &ProcessMounts) -> Finding {
    let what = "other processes";
    let sees = if shares(mounts.pid(), "pid") {
        "it sees the machine's processes".to_owned()
    } else if let Some(proc) = mounts.our_processes() {
        format!("{} shows it the machine's processes", proc.display())
    } else {
        return Finding::ok(what, "it sees none but those in its pid namespace");
    };
    let (which, them) = if workload.can(Capability::SysPtrace) {
        ("any of them", "them")
    } else if workload.can(Capability::Setuid) {
        ("those that have no capability that it lacks", "those of them")
    } else {
        ("those of its own user that have no capability that it lacks", "those of them")
    };
    Finding::less(
        what,
        format!("{sees}, and can trace {which}"),
        format!(
            "it can have {them} do what it may not do itself{}; give it a pid namespace and a /proc of its own",
            if workload.can(Capability::SysPtrace) { "" } else { ", outside of the policy" }
        ),
    )
}
