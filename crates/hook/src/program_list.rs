//! The programs that are attached to one cgroup, in order: kernel/bpf/cgroup.c.

use crate::Errno;
use crate::ids::{CgroupId, LinkId, ProgramId};

/// How a program is attached (`BPF_F_ALLOW_OVERRIDE`, `BPF_F_ALLOW_MULTI`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// One program, and none at descendant cgroups (no flag).
    Single,
    /// One program, in effect where descendant cgroups have none (`BPF_F_ALLOW_OVERRIDE`).
    Override,
    /// Many programs, in effect together with those of descendant cgroups (`BPF_F_ALLOW_MULTI`).
    Multi,
}

/// What a position is relative to (`relative_fd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relative {
    /// A program that was attached without a link.
    Program(ProgramId),
    /// A link (`BPF_F_LINK`).
    Link(LinkId),
}

/// The attach position: where a program goes among the others of the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Position {
    /// No flag: last.
    #[default]
    Unspecified,
    /// First (`BPF_F_BEFORE` without a relative).
    First,
    /// Last (`BPF_F_AFTER` without a relative).
    Last,
    /// Just before this one (`BPF_F_BEFORE`).
    Before(Relative),
    /// Just after this one (`BPF_F_AFTER`).
    After(Relative),
    /// Both flags at once, which is invalid. Without a relative the kernel only notices if something is attached.
    BothSides {
        /// Whether there is a relative.
        relative: bool,
    },
    /// A relative without a flag, which is invalid. The kernel does not notice if a program is replaced.
    NoSide(Relative),
}

/// Where and under which condition a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The attach position.
    pub position: Position,
    /// Run before the programs of descendant cgroups instead of after them (`BPF_F_PREORDER`).
    pub preorder: bool,
    /// Attach only if the cgroup's list of programs has this revision.
    pub expected_revision: Option<u64>,
}

/// The programs that are attached to one cgroup (`cgrp->bpf.progs`, `flags` and `revisions`).
#[derive(Debug)]
pub(crate) struct ProgramList {
    /// `None` if and only if there are no slots.
    pub(crate) mode: Option<AttachMode>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) revision: u64,
}

impl Default for ProgramList {
    fn default() -> Self {
        Self { mode: None, slots: Vec::new(), revision: 1 }
    }
}

/// `struct bpf_prog_list`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) attached: ProgramOrLink,
    /// The program whose storage was allocated: the one that was attached, even if it was replaced since.
    pub(crate) storage_of: ProgramId,
    pub(crate) preorder: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramOrLink {
    Program(ProgramId),
    Link(LinkId),
}

/// `struct bpf_cgroup_link`
#[derive(Debug)]
pub(crate) struct Link {
    /// `None` after it was detached or its cgroup removed.
    pub(crate) cgroup: Option<CgroupId>,
    pub(crate) program: ProgramId,
}

/// An effective program (`struct bpf_prog_array_item`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EffectiveProgram {
    pub(crate) program: ProgramId,
    /// The program whose storage it uses, which is another one after some updates.
    pub(crate) storage_of: ProgramId,
    /// The cgroup that it is attached to.
    pub(crate) cgroup: CgroupId,
}

impl ProgramList {
    pub(crate) fn check_revision(&self, expected: Option<u64>) -> Result<(), Errno> {
        // 0 stands for no expected revision.
        match expected {
            Some(expected) if expected != 0 && expected != self.revision => Err(Errno::ESTALE),
            _ => Ok(()),
        }
    }

    /// `find_attach_entry`
    pub(crate) fn slot_to_replace(
        &self,
        attached: ProgramOrLink,
        mode: AttachMode,
        replaced: Option<ProgramId>,
    ) -> Result<Option<usize>, Errno> {
        if mode != AttachMode::Multi {
            return Ok((!self.slots.is_empty()).then_some(0));
        }
        let at = |wanted: ProgramOrLink| self.slots.iter().position(|slot| slot.attached == wanted);
        let replaced = replaced.map(ProgramOrLink::Program);
        if at(attached).is_some() && replaced != Some(attached) {
            return Err(Errno::EINVAL);
        }
        replaced.map(|replaced| at(replaced).ok_or(Errno::ENOENT)).transpose()
    }

    /// `get_prog_list` and `insert_pl_to_hlist`
    pub(crate) fn index_for(&self, slot: Slot, position: Position) -> Result<usize, Errno> {
        let (relative, offset) = match position {
            Position::First => return Ok(0),
            Position::Unspecified | Position::Last => return Ok(self.slots.len()),
            Position::Before(relative) => (relative, 0),
            Position::After(relative) => (relative, 1),
            Position::BothSides { relative: false } if self.slots.is_empty() => return Ok(0),
            Position::BothSides { .. } | Position::NoSide(_) => return Err(Errno::EINVAL),
        };
        let attached = match (relative, slot.attached) {
            (Relative::Program(program), ProgramOrLink::Program(_)) => ProgramOrLink::Program(program),
            (Relative::Link(link), ProgramOrLink::Link(_)) => ProgramOrLink::Link(link),
            _ => return Err(Errno::EINVAL),
        };
        let index = self.slots.iter().position(|slot| slot.attached == attached).ok_or(Errno::ENOENT)?;
        if self.slots[index].preorder == slot.preorder { Ok(index + offset) } else { Err(Errno::EINVAL) }
    }
}
