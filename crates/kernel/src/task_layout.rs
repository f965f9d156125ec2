//! Where the kernel's structures have the numbers, the name, the user and the group of a task, and through which members its namespaces are found.

use std::fs;

use knobgate_bpf::TaskOffsets;

use crate::cached_layout::cached_layout;

cached_layout! {
    /// Offsets and sizes in bytes.
    struct TaskLayout in "task-layout", format 2;

    tid = offset "task_struct.pid",
    tgid = offset "task_struct.tgid",
    comm = offset "task_struct.comm",
    uid = offset "cred.uid",
    gid = offset "cred.gid",
    nsproxy = offset "task_struct.nsproxy",
    net = offset "nsproxy.net_ns",
    uts = offset "nsproxy.uts_ns",
    ipc = offset "nsproxy.ipc_ns",
    mnt = offset "nsproxy.mnt_ns",
    net_inum = offset "net.ns.inum",
    uts_inum = offset "uts_namespace.ns.inum",
    ipc_inum = offset "ipc_namespace.ns.inum",
    mnt_inum = offset "mnt_namespace.ns.inum",
    cred = offset "task_struct.cred",
    user = offset "cred.user_ns",
    user_inum = offset "user_namespace.ns.inum",
    thread_pid = offset "task_struct.thread_pid",
    level = offset "pid.level",
    numbers = offset "pid.numbers",
    number_bytes = size "upid",
    pid = offset "upid.ns",
    pid_inum = offset "pid_namespace.ns.inum",
}

/// The offsets in the running kernel; `None` if it has no BTF, or if a member is missing or too far from the start.
pub(crate) fn task_offsets() -> Option<TaskOffsets> {
    let layout = TaskLayout::cached().or_else(|| {
        let layout = TaskLayout::of(&fs::read("/sys/kernel/btf/vmlinux").ok()?).ok()?;
        layout.store();
        Some(layout)
    })?;
    let offset = |offset: u32| i16::try_from(offset).ok();
    let offsets = |members: [u32; 4]| {
        let [net, uts, ipc, mnt] = members.map(offset);
        Some([net?, uts?, ipc?, mnt?])
    };
    Some(TaskOffsets {
        tid: offset(layout.tid)?,
        tgid: offset(layout.tgid)?,
        comm: offset(layout.comm)?,
        uid: offset(layout.uid)?,
        gid: offset(layout.gid)?,
        nsproxy: offset(layout.nsproxy)?,
        of_nsproxy: offsets([layout.net, layout.uts, layout.ipc, layout.mnt])?,
        inums: offsets([layout.net_inum, layout.uts_inum, layout.ipc_inum, layout.mnt_inum])?,
        cred: offset(layout.cred)?,
        user: offset(layout.user)?,
        user_inum: offset(layout.user_inum)?,
        thread_pid: offset(layout.thread_pid)?,
        typed_numbers: 1,
        level: offset(layout.level)?,
        numbers: offset(layout.numbers)?,
        number_bytes: offset(layout.number_bytes)?,
        pid: offset(layout.pid)?,
        pid_inum: offset(layout.pid_inum)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_cached_until_the_next_boot() {
        let layout = TaskLayout::example();
        let text = layout.render("a");
        assert_eq!(TaskLayout::parse("a", &text), Some(layout));
        assert_eq!(TaskLayout::parse("b", &text), None);
        assert_eq!(TaskLayout::parse("a", &text.replacen("format 2", "format 0", 1)), None);
        assert_eq!(TaskLayout::parse("a", &text[..text.len() / 2]), None);
    }
}
