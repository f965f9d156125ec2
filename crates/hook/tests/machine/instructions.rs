//! Arithmetic, jumps, atomics: Documentation/bpf/standardization/instruction-set.rst.

use knobgate_bpf::{AluOp, Assembler, AtomicOp, ByteOrder, Cond, Insn, Operand, Reg, Size, Width};
use proptest::prelude::*;

use super::{allow, keep, result};

const MIN64: u64 = 1 << 63;
const ONES: u64 = u64::MAX;

/// `left op right` on the machine, with `right` in a register.
fn computed(width: Width, op: AluOp, left: u64, right: u64) -> u64 {
    let mut asm = Assembler::new();
    asm.load_imm64(Reg::R6, left);
    asm.load_imm64(Reg::R7, right);
    asm.emit(Insn::alu(width, op, Reg::R6, Reg::R7));
    keep(&mut asm, Reg::R6, 0);
    allow(&mut asm);
    result(asm)
}

#[test]
fn arithmetic_gives_what_the_standard_says() {
    use AluOp::{Add, And, Arsh, Div, Lsh, Mod, Mul, Or, Rsh, SDiv, SMod, Sub, Xor};
    use Width::{W32, W64};
    for (width, op, left, right, expected) in [
        (W64, Add, ONES, 2, 1),
        (W32, Add, 0xffff_ffff, 2, 1),
        (W32, Add, 0xdead_0000_0001, 1, 0x0000_0002),
        (W64, Sub, 0, 1, ONES),
        (W32, Sub, 0, 1, 0xffff_ffff),
        (W64, Mul, 1 << 33, 1 << 33, 0),
        (W64, Div, ONES, 2, ONES >> 1),
        (W64, Div, 5, 0, 0),
        (W32, Div, 5, 1 << 32, 0),
        (W64, Mod, 5, 0, 5),
        (W32, Mod, (7 << 32) | 5, 1 << 32, 5),
        (W64, SDiv, (-7i64) as u64, 2, (-3i64) as u64),
        (W64, SDiv, MIN64, ONES, MIN64),
        (W32, SDiv, 0x8000_0000, 0xffff_ffff, 0x8000_0000),
        (W64, SDiv, 7, 0, 0),
        (W64, SMod, (-7i64) as u64, 2, ONES),
        (W64, SMod, MIN64, ONES, 0),
        (W64, SMod, 7, 0, 7),
        (W32, SMod, 0xffff_fff9, 2, 0xffff_ffff),
        (W64, Or, 0xf0, 0x0f, 0xff),
        (W64, And, 0xff, 0x0f, 0x0f),
        (W64, Xor, ONES, 1, ONES - 1),
        (W64, Lsh, 1, 65, 2),
        (W32, Lsh, 1, 33, 2),
        (W64, Rsh, ONES, 63, 1),
        (W32, Rsh, ONES, 31, 1),
        (W64, Arsh, MIN64, 63, ONES),
        (W32, Arsh, 0x8000_0000, 31, 0xffff_ffff),
    ] {
        assert_eq!(computed(width, op, left, right), expected, "{width:?} {op:?} {left:#x} {right:#x}");
    }
}

/// The same operations, computed in another way: in 128 bits.
fn model(width: Width, op: AluOp, left: u64, right: u64) -> u64 {
    let bits = if width == Width::W32 { 32 } else { 64 };
    let modulus = 1i128 << bits;
    let (a, b) = (i128::from(left) % modulus, i128::from(right) % modulus);
    let signed = |value: i128| if value >= modulus / 2 { value - modulus } else { value };
    let shift = b % bits;
    let value = match op {
        AluOp::Add => a + b,
        AluOp::Sub => a - b,
        AluOp::Mul => (left as u128).wrapping_mul(right as u128) as i128 & (modulus - 1),
        AluOp::Div | AluOp::SDiv if b == 0 => 0,
        AluOp::Mod | AluOp::SMod if b == 0 => a,
        AluOp::Div => a / b,
        AluOp::Mod => a % b,
        AluOp::SDiv => signed(a) / signed(b),
        AluOp::SMod => signed(a) % signed(b),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => ((a as u128) << shift) as i128 & (modulus - 1),
        AluOp::Rsh => a >> shift,
        AluOp::Arsh => signed(a) >> shift,
    };
    value.rem_euclid(modulus) as u64
}

