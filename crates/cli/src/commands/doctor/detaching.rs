//! Whether a process could detach the policy, or replace it.
//!
//! A policy that is attached goes with its pin, and to remove a file takes no capability. Who has a descriptor of its link,
//! or of its program where no link holds that, can detach it, and the pin gives one to whom its permissions let write, on a read-only mount as well
//! (`bpf_obj_do_get()`, kernel/bpf/inode.c).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::{Cgroup, Link};

use super::finding::Finding;
use super::sight::{Sight, open_files};
use super::workload::{SYS_ADMIN, Task};

const WHAT: &str = "detaching";

/// Where the pins are, on their file system.
const PINS: &str = "/knobgate";

pub(super) fn examine(task: &Task, sight: &Sight, pid: u32, cgroup: &Cgroup) -> Finding {
    if task.can(SYS_ADMIN) {
        return Finding::less(
            WHAT,
            "possible: CAP_SYS_ADMIN opens any link by its id",
            "it can detach policies and replace their programs; drop CAP_SYS_ADMIN",
        );
    }
    let pins = || sight.of_file("bpf", Path::new(PINS));
    if let Some(seen) = pins().find(|seen| seen.is_writable(task)) {
        return Finding::less(
            WHAT,
            format!("possible: it can remove the pins at {}", seen.at.display()),
            "a policy that is attached goes with its pins; do not show it the bpffs",
        );
    }
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    if let Some(seen) = pins().find(|seen| !read_only(&seen.mount.super_options) && seen.is_open_to(task)) {
        return Finding::less(
            WHAT,
            format!("possible: it can open the links that are pinned at {}", seen.at.display()),
            "that the mount is read-only does not keep it from detaching them; do not show it the bpffs",
        );
    }
    match opened(task, pid, cgroup) {
        Ok(None) => Finding::ok(WHAT, "it has no CAP_SYS_ADMIN, and reaches no pins"),
        Ok(Some(found)) => Finding::less(
            WHAT,
            format!("possible: {found}"),
            "it can detach the policy by this descriptor; start it without",
        ),
        Err(error) => Finding::less(WHAT, "unknown", error.to_string()),
    }
}

/// What it holds open by which it could.
fn opened(task: &Task, pid: u32, cgroup: &Cgroup) -> Result<Option<String>, Box<dyn std::error::Error>> {
    const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let in_force = cgroup.effective()?;
    for link in open_files(&directory)? {
        // What is closed meanwhile is not there.
        let Ok(target) = fs::read_link(&link) else { continue };
        // Links and programs, which are called differently on different kernels.
        if target.as_os_str().as_bytes().starts_with(b"anon_inode:bpf") {
            if may_detach(&directory, &link, &in_force) {
                return Ok(Some("it holds the policy's program open, or the link of it".to_owned()));
            }
            continue;
        }
        // Nothing else waits for another machine.
        let Ok(metadata) = fs::metadata(&link) else { continue };
        let on_bpffs = rustix::fs::statfs(&link).is_ok_and(|found| found.f_type as u32 == BPF_FS_MAGIC);
        if on_bpffs && task.may_write(&metadata) {
            return Ok(Some(format!("it holds {} of the bpffs open", target.display())));
        }
    }
    Ok(None)
}

/// Whether this descriptor is one of a link that holds one of these programs, or of one of them that no link holds.
fn may_detach(process: &Path, link: &Path, in_force: &[u32]) -> bool {
    let info = link.file_name().map(|name| fs::read_to_string(process.join("fdinfo").join(name)));
    let Some(Ok(info)) = info else { return false };
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name));
    let program = field("prog_id:").and_then(|id| id.trim().parse().ok());
    let Some(program) = program.filter(|id| in_force.contains(id)) else { return false };
    let is_held = || Link::all().is_ok_and(|links| links.iter().any(|link| link.program_id == program));
    field("link_type:").is_some() || !is_held()
}
