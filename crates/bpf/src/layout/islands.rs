//! Far jumps through islands: rows of jumps that are in reach of each other.
//!
//! Each hop goes to the next island towards the target, unless the target is in reach. Islands are so close to each other,
//! and so short, that the next one is always in reach.

use std::collections::HashMap;

use super::{Addresses, Branch, BranchKind, Layout, Segment, distance, is_terminal, link, reaches};
use crate::Insn;

/// The maximum of original instructions between islands. The closer islands are, the longer they may be, which far jumps to
/// many different targets need.
const SPACINGS: [usize; 5] = [30_000, 24_000, 16_000, 8_000, 2_000];

/// How far before its latest position an island may be placed, to be after an `exit` or a `goto`, where nothing has to skip
/// it.
const LEEWAY: usize = 200;

/// Places code whose far jumps hop through islands; if one of the functions cannot be, returns its index.
pub(super) fn place(insns: &[Insn], segments: &[Segment], branches: &[Branch]) -> Result<Layout, usize> {
    let mut overfull = 0;
    for spacing in SPACINGS {
        let islands = planned(insns, segments, spacing);
        // A hop between two islands passes at most both of them and what is between them.
        let limit = (i16::MAX as usize - spacing) / 2;
        // The islands are first taken to be as long as they may be. Their true lengths bring jumps into reach,
        // never out of it, so that any number of repetitions is right; one gets nearly all there is.
        let rough = Routes::found(insns.len(), branches, &islands, &vec![limit; islands.len()]);
        match rough.lens.iter().position(|len| *len > limit) {
            None => {
                return Ok(Routes::found(insns.len(), branches, &islands, &rough.lens).write(insns, branches));
            }
            Some(island) => overfull = islands[island].before,
        }
    }
    Err(segments.partition_point(|segment| segment.start <= overfull) - 1)
}

/// A row of jumps before an original instruction.
#[derive(Debug, Clone, Copy)]
struct Island {
    before: usize,
    /// Whether the code before the island falls through, and has to skip it.
    is_skipped: bool,
}

/// Islands all over the functions that may need them.
fn planned(insns: &[Insn], segments: &[Segment], spacing: usize) -> Vec<Island> {
    let mut islands = Vec::new();
    for segment in segments {
        let mut start = segment.start;
        while segment.end - start > spacing {
            let latest = start + spacing;
            let quiet = (latest - LEEWAY..=latest).rev().find(|place| is_terminal(insns[place - 1]));
            // An island must not come between the halves of a 64-bit load. A second half has the opcode 0, so
            // it is never taken for a first one, nor for a jump.
            let whole = latest - usize::from(insns[latest - 1].is_load_imm64());
            let before = quiet.unwrap_or(whole);
            islands.push(Island { before, is_skipped: quiet.is_none() });
            start = before;
        }
    }
    islands
}

/// Which jumps hop through which islands.
struct Routes<'a> {
    islands: &'a [Island],
    /// How many instructions each island has.
    lens: Vec<usize>,
    /// For each branch: whether it goes to the next island first.
    is_routed: Vec<bool>,
    /// The jumps of each island.
    slots: Vec<Vec<Slot>>,
    /// The index among the jumps of an island of the one to a target.
    index: HashMap<(usize, usize), usize>,
}

/// A jump of an island.
#[derive(Debug, Clone, Copy)]
struct Slot {
    target: usize,
    /// Whether it goes to the next island first.
    is_relayed: bool,
}

