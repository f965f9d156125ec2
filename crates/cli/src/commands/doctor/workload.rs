//! What a process could do to get around a policy on its cgroup.
//!
//! The hook judges a task by the cgroup that it is in at that moment. So the ways around it are to leave the cgroup, to
//! have somebody outside do it, to take the program away or to overrule it, and to change the state behind a knob by
//! other means. That which can be told from outside the process is told here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::{Cgroup, CgroupType, Mount, ProgramFd, ThreadCount, mounts_of};

use super::finding::Finding;
use super::leaving;
use crate::chosen_cgroup::{cgroup_of, kind_of};
use crate::failure::Failure;
use crate::in_force::InForce;
use crate::plural::count;

/// # Errors
/// [`Failure::Usage`] if there is no such process, [`Failure::Machine`] if it cannot be examined.
pub(super) fn examine(pid: u32) -> Result<Vec<Finding>, Failure> {
    let cgroup = cgroup_of(pid)?;
    let cannot = |error| Failure::machine(format!("cannot examine process {pid}")).because(error);
    let task = Task::read(pid).map_err(cannot)?;
    let mounts = mounts_of(pid).map_err(cannot)?;
    let threads = match kind_of(&cgroup)? {
        CgroupType::Threaded => Some(ThreadCount::of_pid(pid).map_err(cannot)?),
        _ => None,
    };
    Ok(vec![
        policies(&cgroup),
        threads_apart(threads),
        privileges(&task),
        leaving::examine(&task, pid, &cgroup),
        taking_off(&task, &mounts, pid),
        overruling(&task, &mounts),
        other_means(&task, pid),
        sysrq(&task, &mounts),
        others(&task, pid),
        Finding::less(
            "passing descriptors",
            "always possible",
            "a knob that was opened inside and is written by a process outside is judged by where that one is",
        ),
    ])
}

/// A capability's number, of include/uapi/linux/capability.h.
const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
pub(super) const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_ADMIN: u32 = 12;
const SYS_PTRACE: u32 = 19;
pub(super) const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// What counts of a process.
pub(super) struct Task {
    /// The effective user id.
    uid: u32,
    /// All user ids that it can take: the real, the effective, the saved one, and that for files.
    uids: Vec<u32>,
    /// All group ids that it has or can take.
    gids: Vec<u32>,
    /// What it has, or would have after an exec.
    capabilities: u64,
    /// It is in the user namespace that knobgate is in.
    in_our_user_namespace: bool,
}

