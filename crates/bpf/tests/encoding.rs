//! Instructions, their bytes and their meaning go into each other and back.

use knobgate_bpf::{
    AluOp, AtomicOp, ByteOrder, Callee, Cond, DecodeError, Imm64, Insn, Operand, Operation, Reg, Size, Width,
    decode, encode,
};
use proptest::prelude::*;
use proptest::sample::select;

fn reg() -> impl Strategy<Value = Reg> {
    select(&Reg::ALL[..])
}

fn width() -> impl Strategy<Value = Width> {
    select(&[Width::W32, Width::W64][..])
}

fn size() -> impl Strategy<Value = Size> {
    select(&Size::ALL[..])
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![reg().prop_map(Operand::Reg), any::<i32>().prop_map(Operand::Imm)]
}

fn arithmetic() -> impl Strategy<Value = Operation> {
    let order = select(&[ByteOrder::ToLittle, ByteOrder::ToBig, ByteOrder::Swap][..]);
    prop_oneof![
        (width(), select(&AluOp::ALL[..]), reg(), operand())
            .prop_map(|(width, op, dst, operand)| Operation::Alu { width, op, dst, operand }),
        (width(), reg(), operand()).prop_map(|(width, dst, operand)| Operation::Mov { width, dst, operand }),
        (width(), select(&[Size::U8, Size::U16][..]), reg(), reg())
            .prop_map(|(width, size, dst, src)| Operation::MovSigned { width, size, dst, src }),
        (reg(), reg()).prop_map(|(dst, src)| Operation::MovSigned {
            width: Width::W64,
            size: Size::U32,
            dst,
            src
        }),
        (width(), reg()).prop_map(|(width, dst)| Operation::Neg { width, dst }),
        (order, select(&[Size::U16, Size::U32, Size::U64][..]), reg())
            .prop_map(|(order, size, dst)| Operation::Swap { order, size, dst }),
    ]
}

fn memory() -> impl Strategy<Value = Operation> {
    let imm = prop_oneof![
        any::<u64>().prop_map(Imm64::Value),
        any::<i32>().prop_map(|fd| Imm64::Map { fd }),
        any::<(i32, u32)>().prop_map(|(fd, offset)| Imm64::MapValue { fd, offset }),
        any::<(u32, i32)>().prop_map(|(btf_id, btf_fd)| Imm64::Variable { btf_id, btf_fd }),
        any::<i32>().prop_map(|off| Imm64::Function { off }),
        any::<u32>().prop_map(|index| Imm64::MapIndex { index }),
        any::<(u32, u32)>().prop_map(|(index, offset)| Imm64::MapIndexValue { index, offset }),
    ];
    let small = select(&[Size::U8, Size::U16, Size::U32][..]);
    prop_oneof![
        (size(), reg(), reg(), any::<i16>()).prop_map(|(size, dst, base, off)| Operation::Load {
            size,
            signed: false,
            dst,
            base,
            off
        }),
        (small.clone(), reg(), reg(), any::<i16>()).prop_map(|(size, dst, base, off)| Operation::Load {
            size,
            signed: true,
            dst,
            base,
            off
        }),
        (size(), reg(), any::<i16>(), operand()).prop_map(|(size, base, off, operand)| Operation::Store {
            size,
            base,
            off,
            operand
        }),
        (select(&AtomicOp::ALL[..]), select(&[Size::U32, Size::U64][..]), reg(), any::<i16>(), reg())
            .prop_map(|(op, size, base, off, src)| Operation::Atomic { op, size, base, off, src }),
        (size(), reg(), reg(), any::<i16>()).prop_map(|(size, dst, base, off)| Operation::LoadAcquire {
            size,
            dst,
            base,
            off
        }),
        (size(), reg(), any::<i16>(), reg()).prop_map(|(size, base, off, src)| Operation::StoreRelease {
            size,
            base,
            off,
            src
        }),
        (reg(), imm).prop_map(|(dst, imm)| Operation::LoadImm64 { dst, imm }),
        (small, prop::option::of(reg()), any::<i32>()).prop_map(|(size, index, imm)| Operation::LoadPacket {
            size,
            index,
            imm
        }),
    ]
}

fn control() -> impl Strategy<Value = Operation> {
    let callee = prop_oneof![
        any::<u32>().prop_map(Callee::Helper),
        any::<i32>().prop_map(Callee::Function),
        any::<(u32, i16)>().prop_map(|(btf_id, module)| Callee::Kfunc { btf_id, module }),
    ];
    prop_oneof![
        any::<i16>().prop_map(|off| Operation::Jump { off: i32::from(off), long: false }),
        any::<i32>().prop_map(|off| Operation::Jump { off, long: true }),
        (width(), select(&Cond::ALL[..]), reg(), operand(), any::<i16>()).prop_map(
            |(width, cond, dst, operand, off)| Operation::JumpIf { width, cond, dst, operand, off }
        ),
        any::<i16>().prop_map(|off| Operation::MayGoto { off }),
        callee.prop_map(|callee| Operation::Call { callee }),
        Just(Operation::Exit),
    ]
}

fn any_insn() -> impl Strategy<Value = Insn> {
    any::<(u8, u8, u8, i16, i32)>()
        .prop_map(|(opcode, dst, src, off, imm)| Insn::new(opcode, dst, src, off, imm))
}

