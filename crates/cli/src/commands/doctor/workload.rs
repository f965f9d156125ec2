//! What a process could do to get around a policy on its cgroup.
//!
//! The hook judges a task by the cgroup that it is in at that moment. So the ways around it are to leave the cgroup, to
//! have somebody outside do it, to take the program away or to overrule it, and to change the state behind a knob by
//! other means. That which can be told from outside the process is told here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knobgate_kernel::{Cgroup, CgroupType, Hierarchy, ProgramFd, ThreadCount};

use super::finding::Finding;
use super::sight::{Seen, Sight};
use super::views::Views;
use super::{detaching, leaving};
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
    let sight = Sight::of(pid).map_err(cannot)?;
    let threads = match kind_of(&cgroup)? {
        CgroupType::Threaded => Some(ThreadCount::of_pid(pid).map_err(cannot)?),
        _ => None,
    };
    Ok(vec![
        policies(&cgroup),
        threads_apart(threads, &cgroup),
        privileges(&task),
        leaving::examine(&task, pid, &cgroup),
        detaching::examine(&task, &sight, pid, &cgroup),
        overruling(&task, pid, &cgroup),
        other_means(&task, &sight, pid),
        sysrq(&task, &sight),
        others(&task, &sight, pid),
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
const SETFCAP: u32 = 31;
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
        // Root gets its bounding set with every exec. These become root, or give that to a file.
        let becomes_root = [SETUID, SETFCAP].into_iter().any(|capability| has >> capability & 1 == 1);
        let capabilities = if uids.contains(&0) || becomes_root { has | mask("CapBnd:") } else { has };
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
fn threads_apart(threads: Option<ThreadCount>, cgroup: &Cgroup) -> Finding {
    let what = "threads";
    let Some(ThreadCount { inside, elsewhere, .. }) = threads else {
        return Finding::ok(what, "all are judged like the process");
    };
    let found = format!(
        "{} in its cgroup, {elsewhere} in others; the cgroup is a threaded one",
        count(inside, "thread")
    );
    match leaving::held(cgroup).and_then(|held| Ok((held.kind()?, held))) {
        Ok((CgroupType::Threaded, _)) => Finding::less(
            what,
            found,
            "each thread is judged by the cgroup that it is in itself; put the policy on the threaded domain above",
        ),
        Ok((_, held)) => Finding::ok(what, found)
            .so(format!("all of them are judged by the policy on {}", held.path().display())),
        Err(error) => Finding::less(what, found, error.to_string()),
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

fn overruling(task: &Task, pid: u32, cgroup: &Cgroup) -> Finding {
    let what = "overruling";
    let loads = task.can(SYS_ADMIN) || (task.can(BPF) && task.can(NET_ADMIN));
    if !loads {
        return Finding::ok(what, "needs CAP_BPF and CAP_NET_ADMIN, which it has not");
    }
    match reaches_policy(task, pid, cgroup) {
        Ok(true) => Finding::less(
            what,
            "possible: it can load programs and reach the cgroup with the policy, or one above",
            "a program there can let pass what the policy denied; drop CAP_BPF",
        ),
        Ok(false) => Finding::ok(
            what,
            "it can load programs, but reaches neither the cgroup with the policy nor one above",
        ),
        Err(error) => Finding::less(what, "unknown", error.to_string()),
    }
}

/// Whether it sees the cgroup with the policy, or one above: a program there runs after ours.
fn reaches_policy(task: &Task, pid: u32, cgroup: &Cgroup) -> Result<bool, Box<dyn std::error::Error>> {
    if task.can(SYS_ADMIN) {
        return Ok(true);
    }
    let held = leaving::held(cgroup)?;
    let seen = Views::of(pid, &Hierarchy::find()?)?.views;
    // By handle it opens any.
    let any = !seen.is_empty() && task.can(DAC_READ_SEARCH);
    Ok(any || seen.iter().any(|view| view.shows(held.path())))
}

fn other_means(task: &Task, sight: &Sight, pid: u32) -> Finding {
    let what = "other means";
    let owns = |capability, namespace| task.can(capability) && shares(pid, namespace);
    let binfmt_misc = task.can(SYS_ADMIN)
        && fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\tbinfmt_misc\n"))
        || sight.of_file("binfmt_misc", Path::new("/register")).any(|file| file.is_writable(task));
    let ways: Vec<&str> = [
        (owns(SYS_ADMIN, "uts"), "host and domain name by sethostname(2)"),
        (owns(NET_ADMIN, "net"), "interfaces' settings by netlink and /sys"),
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

fn sysrq(task: &Task, sight: &Sight) -> Finding {
    let what = "/proc/sysrq-trigger";
    match sight.of_file("proc", Path::new("/sysrq-trigger")).find(|file| file.is_writable(task)) {
        Some(Seen { at, .. }) => Finding::less(
            what,
            format!("writable: {}", at.display()),
            "it commands the kernel whatever kernel.sysrq says; mount it read-only, or something else over it",
        ),
        None => Finding::ok(what, "not writable"),
    }
}

/// The kernel's rule of who can trace whom is `__ptrace_may_access()`, kernel/ptrace.c.
fn others(task: &Task, sight: &Sight, pid: u32) -> Finding {
    let what = "other processes";
    let sees = if shares(pid, "pid") {
        "it sees the machine's processes".to_owned()
    } else if let Some(proc) = sight.our_processes() {
        format!("{} shows it the machine's processes", proc.display())
    } else {
        return Finding::ok(what, "it sees none but those in its pid namespace");
    };
    let (which, them) = if task.can(SYS_PTRACE) {
        ("any of them", "them")
    } else if task.can(SETUID) {
        ("those that have no capability that it lacks", "those of them")
    } else {
        ("those of its own user that have no capability that it lacks", "those of them")
    };
    Finding::less(
        what,
        format!("{sees}, and can trace {which}"),
        format!(
            "it can have {them} do what it may not do itself{}; give it a pid namespace and a /proc of its own",
            if task.can(SYS_PTRACE) { "" } else { ", outside of the policy" }
        ),
    )
}