impl Task {
    fn read(pid: u32) -> std::io::Result<Self> {
        let status = read_text(&format!("/proc/{pid}/status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let mask = |name| u64::from_str_radix(field(name).trim(), 16).unwrap_or_default();
        let ids =
            |name| field(name).split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>();
        let uids = ids("Uid:");
        let uid = uids.get(1).copied().unwrap_or(0);
        let gids = [ids("Gid:"), ids("Groups:")].concat();
        let has = mask("CapEff:") | mask("CapPrm:");
        // Root gets its bounding set with every exec.
        let capabilities = if uids.contains(&0) { has | mask("CapBnd:") } else { has };
        Ok(Self { uid, uids, gids, capabilities, in_our_user_namespace: shares(pid, "user") })
    }

    pub(super) fn can(&self, capability: u32) -> bool {
        self.in_our_user_namespace && self.capabilities >> capability & 1 == 1
    }

    /// Whether the permissions of a file let it write there, on a mount that does; or it can become who they let.
    pub(super) fn may_write(&self, file: &fs::Metadata) -> bool {
        // An owner can change the permissions.
        self.uids.contains(&file.uid())
            || self.gids.contains(&file.gid()) && file.mode() & 0o020 != 0
            || file.mode() & 0o002 != 0
            || [DAC_OVERRIDE, CHOWN, FOWNER, SETUID, SETGID]
                .into_iter()
                .any(|capability| self.can(capability))
    }

    /// Whether capabilities of its count in a user namespace of its own, where it may be allowed what cannot be told from
    /// here.
    pub(super) fn has_capabilities_elsewhere(&self) -> bool {
        !self.in_our_user_namespace && self.capabilities != 0
    }

    fn is_root(&self) -> bool {
        self.in_our_user_namespace && (self.uids.contains(&0) || self.can(SETUID))
    }
}

/// What is in a file, in which there are names that need not be UTF-8.
fn read_text(file: &str) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

/// Whether a process shares a namespace with us; where that cannot be told, the worst is assumed.
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
    let names: Vec<String> = ids
        .iter()
        .map(|&id| {
            let ours = ProgramFd::by_id(id).ok().and_then(|program| InForce::read(&program).ok().flatten());
            match ours.as_ref().and_then(InForce::policy_name) {
                Some(name) => name.to_owned(),
                None => format!("program {id}, not ours"),
            }
        })
        .collect();
    if names.is_empty() {
        Finding::less(what, format!("none on {place}"), "nothing holds for this process")
    } else {
        Finding::ok(what, format!("{} (on {place} and above)", names.join(", ")))
    }
}

/// `threads` if the process is in a threaded cgroup. In others all of its threads are there or below.
fn threads_apart(threads: Option<ThreadCount>) -> Finding {
    let what = "threads";
    match threads {
        Some(ThreadCount { inside, elsewhere, .. }) => Finding::less(
            what,
            format!(
                "{} in its cgroup, {elsewhere} in others; the cgroup is a threaded one",
                count(inside, "thread")
            ),
            "each thread is judged by the cgroup that it is in itself; put the policy on the threaded domain above",
        ),
        None => Finding::ok(what, "all are judged like the process"),
    }
}

fn privileges(task: &Task) -> Finding {
    let what = "privileges";
    let held: Vec<&str> = [
        (SYS_ADMIN, "CAP_SYS_ADMIN"),
        (BPF, "CAP_BPF"),
        (NET_ADMIN, "CAP_NET_ADMIN"),
        (SYS_PTRACE, "CAP_SYS_PTRACE"),
    ]
    .into_iter()
    .filter(|&(capability, _)| task.can(capability))
    .map(|(_, name)| name)
    .collect();
    let namespace = if task.in_our_user_namespace { "" } else { ", in another user namespace" };
    let held = if held.is_empty() { "none that matter".to_owned() } else { held.join(", ") };
    Finding::ok(what, format!("user {}{namespace}; {held}", task.uid))
}

fn taking_off(task: &Task, mounts: &[Mount], pid: u32) -> Finding {
    let what = "detaching";
    if task.can(SYS_ADMIN) {
        return Finding::less(
            what,
            "possible: CAP_SYS_ADMIN opens any link by its id",
            "it can detach policies and replace their programs; drop CAP_SYS_ADMIN",
        );
    }
    let may_remove = |mount: &&Mount| {
        let below = mount.point.strip_prefix("/").unwrap_or(&mount.point);
        let seen = PathBuf::from(format!("/proc/{pid}/root")).join(below).join("knobgate");
        mount.fs_type == "bpf"
            && !mount.read_only
            && fs::metadata(seen).is_ok_and(|pins| task.may_write(&pins))
    };
    match mounts.iter().find(may_remove) {
        Some(mount) => Finding::less(
            what,
            format!("possible: it can remove the pins at {}", mount.point.display()),
            "a policy that is attached goes with its pins; do not show it the bpffs",
        ),
        None => Finding::ok(what, "it has no CAP_SYS_ADMIN, and reaches no pins"),
    }
}

fn overruling(task: &Task, mounts: &[Mount]) -> Finding {
    let what = "overruling";
    let loads = task.can(SYS_ADMIN) || (task.can(BPF) && task.can(NET_ADMIN));
    if !loads {
        return Finding::ok(what, "needs CAP_BPF and CAP_NET_ADMIN, which it has not");
    }
    if mounts.iter().any(|mount| mount.fs_type == "cgroup2") || task.can(SYS_ADMIN) {
        Finding::less(
            what,
            "possible: it can load programs and reach cgroups",
            "a program on a cgroup above can let pass what the policy denied; drop CAP_BPF",
        )
    } else {
        Finding::ok(what, "it can load programs, but reaches no cgroup")
    }
}

fn other_means(task: &Task, pid: u32) -> Finding {
    let what = "other means";
    let ways: Vec<&str> = [
        (SYS_ADMIN, "uts", "host and domain name by sethostname(2)"),
        (NET_ADMIN, "net", "interfaces' settings by netlink"),
    ]
    .into_iter()
    .filter(|&(capability, namespace, _)| task.can(capability) && shares(pid, namespace))
    .map(|(_, _, way)| way)
    .collect();
    if ways.is_empty() {
        Finding::ok(what, "no way to the machine's own state is known")
    } else {
        Finding::less(
            what,
            format!("it can change {}", ways.join(", ")),
            "give it namespaces of its own, or drop the capability",
        )
    }
}

fn sysrq(task: &Task, mounts: &[Mount]) -> Finding {
    let what = "/proc/sysrq-trigger";
    // The last mount over a path is the one that is seen.
    let trigger = mounts
        .iter()
        .rev()
        .find(|mount| ["/proc/sysrq-trigger", "/proc"].iter().any(|point| mount.point == Path::new(point)));
    let open = trigger.is_some_and(|mount| mount.fs_type == "proc" && !mount.read_only);
    if open && task.is_root() {
        Finding::less(
            what,
            "writable",
            "it commands the kernel whatever kernel.sysrq says; mount it read-only, or something else over it",
        )
    } else {
        Finding::ok(what, "not writable")
    }
}

fn others(task: &Task, pid: u32) -> Finding {
    let what = "other processes";
    if shares(pid, "pid") && (task.can(SYS_PTRACE) || task.is_root()) {
        Finding::less(
            what,
            "it sees the machine's processes, and can trace those of root",
            "it can have them do what it may not do itself; give it a pid namespace of its own",
        )
    } else if shares(pid, "pid") {
        Finding::less(
            what,
            "it sees the machine's processes, and can trace those of its own user",
            "it can have those of them do it that are outside of the policy; give it a pid namespace of its own",
        )
    } else {
        Finding::ok(what, "it sees none but those in its pid namespace")
    }
}
