//! Before a value is replaced: finds out whether the event may be sent, takes a place in the memory for it, and describes in it which
//! knob is accessed and what is written, which is lost then.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R8, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_events::record::{self, flag, offset};
use knobgate_events::secrets;
use knobgate_policy::limits::NAME_MAX;

use super::admit::{self, FLAGS};
use super::{EventFacts, NO_PLACE};
use crate::codegen::context;
use crate::events::{EventMap, state};

/// The end of the texts.
const END: i16 = -56;
/// The place, at an offset where the verifier does not track it.
const SLOT: i16 = -60;

/// Emits the function: R1 the context, R2 the offset of the rule's counters, R3 flags (in the upper 32 bits). Returns in R0 the place, or
/// [`NO_PLACE`] if no event is sent.
pub(super) fn emit(asm: &mut Assembler, facts: &EventFacts) {
    let none = asm.new_label();
    admit::key(asm, facts, none);
    admit::find_counters(asm, facts, none);
    admit::limit(asm, none);
    take_place(asm, facts, SLOT, none);
    asm.mov(R8, R0);
    asm.load(Size::U32, R1, R10, FLAGS);
    asm.store(Size::U32, R8, offset::FLAGS, R1);
    describe_access(asm, facts, END);
    asm.load(Size::U32, R0, R10, SLOT);
    asm.exit();
    asm.bind(none);
    asm.mov32(R0, NO_PLACE);
    asm.exit();
}

/// Takes a place, and stores its number on the stack at `slot`. R0 is the record there, which is empty. If there is none, the event
/// is counted as not recorded.
pub(super) fn take_place(asm: &mut Assembler, facts: &EventFacts, slot: i16, none: Label) {
    let popped = asm.new_label();
    asm.load_map(R1, facts.map(EventMap::Slots));
    address(asm, slot);
    asm.store_imm(Size::U32, R10, slot, 0);
    asm.call_helper(helper::MAP_POP_ELEM);
    asm.jump_if(Cond::Eq, R0, 0, popped);
    asm.load_map_value(R1, facts.map(EventMap::State), 0);
    asm.mov(R2, 1);
    asm.atomic_add(Size::U64, R1, state::NOT_RECORDED, R2);
    asm.jump(none);
    asm.bind(popped);
    look_up_place(asm, facts, slot, none);
    asm.load(Size::U64, R1, R0, offset::END);
    asm.alu(AluOp::Add, R1, 1);
    asm.store(Size::U64, R0, offset::BEGIN, R1);
    asm.mov(R1, 0);
    asm.store(Size::U32, R0, offset::FLAGS, R1);
    for at in (offset::KNOB_LENGTH..offset::TEXTS).step_by(4) {
        asm.store(Size::U32, R0, at, R1);
    }
}

/// Makes R0 the record in the place whose number is on the stack at `slot`.
pub(super) fn look_up_place(asm: &mut Assembler, facts: &EventFacts, slot: i16, none: Label) {
    asm.load_map(R1, facts.map(EventMap::Events));
    address(asm, slot);
    asm.call_helper(helper::MAP_LOOKUP_ELEM);
    asm.jump_if(Cond::Eq, R0, 0, none);
}

fn address(asm: &mut Assembler, offset: i16) {
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, i32::from(offset));
}

/// Sets flags of the record in R8. They are in memory, so that the verifier does not follow the rest for each combination.
pub(super) fn set_flags(asm: &mut Assembler, flags: u32) {
    asm.load(Size::U32, R1, R8, offset::FLAGS);
    asm.alu(AluOp::Or, R1, flags as i32);
    asm.store(Size::U32, R8, offset::FLAGS, R1);
}

/// Describes the knob and the written value in the record in R8. R6 is the context. The end of the texts is put on the stack at
/// `end`.
pub(super) fn describe_access(asm: &mut Assembler, facts: &EventFacts, end: i16) {
    let (secret, done) = (asm.new_label(), asm.new_label());
    knob(asm, end);
    jump_if_secret(asm, secret);
    asm.load(Size::U32, R1, R6, context::WRITE);
    asm.jump_if(Cond::Eq, R1, 0, done);
    let new = (flag::NEW, offset::NEW_LENGTH, offset::NEW_CUT);
    append_value(asm, facts, helper::SYSCTL_GET_NEW_VALUE, end, new);
    asm.jump(done);
    asm.bind(secret);
    set_flags(asm, flag::SECRET);
    asm.bind(done);
}

