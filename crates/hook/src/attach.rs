//! Attaching programs to cgroups, replacing and detaching them: `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` and the links of
//! kernel/bpf/cgroup.c and kernel/bpf/syscall.c.

use crate::Errno;
use crate::cgroups::{CgroupId, Cgroups};

/// How many programs a cgroup may have (`BPF_CGROUP_MAX_PROGS`).
pub const MAX_PROGRAMS: usize = 64;

/// Names a program of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(pub(crate) u32);

/// Names a link of a [`Hook`](crate::Hook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u32);

/// In what company a program can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One program, and none at the cgroups below (no flag).
    Single,
    /// One program, in effect where the cgroups below have none (`BPF_F_ALLOW_OVERRIDE`).
    Override,
    /// Many programs, in effect together with those of the cgroups below (`BPF_F_ALLOW_MULTI`).
    Multi,
}

/// Something attached, by which a place among the others is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// A program that was attached without a link.
    Program(ProgramId),
    /// A link (`BPF_F_LINK`).
    Link(LinkId),
}

/// Where among the others of the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Wherever the kernel puts what does not say: last.
    #[default]
    Unsaid,
    /// First (`BPF_F_BEFORE` without an anchor).
    First,
    /// Last (`BPF_F_AFTER` without an anchor).
    Last,
    /// Just before this one.
    Before(Anchor),
    /// Just after this one.
    After(Anchor),
    /// Both sides at once, which makes no sense. Without an anchor the kernel finds that out only where there is something
    /// attached.
    BothSides {
        /// Whether there is an anchor.
        anchored: bool,
    },
    /// An anchor and no side of it, which makes no sense either, and which the kernel finds out unless a program takes the
    /// place of another one.
    NoSide(Anchor),
}

/// Where and under which condition something is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Where among the others.
    pub place: Place,
    /// Run before the programs of the cgroups below, and not after them (`BPF_F_PREORDER`).
    pub preorder: bool,
    /// Only if this is the revision of the cgroup's list of programs.
    pub expected_revision: Option<u64>,
}

/// What is attached to a cgroup itself (`BPF_PROG_QUERY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The mode; `None` where nothing is attached.
    pub mode: Option<Mode>,
    /// The programs, in the order of the list.
    pub programs: Vec<ProgramId>,
    /// Counts the changes of the list, starting from 1.
    pub revision: u64,
}

/// What is attached to one cgroup (`cgrp->bpf.progs`, `flags` and `revisions`).
#[derive(Debug)]
pub(crate) struct Level {
    /// `None` exactly where there are no slots.
    pub(crate) mode: Option<Mode>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) revision: u64,
}

impl Default for Level {
    fn default() -> Self {
        Self { mode: None, slots: Vec::new(), revision: 1 }
    }
}

/// `struct bpf_prog_list`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) owner: Owner,
    /// The program whose storage it has: the one that was attached, whatever replaced it.
    pub(crate) storage_of: ProgramId,
    pub(crate) preorder: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
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

impl Cgroups {
    /// `BPF_PROG_ATTACH`.
    pub(crate) fn attach(
        &mut self,
        id: CgroupId,
        program: ProgramId,
        mode: Mode,
        replaced: Option<ProgramId>,
        options: Options,
    ) -> Result<(), Errno> {
        self.check_flags(options)?;
        if replaced.is_some() && !self.profile.replace {
            return Err(Errno::EINVAL);
        }
        self.insert(id, Owner::Program(program), mode, replaced, options)
    }

