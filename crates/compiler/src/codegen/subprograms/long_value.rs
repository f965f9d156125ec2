//! Values that are too long for the stack.
//!
//! The first bytes of every value are on the stack. Where more of a value is needed, the code takes one of a few slots in a map,
//! has the kernel copy the value there, loops over its bytes with `bpf_loop`, and gives the slot back. So a slot is held by one
//! function alone, except while a value is replaced. A program that finds no free slot cannot evaluate its rule.
//!
//! Main functions use all of the stack but 64 bytes. So the loops are called from at most one level below them.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use knobgate_bpf::{
    AluOp, Assembler, AtomicOp, Cond, Insn, Label, MapDef, Reg, Size, emit_length_check,
    emit_set_new_value_from, helper_ids as helper,
};
use knobgate_policy::Value;
use knobgate_policy::limits::{REPLACED_MAX, VALUE_MAX};

use crate::codegen::verifier;
use crate::layout::TableFacts;
use crate::layout::frame::{self, VALUE_BYTES};
use crate::program;

/// How many programs at a time can look at long values.
const SLOTS: i32 = 16;
/// Bytes for one value.
const HALF_BYTES: i32 = VALUE_MAX as i32 + 1;
/// Bytes in a slot: a value, and what replaces it.
const SLOT_BYTES: i32 = 2 * HALF_BYTES;
/// The offset of the first slot in the map. At offset 0 are 8 bytes, of which each bit says whether a slot is taken.
const FIRST_SLOT: u32 = 64;
/// Bytes that one round of a loop looks at.
const ROUND_BYTES: i16 = 16;

/// What [`emit_match`] returns if the value cannot be looked at. No DFA has it as an output.
pub(in crate::codegen) const NO_OUTPUT: i32 = -1;

/// What [`emit_replace`] returns.
pub(in crate::codegen) mod replacement {
    /// It does not fit, or the value cannot be looked at.
    pub(in crate::codegen) const NONE: i32 = 0;
    /// It equals the value that was written.
    pub(in crate::codegen) const SAME: i32 = 1;
    /// It is in the slot, which is still taken.
    pub(in crate::codegen) const IN_SLOT: i32 = 2;
}

/// The state of a loop on the stack of the function that calls it, 4 bytes each.
///
/// The verifier tracks what is stored at a multiple of 8. Those are what does not change in the loop.
mod state {
    /// The offset of the byte classes of the DFA, or of the text in the tables.
    pub(super) const TABLE: i16 = 0;
    /// The state of the DFA.
    pub(super) const DFA: i16 = 4;
    /// How many bytes the value has.
    pub(super) const LENGTH: i16 = 8;
    /// The number of the slot.
    pub(super) const SLOT: i16 = 12;
    /// While a replacement is padded, not 0 if its text has ended. No DFA runs then.
    pub(super) const ENDED: i16 = 4;
    /// While a replacement is padded, not 0 if it differs from the value.
    pub(super) const DIFFERS: i16 = 20;
    pub(super) const BYTES: i16 = 16;
    pub(super) const PADDING_BYTES: i16 = 24;
}

/// The functions that [`emit_run_dfa`] calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLabels {
    pub(super) take_slot: Label,
    pub(super) run_dfa_loop: Label,
}

/// The functions that [`emit_replace`] calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplaceLabels {
    pub(super) take_slot: Label,
    pub(super) copy_loop: Label,
    pub(super) pad_loop: Label,
}

/// The map.
pub(crate) fn map() -> MapDef {
    MapDef::value("long_values", FIRST_SLOT + (SLOTS * SLOT_BYTES) as u32)
}

/// Emits the function that takes a slot. Returns its number in R0, or [`SLOTS`] if none is free.
pub(super) fn emit_take_slot(asm: &mut Assembler) {
    const RESULT: i16 = -4;
    let done = asm.new_label();
    asm.load_map_value(R1, program::LONG_VALUES, 0);
    for slot in 0..SLOTS {
        asm.mov(R2, 1 << slot);
        asm.emit(Insn::atomic(AtomicOp::FetchOr, Size::U64, R1, 0, R2));
        asm.alu(AluOp::And, R2, 1 << slot);
        asm.mov(R0, slot);
        asm.jump_if(Cond::Eq, R2, 0, done);
    }
    asm.mov(R0, SLOTS);
    asm.bind(done);
    // Else the verifier would follow the rest for each slot, and not only for the first and all others.
    verifier::launder_through(asm, R0, RESULT);
    asm.exit();
}

