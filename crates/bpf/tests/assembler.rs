//! What an assembler accepts and what it rejects.

use knobgate_bpf::{
    AluOp, AsmError, Assembler, Cond, Function, Insn, LineEntry, MapReference, Operand, Reg, Relocation,
    Size, Width,
};

#[test]
fn jumps_go_to_their_labels_forth_and_back() {
    let mut asm = Assembler::new();
    let (again, done) = (asm.new_label(), asm.new_label());
    asm.bind(again);
    asm.jump_if(Cond::Eq, Reg::R1, 0, done);
    asm.alu(AluOp::Sub, Reg::R1, 1);
    asm.jump(again);
    asm.bind(done);
    asm.exit();
    let expected = [
        Insn::jump_if(Width::W64, Cond::Eq, Reg::R1, 0, 2),
        Insn::alu(Width::W64, AluOp::Sub, Reg::R1, 1),
        Insn::jump(-3),
        Insn::exit(),
    ];
    assert_eq!(asm.finish(false).unwrap().insns, expected);
}

#[test]
fn calls_and_callbacks_go_to_their_functions() {
    let mut asm = Assembler::new();
    let callee = asm.new_label();
    asm.begin_function("main");
    asm.load_function(Reg::R2, callee);
    asm.call(callee);
    asm.exit();
    asm.begin_function("callee");
    asm.bind(callee);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let code = asm.finish(false).unwrap();
    assert_eq!((code.insns[0].src(), code.insns[0].imm), (4, 3));
    assert_eq!(code.insns[2], Insn::call_function(1));
    let expected = [Function { name: "main".into(), start: 0 }, Function { name: "callee".into(), start: 4 }];
    assert_eq!(code.functions, expected);
}

#[test]
fn a_64_bit_immediate_takes_two_instructions_only_where_it_has_to() {
    for (value, insns) in
        [(0, 1), (0x7fff_ffff, 1), (0x8000_0000, 2), (u64::MAX, 1), (0xffff_ffff_8000_0000, 1), (1 << 40, 2)]
    {
        let mut asm = Assembler::new();
        asm.load_imm64(Reg::R3, value);
        assert_eq!(asm.position(), insns, "{value:#x}");
    }
}

#[test]
fn maps_are_referred_to_by_relocations() {
    let mut asm = Assembler::new();
    asm.mov(Reg::R0, 0);
    asm.load_map(Reg::R1, 3);
    asm.load_map_value(Reg::R2, 4, 16);
    asm.exit();
    let code = asm.finish(false).unwrap();
    let expected = [
        Relocation { insn: 1, map: 3, target: MapReference::Map },
        Relocation { insn: 3, map: 4, target: MapReference::Value(16) },
    ];
    assert_eq!(code.relocations, expected);
    assert_eq!((code.insns[1].src(), code.insns[1].imm, code.insns[2].imm), (1, 0, 0));
    assert_eq!((code.insns[3].src(), code.insns[3].imm, code.insns[4].imm), (2, 0, 16));
}

#[test]
fn a_line_covers_the_instructions_that_follow_it() {
    let mut asm = Assembler::new();
    asm.set_line(7, 1, "never used");
    asm.set_line(1, 5, "first");
    asm.mov(Reg::R0, 0);
    asm.set_line(1, 5, "first");
    asm.mov(Reg::R0, Operand::Reg(Reg::R1));
    asm.set_line(2, 1, "second");
    asm.store_imm(Size::U8, Reg::R10, -8, 0);
    let entry = |insn, line, column, text: &str| LineEntry { insn, line, column, text: text.into() };
    assert_eq!(asm.finish(true).unwrap().lines, [entry(0, 1, 5, "first"), entry(2, 2, 1, "second")]);
}

#[test]
fn code_without_functions_is_the_main_program() {
    let mut asm = Assembler::new();
    asm.exit();
    assert_eq!(asm.finish(false).unwrap().functions, [Function { name: "main".into(), start: 0 }]);
}

#[test]
fn misuse_is_an_error() {
    type Misuse = fn(&mut Assembler);
    let cases: [(Misuse, AsmError); 9] = [
        (
            |asm| {
                let label = asm.new_label();
                asm.jump(label);
            },
            AsmError::UnboundLabel { insn: 0 },
        ),
        (
            |asm| {
                let label = asm.new_label();
                asm.bind(label);
                asm.exit();
                asm.bind(label);
                asm.exit();
            },
            AsmError::BoundTwice { first: 0, second: 1 },
        ),
        (|asm| asm.emit(Insn::jump(0)), AsmError::CountedOffset { insn: 0 }),
        (|asm| asm.emit(Insn::jump_long(0)), AsmError::CountedOffset { insn: 0 }),
        (|asm| asm.emit(Insn::call_function(0)), AsmError::CountedOffset { insn: 0 }),
        (
            |asm| asm.emit(Insn::jump_if(Width::W32, Cond::Set, Reg::R1, Reg::R2, 1)),
            AsmError::CountedOffset { insn: 0 },
        ),
        (
            |asm| {
                let label = asm.new_label();
                asm.jump(label);
                asm.bind(label);
            },
            AsmError::JumpLeavesFunction { insn: 0, target: 1 },
        ),
        (
            |asm| {
                let label = asm.new_label();
                asm.jump(label);
                asm.begin_function("next");
                asm.bind(label);
                asm.exit();
            },
            AsmError::JumpLeavesFunction { insn: 0, target: 1 },
        ),
        (
            |asm| {
                let label = asm.new_label();
                asm.call(label);
                asm.bind(label);
                asm.exit();
            },
            AsmError::NotAFunction { insn: 0, target: 1 },
        ),
    ];
    for (misuse, expected) in cases {
        let mut asm = Assembler::new();
        misuse(&mut asm);
        assert_eq!(asm.finish(false), Err(expected));
    }
}
