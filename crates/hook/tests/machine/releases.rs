//! The same programs on older and newer kernels. All results were observed on real kernels.

use knobgate_bpf::{AluOp, Assembler, Cond, Insn, MapKind, Program, Reg, Size, Width, helper_ids};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};

use super::{keep, map, number, program, results};

fn profile(name: &str) -> Profile {
    name.parse().expect("it is described")
}

/// The numbers that a program has stored after a read on this kernel, or why it was stopped.
fn kept(program: &Program, profile: &Profile, count: usize) -> Result<Vec<u64>, String> {
    let loaded =
        LoadedProgram::load(program, profile, &LoadOptions::default()).map_err(|no| no.to_string())?;
    let task = Task { comm: b"actor".to_vec(), ..Task::default() };
    let mut invocation = Invocation::read("kernel/sem", b"1\n", &task, profile);
    loaded.run(&mut invocation, &mut RunOptions::default()).map_err(|fault| fault.to_string())?;
    Ok((0..count).map(|index| number(&loaded.maps()[0], 8 * index)).collect())
}

#[test]
fn before_6_4_map_helpers_return_an_int() {
    let mut asm = Assembler::new();
    asm.store_imm(Size::U32, Reg::R10, -4, 7);
    asm.load_map(Reg::R1, 1);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -4);
    asm.call_helper(helper_ids::MAP_DELETE_ELEM);
    keep(&mut asm, Reg::R0, 0);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let program = program(asm, vec![results(8), map("hash", MapKind::Hash, 4, 8, 1)]);
    for (name, enoent) in [("5.10", 0xffff_fffe), ("6.1", 0xffff_fffe), ("6.8", -2_i64 as u64)] {
        assert_eq!(kept(&program, &profile(name), 1), Ok(vec![enoent]), "{name}");
    }
}

#[test]
fn the_name_of_the_task_is_padded_from_6_4_on() {
    let mut asm = Assembler::new();
    asm.store_imm(Size::U64, Reg::R10, -16, -1);
    asm.store_imm(Size::U64, Reg::R10, -8, -1);
    asm.mov(Reg::R1, Reg::R10);
    asm.alu(AluOp::Add, Reg::R1, -16);
    asm.mov(Reg::R2, 16);
    asm.call_helper(helper_ids::GET_CURRENT_COMM);
    for (from, to) in [(-16, 0), (-8, 8)] {
        asm.load(Size::U64, Reg::R3, Reg::R10, from);
        keep(&mut asm, Reg::R3, to);
    }
    asm.mov(Reg::R0, 1);
    asm.exit();
    let program = program(asm, vec![results(16)]);
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let unpadded = vec![word(b"actor\0\xff\xff"), u64::MAX];
    for (name, expected) in [("6.1", unpadded), ("6.8", vec![word(b"actor\0\0\0"), 0])] {
        assert_eq!(kept(&program, &profile(name), 2), Ok(expected), "{name}");
    }
}

#[test]
fn uninitialized_stack_can_be_read_above_stores_and_then_everywhere() {
    let read = |stored: Option<i16>| {
        let mut asm = Assembler::new();
        if let Some(offset) = stored {
            asm.store_imm(Size::U64, Reg::R10, offset, 0);
        }
        asm.load(Size::U64, Reg::R2, Reg::R10, -16);
        asm.mov(Reg::R0, 1);
        asm.exit();
        program(asm, Vec::new())
    };
    for (name, nowhere, above, below) in [
        ("5.10", false, false, false),
        ("6.1.170", false, true, false),
        ("6.1.192", true, true, true),
        ("6.18", true, true, true),
    ] {
        let reads = |stored| kept(&read(stored), &profile(name), 0).is_ok();
        assert_eq!((reads(None), reads(Some(-24)), reads(Some(-8))), (nowhere, above, below), "{name}");
    }
}

#[test]
fn a_number_compares_with_itself_in_one_way_from_7_0_on() {
    let compares = |cond| {
        let insns = vec![
            Insn::load(Size::U32, Reg::R1, Reg::R1, 4),
            Insn::mov(Width::W64, Reg::R0, 1),
            Insn::jump_if(Width::W64, cond, Reg::R1, Reg::R1, 1),
            Insn::mov(Width::W64, Reg::R0, 7),
            Insn::exit(),
        ];
        Program { insns, ..Program::default() }
    };
    for cond in [Cond::Eq, Cond::Ge, Cond::Le, Cond::SGe, Cond::SLe] {
        let is_taken = |name| kept(&compares(cond), &profile(name), 0).is_ok();
        assert!(!is_taken("6.12") && is_taken("7.2"), "{cond:?}");
    }
    for cond in [Cond::Ne, Cond::Gt, Cond::Lt, Cond::SGt, Cond::SLt, Cond::Set] {
        assert!(kept(&compares(cond), &profile("7.2"), 0).is_err(), "{cond:?}");
    }
}
