//! Far jumps through islands: rows of jumps that are in reach of each other.

use std::collections::HashMap;

use super::{Addresses, Branch, BranchKind, Layout, Segment, is_terminal, link, reaches};
use crate::Insn;

/// How many original instructions there may be between islands. The closer they are, the longer the rows may
/// get, which far jumps to many different places need.
const SPACINGS: [usize; 5] = [30_000, 24_000, 16_000, 8_000, 4_000];

/// Places code whose far jumps hop through islands; if one of the functions cannot be, returns its index.
pub(super) fn place(insns: &[Insn], segments: &[Segment], branches: &[Branch]) -> Result<Layout, usize> {
    let mut failure = 0;
    for spacing in SPACINGS {
        let mut islands = Islands::planned(insns, segments, branches, spacing);
        match islands.settle(branches) {
            Ok(addresses) => return Ok(islands.write(insns, branches, addresses)),
            Err(insn) => failure = insn,
        }
    }
    Err(segments.partition_point(|segment| segment.start <= failure) - 1)
}

/// A row of jumps in front of an original instruction.
struct Island {
    before: usize,
    /// Whether the code in front goes on behind the island, and has to be led over it.
    is_skipped: bool,
    /// Where its jumps go to: instructions of the original code.
    targets: Vec<usize>,
    /// Which of its jumps go by the next island on their way.
    is_relayed: Vec<bool>,
}

impl Island {
    /// How many instructions it has.
    fn len(&self) -> usize {
        if self.targets.is_empty() { 0 } else { usize::from(self.is_skipped) + self.targets.len() }
    }
}

/// A jump of an island.
#[derive(Clone, Copy)]
struct Slot {
    island: usize,
    index: usize,
}

struct Islands {
    len: usize,
    islands: Vec<Island>,
    slots: HashMap<(usize, usize), usize>,
    is_routed: Vec<bool>,
}

impl Islands {
    /// Empty islands all over the functions that need them.
    fn planned(insns: &[Insn], segments: &[Segment], branches: &[Branch], spacing: usize) -> Self {
        let mut islands = Vec::new();
        for segment in segments.iter().filter(|segment| segment.len() > spacing) {
            let mut start = segment.start;
            while segment.end - start > spacing {
                let mut before = start + spacing;
                // An island must not come between the halves of a 64-bit load. Looking at the instruction in
                // front suffices: a second half has the opcode 0, so it never looks like a first one.
                if insns[before - 1].is_load_imm64() {
                    before -= 1;
                }
                let is_skipped = !is_terminal(insns[before - 1]);
                islands.push(Island { before, is_skipped, targets: Vec::new(), is_relayed: Vec::new() });
                start = before;
            }
        }
        Self { len: insns.len(), islands, slots: HashMap::new(), is_routed: vec![false; branches.len()] }
    }

    /// Fills the islands until every jump gets to its target.
    ///
    /// If that cannot be, returns an instruction of the function at fault.
    fn settle(&mut self, branches: &[Branch]) -> Result<Addresses, usize> {
        loop {
            let addresses = self.addresses();
            let slots = self.slots.len();
            let mut changed = false;
            for (index, branch) in branches.iter().enumerate() {
                let from = addresses.of(branch.insn);
                if branch.kind == BranchKind::Reference || self.is_routed[index] {
                    continue;
                }
                if !reaches(from, addresses.of(branch.target)) {
                    let island = self.first_hop(branch).ok_or(branch.insn)?;
                    self.is_routed[index] = true;
                    changed = true;
                    self.slot(island, branch.target);
                }
            }
            changed |= self.relay(&addresses)?;
            if !changed && slots == self.slots.len() {
                self.check(branches, &addresses)?;
                return Ok(addresses);
            }
        }
    }

    /// Leads the jumps of islands that are not near their targets to the next island.
    fn relay(&mut self, addresses: &Addresses) -> Result<bool, usize> {
        let mut changed = false;
        let count = self.islands.len();
        // Forward chains are completed by the way up, backward chains by the way down.
        for island in (0..count).chain((0..count).rev()) {
            for index in 0..self.islands[island].targets.len() {
                let Island { targets, is_relayed, .. } = &self.islands[island];
                let target = targets[index];
                let from = self.slot_address(addresses, Slot { island, index });
                if is_relayed[index] || reaches(from, addresses.of(target)) {
                    continue;
                }
                let next = self.next_hop(island, target).ok_or(target)?;
                self.islands[island].is_relayed[index] = true;
                changed = true;
                self.slot(next, target);
            }
        }
        Ok(changed)
    }

