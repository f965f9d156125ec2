//! Far jumps with `gotol`.

use super::{Addresses, Branch, BranchKind, Layout, distance, link, reaches};
use crate::Insn;

/// How often the code is shortened at most. It is correct after any number of rounds, and more rounds hardly ever help.
const ROUNDS: usize = 8;

/// Places code whose far jumps become `gotol`.
pub(super) fn place(insns: &[Insn], branches: &[Branch]) -> Layout {
    // If all jumps were long, they would be the farthest apart. Jumps that are in reach even then can be short, which
    // brings others into reach, never out of it.
    let mut is_long: Vec<bool> = branches.iter().map(|branch| branch.kind != BranchKind::Reference).collect();
    let mut addresses = addresses(insns.len(), branches, &is_long);
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (branch, is_long) in branches.iter().zip(&mut is_long).filter(|(_, is_long)| **is_long) {
            *is_long = !reaches(addresses.of(branch.insn), addresses.of(branch.target));
            changed |= !*is_long;
        }
        if !changed {
            break;
        }
        addresses = self::addresses(insns.len(), branches, &is_long);
    }
    let mut placed = vec![Insn::default(); addresses.len()];
    for (index, insn) in insns.iter().enumerate() {
        placed[addresses.of(index)] = *insn;
    }
    for (branch, is_long) in branches.iter().zip(is_long) {
        let (from, to) = (addresses.of(branch.insn), addresses.of(branch.target));
        if is_long {
            lengthen(&mut placed, branch.kind, from, to);
        } else {
            link(&mut placed, branch, from, to);
        }
    }
    Layout { insns: placed, addresses }
}

/// How many instructions a far branch takes in addition to its own.
fn extra(kind: BranchKind) -> usize {
    match kind {
        BranchKind::Jump | BranchKind::Reference => 0,
        BranchKind::Condition { inverse: Some(_) } => 1,
        BranchKind::Condition { inverse: None } => 2,
    }
}

fn addresses(len: usize, branches: &[Branch], is_long: &[bool]) -> Addresses {
    let mut grown = branches
        .iter()
        .zip(is_long)
        .filter(|(_, is_long)| **is_long)
        .map(|(branch, _)| (branch.insn + 1, extra(branch.kind)))
        .peekable();
    Addresses::with_growth(len, |insn| {
        grown.next_if(|(after, _)| *after == insn).map_or(0, |(_, extra)| extra)
    })
}

/// Turns the branch at `from` into one with unlimited reach.
fn lengthen(insns: &mut [Insn], kind: BranchKind, from: usize, to: usize) {
    let long = |at| Insn::jump_long(i32::try_from(distance(at, to)).expect("fewer than 2^31 instructions"));
    match kind {
        BranchKind::Jump | BranchKind::Reference => insns[from] = long(from),
        BranchKind::Condition { inverse: Some(inverse) } => {
            insns[from].opcode = inverse;
            insns[from].off = 1;
            insns[from + 1] = long(from + 1);
        }
        BranchKind::Condition { inverse: None } => {
            insns[from].off = 1;
            insns[from + 1] = Insn::jump(1);
            insns[from + 2] = long(from + 2);
        }
    }
}
