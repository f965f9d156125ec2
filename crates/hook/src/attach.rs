//! Attaching programs to cgroups, replacing and detaching them: `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` and the links of
//! kernel/bpf/cgroup.c and kernel/bpf/syscall.c.

use crate::Errno;
use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::program_list::{Link, Owner, Slot};

pub use crate::program_list::{Mode, Options, Position, Relative};

/// How many programs a cgroup may have (`BPF_CGROUP_MAX_PROGS`).
pub const MAX_PROGRAMS: usize = 64;

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
        let options = if self.profile.attach_positions { options } else { without_positions(options)? };
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
        if expected_revision.is_some() && !self.profile.attach_positions {
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
        let is_positioned = options.position != Position::Unspecified || options.expected_revision.is_some();
        let unknown =
            (is_positioned && !self.profile.attach_positions) || (options.preorder && !self.profile.preorder);
        if unknown { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// `__cgroup_bpf_attach`, whose checks are in this order.
    fn insert(
        &mut self,
        id: CgroupId,
        owner: Owner,
        mode: Mode,
        replaced: Option<ProgramId>,
        Options { position, preorder, expected_revision }: Options,
    ) -> Result<(), Errno> {
        let level = &self.get(id)?.level;
        let has_side = !matches!(position, Position::Unspecified | Position::NoSide(_));
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
                let index = level.index_for(slot, position)?;
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

/// The options of a link on kernels without attach positions. `link_create` in kernel/bpf/syscall.c rejects all flags,
/// `BPF_F_LINK` among them. It ignores the bytes of a relative program and of a revision, which belong to other kinds of links
/// there.
fn without_positions(options: Options) -> Result<Options, Errno> {
    match options {
        Options {
            position: Position::Unspecified | Position::NoSide(Relative::Program(_)),
            preorder: false,
            ..
        } => Ok(Options::default()),
        _ => Err(Errno::EINVAL),
    }
}