/// The name of the knob, for which there is always room.
fn knob(asm: &mut Assembler, end: i16) {
    let (cut, known, done) = (asm.new_label(), asm.new_label(), asm.new_label());
    asm.mov(R1, R6);
    asm.mov(R2, R8);
    asm.alu(AluOp::Add, R2, i32::from(offset::TEXTS));
    asm.mov(R3, NAME_MAX as i32 + 1);
    asm.mov(R4, 0);
    asm.call_helper(helper::SYSCTL_GET_NAME);
    asm.jump_if(Cond::Gt, R0, NAME_MAX as i32, cut);
    asm.bind(known);
    asm.store(Size::U16, R8, offset::KNOB_LENGTH, R0);
    asm.alu(AluOp::Add, R0, i32::from(offset::TEXTS));
    asm.store(Size::U64, R10, end, R0);
    asm.jump(done);
    asm.bind(cut);
    set_flags(asm, flag::KNOB_CUT);
    asm.mov(R0, NAME_MAX as i32);
    asm.jump(known);
    asm.bind(done);
}

/// Goes to `secret` if the values of the knob are.
fn jump_if_secret(asm: &mut Assembler, secret: Label) {
    for above in secrets::BELOW {
        jump_if_text(asm, R8, offset::TEXTS, above.as_bytes(), secret);
    }
    // The end of the name. A name that is too short for it has other parts of the record before it.
    asm.load(Size::U16, R2, R8, offset::KNOB_LENGTH);
    asm.alu(AluOp::And, R2, NAME_MAX as i32);
    asm.alu(AluOp::Add, R2, R8);
    for last in secrets::LAST_COMPONENTS {
        let end: Vec<u8> = [b'/'].into_iter().chain(last.bytes()).collect();
        jump_if_text(asm, R2, offset::TEXTS - end.len() as i16, &end, secret);
    }
}

/// Goes to `target` if these bytes are at this offset from a register. The last word comes first: names often differ there.
fn jump_if_text(asm: &mut Assembler, base: Reg, at: i16, text: &[u8], target: Label) {
    let differs = asm.new_label();
    for (index, word) in text.chunks(4).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let mut bytes = [0; 4];
        bytes[..word.len()].copy_from_slice(word);
        asm.load(Size::U32, R1, base, at + 4 * index as i16);
        if word.len() < 4 {
            asm.alu32(AluOp::And, R1, (1 << (8 * word.len())) - 1);
        }
        asm.jump32_if(Cond::Ne, R1, i32::from_le_bytes(bytes), differs);
    }
    asm.jump(target);
    asm.bind(differs);
}

/// Appends a value to the record in R8, if it is available, at the end that is on the stack at `end`. R6 is the context.
///
/// The path of which the verifier knows less comes first (see `verifier`).
pub(super) fn append_value(
    asm: &mut Assembler,
    facts: &EventFacts,
    getter: u32,
    end: i16,
    (present, length, cut): (u32, i16, i16),
) {
    const E2BIG: i32 = -7;
    // The helper fills the whole buffer, and most values are short.
    const SHORT: i32 = 63;
    let (failed, store, done) = (asm.new_label(), asm.new_label(), asm.new_label());
    let get = |asm: &mut Assembler, most: i32| {
        asm.mov(R1, R6);
        asm.load(Size::U64, R2, R10, end);
        asm.alu(AluOp::Add, R2, R8);
        // A value that fills the buffer does not count as whole.
        asm.mov(R3, most + 1);
        asm.call_helper(getter);
    };
    get(asm, SHORT);
    asm.jump_if(Cond::Le, R0, SHORT, store);
    asm.jump_if(Cond::Ne, R0, E2BIG, done);
    get(asm, record::TEXT_MAX as i32);
    asm.jump_if(Cond::Gt, R0, record::TEXT_MAX as i32, failed);
    asm.bind(store);
    asm.store(Size::U16, R8, length, R0);
    asm.load(Size::U64, R2, R10, end);
    asm.alu(AluOp::Add, R2, R0);
    asm.store(Size::U64, R10, end, R2);
    set_flags(asm, present);
    asm.jump(done);

    asm.bind(failed);
    asm.jump_if(Cond::Ne, R0, E2BIG, done);
    let known = asm.new_label();
    asm.mov(R1, R6);
    asm.load_map_value(R2, facts.map(EventMap::State), state::DISCARDED);
    asm.mov(R3, state::DISCARDED_BYTES as i32);
    asm.call_helper(getter);
    asm.jump_if(Cond::SGe, R0, 0, known);
    asm.mov(R0, record::VALUE_SEEN_MAX as i32);
    asm.bind(known);
    asm.store(Size::U16, R8, cut, R0);
    asm.mov(R0, record::TEXT_MAX as i32);
    asm.jump(store);
    asm.bind(done);
}

const _: () = {
    assert!(offset::KNOB_LENGTH % 4 == 0 && offset::TEXTS % 8 == 0);
    assert!(SLOT % 8 != 0);
};
