//! Whether a process could detach or replace the policy.
//!
//! Removing the pin detaches the policy, and needs no capability. A descriptor of the link, or of a program that no
//! link holds, is enough to detach it. Everybody with write permission gets such a descriptor by opening the pin, even
//! on a read-only mount (`bpf_obj_do_get()`, kernel/bpf/inode.c).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use knobgate_kernel::{Capability, Cgroup, FdInfo, Link};

use super::finding::Finding;
use super::process_mounts::{ProcessMounts, open_files};
use super::workload::Workload;

const WHAT: &str = "detaching";

/// The directory of the pins on the bpffs.
const PINS: &str = "/knobgate";

pub(super) fn examine(workload: &Workload, mounts: &ProcessMounts, cgroup: &Cgroup) -> Finding {
    if workload.can(Capability::SysAdmin) {
        return Finding::less(
            WHAT,
            "possible: CAP_SYS_ADMIN opens any link by its id",
            "it can detach policies and replace their programs; drop CAP_SYS_ADMIN",
        );
    }
    let pins = || mounts.find("bpf", Path::new(PINS));
    if let Some(file) = pins().find(|file| file.is_writable(workload)) {
        return Finding::less(
            WHAT,
            format!("possible: it can remove the pins at {}", file.at.display()),
            "removing the pins detaches the policy; do not show it the bpffs",
        );
    }
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    if let Some(file) = pins().find(|file| !read_only(&file.mount.super_options) && file.is_open_to(workload))
    {
        return Finding::less(
            WHAT,
            format!("possible: it can open the links that are pinned at {}", file.at.display()),
            "it can detach them, even on a read-only mount; do not show it the bpffs",
        );
    }
    match opened(workload, mounts.pid(), cgroup) {
        Ok(None) => Finding::ok(WHAT, "it has no CAP_SYS_ADMIN, and reaches no pins"),
        Ok(Some(found)) => Finding::less(
            WHAT,
            format!("possible: {found}"),
            "it can detach the policy with this descriptor; start it without it",
        ),
        Err(error) => Finding::less(WHAT, "unknown", error.to_string()),
    }
}

/// An open descriptor that it could use to detach.
fn opened(
    workload: &Workload,
    pid: u32,
    cgroup: &Cgroup,
) -> Result<Option<String>, Box<dyn std::error::Error>> {
    const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
    let in_force = cgroup.effective()?;
    for link in open_files(pid)? {
        // It may have been closed in the meantime.
        let Ok(target) = fs::read_link(&link) else { continue };
        // Links and programs; the rest of the name differs between kernels.
        if target.as_os_str().as_bytes().starts_with(b"anon_inode:bpf") {
            if may_detach(&link, &in_force) {
                return Ok(Some("it holds the policy's program or its link open".to_owned()));
            }
            continue;
        }
        // A file on a network mount could hang here, so nothing but the bpffs is examined further.
        let Ok(metadata) = fs::metadata(&link) else { continue };
        let on_bpffs = rustix::fs::statfs(&link).is_ok_and(|found| found.f_type as u32 == BPF_FS_MAGIC);
        if on_bpffs && workload.may_write(&metadata) {
            return Ok(Some(format!("it holds {} of the bpffs open", target.display())));
        }
    }
    Ok(None)
}

/// Whether this is a descriptor of a link that holds one of these programs, or of one of these programs that no link holds.
fn may_detach(descriptor: &Path, in_force: &[u32]) -> bool {
    let Ok(info) = FdInfo::read(descriptor) else { return false };
    let program = info.get("prog_id").and_then(|id| id.parse().ok());
    let Some(program) = program.filter(|id| in_force.contains(id)) else { return false };
    let is_held = || Link::all().is_ok_and(|links| links.iter().any(|link| link.program_id == program));
    info.get("link_type").is_some() || !is_held()
}