fn operand() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..70u64,
        Just(MIN64),
        Just(ONES),
        Just(1 << 31),
        Just(1 << 32),
        any::<i32>().prop_map(|n| n as i64 as u64)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn straight_programs_compute_what_a_model_in_128_bits_does(
        start in operand(),
        steps in proptest::collection::vec(
            (any::<bool>(), proptest::sample::select(AluOp::ALL.to_vec()), prop_oneof![
                any::<i32>().prop_map(|imm| (Operand::Imm(imm), imm as i64 as u64)),
                operand().prop_map(|value| (Operand::Reg(Reg::R7), value)),
            ]),
            1..30,
        ),
    ) {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R6, start);
        let mut expected = start;
        for (narrow, op, (operand, value)) in steps {
            let width = if narrow { Width::W32 } else { Width::W64 };
            let (operand, value) = match operand {
                // The verifier rejects constants like these.
                Operand::Imm(imm) if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) => {
                    let by = imm & if narrow { 31 } else { 63 };
                    (Operand::Imm(by), by as u64)
                }
                Operand::Imm(0) if matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod) => {
                    (Operand::Imm(1), 1)
                }
                operand => (operand, value),
            };
            if operand == Operand::Reg(Reg::R7) {
                asm.load_imm64(Reg::R7, value);
            }
            asm.emit(Insn::alu(width, op, Reg::R6, operand));
            expected = model(width, op, expected, value);
        }
        keep(&mut asm, Reg::R6, 0);
        allow(&mut asm);
        prop_assert_eq!(result(asm), expected);
    }

    #[test]
    fn comparisons_are_those_of_numbers(
        left in operand(), right in operand(), narrow: bool, cond in proptest::sample::select(Cond::ALL.to_vec()),
    ) {
        let mut asm = Assembler::new();
        let holds = asm.new_label();
        asm.load_imm64(Reg::R6, left);
        asm.load_imm64(Reg::R7, right);
        asm.mov(Reg::R8, 1);
        if narrow {
            asm.jump32_if(cond, Reg::R6, Reg::R7, holds);
        } else {
            asm.jump_if(cond, Reg::R6, Reg::R7, holds);
        }
        asm.mov(Reg::R8, 0);
        asm.bind(holds);
        keep(&mut asm, Reg::R8, 0);
        allow(&mut asm);
        let (unsigned, signed) = if narrow {
            ((u64::from(left as u32), u64::from(right as u32)), (i64::from(left as i32), i64::from(right as i32)))
        } else {
            ((left, right), (left as i64, right as i64))
        };
        let expected = match cond {
            Cond::Eq => unsigned.0 == unsigned.1,
            Cond::Ne => unsigned.0 != unsigned.1,
            Cond::Gt => unsigned.0 > unsigned.1,
            Cond::Ge => unsigned.0 >= unsigned.1,
            Cond::Lt => unsigned.0 < unsigned.1,
            Cond::Le => unsigned.0 <= unsigned.1,
            Cond::SGt => signed.0 > signed.1,
            Cond::SGe => signed.0 >= signed.1,
            Cond::SLt => signed.0 < signed.1,
            Cond::SLe => signed.0 <= signed.1,
            Cond::Set => unsigned.0 & unsigned.1 != 0,
        };
        prop_assert_eq!(result(asm), u64::from(expected));
    }
}