/// Gives the slot back whose number is on the stack at `slot`. Clobbers R1 and R2. Atomic operations that return something
/// are in order with the accesses before them.
fn give_back(asm: &mut Assembler, slot: i16) {
    asm.load(Size::U32, R1, R10, slot);
    asm.mov(R2, 1);
    asm.alu(AluOp::Lsh, R2, R1);
    asm.alu(AluOp::Xor, R2, -1);
    asm.load_map_value(R1, program::LONG_VALUES, 0);
    asm.emit(Insn::atomic(AtomicOp::FetchAnd, Size::U64, R1, 0, R2));
}

/// Makes `into` the address of the slot whose number is in `slot`, which it changes.
fn slot_address(asm: &mut Assembler, into: Reg, slot: Reg) {
    asm.alu(AluOp::And, slot, SLOTS - 1);
    asm.alu(AluOp::Lsh, slot, SLOT_BYTES.ilog2() as i32);
    asm.load_map_value(into, program::LONG_VALUES, FIRST_SLOT);
    asm.alu(AluOp::Add, into, slot);
}

/// Calls `body` for each [`ROUND_BYTES`] of the value, and of `more` bytes after it.
fn call_loop(asm: &mut Assembler, at: i16, body: Label, more: i32) {
    asm.load(Size::U32, R1, R10, at + state::LENGTH);
    asm.alu(AluOp::Add, R1, i32::from(ROUND_BYTES) - 1 + more);
    asm.alu(AluOp::Rsh, R1, ROUND_BYTES.ilog2() as i32);
    asm.load_function(R2, body);
    asm.mov(R3, R10);
    asm.alu(AluOp::Add, R3, i32::from(at));
    asm.mov(R4, 0);
    asm.call_helper(helper::LOOP);
}

/// Starts a round: R1 is its number, R2 the state. Makes `text` the address of the bytes of this round, and R1 their offset in the
/// value. Clobbers R0.
fn begin_round(asm: &mut Assembler, text: Reg) {
    asm.alu(AluOp::Lsh, R1, ROUND_BYTES.ilog2() as i32);
    asm.alu(AluOp::And, R1, HALF_BYTES - i32::from(ROUND_BYTES));
    asm.load(Size::U32, R0, R2, state::SLOT);
    slot_address(asm, text, R0);
    asm.alu(AluOp::Add, text, R1);
}

/// Makes `rest` how many bytes the value has from the offset in R1 on.
fn load_rest(asm: &mut Assembler, rest: Reg) {
    asm.load(Size::U32, rest, R2, state::LENGTH);
    asm.alu(AluOp::Sub, rest, R1);
}

/// Emits code that runs a DFA over `value`: R3 the offset of its classes, R4 the start state; `context` is a register that survives
/// calls. It uses the last bytes of the stack of its function from `at` on. The output is in R0.
pub(super) fn emit_run_dfa(
    asm: &mut Assembler,
    (value, context): (Value, Reg),
    at: i16,
    tables: &TableFacts,
    labels: RunLabels,
    unavailable: Label,
) {
    let too_long = asm.new_label();
    let done = asm.new_label();
    asm.store(Size::U32, R10, at + state::TABLE, R3);
    asm.store(Size::U32, R10, at + state::DFA, R4);
    get_in_slot(asm, (value, context), at, labels.take_slot, unavailable);
    asm.jump_if(Cond::Gt, R0, VALUE_MAX as i32, too_long);
    call_loop(asm, at, labels.run_dfa_loop, 0);
    give_back(asm, at + state::SLOT);
    asm.load(Size::U32, R4, R10, at + state::DFA);
    verifier::prove_inside_tables(asm, R4, tables.entry_mask);
    asm.alu(AluOp::Lsh, R4, 2);
    asm.load_map_value(R0, program::TABLES, 0);
    asm.alu(AluOp::Add, R0, R4);
    asm.load(Size::U32, R0, R0, 0);
    asm.jump(done);
    asm.bind(too_long);
    give_back(asm, at + state::SLOT);
    asm.jump(unavailable);
    asm.bind(done);
}

