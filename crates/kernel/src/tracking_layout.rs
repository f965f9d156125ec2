//! Offsets of the kernel structures that programs read which track processes: descendants, and those of guarded cgroups.

use std::fs;

use crate::cached_layout::cached_layout;
use crate::traced_tasks::NumberOffsets;
use crate::tracking_error::{KERNEL_BTF, TrackingError};

cached_layout! {
    /// Offsets and sizes in bytes. Each is named after what it leads to.
    pub(crate) struct TrackingLayout in "layout", format 2;

    thread = offset "task_struct.pid",
    process = offset "task_struct.tgid",
    leader = offset "task_struct.group_leader",
    name = offset "task_struct.comm",
    signals = offset "task_struct.signal",
    cgroups = offset "task_struct.cgroups",
    thread_id = offset "task_struct.thread_pid",
    start = offset "task_struct.start_boottime",
    /// The number of live threads.
    live = offset "signal_struct.live.counter",
    /// The v2 cgroup.
    default_cgroup = offset "css_set.dfl_cgrp",
    /// The root of its hierarchy.
    root = offset "cgroup.root",
    node = offset "cgroup.kn",
    state = offset "cgroup.self",
    /// From a cgroup to the state of its parent.
    above = offset "cgroup.self.parent",
    node_id = offset "kernfs_node.id",
    /// The depth of the pid namespace, and the ids in it and in all its ancestors.
    level = offset "pid.level",
    numbers = offset "pid.numbers",
    number = offset "upid.nr",
    namespace = offset "upid.ns",
    number_size = size "upid",
    namespace_id = offset "pid_namespace.ns.inum",
}

impl TrackingLayout {
    /// That of this kernel, which is cached. Without the cache if it `is_sure`: whoever can write that could mislead the programs.
    pub(crate) fn of_this_kernel(is_sure: bool) -> Result<Self, TrackingError> {
        if let Some(layout) = Self::cached().filter(|_| !is_sure) {
            return Ok(layout);
        }
        let btf = fs::read(KERNEL_BTF).map_err(|error| TrackingError::NoBtf { error })?;
        let layout = Self::of(&btf)?;
        layout.store();
        Ok(layout)
    }

    pub(crate) fn numbers(&self) -> NumberOffsets {
        NumberOffsets {
            thread_id: self.thread_id,
            level: self.level,
            numbers: self.numbers,
            number: self.number,
            namespace: self.namespace,
            number_size: self.number_size,
            namespace_id: self.namespace_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_cached_until_the_next_boot() {
        let layout = TrackingLayout::example();
        let text = layout.render("a");
        assert_eq!(TrackingLayout::parse("a", &text), Some(layout));
        assert_eq!(TrackingLayout::parse("b", &text), None);
        assert_eq!(TrackingLayout::parse("a", &text.replacen("format 2", "format 0", 1)), None);
        assert_eq!(TrackingLayout::parse("a", &text[..text.len() / 2]), None);
    }
}
