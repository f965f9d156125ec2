//! Numbers that are linked, because one is a copy of the other, and operations on numbers that some kernels do not track.

use knobgate_bpf::{AluOp, Assembler, ByteOrder, Cond, Insn, Reg, Size, Width};

use super::{NEWEST, R0, R1, R2, R3, VALUE, VerifierCase, allow, case, position};

const UNBOUNDED: Option<&str> = Some("R3 unbounded memory access, make sure to bounds check any such access");

/// Reads the value at the offset in a register.
fn read_value_at(asm: &mut Assembler, offset: Reg) {
    asm.load_map_value(R3, VALUE, 0);
    asm.alu(AluOp::Add, R3, offset);
    asm.load(Size::U8, R0, R3, 0);
}

/// r1 is what r2 is a copy of; r2 is changed, and compared; r1 is an offset into a value of 16 bytes.
fn moved(
    name: &'static str,
    rejected: Option<&'static str>,
    change: impl FnOnce(&mut Assembler),
) -> VerifierCase {
    case(name, rejected, |asm| {
        position(asm);
        asm.mov(R1, R2);
        change(asm);
        let large = asm.new_label();
        asm.jump_if(Cond::Gt, R2, 14, large);
        read_value_at(asm, R1);
        asm.bind(large);
        allow(asm);
    })
}

/// Copies of a number, of which the first is compared; the last one is an offset.
fn copies(name: &'static str, rejected: Option<&'static str>, count: usize) -> VerifierCase {
    case(name, rejected, |asm| {
        position(asm);
        asm.mov(R0, R2);
        let copies: Vec<Reg> =
            [Reg::R4, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9].into_iter().take(count - 2).collect();
        for copy in &copies {
            asm.mov(*copy, R0);
        }
        let large = asm.new_label();
        asm.jump_if(Cond::Gt, R0, 14, large);
        let last = copies[copies.len() - 1];
        read_value_at(asm, last);
        asm.bind(large);
        // All of them may still be used.
        for copy in copies {
            asm.mov(R1, copy);
        }
        allow(asm);
    })
}

pub(super) fn links() -> Vec<VerifierCase> {
    vec![
        moved("a copy is compared", None, |_| {}),
        moved("a copy plus 5 is compared", None, |asm| asm.alu(AluOp::Add, R2, 5)),
        moved("a copy plus 2 plus 3 is compared", UNBOUNDED, |asm| {
            asm.alu(AluOp::Add, R2, 2);
            asm.alu(AluOp::Add, R2, 3);
        }),
        moved("a copy minus 1 is compared", None, |asm| asm.alu(AluOp::Sub, R2, 1)),
        moved("a copy plus −1 is compared", None, |asm| asm.alu(AluOp::Add, R2, -1)),
        moved("32 bits of a copy plus 5 are compared", UNBOUNDED, |asm| asm.alu32(AluOp::Add, R2, 5)),
        // Seen on 7.3.4.
        copies("one of six live copies is compared", None, 7).rejected_by_kernels((7, 3), NEWEST),
        copies("one of seven live copies is compared", UNBOUNDED, 8),
    ]
}

pub(super) fn negation() -> Vec<VerifierCase> {
    vec![
        case("1 minus a bit", None, |asm| {
            asm.load(Size::U32, R0, R1, 0);
            asm.alu(AluOp::And, R0, 1);
            asm.emit(Insn::neg(Width::W64, R0));
            asm.alu(AluOp::Add, R0, 1);
            asm.exit();
        }),
        case("a bit of a number whose bytes are swapped", None, |asm| {
            asm.load(Size::U32, R0, R1, 4);
            asm.emit(Insn::swap(ByteOrder::ToBig, Size::U16, R0));
            asm.alu(AluOp::Rsh, R0, 15);
            asm.exit();
        }),
    ]
}
