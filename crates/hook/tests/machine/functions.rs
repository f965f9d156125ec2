//! Calls, callbacks, tail calls, and the limits on all of them.

use knobgate_bpf::{AluOp, Assembler, Cond, MapKind, Reg, Size, helper_ids};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};

use super::{allow, keep, load, map, number, on_write, program, result, results};

#[test]
fn functions_keep_their_callers_registers_and_return_a_number() {
    let mut asm = Assembler::new();
    let function = asm.new_label();
    asm.mov(Reg::R6, 40);
    asm.mov(Reg::R1, 2);
    asm.call(function);
    asm.alu(AluOp::Add, Reg::R6, Reg::R0);
    keep(&mut asm, Reg::R6, 0);
    allow(&mut asm);
    asm.begin_function("twice");
    asm.bind(function);
    asm.mov(Reg::R6, 1000);
    asm.mov(Reg::R0, Reg::R1);
    asm.exit();
    assert_eq!(result(asm), 42);
}

#[test]
fn loop_calls_back_until_the_callback_stops_it() {
    // Too many rounds: the verifier has replaced the call by a loop, which returns 32 bits of -E2BIG.
    let too_many = ((8 << 20) + 1, 0, 0xffff_fff9);
    for (count, flags, expected) in [(10, 0, 5), (3, 0, 3), (0, 0, 0), (10, 1, -22), too_many] {
        let mut asm = Assembler::new();
        let (callback, stop) = (asm.new_label(), asm.new_label());
        asm.store_imm(Size::U64, Reg::R10, -8, 0);
        asm.mov(Reg::R1, count);
        asm.load_function(Reg::R2, callback);
        asm.mov(Reg::R3, Reg::R10);
        asm.alu(AluOp::Add, Reg::R3, -8);
        asm.mov(Reg::R4, flags);
        asm.call_helper(helper_ids::LOOP);
        keep(&mut asm, Reg::R0, 0);
        asm.load(Size::U64, Reg::R6, Reg::R10, -8);
        keep(&mut asm, Reg::R6, 8);
        allow(&mut asm);
        asm.begin_function("callback");
        asm.bind(callback);
        asm.load(Size::U64, Reg::R3, Reg::R2, 0);
        asm.alu(AluOp::Add, Reg::R3, 1);
        asm.store(Size::U64, Reg::R2, 0, Reg::R3);
        asm.mov(Reg::R0, 1);
        asm.jump_if(Cond::Eq, Reg::R1, 4, stop);
        asm.mov(Reg::R0, 0);
        asm.bind(stop);
        asm.exit();
        let program = load(asm, vec![results(16)]).expect("loads");
        assert_eq!(on_write(&program, b"", b"x"), Ok(1));
        assert_eq!(number(&program.maps()[0], 0) as i64, expected);
        let rounds = if (1..100).contains(&expected) { expected } else { 0 };
        assert_eq!(number(&program.maps()[0], 8) as i64, rounds);
    }
}

#[test]
fn a_loop_may_run_more_instructions_than_the_verifier_follows() {
    let mut asm = Assembler::new();
    let callback = asm.new_label();
    asm.mov(Reg::R1, 400_000);
    asm.load_function(Reg::R2, callback);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::LOOP);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    asm.begin_function("callback");
    asm.bind(callback);
    asm.mov(Reg::R0, 1);
    asm.mov(Reg::R0, 0);
    asm.exit();
    assert_eq!(result(asm), 400_000);
}

#[test]
fn an_endless_may_goto_ends_after_its_rounds() {
    let mut asm = Assembler::new();
    let (again, end) = (asm.new_label(), asm.new_label());
    asm.mov(Reg::R6, 0);
    asm.bind(again);
    asm.may_goto(end);
    asm.alu(AluOp::Add, Reg::R6, 1);
    asm.jump(again);
    asm.bind(end);
    keep(&mut asm, Reg::R6, 0);
    allow(&mut asm);
    assert_eq!(result(asm), 8 << 20);
}

#[test]
fn for_each_map_elem_visits_the_entries_in_order() {
    let mut asm = Assembler::new();
    let callback = asm.new_label();
    asm.store_imm(Size::U64, Reg::R10, -8, 0);
    asm.load_map(Reg::R1, 1);
    asm.load_function(Reg::R2, callback);
    asm.mov(Reg::R3, Reg::R10);
    asm.alu(AluOp::Add, Reg::R3, -8);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::FOR_EACH_MAP_ELEM);
    keep(&mut asm, Reg::R0, 0);
    asm.load(Size::U64, Reg::R6, Reg::R10, -8);
    keep(&mut asm, Reg::R6, 8);
    allow(&mut asm);
    asm.begin_function("callback");
    asm.bind(callback);
    asm.load(Size::U64, Reg::R0, Reg::R4, 0);
    asm.alu(AluOp::Mul, Reg::R0, 10);
    asm.load(Size::U32, Reg::R1, Reg::R2, 0);
    asm.alu(AluOp::Add, Reg::R0, Reg::R1);
    asm.load(Size::U64, Reg::R1, Reg::R3, 0);
    asm.alu(AluOp::Add, Reg::R0, Reg::R1);
    asm.store(Size::U64, Reg::R4, 0, Reg::R0);
    asm.mov(Reg::R0, 0);
    asm.exit();
    let program = load(asm, vec![results(16), map("hash", MapKind::Hash, 4, 8, 8)]).expect("loads");
    for (key, value) in [(3u32, 0u64), (1, 2), (2, 4)] {
        program.maps()[1].update(&key.to_le_bytes(), &value.to_le_bytes(), 0).expect("room");
    }
    assert_eq!(on_write(&program, b"", b"x"), Ok(1));
    assert_eq!((number(&program.maps()[0], 0), number(&program.maps()[0], 8)), (3, 363));
}

