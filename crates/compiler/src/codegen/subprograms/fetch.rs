//! Fetches a value and finds its shape and numbers.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Features, Label, Size, helper_ids as helper};
use knobgate_policy::limits::{ELEMENTS_MAX, NUMBERS_END_MAX, SHORT_VALUE_MAX};
use knobgate_policy::{SHORT_DIGITS, Value};

use super::long_value::{self, RunLabels};
use super::short_number;
use crate::codegen::{context, verifier};
use crate::layout::frame::{self, Numbers, VALUE_BYTES};
use crate::layout::{TableFacts, shape};

/// The least number that the knob can store, on the stack of the function that fetches the new value.
const LEAST: i16 = -8;
/// The greatest one.
const GREATEST: i16 = -16;
/// Below them, the state of the DFA for a long value.
const STATE: i16 = GREATEST + long_value::STATE;
const _: () = assert!(short_number::DIGITS as u32 <= SHORT_DIGITS);

/// The value does not fit in the buffer.
const E2BIG: i32 = -7;

/// How many bytes `bpf_strtoul` may read. It must find every number that ends too late: that takes one byte more than numbers
/// may use, and another because of a `0x` at the end, of which it takes the `0` alone. This many bytes after the previous
/// number are still inside the buffer.
const STRTOUL_BYTES: i32 = NUMBERS_END_MAX as i32 + 2;
const _: () = assert!(NUMBERS_END_MAX as i16 + STRTOUL_BYTES as i16 <= VALUE_BYTES);

