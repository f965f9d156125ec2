//! Attaching programs to cgroups, replacing and detaching them: `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` and the links of
//! kernel/bpf/cgroup.c and kernel/bpf/syscall.c.

use knobgate_bpf::uapi;

use crate::Errno;
use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::program_list::{Link, ProgramOrLink, Slot};

pub use crate::program_list::{AttachMode, Options, Position, Relative};

/// The most programs of one cgroup (`BPF_CGROUP_MAX_PROGS`).
pub const MAX_PROGRAMS: usize = uapi::BPF_CGROUP_MAX_PROGS;

/// What is attached to a cgroup itself (`BPF_PROG_QUERY`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The mode; `None` if nothing is attached.
    pub mode: Option<AttachMode>,
    /// The programs, in the order of the list.
    pub programs: Vec<ProgramId>,
    /// The revision of the list: starts at 1, and grows with every change.
    pub revision: u64,
}

impl Cgroups {
    /// `BPF_PROG_ATTACH`.
    pub(crate) fn attach(
        &mut self,
        id: CgroupId,
        program: ProgramId,
        mode: AttachMode,
        replaced: Option<ProgramId>,
        options: Options,
    ) -> Result<(), Errno> {
        self.check_flags(options)?;
        if replaced.is_some() && !self.profile.replace {
            return Err(Errno::EINVAL);
        }
        self.insert(id, ProgramOrLink::Program(program), mode, replaced, options)
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
        let inserted = self.insert(id, ProgramOrLink::Link(link), AttachMode::Multi, None, options);
        if inserted.is_err() {
            self.links.remove(&link);
        }
        inserted.map(|()| link)
    }

    /// `BPF_PROG_DETACH`. In single and override mode the program does not matter.
    pub(crate) fn detach(
        &mut self,
        id: CgroupId,
        program: Option<ProgramId>,
        expected_revision: Option<u64>,
    ) -> Result<(), Errno> {
        if expected_revision.is_some() && !self.profile.attach_positions {
            return Err(Errno::EINVAL);
        }
        let list = &self.get(id)?.list;
        list.check_revision(expected_revision)?;
        let index = match (list.mode, program) {
            (None, _) => return Err(Errno::ENOENT),
            (Some(AttachMode::Multi), None) => return Err(Errno::EINVAL),
            (Some(AttachMode::Multi), Some(program)) => {
                let attached = ProgramOrLink::Program(program);
                list.slots.iter().position(|slot| slot.attached == attached).ok_or(Errno::ENOENT)?
            }
            (Some(AttachMode::Single | AttachMode::Override), _) => 0,
        };
        self.remove_slot(id, index)
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
        self.get_mut(id)?.list.revision += 1;
        if self.profile.updates_find_their_slot {
            self.update_effective_progs(id);
        } else {
            self.replace_effective_prog(id, link);
        }
        Ok(())
    }

    /// Detaches a link, if it is attached.
    pub(crate) fn detach_link(&mut self, link: LinkId) -> Result<(), Errno> {
        let found = self.links.get_mut(&link).ok_or(Errno::EBADF)?;
        let Some(id) = found.cgroup.take() else { return Ok(()) };
        let attached = ProgramOrLink::Link(link);
        match self.get(id)?.list.slots.iter().position(|slot| slot.attached == attached) {
            Some(index) => self.remove_slot(id, index),
            None => Ok(()),
        }
    }

    /// `BPF_PROG_QUERY` of the cgroup itself.
    pub(crate) fn attached(&self, id: CgroupId) -> Result<Attached, Errno> {
        let list = &self.get(id)?.list;
        let programs = list.slots.iter().map(|slot| self.program_of(slot.attached)).collect();
        Ok(Attached { mode: list.mode, programs, revision: list.revision })
    }

    /// Checks the flags as `bpf_prog_attach` in kernel/bpf/syscall.c does.
    fn check_flags(&self, options: Options) -> Result<(), Errno> {
        let is_positioned = options.position != Position::Unspecified || options.expected_revision.is_some();
        let unknown =
            (is_positioned && !self.profile.attach_positions) || (options.preorder && !self.profile.preorder);
        if unknown { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// `__cgroup_bpf_attach`, with the checks in its order.
    fn insert(
        &mut self,
        id: CgroupId,
        attached: ProgramOrLink,
        mode: AttachMode,
        replaced: Option<ProgramId>,
        Options { position, preorder, expected_revision }: Options,
    ) -> Result<(), Errno> {
        let list = &self.get(id)?.list;
        let has_side = !matches!(position, Position::Unspecified | Position::NoSide(_));
        if replaced.is_some() && (mode != AttachMode::Multi || has_side) {
            return Err(Errno::EINVAL);
        }
        list.check_revision(expected_revision)?;
        if !self.ancestors_allow(id) || list.mode.is_some_and(|existing| existing != mode) {
            return Err(Errno::EPERM);
        }
        if list.slots.len() >= MAX_PROGRAMS {
            return Err(Errno::E2BIG);
        }
        let slot = Slot { attached, storage_of: self.program_of(attached), preorder };
        match list.slot_to_replace(attached, mode, replaced)? {
            Some(index) => self.get_mut(id)?.list.slots[index] = slot,
            None => {
                let index = list.index_for(slot, position)?;
                self.get_mut(id)?.list.slots.insert(index, slot);
            }
        }
        let list = &mut self.get_mut(id)?.list;
        list.mode = Some(mode);
        list.revision += 1;
        self.update_effective_progs(id);
        Ok(())
    }

    /// `hierarchy_allows_attach`: the nearest ancestor with programs decides.
    fn ancestors_allow(&self, id: CgroupId) -> bool {
        let nearest = self.upwards(id).skip(1).find_map(|(_, ancestor)| ancestor.list.mode);
        nearest.is_none_or(|mode| mode != AttachMode::Single)
    }

    /// The second part of `__cgroup_bpf_detach`: detaches the program at `index`.
    fn remove_slot(&mut self, id: CgroupId, index: usize) -> Result<(), Errno> {
        let list = &mut self.get_mut(id)?.list;
        list.slots.remove(index);
        list.revision += 1;
        if list.slots.is_empty() {
            list.mode = None;
        }
        self.update_effective_progs(id);
        Ok(())
    }
}

/// The options of a link on kernels without attach positions. `link_create` in kernel/bpf/syscall.c rejects all flags,
/// `BPF_F_LINK` among them. It ignores the bytes of a relative program and of a revision, which belong to other kinds of
/// links there.
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