impl<'a> Routes<'a> {
    /// Finds the routes; no island may turn out to be longer than it is `assumed` to be.
    fn found(len: usize, branches: &[Branch], islands: &'a [Island], assumed: &[usize]) -> Self {
        let addresses = addresses(len, islands, assumed);
        let mut routes = Self {
            islands,
            lens: vec![0; islands.len()],
            is_routed: vec![false; branches.len()],
            slots: vec![Vec::new(); islands.len()],
            index: HashMap::new(),
        };
        for (branch, is_routed) in branches.iter().zip(0..) {
            let in_reach = reaches(addresses.of(branch.insn), addresses.of(branch.target));
            if in_reach || branch.kind == BranchKind::Reference {
                continue;
            }
            routes.is_routed[is_routed] = true;
            let mut hop = Some(routes.first_hop(branch));
            while let Some(island) = hop {
                let relayed = routes.next_hop(island, branch.target).filter(|_| {
                    let end = addresses.of(islands[island].before);
                    let target = addresses.of(branch.target);
                    // It is not yet known which jump of the island it will be, so assume the farthest one.
                    let from = if target < end { end - 1 } else { end - assumed[island] };
                    !reaches(from, target)
                });
                let is_new = routes.add_slot(island, branch.target, relayed.is_some());
                hop = relayed.filter(|_| is_new);
            }
        }
        routes
    }

    /// Adds a jump to an island, unless it has it.
    fn add_slot(&mut self, island: usize, target: usize, is_relayed: bool) -> bool {
        let slots = &mut self.slots[island];
        let is_new = *self.index.entry((island, target)).or_insert(slots.len()) == slots.len();
        if is_new {
            slots.push(Slot { target, is_relayed });
            self.lens[island] = slots.len() + usize::from(self.islands[island].is_skipped);
        }
        is_new
    }

    /// The final code.
    fn write(self, insns: &[Insn], branches: &[Branch]) -> Layout {
        let addresses = addresses(insns.len(), self.islands, &self.lens);
        let first_slot = |island: usize| addresses.of(self.islands[island].before) - self.slots[island].len();
        let slot_address = |island: usize, target: usize| first_slot(island) + self.index[&(island, target)];
        let mut placed = vec![Insn::default(); addresses.len()];
        for (index, insn) in insns.iter().enumerate() {
            placed[addresses.of(index)] = *insn;
        }
        for (branch, is_routed) in branches.iter().zip(&self.is_routed) {
            let to = if *is_routed {
                slot_address(self.first_hop(branch), branch.target)
            } else {
                addresses.of(branch.target)
            };
            link(&mut placed, branch, addresses.of(branch.insn), to);
        }
        for (island, slots) in self.slots.iter().enumerate().filter(|(_, slots)| !slots.is_empty()) {
            if self.islands[island].is_skipped {
                placed[first_slot(island) - 1] = jump(0, slots.len() + 1);
            }
            for (from, slot) in (first_slot(island)..).zip(slots) {
                let hop = self.next_hop(island, slot.target).filter(|_| slot.is_relayed);
                placed[from] =
                    jump(from, hop.map_or(addresses.of(slot.target), |hop| slot_address(hop, slot.target)));
            }
        }
        Layout { insns: placed, addresses }
    }

    /// The island that is next to a branch on the way to its target.
    fn first_hop(&self, branch: &Branch) -> usize {
        let after = self.islands.partition_point(|island| island.before <= branch.insn);
        self.between(after, branch.insn, branch.target).expect("a target out of reach is beyond an island")
    }

    /// The island that is next to another one on the way to a target, if there is one.
    fn next_hop(&self, island: usize, target: usize) -> Option<usize> {
        let before = self.islands[island].before;
        if target < before {
            self.between(island, before, target)
        } else {
            self.between(island + 1, before, target)
        }
    }

    /// Of the islands from `after` on, or of those before it, the nearest, if it is not beyond the target.
    fn between(&self, after: usize, from: usize, target: usize) -> Option<usize> {
        if target < from {
            after.checked_sub(1).filter(|nearest| self.islands[*nearest].before > target)
        } else {
            Some(after)
                .filter(|nearest| self.islands.get(*nearest).is_some_and(|island| island.before <= target))
        }
    }
}

fn addresses(len: usize, islands: &[Island], lens: &[usize]) -> Addresses {
    let mut islands = islands.iter().zip(lens).peekable();
    Addresses::with_growth(len, |insn| {
        islands.next_if(|(island, _)| island.before == insn).map_or(0, |(_, len)| *len)
    })
}

fn jump(from: usize, to: usize) -> Insn {
    Insn::jump(i16::try_from(distance(from, to)).expect("the next island is in reach"))
}