/// Emits the function for `value`. Emits nothing where the tables have no DFA for shapes: nothing is fetched then.
pub(super) fn emit(
    asm: &mut Assembler,
    value: Value,
    features: &Features,
    tables: &TableFacts,
    (run_dfa, run_labels): (Label, RunLabels),
) {
    let Some(shape_dfa) = tables.shape else { return };
    let (buffer, numbers) = (i32::from(frame::buffer(value)), Numbers::of(value));
    let unavailable = asm.new_label();
    asm.mov(R6, R1);
    asm.mov(R7, R2);
    if value == Value::New {
        asm.store(Size::U64, R10, LEAST, R3);
        asm.store(Size::U64, R10, GREATEST, R4);
    }
    if !features.uninit_stack {
        // All of it. A text has no signs, and no code looks at them then. But the verifier follows that path as well, and on
        // 5.15 rejects the program.
        verifier::zero_through_register(asm, R7, numbers.all().step_by(8));
    }
    asm.mov(R1, R6);
    asm.mov(R2, R7);
    asm.alu(AluOp::Add, R2, buffer);
    asm.mov(R3, i32::from(VALUE_BYTES));
    asm.call_helper(match value {
        Value::New => helper::SYSCTL_GET_NEW_VALUE,
        Value::Old => helper::SYSCTL_GET_CURRENT_VALUE,
    });
    asm.jump_if(Cond::Eq, R0, 0, unavailable);
    if value == Value::New {
        // A write at another position does not show what the knob will hold.
        asm.load(Size::U32, R1, R6, context::FILE_POS);
        asm.jump_if(Cond::Ne, R1, 0, unavailable);
    }
    let shaped = asm.new_label();
    let too_long = if features.long_values() { asm.new_label() } else { unavailable };
    // A negative errno is a large number.
    asm.jump_if(Cond::Gt, R0, SHORT_VALUE_MAX as i32, too_long);
    asm.store(Size::U8, R7, numbers.length(), R0);

    // In this order for the verifier's sake (see `verifier`).
    let (short, longer) = (asm.new_label(), asm.new_label());
    asm.jump_if(Cond::Le, R0, short_number::BYTES_MAX, short);
    asm.jump(longer);
    asm.bind(short);
    short_number::emit(asm, buffer as i16, longer);
    asm.store(Size::U64, R7, numbers.element(0), R1);
    asm.store_imm(Size::U8, R7, numbers.signs(), 0);
    asm.store_imm(Size::U8, R7, numbers.shape(), 1);
    asm.mov(R0, 0);
    asm.exit();
    asm.bind(longer);

    asm.mov(R1, R7);
    asm.alu(AluOp::Add, R1, buffer);
    asm.mov(R2, R0);
    asm.mov(R3, shape_dfa.classes as i32);
    asm.mov(R4, shape_dfa.start as i32);
    asm.call(run_dfa);
    asm.bind(shaped);
    asm.store(Size::U8, R7, numbers.shape(), R0);
    asm.mov(R8, R0);

    let (done, no_numbers) = (asm.new_label(), asm.new_label());
    asm.jump_if(Cond::Gt, R8, ELEMENTS_MAX as i32, done);
    asm.store_imm(Size::U8, R7, numbers.signs(), 0);
    asm.mov(R9, 0);
    for index in 0..ELEMENTS_MAX {
        let (read, unsigned, nonnegative) = (asm.new_label(), asm.new_label(), asm.new_label());
        asm.jump_if(Cond::Le, R8, index as i32, done);
        let parse = |asm: &mut Assembler, parser| {
            asm.mov(R1, R7);
            asm.alu(AluOp::Add, R1, buffer);
            asm.alu(AluOp::Add, R1, R9);
            asm.mov(R2, STRTOUL_BYTES);
            asm.mov(R3, 0);
            asm.mov(R4, R7);
            asm.alu(AluOp::Add, R4, i32::from(numbers.element(index)));
            asm.call_helper(parser);
        };
        // There are digits for certain, so it fails for one of two reasons: a sign, or more than 64 bits.
        parse(asm, helper::STRTOUL);
        asm.jump_if(Cond::SGt, R0, 0, unsigned);
        parse(asm, helper::STRTOL);
        asm.jump_if(Cond::SLe, R0, 0, no_numbers);
        asm.load(Size::U64, R1, R7, numbers.element(index));
        asm.jump_if(Cond::SGe, R1, 0, nonnegative);
        asm.load(Size::U8, R1, R7, numbers.signs());
        asm.alu(AluOp::Or, R1, 1 << index);
        asm.store(Size::U8, R7, numbers.signs(), R1);
        if value == Value::New {
            asm.load(Size::U64, R1, R7, numbers.element(index));
            asm.load(Size::U64, R2, R10, LEAST);
            asm.jump_if(Cond::SLt, R1, R2, no_numbers);
        }
        asm.bind(nonnegative);
        asm.jump(read);
        asm.bind(unsigned);
        if value == Value::New {
            asm.load(Size::U64, R1, R7, numbers.element(index));
            asm.load(Size::U64, R2, R10, GREATEST);
            asm.jump_if(Cond::Gt, R1, R2, no_numbers);
        }
        asm.bind(read);
        asm.alu(AluOp::Add, R9, R0);
        asm.jump_if(Cond::Gt, R9, NUMBERS_END_MAX as i32, no_numbers);
    }
    asm.bind(done);
    asm.mov(R0, 0);
    asm.exit();
    if features.long_values() {
        asm.bind(too_long);
        asm.jump_if(Cond::Ne, R0, E2BIG, unavailable);
        asm.store_imm(Size::U8, R7, numbers.length(), frame::LONG.into());
        asm.mov(R3, shape_dfa.classes as i32);
        asm.mov(R4, shape_dfa.start as i32);
        long_value::emit_run_dfa(asm, (value, R6), STATE, tables, run_labels, unavailable);
        asm.jump(shaped);
    }
    for (label, shape) in [(no_numbers, shape::TEXT), (unavailable, shape::UNAVAILABLE)] {
        asm.bind(label);
        asm.store_imm(Size::U8, R7, numbers.shape(), shape as i32);
        asm.mov(R0, 0);
        asm.exit();
    }
}
