//! Where the kernel keeps what the programs read.

use knobgate_bpf::{LayoutError, StructLayouts};

/// Offsets in bytes, each named by where it leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Of a `struct task_struct`.
    pub(super) process: u32,
    pub(super) leader: u32,
    pub(super) name: u32,
    pub(super) signals: u32,
    pub(super) cgroups: u32,
    pub(super) thread_id: u32,
    pub(super) start: u32,
    /// Of a `struct signal_struct`: how many threads live.
    pub(super) live: u32,
    /// Of a `struct css_set`: the cgroup of version 2.
    pub(super) default_cgroup: u32,
    /// Of a `struct cgroup`.
    pub(super) node: u32,
    pub(super) state: u32,
    /// From a cgroup to the state of the one above.
    pub(super) above: u32,
    /// Of a `struct kernfs_node`.
    pub(super) node_id: u32,
    /// Of a `struct pid`: how deep its namespace is, and the numbers in that and in all above.
    pub(super) level: u32,
    pub(super) numbers: u32,
    /// Of a `struct upid`, and its size.
    pub(super) number: u32,
    pub(super) namespace: u32,
    pub(super) number_size: u32,
    /// Of a `struct pid_namespace`.
    pub(super) namespace_id: u32,
}

impl Layout {
    /// Finds them in the BTF of a kernel.
    pub(super) fn of(btf: &[u8]) -> Result<Self, LayoutError> {
        let layouts = StructLayouts::read(btf)?;
        Ok(Self {
            process: layouts.offset("task_struct.tgid")?,
            leader: layouts.offset("task_struct.group_leader")?,
            name: layouts.offset("task_struct.comm")?,
            signals: layouts.offset("task_struct.signal")?,
            cgroups: layouts.offset("task_struct.cgroups")?,
            thread_id: layouts.offset("task_struct.thread_pid")?,
            start: layouts.offset("task_struct.start_boottime")?,
            live: layouts.offset("signal_struct.live.counter")?,
            default_cgroup: layouts.offset("css_set.dfl_cgrp")?,
            node: layouts.offset("cgroup.kn")?,
            state: layouts.offset("cgroup.self")?,
            above: layouts.offset("cgroup.self.parent")?,
            node_id: layouts.offset("kernfs_node.id")?,
            level: layouts.offset("pid.level")?,
            numbers: layouts.offset("pid.numbers")?,
            number: layouts.offset("upid.nr")?,
            namespace: layouts.offset("upid.ns")?,
            number_size: layouts.size("upid")?,
            namespace_id: layouts.offset("pid_namespace.ns.inum")?,
        })
    }
}
