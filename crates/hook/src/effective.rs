//! Which programs run for the tasks of a cgroup, and in which order: `compute_effective_progs` and
//! `replace_effective_prog` in kernel/bpf/cgroup.c.

use crate::attach::{Level, LinkId, Mode, Owner, ProgramId};
use crate::cgroups::{CgroupId, Cgroups};

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
    fn levels(&self, id: CgroupId) -> impl Iterator<Item = &Level> {
        let mut any = false;
        self.upwards(id).map(|(_, cgroup)| &cgroup.level).filter(move |level| {
            let counts = !any || level.mode == Some(Mode::Multi);
            any |= counts && !level.slots.is_empty();
            counts
        })
    }

    fn compute(&self, id: CgroupId) -> Vec<ProgramId> {
        let mut early: Vec<Vec<ProgramId>> = Vec::new();
        let mut late = Vec::new();
        for level in self.levels(id) {
            let programs = |preorder: bool| {
                let slots = level.slots.iter().filter(move |slot| slot.preorder == preorder);
                slots.map(|slot| self.program_of(slot.owner)).collect::<Vec<_>>()
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
                .flat_map(|level| &level.slots)
                .position(|slot| slot.owner == Owner::Link(link));
            let Ok(cgroup) = self.get_mut(inside) else { continue };
            if let Some(place) = place.and_then(|place| cgroup.effective.get_mut(place)) {
                *place = program;
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
