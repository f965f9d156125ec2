//! Lays out code: computes the offset of every branch, and handles jumps that 16 bits cannot express.
//!
//! With ISA v4 such a jump becomes a `gotol`; a conditional jump is inverted to skip one. Without it, islands are inserted
//! into the code, at most every 30,000 instructions: rows of unconditional jumps that fall-through skips, and through which
//! a far jump hops to its target.
//!
//! Both make the code longer, which can put other jumps out of reach. So both start from the longest possible code, and
//! shorten it: a target that is in reach stays in reach.

mod islands;
mod long;

use std::ops::Range;

use crate::{Insn, opcode};

/// The instructions of one function.
pub(crate) type Segment = Range<usize>;

/// An instruction with a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch {
    pub(crate) insn: usize,
    pub(crate) kind: BranchKind,
    pub(crate) target: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchKind {
    /// A `goto`.
    Jump,
    /// A conditional jump, with the opcode of the opposite condition, if there is one.
    Condition { inverse: Option<u8> },
    /// A call or the address of a function, whose offset has 32 bits.
    Reference,
}

/// Placed code.
#[derive(Debug)]
pub(crate) struct Layout {
    insns: Vec<Insn>,
    addresses: Addresses,
}

impl Layout {
    /// Where an instruction of the original code, or its end, is now.
    pub(crate) fn address(&self, insn: usize) -> usize {
        self.addresses.of(insn)
    }

    pub(crate) fn into_insns(self) -> Vec<Insn> {
        self.insns
    }
}

/// Places the code; if one of the functions cannot be, returns its index.
pub(crate) fn place(
    insns: &[Insn],
    segments: &[Segment],
    branches: &[Branch],
    long_jump: bool,
) -> Result<Layout, usize> {
    let in_reach = branches
        .iter()
        .all(|branch| branch.kind == BranchKind::Reference || reaches(branch.insn, branch.target));
    if in_reach {
        let addresses = Addresses::unchanged(insns.len());
        let mut insns = insns.to_vec();
        for branch in branches {
            link(&mut insns, branch, branch.insn, branch.target);
        }
        Ok(Layout { insns, addresses })
    } else if long_jump {
        Ok(long::place(insns, branches))
    } else {
        islands::place(insns, segments, branches)
    }
}

/// Whether a 16-bit offset leads from the jump at one address to another address.
fn reaches(from: usize, to: usize) -> bool {
    i16::try_from(distance(from, to)).is_ok()
}

/// What has to be added to the address of the next instruction.
fn distance(from: usize, to: usize) -> i64 {
    to as i64 - from as i64 - 1
}

/// Sets the offset of a branch that is now at `from`, so that it goes to `to`, which is in reach.
fn link(insns: &mut [Insn], branch: &Branch, from: usize, to: usize) {
    let insn = &mut insns[from];
    if branch.kind == BranchKind::Reference {
        insn.imm = i32::try_from(distance(from, to)).expect("a program has fewer than 2^31 instructions");
    } else {
        insn.off = i16::try_from(distance(from, to)).expect("a branch that is linked is in reach");
    }
}

/// Maps positions in the original code to positions in the code with insertions.
#[derive(Debug)]
struct Addresses(Vec<u32>);

impl Addresses {
    fn unchanged(len: usize) -> Self {
        Self::with_growth(len, |_| 0)
    }

    /// `growth` says how many instructions are inserted right before each original one.
    fn with_growth(len: usize, mut growth: impl FnMut(usize) -> usize) -> Self {
        let mut next = 0;
        let addresses = (0..=len).map(|insn| {
            next += growth(insn);
            let address = u32::try_from(next).expect("a program has fewer than 2^32 instructions");
            next += 1;
            address
        });
        Self(addresses.collect())
    }

    fn of(&self, insn: usize) -> usize {
        self.0[insn] as usize
    }

    /// The number of instructions.
    fn len(&self) -> usize {
        self.of(self.0.len() - 1)
    }
}

/// Whether the code never falls through to the next instruction.
fn is_terminal(insn: Insn) -> bool {
    const EXIT: u8 = opcode::JMP | opcode::EXIT;
    const JUMP: u8 = opcode::JMP | opcode::JA;
    const LONG_JUMP: u8 = opcode::JMP32 | opcode::JA;
    matches!(insn.opcode, EXIT | JUMP | LONG_JUMP)
}