#[test]
fn at_most_thirty_three_tail_calls_are_made() {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R6, 0, 0);
    asm.load(Size::U64, Reg::R7, Reg::R6, 0);
    asm.alu(AluOp::Add, Reg::R7, 1);
    asm.store(Size::U64, Reg::R6, 0, Reg::R7);
    asm.load_map(Reg::R2, 1);
    asm.mov(Reg::R3, 0);
    asm.call_helper(helper_ids::TAIL_CALL);
    allow(&mut asm);
    let program = load(asm, vec![results(8), map("programs", MapKind::ProgArray, 4, 4, 2)]).expect("loads");
    assert_eq!(on_write(&program, b"", b"x"), Ok(1));
    assert_eq!(number(&program.maps()[0], 0), 1, "there is no program in the array");
    program.maps()[1].set_program(0, Some(program.clone())).expect("in the array");
    assert_eq!(on_write(&program, b"", b"x"), Ok(1));
    assert_eq!(number(&program.maps()[0], 0), 1 + 34);
    program.maps()[1].set_program(0, None).expect("out of the array");
}

#[test]
fn functions_may_use_as_much_stack_as_the_verifier_accepts() {
    // 8 and 496 bytes: 512 where each is rounded up to 16, and too much where it is 32.
    for profile in Profile::ALL {
        let mut asm = Assembler::new();
        let function = asm.new_label();
        asm.store_imm(Size::U64, Reg::R10, -8, 1);
        asm.call(function);
        allow(&mut asm);
        asm.begin_function("function");
        asm.bind(function);
        asm.store_imm(Size::U64, Reg::R10, -496, 1);
        allow(&mut asm);
        let loaded = LoadedProgram::load(&program(asm, Vec::new()), &profile, &LoadOptions::default());
        assert_eq!(loaded.is_ok(), profile.version >= (6, 8), "{profile}");
        if let Ok(loaded) = loaded {
            let task = Task::default();
            let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
            assert_eq!(loaded.run(&mut invocation, &mut RunOptions::default()), Ok(1), "{profile}");
        }
    }
}

#[test]
fn a_program_that_is_tail_called_in_a_function_has_all_of_the_stack() {
    let mut asm = Assembler::new();
    let function = asm.new_label();
    asm.store_imm(Size::U64, Reg::R10, -240, 1);
    asm.call(function);
    allow(&mut asm);
    asm.begin_function("function");
    asm.bind(function);
    asm.load_map(Reg::R2, 0);
    asm.mov(Reg::R3, 0);
    asm.call_helper(helper_ids::TAIL_CALL);
    allow(&mut asm);
    let caller = load(asm, vec![map("programs", MapKind::ProgArray, 4, 4, 1)]).expect("loads");
    let mut asm = Assembler::new();
    asm.store_imm(Size::U64, Reg::R10, -512, 1);
    allow(&mut asm);
    let callee = load(asm, Vec::new()).expect("loads");
    caller.maps()[0].set_program(0, Some(callee)).expect("in the array");
    assert_eq!(on_write(&caller, b"", b"x"), Ok(1));
}

#[test]
fn a_program_that_takes_too_long_is_stopped() {
    let mut asm = Assembler::new();
    let round = asm.new_label();
    asm.mov(Reg::R1, 1 << 23);
    asm.load_function(Reg::R2, round);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::LOOP);
    allow(&mut asm);
    asm.begin_function("round");
    asm.bind(round);
    asm.mov(Reg::R0, 0);
    asm.exit();
    let program = load(asm, Vec::new()).expect("loads");
    let (task, profile) = (Task::default(), Profile::LINUX_6_18);
    let mut invocation = Invocation::read("kernel/x", b"", &task, &profile);
    let mut options = RunOptions { budget: Some(1000), ..RunOptions::default() };
    let fault = program.run(&mut invocation, &mut options).expect_err("a fault").to_string();
    assert!(fault.contains("budget of 1000 instructions"), "{fault}");
}

#[test]
fn loops_in_loops_that_would_stall_the_kernel_are_stopped() {
    let mut asm = Assembler::new();
    let (outer, inner) = (asm.new_label(), asm.new_label());
    let calls_back = |asm: &mut Assembler, callback| {
        asm.mov(Reg::R1, 1 << 23);
        asm.load_function(Reg::R2, callback);
        asm.mov(Reg::R3, 0);
        asm.mov(Reg::R4, 0);
        asm.call_helper(helper_ids::LOOP);
    };
    calls_back(&mut asm, outer);
    allow(&mut asm);
    asm.begin_function("outer");
    asm.bind(outer);
    calls_back(&mut asm, inner);
    asm.mov(Reg::R0, 0);
    asm.exit();
    asm.begin_function("inner");
    asm.bind(inner);
    asm.mov(Reg::R0, 0);
    asm.exit();
    let fault = on_write(&load(asm, Vec::new()).expect("loads"), b"", b"x").expect_err("a fault").to_string();
    assert!(fault.contains("the kernel would stall here"), "{fault}");
}
