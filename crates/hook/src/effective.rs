//! Which programs run for the tasks of a cgroup, and in which order: `compute_effective_progs` and
//! `replace_effective_prog` in kernel/bpf/cgroup.c.

use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::program_list::{Effective, Level, Mode, Owner, Slot};

impl Cgroups {
    /// Computes anew what is in effect at `id` and everywhere below it.
    pub(crate) fn recompute(&mut self, id: CgroupId) {
        for inside in self.subtree(id) {
            let effective = self.compute(inside);
            if let Ok(cgroup) = self.get_mut(inside) {
                cgroup.effective = effective;
            }
        }
    }

    /// The levels that count at `id`: the nearest one with programs, and above it those in multi mode.
    fn levels(&self, id: CgroupId) -> impl Iterator<Item = (CgroupId, &Level)> {
        let mut any = false;
        self.upwards(id).map(|(id, cgroup)| (id, &cgroup.level)).filter(move |(_, level)| {
            let counts = !any || level.mode == Some(Mode::Multi);
            any |= counts && !level.slots.is_empty();
            counts
        })
    }

    fn compute(&self, id: CgroupId) -> Vec<Effective> {
        let mut early: Vec<Vec<Effective>> = Vec::new();
        let mut late = Vec::new();
        for (cgroup, level) in self.levels(id) {
            let programs = |preorder: bool| {
                let slots = level.slots.iter().filter(move |slot| slot.preorder == preorder);
                let effective = |slot: &Slot| Effective {
                    program: self.program_of(slot.owner),
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

    /// Puts the new program of `link`, which is attached to `id`, in its place everywhere, as kernels do that count that
    /// place without minding which programs come in preorder: where there are any, it may be the place of another one.
    pub(crate) fn overwrite(&mut self, id: CgroupId, link: LinkId) {
        let program = self.program_of(Owner::Link(link));
        for inside in self.subtree(id) {
            let place = self
                .levels(inside)
                .flat_map(|(_, level)| &level.slots)
                .position(|slot| slot.owner == Owner::Link(link));
            let Ok(cgroup) = self.get_mut(inside) else { continue };
            if let Some(place) = place.and_then(|place| cgroup.effective.get_mut(place)) {
                place.program = program;
            }
        }
    }

    pub(crate) fn program_of(&self, owner: Owner) -> ProgramId {
        match owner {
            Owner::Program(program) => program,
            Owner::Link(link) => self.links[&link].program,
        }
    }
}