/// Instructions that mean something far more often than any eight bytes do.
fn likely_insn() -> impl Strategy<Value = Insn> {
    let off = prop_oneof![5 => Just(0_i16), 1 => Just(1), 1 => Just(8), 1 => any::<i16>()];
    let imm =
        prop_oneof![4 => Just(0), 1 => Just(16), 1 => Just(0x100), 1 => 0..0x111_i32, 1 => any::<i32>()];
    (any::<u8>(), 0..12_u8, 0..12_u8, off, imm)
        .prop_map(|(opcode, dst, src, off, imm)| Insn::new(opcode, dst, src, off, imm))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_survives_its_encoding(operation in prop_oneof![arithmetic(), memory(), control()]) {
        let insns = operation.encode();
        prop_assert_eq!(insns.len(), operation.slots());
        prop_assert_eq!(Operation::at(&insns, 0), Ok(operation));
    }

    #[test]
    fn every_instruction_survives_its_bytes(insns in prop::collection::vec(any_insn(), 0..20)) {
        let bytes = encode(&insns);
        prop_assert_eq!(bytes.len(), insns.len() * Insn::BYTES);
        prop_assert_eq!(decode(&bytes), Ok(insns));
    }

    #[test]
    fn nothing_of_a_decoded_instruction_is_lost(insn in likely_insn(), second in likely_insn()) {
        if let Ok(operation) = Operation::at(&[insn, second], 0) {
            prop_assert_eq!(operation.encode(), &[insn, second][..operation.slots()]);
        }
    }
}

/// Bytes as LLVM's assembler makes them.
#[test]
fn instructions_have_the_bytes_that_the_kernel_expects() {
    let cases = [
        (Insn::mov(Width::W64, Reg::R0, 1), [0xb7, 0x00, 0, 0, 1, 0, 0, 0]),
        (Insn::mov_signed(Width::W64, Size::U8, Reg::R1, Reg::R2), [0xbf, 0x21, 8, 0, 0, 0, 0, 0]),
        (Insn::alu(Width::W32, AluOp::SDiv, Reg::R3, Reg::R4), [0x3c, 0x43, 1, 0, 0, 0, 0, 0]),
        (Insn::neg(Width::W64, Reg::R5), [0x87, 0x05, 0, 0, 0, 0, 0, 0]),
        (Insn::swap(ByteOrder::ToBig, Size::U16, Reg::R0), [0xdc, 0x00, 0, 0, 16, 0, 0, 0]),
        (Insn::swap(ByteOrder::Swap, Size::U64, Reg::R0), [0xd7, 0x00, 0, 0, 64, 0, 0, 0]),
        (Insn::load(Size::U32, Reg::R0, Reg::R1, 4), [0x61, 0x10, 4, 0, 0, 0, 0, 0]),
        (Insn::load_signed(Size::U16, Reg::R0, Reg::R1, 4), [0x89, 0x10, 4, 0, 0, 0, 0, 0]),
        (Insn::store(Size::U64, Reg::R10, -8, Reg::R1), [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0]),
        (Insn::store(Size::U8, Reg::R10, -8, -1), [0x72, 0x0a, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Insn::atomic(AtomicOp::Add, Size::U64, Reg::R1, 0, Reg::R2), [0xdb, 0x21, 0, 0, 0, 0, 0, 0]),
        (
            Insn::atomic(AtomicOp::CompareExchange, Size::U32, Reg::R1, 0, Reg::R2),
            [0xc3, 0x21, 0, 0, 0xf1, 0, 0, 0],
        ),
        (Insn::jump_if(Width::W64, Cond::SGt, Reg::R2, 5, 3), [0x65, 0x02, 3, 0, 5, 0, 0, 0]),
        (Insn::jump_if(Width::W32, Cond::Le, Reg::R2, Reg::R3, -1), [0xbe, 0x32, 0xff, 0xff, 0, 0, 0, 0]),
        (Insn::jump_long(-2), [0x06, 0x00, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
        (Insn::call_helper(101), [0x85, 0x00, 0, 0, 101, 0, 0, 0]),
        (Insn::call_function(7), [0x85, 0x10, 0, 0, 7, 0, 0, 0]),
        (Insn::may_goto(1), [0xe5, 0x00, 1, 0, 0, 0, 0, 0]),
        (Insn::exit(), [0x95, 0x00, 0, 0, 0, 0, 0, 0]),
    ];
    for (insn, bytes) in cases {
        assert_eq!(encode(&[insn]), bytes, "{insn:?}");
    }
    let load = Insn::load_imm64(Reg::R7, Imm64::Value(0x1122_3344_5566_7788));
    assert_eq!(encode(&load), [0x18, 7, 0, 0, 0x88, 0x77, 0x66, 0x55, 0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11]);
}

#[test]
fn invalid_instructions_are_rejected() {
    assert_eq!(decode(&[0; 9]), Err(DecodeError::PartialInsn { bytes: 9 }));
    let [half, _] = Insn::load_imm64(Reg::R1, Imm64::Value(1));
    assert_eq!(Operation::at(&[Insn::exit(), half], 1), Err(DecodeError::HalfImm64 { index: 1 }));
    for insn in [
        Insn::exit().with_imm(1),
        Insn::alu(Width::W64, AluOp::Div, Reg::R1, 1).with_off(2),
        Insn::alu(Width::W64, AluOp::Add, Reg::R1, 1).with_off(1),
        Insn::mov(Width::W64, Reg::R1, Reg::R2).with_src(11),
        Insn::mov_signed(Width::W32, Size::U32, Reg::R1, Reg::R2),
        Insn::load_signed(Size::U64, Reg::R1, Reg::R2, 0),
        Insn::atomic(AtomicOp::Add, Size::U8, Reg::R1, 0, Reg::R2),
        Insn::new(0xff, 0, 0, 0, 0),
        half.with_src(7),
    ] {
        let insns = [insn, Insn::default()];
        assert_eq!(Operation::at(&insns, 0), Err(DecodeError::UnknownInsn { index: 0, insn }));
    }
}
