//! Offsets of the kernel structures that programs read which track processes, descendants and those of guarded cgroups, and how both
//! read them.

use std::fs;

use knobgate_bpf::{AluOp, Assembler, Cond, Label, Reg, Size};

use crate::cached_layout::cached_layout;
use crate::traced_tasks::{NumberOffsets, follow, read};
use crate::tracking_error::{KERNEL_BTF, TrackingError};

/// How many ancestors of a cgroup are compared. Deeper ones count as elsewhere. (The verifier simulates every iteration, and compares it
/// with all previous ones.)
const LEVELS: i32 = 128;

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

    /// Loads the v2 cgroup of a task, through the eight bytes of the stack at `scratch`.
    pub(crate) fn load_cgroup(&self, asm: &mut Assembler, dst: Reg, task: Reg, scratch: i16) {
        follow(asm, dst, task, self.cgroups, scratch);
        follow(asm, dst, dst, self.default_cgroup, scratch);
    }

    /// Goes to `out` if the cgroup that `cgroup_attach_task` names for a task is not in the v2 hierarchy: it was moved in a v1
    /// hierarchy. (The task is the first thread; if that has ended, it stays in its cgroup.) Clobbers `free`.
    pub(crate) fn jump_if_v1(
        &self,
        asm: &mut Assembler,
        (task, cgroup, free): (Reg, Reg, Reg),
        out: Label,
        scratch: i16,
    ) {
        self.load_cgroup(asm, free, task, scratch);
        follow(asm, free, free, self.root, scratch);
        follow(asm, Reg::R0, cgroup, self.root, scratch);
        asm.jump_if(Cond::Ne, Reg::R0, free, out);
    }

    /// Goes to `out` if threads of the task's process live. Takes four bytes of the stack at `word`.
    pub(crate) fn jump_if_alive(&self, asm: &mut Assembler, task: Reg, out: Label, word: i16, scratch: i16) {
        follow(asm, Reg::R0, task, self.signals, scratch);
        read(asm, 4, word, Reg::R0, self.live);
        asm.load(Size::U32, Reg::R1, Reg::R10, word);
        asm.jump_if(Cond::Ne, Reg::R1, 0, out);
    }

    /// Turns cgroup R6 into the one above, counts that in R7, and goes to `next` for up to [`LEVELS`] of them, or to `none` if there is none.
    pub(crate) fn climb(&self, asm: &mut Assembler, (next, none): (Label, Label), scratch: i16) {
        follow(asm, Reg::R6, Reg::R6, self.above, scratch);
        asm.jump_if(Cond::Eq, Reg::R6, 0, none);
        // The state is embedded in its cgroup.
        asm.alu(AluOp::Sub, Reg::R6, self.state as i32);
        asm.alu(AluOp::Add, Reg::R7, 1);
        asm.jump_if(Cond::Lt, Reg::R7, LEVELS, next);
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