/// Takes a slot, and has the kernel copy a value there. R0 is its length, or a negative errno. Goes to `unavailable` if no slot is free.
fn get_in_slot(
    asm: &mut Assembler,
    (value, context): (Value, Reg),
    at: i16,
    take_slot: Label,
    unavailable: Label,
) {
    asm.call(take_slot);
    asm.jump_if(Cond::Gt, R0, SLOTS - 1, unavailable);
    asm.store(Size::U32, R10, at + state::SLOT, R0);
    slot_address(asm, R2, R0);
    get(asm, value, context);
    asm.store(Size::U32, R10, at + state::LENGTH, R0);
}

/// Has the kernel copy a value to R2. R0 is its length, or a negative errno.
fn get(asm: &mut Assembler, value: Value, context: Reg) {
    asm.mov(R1, context);
    asm.mov(R3, HALF_BYTES);
    asm.call_helper(match value {
        Value::New => helper::SYSCTL_GET_NEW_VALUE,
        Value::Old => helper::SYSCTL_GET_CURRENT_VALUE,
    });
}

/// Where the state of [`emit_run_dfa`] is if its function has nothing else on its stack.
pub(super) const STATE: i16 = -state::BYTES;

/// Emits the function that runs a DFA over `value`: R1 the context, R3 and R4 as for [`emit_run_dfa`]. Returns the output in R0, or
/// [`NO_OUTPUT`].
pub(super) fn emit_match(asm: &mut Assembler, value: Value, tables: &TableFacts, labels: RunLabels) {
    let unavailable = asm.new_label();
    asm.mov(R6, R1);
    let done = asm.new_label();
    emit_run_dfa(asm, (value, R6), STATE, tables, labels, unavailable);
    asm.jump(done);
    asm.bind(unavailable);
    asm.mov32(R0, NO_OUTPUT);
    asm.bind(done);
    verifier::launder_through(asm, R0, STATE + state::DFA);
    asm.exit();
}

/// Emits one round of [`emit_run_dfa`].
pub(super) fn emit_run_dfa_loop(asm: &mut Assembler, tables: &TableFacts) {
    let done = asm.new_label();
    begin_round(asm, R5);
    load_rest(asm, R6);
    asm.load(Size::U32, R3, R2, state::TABLE);
    verifier::prove_inside_tables(asm, R3, tables.byte_mask);
    asm.load_map_value(R7, program::TABLES, 0);
    asm.alu(AluOp::Add, R3, R7);
    asm.load(Size::U32, R4, R2, state::DFA);
    for i in 0..ROUND_BYTES {
        asm.jump_if(Cond::Le, R6, i32::from(i), done);
        asm.load(Size::U8, R0, R5, i);
        asm.alu(AluOp::Add, R0, R3);
        asm.load(Size::U8, R0, R0, 0);
        asm.alu(AluOp::Add, R4, R0);
        verifier::prove_inside_tables(asm, R4, tables.entry_mask);
        asm.mov(R0, R4);
        asm.alu(AluOp::Lsh, R0, 2);
        asm.alu(AluOp::Add, R0, R7);
        asm.load(Size::U32, R4, R0, 4);
    }
    asm.bind(done);
    asm.store(Size::U32, R2, state::DFA, R4);
    asm.mov(R0, 0);
    asm.exit();
}

/// Where the texts come from that [`emit_replace`] makes a replacement of. Greater numbers are offsets in the tables.
pub(in crate::codegen) mod source {
    /// The buffer on the stack.
    pub(in crate::codegen) const BUFFER: i32 = 0;
    /// The current value.
    pub(in crate::codegen) const OLD: i32 = 1;
    /// The buffer, and after it the [buffer of the other value](super::frame::LIST_BYTES).
    pub(in crate::codegen) const LIST: i32 = 2;
}

