//! Instructions and programs read as they do in the kernel's own logs.

use knobgate_bpf::{
    AluOp, Assembler, AtomicOp, ByteOrder, Cond, Imm64, Insn, MapDef, MapKind, Operation, Program, Reg, Size,
    Width, decode, helper_ids,
};

#[test]
fn instructions_read_as_in_the_verifiers_log() {
    use Reg::*;
    use Width::*;
    let cases = [
        (Insn::alu(W64, AluOp::Add, R1, -8), "r1 += -8"),
        (Insn::alu(W32, AluOp::Xor, R1, R2), "w1 ^= w2"),
        (Insn::alu(W64, AluOp::SDiv, R1, R2), "r1 s/= r2"),
        (Insn::alu(W64, AluOp::SMod, R1, 3), "r1 s%= 3"),
        (Insn::alu(W64, AluOp::Arsh, R1, 3), "r1 s>>= 3"),
        (Insn::mov(W64, R0, 1), "r0 = 1"),
        (Insn::mov(W32, R0, R3), "w0 = w3"),
        (Insn::mov_signed(W64, Size::U32, R0, R3), "r0 = (s32)r3"),
        (Insn::mov_signed(W32, Size::U8, R0, R3), "w0 = (s8)w3"),
        (Insn::neg(W64, R4), "r4 = -r4"),
        (Insn::swap(ByteOrder::ToBig, Size::U16, R4), "r4 = be16 r4"),
        (Insn::swap(ByteOrder::ToLittle, Size::U32, R4), "r4 = le32 r4"),
        (Insn::swap(ByteOrder::Swap, Size::U64, R4), "r4 = bswap64 r4"),
        (Insn::load(Size::U32, R0, R1, 0), "r0 = *(u32 *)(r1 +0)"),
        (Insn::load_signed(Size::U8, R0, R10, -3), "r0 = *(s8 *)(r10 -3)"),
        (Insn::store(Size::U64, R10, -8, R1), "*(u64 *)(r10 -8) = r1"),
        (Insn::store(Size::U8, R10, -8, 255), "*(u8 *)(r10 -8) = 255"),
        (Insn::atomic(AtomicOp::Add, Size::U64, R1, 8, R2), "lock *(u64 *)(r1 +8) += r2"),
        (Insn::atomic(AtomicOp::FetchOr, Size::U64, R1, 8, R2), "r2 = atomic64_fetch_or((u64 *)(r1 +8), r2)"),
        (Insn::atomic(AtomicOp::Exchange, Size::U32, R1, 8, R2), "r2 = atomic_xchg((u32 *)(r1 +8), r2)"),
        (
            Insn::atomic(AtomicOp::CompareExchange, Size::U64, R1, 8, R2),
            "r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)",
        ),
        (Insn::load_acquire(Size::U16, R0, R1, 2), "r0 = load_acquire((u16 *)(r1 +2))"),
        (Insn::store_release(Size::U16, R1, 2, R3), "store_release((u16 *)(r1 +2), r3)"),
        (Insn::jump(-2), "goto pc-2"),
        (Insn::jump_long(70_000), "gotol pc+70000"),
        (Insn::jump_if(W64, Cond::SGt, R2, 5, 3), "if r2 s> 0x5 goto pc+3"),
        (Insn::jump_if(W32, Cond::Set, R2, R3, 0), "if w2 & w3 goto pc+0"),
        (Insn::jump_if(W64, Cond::Ne, R2, -1, 3), "if r2 != 0xffffffff goto pc+3"),
        (Insn::may_goto(4), "may_goto pc+4"),
        (Insn::call_helper(helper_ids::SYSCTL_GET_NAME), "call bpf_sysctl_get_name#101"),
        (Insn::call_helper(9_999), "call unknown#9999"),
        (Insn::call_function(3), "call pc+3"),
        (Insn::call_kfunc(77, 0), "call kernel-function#77"),
        (Insn::new(0x20, 0, 0, 0, 14), "r0 = *(u32 *)skb[14]"),
        (Insn::new(0x48, 0, 7, 0, 14), "r0 = *(u16 *)skb[r7 + 14]"),
        (Insn::exit(), "exit"),
    ];
    for (insn, text) in cases {
        assert_eq!(Operation::at(&[insn], 0).unwrap().to_string(), text);
    }
    let loads = [
        (Imm64::Value(u64::MAX - 1), "r1 = 0xfffffffffffffffe"),
        (Imm64::Map { fd: 3 }, "r1 = map[fd:3]"),
        (Imm64::MapValue { fd: 3, offset: 16 }, "r1 = map[fd:3]+16"),
        (Imm64::MapIndexValue { index: 2, offset: 0 }, "r1 = map[idx:2]+0"),
        (Imm64::Function { off: 7 }, "r1 = subprog[+7]"),
    ];
    for (imm, text) in loads {
        assert_eq!(Operation::at(&Insn::load_imm64(R1, imm), 0).unwrap().to_string(), text);
    }
}

#[test]
fn a_listing_shows_functions_lines_maps_and_where_jumps_go() {
    let mut asm = Assembler::new();
    let (deny, count, next) = (asm.new_label(), asm.new_label(), asm.new_label());
    asm.begin_function("web_tier");
    asm.set_line(3, 1, "allow write vm.max_map_count");
    asm.load(Size::U32, Reg::R2, Reg::R1, 0);
    asm.jump_if(Cond::Eq, Reg::R2, 0, deny);
    asm.load_map_value(Reg::R1, 0, 8);
    asm.call(count);
    asm.mov(Reg::R0, 1);
    asm.exit();
    asm.set_line(1, 1, "policy web-tier");
    asm.bind(deny);
    asm.load_map(Reg::R1, 0);
    asm.load_function(Reg::R2, count);
    asm.mov(Reg::R0, 0);
    asm.exit();
    asm.begin_function("count");
    asm.bind(count);
    asm.mov(Reg::R2, 1);
    asm.bind(next);
    asm.atomic_add(Size::U64, Reg::R1, 0, Reg::R2);
    asm.jump32_if(Cond::Lt, Reg::R2, Reg::R1, next);
    asm.exit();
    let mut program = Program::from(asm.finish(true).unwrap());
    program.lines.file = "web-tier.knob".into();
    program.maps.push(MapDef {
        name: "rule_hits".into(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    });
    let expected = "\
web_tier:
; web-tier.knob:3:1 allow write vm.max_map_count
   0: (61) r2 = *(u32 *)(r1 +0)
   1: (15) if r2 == 0x0 goto pc+5 <L7>
   2: (18) r1 = map[rule_hits]+8
   4: (85) call pc+8 <count>
   5: (b7) r0 = 1
   6: (95) exit
L7:
; web-tier.knob:1:1 policy web-tier
   7: (18) r1 = map[rule_hits]
   9: (18) r2 = subprog[+3] <count>
  11: (b7) r0 = 0
  12: (95) exit
count:
  13: (b7) r2 = 1
L14:
  14: (db) lock *(u64 *)(r1 +0) += r2
  15: (ae) if w2 < w1 goto pc-2 <L14>
  16: (95) exit
";
    assert_eq!(program.listing().to_string(), expected);
}

#[test]
fn invalid_instructions_are_listed_with_their_fields() {
    let insns = decode(&[0xff, 0x21, 3, 0, 4, 0, 0, 0]).unwrap();
    let program = Program { insns, ..Program::default() };
    assert_eq!(program.listing().to_string(), "   0: (ff) unknown 0xff dst=1 src=2 off=3 imm=4\n");
}
