//! Finds a name among names that are known when the policy is compiled.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size};

use super::code::Code;
use super::verifier;
use crate::layout::{Hash, LAST_MULTIPLIER, Layout, Lookup, Target};
use crate::program;

/// The result of a lookup.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// This target.
    Known(Target),
    /// The step whose row is in R0. R3 is the address of its slot.
    InSlot(&'a Hash),
}

/// Emits the code for a name that was found. That code must end with a jump.
pub(super) type OnFound<'a> = dyn FnMut(&mut Code<'_>, Found<'_>) + 'a;

/// The name to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needle {
    /// Its offset on the stack. Zeros follow it.
    pub(super) at: i16,
    /// Where code goes if it is not found.
    pub(super) not_found: Label,
}

/// Emits the search for a name. Clobbers R0 to R3.
pub(super) fn emit(code: &mut Code<'_>, lookup: &Lookup, needle: Needle, found: &mut OnFound<'_>) {
    match lookup {
        Lookup::Tree { words, names } => {
            let names: Vec<&(Vec<u64>, Target)> = names.iter().collect();
            emit_tree(code, needle, &names, &(0..*words).collect(), found);
        }
        Lookup::Hash(hash) => {
            find_slot(code, hash, needle.at);
            load_target(code, hash, needle);
            found(code, Found::InSlot(hash));
        }
    }
}

/// The same among names in slots. The offset of the slot, or 0 if it is not known, is on the stack at `only_slot`. Falls through
/// if the name is found, with the row in R0.
pub(super) fn emit_with_known_slot(
    code: &mut Code<'_>,
    layout: &Layout<'_>,
    hash: &Hash,
    needle: Needle,
    only_slot: i16,
) {
    let (unknown, in_slot) = (code.asm.new_label(), code.asm.new_label());
    code.asm.load(Size::U32, R3, R10, only_slot);
    code.asm.jump_if(Cond::Eq, R3, 0, unknown);
    verifier::prove_inside_tables(&mut code.asm, R3, layout.facts.offset_mask);
    code.asm.load_map_value(R0, program::TABLES, 0);
    code.asm.alu(AluOp::Add, R3, R0);
    code.asm.jump(in_slot);
    code.asm.bind(unknown);
    find_slot(code, hash, needle.at);
    code.asm.bind(in_slot);
    load_target(code, hash, needle);
}

/// Makes R3 the address of the slot in which the name is, if it is in one.
fn find_slot(code: &mut Code<'_>, placed: &Hash, at: i16) {
    let asm = &mut code.asm;
    for (word, &multiplier) in placed.hash.multipliers.iter().enumerate() {
        asm.load(Size::U64, R1, R10, at + 8 * word as i16);
        asm.mov(R2, R1);
        asm.alu(AluOp::Rsh, R2, 32);
        asm.alu(AluOp::Xor, R1, R2);
        asm.load_imm64(R2, multiplier);
        asm.alu(AluOp::Mul, R1, R2);
        if word == 0 {
            asm.mov(R0, R1);
        } else {
            asm.alu(AluOp::Add, R0, R1);
        }
    }
    asm.mov(R1, R0);
    asm.alu(AluOp::Rsh, R1, 32);
    asm.alu(AluOp::Xor, R0, R1);
    asm.load_imm64(R1, LAST_MULTIPLIER);
    asm.alu(AluOp::Mul, R0, R1);

    asm.mov(R1, R0);
    asm.alu(AluOp::Rsh, R1, placed.hash.bucket_shift() as i32);
    asm.alu(AluOp::Lsh, R1, 3);
    asm.load_map_value(R2, program::TABLES, placed.buckets);
    asm.alu(AluOp::Add, R2, R1);
    asm.load(Size::U64, R1, R2, 0);
    asm.alu(AluOp::Mul, R0, R1);
    asm.alu(AluOp::Rsh, R0, placed.hash.slot_shift() as i32);
    asm.alu(AluOp::Mul, R0, placed.stride() as i32);
    asm.load_map_value(R3, program::TABLES, placed.slots);
    asm.alu(AluOp::Add, R3, R0);
}

/// Loads the row from the slot at R3, if it is the slot of the name.
fn load_target(code: &mut Code<'_>, hash: &Hash, Needle { at, not_found }: Needle) {
    // The last words differ most often.
    for word in (0..hash.words as i16).rev() {
        code.asm.load(Size::U64, R1, R10, at + 8 * word);
        code.asm.load(Size::U64, R2, R3, 8 * word);
        code.asm.jump_if(Cond::Ne, R1, R2, not_found);
    }
    code.asm.load(Size::U32, R0, R3, 8 * hash.words as i16);
}

/// Loads the [only slot](Target::only_slot) from the slot at R3.
pub(super) fn load_only_slot(code: &mut Code<'_>, hash: &Hash, into: Reg) {
    code.asm.load(Size::U32, into, R3, 8 * hash.words as i16 + 4);
}

/// Searches `names`, which agree in all words that are not in `open`. A word is loaded again for every comparison, for the
/// [verifier]'s sake.
fn emit_tree(
    code: &mut Code<'_>,
    needle: Needle,
    names: &[&(Vec<u64>, Target)],
    open: &BTreeSet<usize>,
    found: &mut OnFound<'_>,
) {
    let values = |word: usize| names.iter().map(|(words, _)| words[word]).collect::<BTreeSet<u64>>();
    // The word with the most values, and the last such word: names differ most at their ends.
    let Some(&word) = open.iter().max_by_key(|&&word| values(word).len()) else {
        return found(code, Found::Known(names[0].1));
    };
    let values = values(word);
    let load = |code: &mut Code<'_>, value| {
        code.asm.load(Size::U64, R1, R10, needle.at + 8 * word as i16);
        code.asm.load_imm64(R2, value);
    };
    match values.iter().nth(values.len() / 2) {
        Some(&middle) if values.len() > 1 => {
            let upper = code.asm.new_label();
            load(code, middle);
            code.asm.jump_if(Cond::Ge, R1, R2, upper);
            let (low, high): (Vec<_>, Vec<_>) = names.iter().partition(|(words, _)| words[word] < middle);
            emit_tree(code, needle, &low, open, found);
            code.asm.bind(upper);
            emit_tree(code, needle, &high, open, found);
        }
        _ => {
            load(code, names[0].0[word]);
            code.asm.jump_if(Cond::Ne, R1, R2, needle.not_found);
            let open: BTreeSet<usize> = open.iter().copied().filter(|other| *other != word).collect();
            emit_tree(code, needle, names, &open, found);
        }
    }
}