/// Emits the function that makes a replacement in a slot: R1 the context, R2 the buffer of a value on the stack of the main function, R3
/// the [`source`] of its text, R4 the frame pointer of the main function. Pads the text to the length of the new value. Returns a
/// [`replacement`] in R0; if that is in a slot, the number of it and the length are on the stack of the main function.
pub(super) fn emit_replace(asm: &mut Assembler, labels: ReplaceLabels) {
    const AT: i16 = -state::PADDING_BYTES;
    let [none, give_back_none, fits, in_slot] = [(); 4].map(|()| asm.new_label());
    asm.mov(R6, R1);
    asm.mov(R7, R2);
    asm.mov(R8, R3);
    asm.mov(R9, R4);
    asm.store(Size::U32, R10, AT + state::TABLE, R3);
    verifier::load_unknown_zero(asm, R1);
    asm.store(Size::U32, R10, AT + state::ENDED, R1);
    asm.store(Size::U32, R10, AT + state::DIFFERS, R1);
    get_in_slot(asm, (Value::New, R6), AT, labels.take_slot, none);
    emit_length_check(asm, R0, REPLACED_MAX as i32, give_back_none);

    let [copied, from_buffer, from_list, from_tables] = [(); 4].map(|()| asm.new_label());
    asm.jump_if(Cond::Eq, R8, source::BUFFER, from_buffer);
    asm.jump_if(Cond::Eq, R8, source::LIST, from_list);
    asm.jump_if(Cond::Ne, R8, source::OLD, from_tables);
    replacement_address(asm, AT + state::SLOT);
    get(asm, Value::Old, R6);
    asm.jump_if(Cond::Gt, R0, VALUE_MAX as i32, give_back_none);
    asm.jump(copied);
    asm.bind(from_tables);
    call_loop(asm, AT, labels.copy_loop, 1);
    asm.jump(copied);
    let copy = |asm: &mut Assembler, bytes: i16| {
        replacement_address(asm, AT + state::SLOT);
        for word in (0..bytes).step_by(8) {
            asm.load(Size::U64, R1, R7, word);
            asm.store(Size::U64, R2, word, R1);
        }
    };
    asm.bind(from_buffer);
    copy(asm, VALUE_BYTES);
    asm.jump(copied);
    asm.bind(from_list);
    copy(asm, frame::LIST_BYTES);
    asm.bind(copied);

    call_loop(asm, AT, labels.pad_loop, 0);
    // R2: the byte after the replacement.
    replacement_address(asm, AT + state::SLOT);
    asm.load(Size::U32, R1, R10, AT + state::LENGTH);
    asm.alu(AluOp::And, R1, HALF_BYTES - 1);
    asm.alu(AluOp::Add, R2, R1);
    asm.load(Size::U32, R1, R10, AT + state::ENDED);
    asm.jump_if(Cond::Ne, R1, 0, fits);
    asm.load(Size::U8, R1, R2, 0);
    asm.jump_if(Cond::Eq, R1, 0, fits);
    asm.jump_if(Cond::Ne, R1, i32::from(b'\n'), give_back_none);
    asm.bind(fits);
    asm.store_imm(Size::U8, R2, 0, 0);
    asm.load(Size::U32, R1, R10, AT + state::DIFFERS);
    asm.jump_if(Cond::Ne, R1, 0, in_slot);
    give_back(asm, AT + state::SLOT);
    asm.mov(R0, replacement::SAME);
    asm.exit();
    asm.bind(in_slot);
    for (from, to) in [(state::SLOT, frame::HELD_SLOT), (state::LENGTH, frame::HELD_LENGTH)] {
        asm.load(Size::U32, R1, R10, AT + from);
        asm.store(Size::U32, R9, to, R1);
    }
    asm.mov(R0, replacement::IN_SLOT);
    asm.exit();
    asm.bind(give_back_none);
    give_back(asm, AT + state::SLOT);
    asm.bind(none);
    asm.mov(R0, replacement::NONE);
    asm.exit();
}