#[test]
fn moves_negations_and_swaps() {
    let value = 0x8182_8384_8586_8788;
    for (insn, expected) in [
        (Insn::mov_signed(Width::W64, Size::U8, Reg::R6, Reg::R6), 0xffff_ffff_ffff_ff88),
        (Insn::mov_signed(Width::W64, Size::U32, Reg::R6, Reg::R6), 0xffff_ffff_8586_8788),
        (Insn::mov_signed(Width::W32, Size::U16, Reg::R6, Reg::R6), 0xffff_8788),
        (Insn::mov(Width::W32, Reg::R6, Reg::R6), 0x8586_8788),
        (Insn::mov(Width::W64, Reg::R6, -1), ONES),
        (Insn::mov(Width::W32, Reg::R6, -1), 0xffff_ffff),
        (Insn::neg(Width::W64, Reg::R6), 0x7e7d_7c7b_7a79_7878),
        (Insn::neg(Width::W32, Reg::R6), 0x7a79_7878),
        (Insn::swap(ByteOrder::ToBig, Size::U16, Reg::R6), 0x8887),
        (Insn::swap(ByteOrder::ToLittle, Size::U32, Reg::R6), 0x8586_8788),
        (Insn::swap(ByteOrder::Swap, Size::U64, Reg::R6), 0x8887_8685_8483_8281),
        (Insn::swap(ByteOrder::Swap, Size::U32, Reg::R6), 0x8887_8685),
    ] {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R6, value);
        asm.emit(insn);
        keep(&mut asm, Reg::R6, 0);
        allow(&mut asm);
        assert_eq!(result(asm), expected, "{insn:?}");
    }
}

#[test]
fn atomics_change_memory_and_return_the_old_value() {
    let (old, operand) = (0xf0f0_0000_0000_0005, 3);
    // What memory holds afterwards, and what r6 (or r0, for compare and exchange) holds.
    for (op, size, memory, register) in [
        (AtomicOp::Add, Size::U64, old + 3, operand),
        (AtomicOp::FetchAdd, Size::U64, old + 3, old),
        (AtomicOp::FetchAdd, Size::U32, old + 3, 5),
        (AtomicOp::FetchOr, Size::U64, old | 3, old),
        (AtomicOp::FetchAnd, Size::U64, 1, old),
        (AtomicOp::FetchXor, Size::U32, 0xf0f0_0000_0000_0006, 5),
        (AtomicOp::Exchange, Size::U64, operand, old),
        (AtomicOp::CompareExchange, Size::U32, 0xf0f0_0000_0000_0003, 5),
        (AtomicOp::CompareExchange, Size::U64, old, old),
    ] {
        for register_kept in [true, false] {
            let mut asm = Assembler::new();
            asm.load_imm64(Reg::R6, old);
            asm.store(Size::U64, Reg::R10, -8, Reg::R6);
            asm.mov(Reg::R6, 3);
            asm.mov(Reg::R0, 5);
            asm.emit(Insn::atomic(op, size, Reg::R10, -8, Reg::R6));
            asm.load(Size::U64, Reg::R7, Reg::R10, -8);
            let kept = match op {
                _ if !register_kept => Reg::R7,
                AtomicOp::CompareExchange => Reg::R0,
                _ => Reg::R6,
            };
            keep(&mut asm, kept, 0);
            allow(&mut asm);
            let expected = if register_kept { register } else { memory };
            assert_eq!(result(asm), expected, "{op:?} {size:?} {register_kept}");
        }
    }
}

#[test]
fn loads_sign_extend_and_order() {
    for (insn, expected) in [
        (Insn::load(Size::U8, Reg::R6, Reg::R10, -8), 0x88),
        (Insn::load_signed(Size::U8, Reg::R6, Reg::R10, -8), 0xffff_ffff_ffff_ff88),
        (Insn::load_signed(Size::U32, Reg::R6, Reg::R10, -4), 0xffff_ffff_8182_8384),
        (Insn::load_acquire(Size::U16, Reg::R6, Reg::R10, -6), 0x8586),
    ] {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R7, 0x8182_8384_8586_8788);
        asm.emit(Insn::store_release(Size::U64, Reg::R10, -8, Reg::R7));
        asm.emit(insn);
        keep(&mut asm, Reg::R6, 0);
        allow(&mut asm);
        assert_eq!(result(asm), expected, "{insn:?}");
    }
}
