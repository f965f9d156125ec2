//! Paths that differ in what they know meet, so that one may not be cut short at a checkpoint of the other.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Cond, Reg, Size};

use super::{MAPS, PROGRAMS, R0, R1, R2, R3, R4, R5, R6, R10, VALUE, VerifierCase, allow, case, look_up};

/// Follows one of two branches, with the context in r6. The one that falls through is followed first.
fn either(asm: &mut Assembler, first: impl FnOnce(&mut Assembler), second: impl FnOnce(&mut Assembler)) {
    let (jumps, joined) = (asm.new_label(), asm.new_label());
    asm.mov(R6, R1);
    asm.call_helper(id::GET_PRANDOM_U32);
    asm.jump_if(Cond::Eq, R0, 5, jumps);
    first(asm);
    asm.jump(joined);
    asm.bind(jumps);
    second(asm);
    asm.bind(joined);
}

/// Stores the address of the value to the stack.
fn spill_address(asm: &mut Assembler) {
    asm.load_map_value(R2, VALUE, 0);
    asm.store(Size::U64, R10, -8, R2);
}

fn spill_number(asm: &mut Assembler) {
    asm.store_imm(Size::U64, R10, -8, 5);
}

/// Reads the value through the pointer that is on the stack.
fn through_slot(asm: &mut Assembler) {
    asm.load(Size::U64, R1, R10, -8);
    asm.load(Size::U8, R0, R1, 0);
    allow(asm);
}

/// r2 is an offset of so much.
fn offset(by: i32) -> impl FnOnce(&mut Assembler) {
    move |asm| asm.mov(R2, by)
}

/// Reads the value at the offset in r2.
fn value_at(asm: &mut Assembler) {
    asm.load_map_value(R3, VALUE, 0);
    asm.alu(AluOp::Add, R3, R2);
    asm.load(Size::U8, R0, R3, 0);
    allow(asm);
}

pub(super) fn joins() -> Vec<VerifierCase> {
    let not_memory = Some("R1 invalid mem access 'scalar'");
    let outside = Some("R3 min value is outside of the allowed memory range");
    vec![
        case("a pointer or a number is in a slot", not_memory, |asm| {
            either(asm, spill_address, spill_number);
            through_slot(asm);
        }),
        case("a number or a pointer is in a slot", not_memory, |asm| {
            either(asm, spill_number, spill_address);
            through_slot(asm);
        }),
        case("one of two offsets is outside of a value", outside, |asm| {
            either(asm, offset(0), offset(16));
            value_at(asm);
        }),
        case("one of two offsets is outside of a value, on the first branch", outside, |asm| {
            either(asm, offset(16), offset(0));
            value_at(asm);
        }),
        case("one of two offsets that are passed to a function is outside of a value", outside, |asm| {
            let start = asm.new_label();
            either(asm, offset(0), offset(16));
            asm.call(start);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            value_at(asm);
        }),
        case("one of two offsets that a copy has is outside of a value", outside, |asm| {
            either(asm, offset(0), offset(16));
            asm.mov(R5, R2);
            asm.store(Size::U64, R10, -16, R5);
            asm.load(Size::U64, R2, R10, -16);
            value_at(asm);
        }),
        case("one of two offsets that a callback reads is outside of a value", outside, |asm| {
            let start = asm.new_label();
            either(asm, offset(0), offset(16));
            asm.store(Size::U64, R10, -8, R2);
            asm.mov(R1, 1);
            asm.load_function(R2, start);
            asm.mov(R3, R10);
            asm.alu(AluOp::Add, R3, -8);
            asm.mov(R4, 0);
            asm.call_helper(id::LOOP);
            allow(asm);
            asm.begin_function("callback");
            asm.bind(start);
            asm.load(Size::U64, R2, R2, 0);
            value_at(asm);
        }),
        case(
            "the context or the task is read",
            Some("same insn cannot be used with different pointers"),
            |asm| {
                asm.mov(R6, R1);
                asm.load(Size::U32, Reg::R7, R1, 0);
                asm.call_helper(id::GET_CURRENT_TASK_BTF);
                asm.mov(R1, R0);
                let task = asm.new_label();
                asm.jump_if(Cond::Eq, Reg::R7, 0, task);
                asm.mov(R1, R6);
                asm.bind(task);
                asm.load(Size::U32, R2, R1, 0);
                allow(asm);
            },
        ),
        case(
            "what is equal to the task may be null",
            Some("R0 invalid mem access 'map_value_or_null'"),
            |asm| {
                asm.call_helper(id::GET_CURRENT_TASK_BTF);
                asm.mov(R6, R0);
                look_up(asm);
                let equal = asm.new_label();
                asm.jump_if(Cond::Eq, R0, R6, equal);
                allow(asm);
                asm.bind(equal);
                asm.load(Size::U64, R1, R0, 0);
                allow(asm);
            },
        ),
        case("what is equal to a value is not null", None, |asm| {
            look_up(asm);
            asm.load_map_value(R1, VALUE, 0);
            let equal = asm.new_label();
            asm.jump_if(Cond::Eq, R0, R1, equal);
            allow(asm);
            asm.bind(equal);
            asm.load(Size::U64, R1, R0, 0);
            allow(asm);
        }),
        case("what is found in a map of maps and equal to a value is a map", None, |asm| {
            asm.store_imm(Size::U32, R10, -4, 0);
            asm.load_map(R1, MAPS);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -4);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            asm.load_map_value(R1, VALUE, 0);
            let equal = asm.new_label();
            asm.jump_if(Cond::Eq, R0, R1, equal);
            allow(asm);
            asm.bind(equal);
            asm.mov(R1, R0);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -4);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            allow(asm);
        }),
        case(
            "what a function returns that makes a tail call",
            Some("At program exit the register R0 has unknown scalar value should have been in [0, 1]"),
            |asm| {
                let start = asm.new_label();
                asm.call(start);
                asm.exit();
                asm.begin_function("function");
                asm.bind(start);
                asm.load_map(R2, PROGRAMS);
                asm.mov(R3, 0);
                asm.call_helper(id::TAIL_CALL);
                allow(asm);
            },
        ),
    ]
}