    /// `BPF_LINK_CREATE`.
    pub(crate) fn link(
        &mut self,
        id: CgroupId,
        program: ProgramId,
        options: Options,
    ) -> Result<LinkId, Errno> {
        let options = if self.profile.anchors { options } else { without_anchors(options)? };
        if !self.profile.links {
            return Err(Errno::EINVAL);
        }
        let link = LinkId(self.links.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.links.insert(link, Link { cgroup: Some(id), program });
        let inserted = self.insert(id, Owner::Link(link), Mode::Multi, None, options);
        if inserted.is_err() {
            self.links.remove(&link);
        }
        inserted.map(|()| link)
    }

    /// `BPF_PROG_DETACH`. In the modes of one program it does not matter which program is named, if any.
    pub(crate) fn detach(
        &mut self,
        id: CgroupId,
        program: Option<ProgramId>,
        expected_revision: Option<u64>,
    ) -> Result<(), Errno> {
        if expected_revision.is_some() && !self.profile.anchors {
            return Err(Errno::EINVAL);
        }
        let level = &self.get(id)?.level;
        level.check_revision(expected_revision)?;
        let index = match (level.mode, program) {
            (None, _) => return Err(Errno::ENOENT),
            (Some(Mode::Multi), None) => return Err(Errno::EINVAL),
            (Some(Mode::Multi), Some(program)) => {
                let owner = Owner::Program(program);
                level.slots.iter().position(|slot| slot.owner == owner).ok_or(Errno::ENOENT)?
            }
            (Some(Mode::Single | Mode::Override), _) => 0,
        };
        self.take_out(id, index)
    }

    /// `BPF_LINK_UPDATE`.
    pub(crate) fn update(
        &mut self,
        link: LinkId,
        program: ProgramId,
        expected: Option<ProgramId>,
        same_storage: impl Fn(ProgramId, ProgramId) -> bool,
    ) -> Result<(), Errno> {
        let found = self.links.get_mut(&link).ok_or(Errno::EBADF)?;
        let id = found.cgroup.ok_or(Errno::ENOLINK)?;
        if expected.is_some_and(|expected| expected != found.program) {
            return Err(Errno::EPERM);
        }
        if self.profile.updates_compare_storage && !same_storage(found.program, program) {
            return Err(Errno::EINVAL);
        }
        found.program = program;
        self.get_mut(id)?.level.revision += 1;
        if self.profile.updates_find_their_slot {
            self.recompute(id);
        } else {
            self.overwrite(id, link);
        }
        Ok(())
    }

    /// Takes a link off its cgroup, if it still has one.
    pub(crate) fn detach_link(&mut self, link: LinkId) -> Result<(), Errno> {
        let found = self.links.get_mut(&link).ok_or(Errno::EBADF)?;
        let Some(id) = found.cgroup.take() else { return Ok(()) };
        let owner = Owner::Link(link);
        match self.get(id)?.level.slots.iter().position(|slot| slot.owner == owner) {
            Some(index) => self.take_out(id, index),
            None => Ok(()),
        }
    }

    /// `BPF_PROG_QUERY` of what is attached directly.
    pub(crate) fn attached(&self, id: CgroupId) -> Result<Attached, Errno> {
        let level = &self.get(id)?.level;
        let programs = level.slots.iter().map(|slot| self.program_of(slot.owner)).collect();
        Ok(Attached { mode: level.mode, programs, revision: level.revision })
    }

    /// The flags that bpf_prog_attach in kernel/bpf/syscall.c knows.
    fn check_flags(&self, options: Options) -> Result<(), Errno> {
        let places = options.place != Place::Unsaid || options.expected_revision.is_some();
        let unknown = (places && !self.profile.anchors) || (options.preorder && !self.profile.preorder);
        if unknown { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// `__cgroup_bpf_attach`, whose checks are in this order.
    fn insert(
        &mut self,
        id: CgroupId,
        owner: Owner,
        mode: Mode,
        replaced: Option<ProgramId>,
        Options { place, preorder, expected_revision }: Options,
    ) -> Result<(), Errno> {
        let level = &self.get(id)?.level;
        let has_side = !matches!(place, Place::Unsaid | Place::NoSide(_));
        if replaced.is_some() && (mode != Mode::Multi || has_side) {
            return Err(Errno::EINVAL);
        }
        level.check_revision(expected_revision)?;
        if !self.ancestors_allow(id) || level.mode.is_some_and(|existing| existing != mode) {
            return Err(Errno::EPERM);
        }
        if level.slots.len() >= MAX_PROGRAMS {
            return Err(Errno::E2BIG);
        }
        let slot = Slot { owner, storage_of: self.program_of(owner), preorder };
        match level.slot_to_replace(owner, mode, replaced)? {
            Some(index) => self.get_mut(id)?.level.slots[index] = slot,
            None => {
                let index = level.index_for(slot, place)?;
                self.get_mut(id)?.level.slots.insert(index, slot);
            }
        }
        let level = &mut self.get_mut(id)?.level;
        level.mode = Some(mode);
        level.revision += 1;
        self.recompute(id);
        Ok(())
    }

    /// `hierarchy_allows_attach`: what the nearest ancestor with programs says.
    fn ancestors_allow(&self, id: CgroupId) -> bool {
        let nearest = self.upwards(id).skip(1).find_map(|(_, ancestor)| ancestor.level.mode);
        nearest.is_none_or(|mode| mode != Mode::Single)
    }

    /// `__cgroup_bpf_detach`, from where it has found what to detach.
    fn take_out(&mut self, id: CgroupId, index: usize) -> Result<(), Errno> {
        let level = &mut self.get_mut(id)?.level;
        level.slots.remove(index);
        level.revision += 1;
        if level.slots.is_empty() {
            level.mode = None;
        }
        self.recompute(id);
        Ok(())
    }
}

/// What a link's options are where links of this hook have no flags and no anchors. `link_create` in kernel/bpf/syscall.c
/// refuses the flags, of which that for an anchor that is a link is one; the bytes of an anchor and of a revision belong to other kinds of links there, and nobody looks at
/// them.
fn without_anchors(options: Options) -> Result<Options, Errno> {
    match options {
        Options { place: Place::Unsaid | Place::NoSide(Anchor::Program(_)), preorder: false, .. } => {
            Ok(Options::default())
        }
        _ => Err(Errno::EINVAL),
    }
}

impl Level {
    fn check_revision(&self, expected: Option<u64>) -> Result<(), Errno> {
        // 0 is what says that none is expected.
        match expected {
            Some(expected) if expected != 0 && expected != self.revision => Err(Errno::ESTALE),
            _ => Ok(()),
        }
    }

    /// `find_attach_entry`
    fn slot_to_replace(
        &self,
        owner: Owner,
        mode: Mode,
        replaced: Option<ProgramId>,
    ) -> Result<Option<usize>, Errno> {
        if mode != Mode::Multi {
            return Ok((!self.slots.is_empty()).then_some(0));
        }
        let at = |wanted: Owner| self.slots.iter().position(|slot| slot.owner == wanted);
        let replaced = replaced.map(Owner::Program);
        if at(owner).is_some() && replaced != Some(owner) {
            return Err(Errno::EINVAL);
        }
        replaced.map(|replaced| at(replaced).ok_or(Errno::ENOENT)).transpose()
    }

    /// `get_prog_list` and `insert_pl_to_hlist`
    fn index_for(&self, slot: Slot, place: Place) -> Result<usize, Errno> {
        let (anchor, behind) = match place {
            Place::First => return Ok(0),
            Place::Unsaid | Place::Last => return Ok(self.slots.len()),
            Place::Before(anchor) => (anchor, 0),
            Place::After(anchor) => (anchor, 1),
            Place::BothSides { anchored: false } if self.slots.is_empty() => return Ok(0),
            Place::BothSides { .. } | Place::NoSide(_) => return Err(Errno::EINVAL),
        };
        let anchor = match (anchor, slot.owner) {
            (Anchor::Program(program), Owner::Program(_)) => Owner::Program(program),
            (Anchor::Link(link), Owner::Link(_)) => Owner::Link(link),
            _ => return Err(Errno::EINVAL),
        };
        let index = self.slots.iter().position(|slot| slot.owner == anchor).ok_or(Errno::ENOENT)?;
        if self.slots[index].preorder == slot.preorder { Ok(index + behind) } else { Err(Errno::EINVAL) }
    }
}