/// Makes R2 the address of the second half of the slot whose number is on the stack at `slot`. Clobbers R1.
fn replacement_address(asm: &mut Assembler, slot: i16) {
    asm.load(Size::U32, R1, R10, slot);
    slot_address(asm, R2, R1);
    asm.alu(AluOp::Add, R2, HALF_BYTES);
}

/// Emits one round of copying a text from the tables.
pub(super) fn emit_copy_loop(asm: &mut Assembler, tables: &TableFacts) {
    begin_round(asm, R5);
    asm.load(Size::U32, R3, R2, state::TABLE);
    asm.alu(AluOp::Add, R3, R1);
    // After the NUL that ends the text, anything may be copied.
    verifier::prove_inside_tables(asm, R3, tables.offset_mask);
    asm.load_map_value(R4, program::TABLES, 0);
    asm.alu(AluOp::Add, R4, R3);
    for word in (0..ROUND_BYTES).step_by(8) {
        asm.load(Size::U64, R0, R4, word);
        asm.store(Size::U64, R5, HALF_BYTES as i16 + word, R0);
    }
    asm.mov(R0, 0);
    asm.exit();
}

/// Emits one round of padding, which also compares the replacement with the value.
pub(super) fn emit_pad_loop(asm: &mut Assembler) {
    let done = asm.new_label();
    begin_round(asm, R5);
    load_rest(asm, R6);
    asm.load(Size::U32, R3, R2, state::ENDED);
    asm.load(Size::U32, R4, R2, state::DIFFERS);
    for i in 0..ROUND_BYTES {
        let [pad, compare] = [(); 2].map(|()| asm.new_label());
        asm.jump_if(Cond::Le, R6, i32::from(i), done);
        asm.load(Size::U8, R0, R5, HALF_BYTES as i16 + i);
        asm.jump_if(Cond::Ne, R3, 0, pad);
        asm.jump_if(Cond::Eq, R0, 0, pad);
        asm.jump_if(Cond::Ne, R0, i32::from(b'\n'), compare);
        asm.bind(pad);
        // Not 0. The verifier must not know it (see `verifier`).
        asm.load(Size::U32, R3, R2, state::SLOT);
        asm.alu(AluOp::Add, R3, 1);
        asm.mov(R0, i32::from(b'\n'));
        asm.store(Size::U8, R5, HALF_BYTES as i16 + i, R0);
        asm.bind(compare);
        asm.load(Size::U8, R1, R5, i);
        asm.alu(AluOp::Xor, R0, R1);
        asm.alu(AluOp::Or, R4, R0);
    }
    asm.bind(done);
    asm.store(Size::U32, R2, state::ENDED, R3);
    asm.store(Size::U32, R2, state::DIFFERS, R4);
    asm.mov(R0, 0);
    asm.exit();
}

/// Replaces the new value with what [`emit_replace`] has put into a slot, and gives the slot back: in the main function, whose R6 is the
/// context. Clobbers R7. Goes to `failed` if the kernel does not take it.
pub(in crate::codegen) fn emit_set(asm: &mut Assembler, failed: Label) {
    let not_set = asm.new_label();
    let done = asm.new_label();
    asm.load(Size::U32, R7, R10, frame::HELD_LENGTH);
    emit_length_check(asm, R7, REPLACED_MAX as i32, not_set);
    let address = |asm: &mut Assembler| replacement_address(asm, frame::HELD_SLOT);
    emit_set_new_value_from(asm, R6, address, R7, not_set);
    emit_give_back_held(asm);
    asm.jump(done);
    asm.bind(not_set);
    emit_give_back_held(asm);
    asm.jump(failed);
    asm.bind(done);
}

/// Gives back the slot that [`emit_replace`] has left taken.
pub(in crate::codegen) fn emit_give_back_held(asm: &mut Assembler) {
    give_back(asm, frame::HELD_SLOT);
}

const _: () = {
    assert!(SLOTS.count_ones() == 1 && SLOT_BYTES.count_ones() == 1);
    assert!(HALF_BYTES + ROUND_BYTES as i32 <= i16::MAX as i32);
    assert!(state::DFA % 8 != 0 && state::SLOT % 8 != 0 && state::DIFFERS % 8 != 0);
    assert!(VALUE_BYTES as i32 <= HALF_BYTES);
};
