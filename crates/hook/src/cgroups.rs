//! The cgroup hierarchy, with the programs that are attached to each cgroup.

use std::collections::BTreeMap;

use knobgate_bpf::uapi::PATH_MAX;

use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::program_list::{EffectiveProgram, Link, ProgramList, ProgramOrLink};
use crate::{Errno, Profile};

/// One cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    pub(crate) name: String,
    pub(crate) parent: Option<CgroupId>,
    pub(crate) list: ProgramList,
    /// The programs that run for tasks inside, in order (`cgrp->bpf.effective`). They are stored instead of computed on
    /// demand, because some kernels put programs into wrong slots.
    pub(crate) effective: Vec<EffectiveProgram>,
}

/// All cgroups, and the links to them.
#[derive(Debug)]
pub(crate) struct Cgroups {
    pub(crate) profile: Profile,
    by_id: BTreeMap<CgroupId, Cgroup>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    next: u64,
}

impl Cgroups {
    /// The root cgroup; its id is 1, as in the kernel.
    pub(crate) const ROOT: CgroupId = CgroupId(1);

    pub(crate) fn new(profile: Profile) -> Self {
        let root =
            Cgroup { name: String::new(), parent: None, list: ProgramList::default(), effective: Vec::new() };
        Self { profile, by_id: [(Self::ROOT, root)].into(), links: BTreeMap::new(), next: 2 }
    }

    pub(crate) fn get(&self, id: CgroupId) -> Result<&Cgroup, Errno> {
        self.by_id.get(&id).ok_or(Errno::ENOENT)
    }

    pub(crate) fn get_mut(&mut self, id: CgroupId) -> Result<&mut Cgroup, Errno> {
        self.by_id.get_mut(&id).ok_or(Errno::ENOENT)
    }

    /// mkdir(2): a cgroup inherits the effective programs of its parent.
    pub(crate) fn create(&mut self, parent: CgroupId, name: &str) -> Result<CgroupId, Errno> {
        self.get(parent)?;
        if matches!(name, "" | "." | "..") || name.contains(['/', '\n', '\0']) {
            return Err(Errno::EINVAL);
        }
        // There is no other limit for names of cgroups.
        if name.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.children(parent).any(|(_, child)| child.name == name) {
            return Err(Errno::EEXIST);
        }
        let id = CgroupId(self.next);
        self.next += 1;
        let cgroup = Cgroup {
            name: name.to_owned(),
            parent: Some(parent),
            list: ProgramList::default(),
            effective: Vec::new(),
        };
        self.by_id.insert(id, cgroup);
        self.update_effective_progs(id);
        Ok(id)
    }

    /// rmdir(2) of a cgroup without tasks: everything is detached, and its links have no cgroup (`cgroup_bpf_release`).
    pub(crate) fn remove(&mut self, id: CgroupId) -> Result<(), Errno> {
        self.get(id)?;
        if id == Self::ROOT || self.children(id).next().is_some() {
            return Err(Errno::EBUSY);
        }
        if let Some(cgroup) = self.by_id.remove(&id) {
            for slot in cgroup.list.slots {
                if let ProgramOrLink::Link(link) = slot.attached
                    && let Some(link) = self.links.get_mut(&link)
                {
                    link.cgroup = None;
                }
            }
        }
        Ok(())
    }

    /// The cgroup `id`, its parent, and so on to the root.
    pub(crate) fn upwards(&self, id: CgroupId) -> impl Iterator<Item = (CgroupId, &Cgroup)> {
        let start = self.by_id.get(&id).map(|cgroup| (id, cgroup));
        std::iter::successors(start, |(_, cgroup)| {
            cgroup.parent.and_then(|parent| Some((parent, self.by_id.get(&parent)?)))
        })
    }

    /// The cgroup `id` and its descendants.
    pub(crate) fn subtree(&self, id: CgroupId) -> Vec<CgroupId> {
        let inside = |&other: &CgroupId| self.upwards(other).any(|(ancestor, _)| ancestor == id);
        self.by_id.keys().copied().filter(inside).collect()
    }

    /// Whether anything is attached anywhere (`cgroup_bpf_enabled`).
    pub(crate) fn any_attached(&self) -> bool {
        self.by_id.values().any(|cgroup| !cgroup.list.slots.is_empty())
    }

    /// Whether this program is attached anywhere, with or without a link.
    pub(crate) fn is_attached(&self, program: ProgramId) -> bool {
        let mut slots = self.by_id.values().flat_map(|cgroup| &cgroup.list.slots);
        slots.any(|slot| self.program_of(slot.attached) == program)
    }

    /// The child of `parent` with this name.
    pub(crate) fn child(&self, parent: CgroupId, name: &str) -> Option<CgroupId> {
        self.children(parent).find_map(|(id, child)| (child.name == name).then_some(id))
    }

    fn children(&self, parent: CgroupId) -> impl Iterator<Item = (CgroupId, &Cgroup)> {
        self.by_id
            .iter()
            .filter(move |(_, child)| child.parent == Some(parent))
            .map(|(&id, child)| (id, child))
    }
}
