//! Registers, numbers and pointer arithmetic.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Insn, Size, Width};

use super::{HASH, R0, R1, R2, R3, R10, VALUE, VerifierCase, allow, case, look_up, position};

pub(super) fn registers() -> Vec<VerifierCase> {
    vec![
        case("nothing is returned", Some("R0 !read_ok"), Assembler::exit),
        case("a call clobbers r1", Some("R1 !read_ok"), |asm| {
            asm.call_helper(id::KTIME_GET_NS);
            asm.mov(R2, R1);
            allow(asm);
        }),
        case("the frame pointer is set", Some("frame pointer is read only"), |asm| {
            asm.mov(R10, 1);
            allow(asm);
        }),
        case(
            "the context is returned",
            Some("At program exit the register R0 is not a known value (ctx)"),
            |asm| {
                asm.mov(R0, R1);
                asm.exit();
            },
        ),
        case(
            "2 is returned",
            Some("At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"),
            |asm| {
                asm.mov(R0, 2);
                asm.exit();
            },
        ),
    ]
}

pub(super) fn arithmetic() -> Vec<VerifierCase> {
    let with_context = |name, reason, op, operand: i32| {
        case(name, Some(reason), |asm| {
            asm.mov(R2, R1);
            asm.alu(op, R2, operand);
            allow(asm);
        })
    };
    let by = |name, reason, width, op, by: i32| {
        case(name, Some(reason), |asm| {
            asm.mov(R1, 1);
            asm.emit(Insn::alu(width, op, R1, by));
            allow(asm);
        })
    };
    let value_plus = |name, rejected, bound: Option<i32>, minus: i32| {
        case(name, rejected, |asm| {
            position(asm);
            if let Some(bound) = bound {
                asm.alu(AluOp::And, R2, bound);
            }
            asm.alu(AluOp::Sub, R2, minus);
            asm.load_map_value(R3, VALUE, 0);
            asm.alu(AluOp::Add, R3, R2);
            asm.load(Size::U8, R0, R3, 0);
            allow(asm);
        })
    };
    vec![
        by("a shift by 64", "invalid shift 64", Width::W64, AluOp::Lsh, 64),
        by("a shift by 32 of 32 bits", "invalid shift 32", Width::W32, AluOp::Rsh, 32),
        by("a shift by −1", "invalid shift -1", Width::W64, AluOp::Arsh, -1),
        by("a division by 0", "div by zero", Width::W64, AluOp::Div, 0),
        by("a remainder by 0", "div by zero", Width::W32, AluOp::Mod, 0),
        case("a division by a register that is 0", None, |asm| {
            asm.mov(R0, 1);
            asm.mov(R1, 0);
            asm.alu(AluOp::Div, R0, R1);
            allow(asm);
        }),
        with_context("a pointer times 3", "R2 pointer arithmetic with *= operator prohibited", AluOp::Mul, 3),
        with_context("bits of a pointer", "R2 bitwise operator &= on pointer prohibited", AluOp::And, 7),
        with_context(
            "a large offset",
            "math between ctx pointer and 536870912 is not allowed",
            AluOp::Add,
            1 << 29,
        ),
        case("32 bits of a pointer and 3", Some("R2 32-bit pointer arithmetic prohibited"), |asm| {
            asm.mov(R2, R1);
            asm.alu32(AluOp::Add, R2, 3);
            allow(asm);
        }),
        case("pointers are added", Some("R2 pointer += pointer prohibited"), |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, R1);
            allow(asm);
        }),
        case("pointers are subtracted", None, |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Sub, R2, R1);
            allow(asm);
        }),
        case(
            "a pointer is subtracted from a number",
            Some("R2 tried to subtract pointer from scalar"),
            |asm| {
                asm.mov(R2, 1);
                asm.alu(AluOp::Sub, R2, R1);
                allow(asm);
            },
        ),
        case("8 is subtracted from the stack", Some("R2 subtraction from stack pointer prohibited"), |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Sub, R2, 8);
            allow(asm);
        }),
        case("a map is moved on", Some("R2 pointer arithmetic on map_ptr prohibited"), |asm| {
            asm.load_map(R2, HASH);
            asm.alu(AluOp::Add, R2, 8);
            allow(asm);
        }),
        case(
            "a pointer that may be null is moved on",
            Some("R0 pointer arithmetic on map_value_or_null prohibited, null-check it first"),
            |asm| {
                look_up(asm);
                asm.alu(AluOp::Add, R0, 1);
                allow(asm);
            },
        ),
        case(
            "an offset without a lower bound",
            Some("math between map_value pointer and register with unbounded min value is not allowed"),
            |asm| {
                asm.call_helper(id::KTIME_GET_NS);
                asm.load_map_value(R3, VALUE, 0);
                asm.alu(AluOp::Add, R3, R0);
                allow(asm);
            },
        ),
        value_plus("an offset within a value", None, Some(15), 0),
        value_plus(
            "an offset beyond a value",
            Some("R3 max value is outside of the allowed memory range"),
            Some(31),
            0,
        ),
        value_plus(
            "an offset that may be negative",
            Some("R3 min value is negative, either use unsigned index or do a if (index >=0) check."),
            Some(15),
            1,
        ),
        value_plus(
            "an offset without an upper bound",
            Some("R3 unbounded memory access, make sure to bounds check any such access"),
            None,
            0,
        ),
    ]
}
