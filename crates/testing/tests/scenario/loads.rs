//! Programs that are rejected, and why.

use knobgate_bpf::{AluOp, Assembler, Cond, Reg, Size, helper_ids};
use knobgate_scenario::{Document, Hex, ProgramDocument};

use crate::Case;
use crate::programs::{assembled, map};

pub(crate) fn cases() -> Vec<Case> {
    rejected()
        .into_iter()
        .map(|(name, program)| {
            let document = Document {
                maps: vec![map("array", "array", 4, 8, 2)],
                programs: [("program".to_owned(), program)].into(),
                ..Document::default()
            };
            let steps =
                r#"{"load": "program"}, {"attach": {"program": "program", "cgroup": "/", "mode": "link"}}"#;
            (name, document, steps.to_owned())
        })
        .collect()
}

fn hex(insns: &str) -> ProgramDocument {
    let digits: String = insns.split_whitespace().collect();
    let byte = |index: usize| u8::from_str_radix(&digits[index..index + 2], 16).expect("hexadecimal");
    let bytes = (0..digits.len()).step_by(2).map(byte).collect();
    ProgramDocument::Insns { insns: Hex(bytes), expected_attach_type: None }
}

fn rejected() -> Vec<(&'static str, ProgramDocument)> {
    let returning = |act: &dyn Fn(&mut Assembler)| {
        assembled(|asm| {
            act(asm);
            asm.mov(Reg::R0, 1);
            asm.exit();
        })
    };
    let set_retval = returning(&|asm| {
        asm.mov(Reg::R1, 0);
        asm.call_helper(helper_ids::SET_RETVAL);
    });
    let ProgramDocument::Insns { insns: set_retval, .. } = set_retval else { unreachable!() };
    vec![
        ("nothing", hex("")),
        ("a return value of 2", hex("b700000002000000 9500000000000000")),
        ("a return value of -1", hex("b7000000ffffffff 9500000000000000")),
        (
            "any return value",
            assembled(|asm| {
                asm.call_helper(helper_ids::GET_PRANDOM_U32);
                asm.exit();
            }),
        ),
        ("no return value", hex("9500000000000000")),
        ("an unset register", hex("bf30000000000000 9500000000000000")),
        ("the end without an exit", hex("b700000001000000")),
        ("unreachable code", hex("b700000001000000 9500000000000000 b700000001000000 9500000000000000")),
        ("a jump too far", hex("0500050000000000 b700000001000000 9500000000000000")),
        ("an endless loop", hex("b700000001000000 0500ffff00000000 9500000000000000")),
        ("a context that is too short", returning(&|asm| asm.load(Size::U32, Reg::R2, Reg::R1, 8))),
        (
            "a field of the context that is half as long",
            returning(&|asm| asm.load(Size::U64, Reg::R2, Reg::R1, 0)),
        ),
        (
            "a write to a field that is not to be written",
            returning(&|asm| {
                asm.mov(Reg::R2, 1);
                asm.store(Size::U32, Reg::R1, 0, Reg::R2);
            }),
        ),
        (
            "a narrow write to the context",
            returning(&|asm| {
                asm.mov(Reg::R2, 1);
                asm.store(Size::U16, Reg::R1, 4, Reg::R2);
            }),
        ),
        ("too much stack", returning(&|asm| asm.store_imm(Size::U64, Reg::R10, -520, 0))),
        ("stack above the frame", returning(&|asm| asm.store_imm(Size::U64, Reg::R10, 8, 0))),
        ("a written frame pointer", returning(&|asm| asm.mov(Reg::R10, 1))),
        ("no such helper", returning(&|asm| asm.call_helper(99_999))),
        ("a helper of others", returning(&|asm| asm.call_helper(26))),
        ("an unknown opcode", hex("ff00000000000000 b700000001000000 9500000000000000")),
        ("a packet", hex("3000000000000000 b700000001000000 9500000000000000")),
        (
            "an expected attach type without a return value to set",
            ProgramDocument::Insns { insns: set_retval.clone(), expected_attach_type: Some(0) },
        ),
        (
            "the expected attach type of this hook",
            ProgramDocument::Insns { insns: set_retval, expected_attach_type: Some(18) },
        ),
        (
            "a map",
            returning(&|asm| {
                asm.store_imm(Size::U32, Reg::R10, -4, 1);
                asm.mov(Reg::R2, Reg::R10);
                asm.alu(AluOp::Add, Reg::R2, -4);
                asm.load_map(Reg::R1, 0);
                asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
            }),
        ),
        (
            "a loop that ends",
            returning(&|asm| {
                let again = asm.new_label();
                asm.mov(Reg::R6, 10);
                asm.bind(again);
                asm.alu(AluOp::Sub, Reg::R6, 1);
                asm.jump_if(Cond::Ne, Reg::R6, 0, again);
            }),
        ),
        (
            "a callback",
            assembled(|asm| {
                let callback = asm.new_label();
                asm.begin_function("main");
                asm.mov(Reg::R1, 3);
                asm.load_function(Reg::R2, callback);
                asm.mov(Reg::R3, 0);
                asm.mov(Reg::R4, 0);
                asm.call_helper(helper_ids::LOOP);
                asm.mov(Reg::R0, 1);
                asm.exit();
                asm.begin_function("callback");
                asm.bind(callback);
                asm.mov(Reg::R0, 0);
                asm.exit();
            }),
        ),
    ]
}