    /// Finds out whether the islands are in reach of what hops through them, or returns an instruction.
    fn check(&self, branches: &[Branch], addresses: &Addresses) -> Result<(), usize> {
        for (branch, is_routed) in branches.iter().zip(&self.is_routed) {
            let from = addresses.of(branch.insn);
            if *is_routed
                && !reaches(from, self.hop_address(addresses, self.first_hop(branch), branch.target))
            {
                return Err(branch.insn);
            }
        }
        for (island, content) in self.islands.iter().enumerate() {
            for (index, (target, is_relayed)) in content.targets.iter().zip(&content.is_relayed).enumerate() {
                let from = self.slot_address(addresses, Slot { island, index });
                if *is_relayed
                    && !reaches(from, self.hop_address(addresses, self.next_hop(island, *target), *target))
                {
                    return Err(*target);
                }
            }
        }
        Ok(())
    }

    /// The final code.
    fn write(self, insns: &[Insn], branches: &[Branch], addresses: Addresses) -> Layout {
        let mut placed = vec![Insn::default(); addresses.len()];
        for (index, insn) in insns.iter().enumerate() {
            placed[addresses.of(index)] = *insn;
        }
        for (branch, is_routed) in branches.iter().zip(&self.is_routed) {
            let to = if *is_routed {
                self.hop_address(&addresses, self.first_hop(branch), branch.target)
            } else {
                addresses.of(branch.target)
            };
            link(&mut placed, branch, addresses.of(branch.insn), to);
        }
        let mut goto = |from: usize, to: usize| {
            let branch = Branch { insn: from, kind: BranchKind::Jump, target: to };
            placed[from] = Insn::jump(0);
            link(&mut placed, &branch, from, to);
        };
        for (island, content) in self.islands.iter().enumerate().filter(|(_, content)| content.len() > 0) {
            let behind = addresses.of(content.before);
            if content.is_skipped {
                goto(behind - content.len(), behind);
            }
            for (index, (target, is_relayed)) in content.targets.iter().zip(&content.is_relayed).enumerate() {
                let to = if *is_relayed {
                    self.hop_address(&addresses, self.next_hop(island, *target), *target)
                } else {
                    addresses.of(*target)
                };
                goto(self.slot_address(&addresses, Slot { island, index }), to);
            }
        }
        Layout { insns: placed, addresses }
    }

    fn addresses(&self) -> Addresses {
        let mut islands = self.islands.iter().peekable();
        Addresses::with_growth(self.len, |insn| {
            islands.next_if(|island| island.before == insn).map_or(0, Island::len)
        })
    }

    /// The jump of an island to a target, which is added to it if need be.
    fn slot(&mut self, island: usize, target: usize) {
        let Island { targets, is_relayed, .. } = &mut self.islands[island];
        self.slots.entry((island, target)).or_insert_with(|| {
            targets.push(target);
            is_relayed.push(false);
            targets.len() - 1
        });
    }

    fn slot_address(&self, addresses: &Addresses, slot: Slot) -> usize {
        let island = &self.islands[slot.island];
        addresses.of(island.before) - island.targets.len() + slot.index
    }

    /// Where the jump to `target` of an island is that was found to be a hop to it.
    fn hop_address(&self, addresses: &Addresses, island: Option<usize>, target: usize) -> usize {
        let island = island.expect("a jump was routed by way of an island");
        let index = self.slots[&(island, target)];
        self.slot_address(addresses, Slot { island, index })
    }

    /// The island that is next to a branch on the way to its target.
    fn first_hop(&self, branch: &Branch) -> Option<usize> {
        let after = self.islands.partition_point(|island| island.before <= branch.insn);
        self.between(after, branch.insn, branch.target)
    }

    /// The island that is next to another one on the way to a target.
    fn next_hop(&self, island: usize, target: usize) -> Option<usize> {
        let before = self.islands[island].before;
        if target >= before {
            self.between(island + 1, before, target)
        } else {
            self.between(island, before, target)
        }
    }

    /// Of the islands from `after` on, or of those in front of it, the nearest, if it is not beyond the target.
    fn between(&self, after: usize, from: usize, target: usize) -> Option<usize> {
        if target >= from {
            self.islands.get(after).is_some_and(|island| island.before <= target).then_some(after)
        } else {
            let nearest = after.checked_sub(1)?;
            (self.islands[nearest].before > target).then_some(nearest)
        }
    }
}
