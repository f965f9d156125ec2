//! The effective programs of a cgroup, in order: `compute_effective_progs` and
//! `replace_effective_prog` in kernel/bpf/cgroup.c.

use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::program_list::{AttachMode, EffectiveProgram, ProgramList, ProgramOrLink, Slot};

impl Cgroups {
    /// Recomputes the effective programs of `id` and of its descendants.
    pub(crate) fn update_effective_progs(&mut self, id: CgroupId) {
        for inside in self.subtree(id) {
            let effective = self.compute_effective_progs(inside);
            if let Ok(cgroup) = self.get_mut(inside) {
                cgroup.effective = effective;
            }
        }
    }

    /// The lists that are in effect at `id`: the nearest one with programs, and above it those in multi mode.
    fn lists(&self, id: CgroupId) -> impl Iterator<Item = (CgroupId, &ProgramList)> {
        let mut any = false;
        self.upwards(id).map(|(id, cgroup)| (id, &cgroup.list)).filter(move |(_, list)| {
            let counts = !any || list.mode == Some(AttachMode::Multi);
            any |= counts && !list.slots.is_empty();
            counts
        })
    }

    fn compute_effective_progs(&self, id: CgroupId) -> Vec<EffectiveProgram> {
        let mut early: Vec<Vec<EffectiveProgram>> = Vec::new();
        let mut late = Vec::new();
        for (cgroup, list) in self.lists(id) {
            let programs = |preorder: bool| {
                let slots = list.slots.iter().filter(move |slot| slot.preorder == preorder);
                let effective = |slot: &Slot| EffectiveProgram {
                    program: self.program_of(slot.attached),
                    storage_of: slot.storage_of,
                    cgroup,
                };
                slots.map(effective).collect::<Vec<_>>()
            };
            early.push(programs(true));
            late.extend(programs(false));
        }
        early.into_iter().rev().flatten().chain(late).collect()
    }

    /// Replaces the program of `link`, which is attached to `id`, in all effective arrays, with the bug of some kernels:
    /// they count slots as if no program had `BPF_F_PREORDER`, and with such programs may hit the slot of another one.
    pub(crate) fn replace_effective_prog(&mut self, id: CgroupId, link: LinkId) {
        let program = self.program_of(ProgramOrLink::Link(link));
        for inside in self.subtree(id) {
            let slot = self
                .lists(inside)
                .flat_map(|(_, list)| &list.slots)
                .position(|slot| slot.attached == ProgramOrLink::Link(link));
            let Ok(cgroup) = self.get_mut(inside) else { continue };
            if let Some(item) = slot.and_then(|slot| cgroup.effective.get_mut(slot)) {
                item.program = program;
            }
        }
    }

    pub(crate) fn program_of(&self, attached: ProgramOrLink) -> ProgramId {
        match attached {
            ProgramOrLink::Program(program) => program,
            ProgramOrLink::Link(link) => self.links[&link].program,
        }
    }
}
