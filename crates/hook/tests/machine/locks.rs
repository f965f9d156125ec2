//! Spin locks in the values of maps. The kernel's verifier rejects what stops a run here, with the same reasons.

use knobgate_bpf::{Assembler, MapDef, Object, Reg, Size, helper_ids};

use super::{allow, load, on_write};

/// An array of one value with a lock at offset 8.
fn locked() -> MapDef {
    let object = include_bytes!("../../../../examples/objects/locks.bpf.o");
    let program = Object::read(object).and_then(|object| object.program(None)).expect("a program");
    let def = program.maps.into_iter().find(|map| map.name == "counters").expect("a map");
    MapDef { max_entries: 1, ..def }
}

/// Calls a helper with the address of these bytes of the value.
fn call_with_value(asm: &mut Assembler, helper: u32, offset: u32) {
    asm.load_map_value(Reg::R1, 0, offset);
    asm.call_helper(helper);
}

/// Why a program is rejected or stopped.
fn reason(write: impl FnOnce(&mut Assembler)) -> String {
    let mut asm = Assembler::new();
    write(&mut asm);
    allow(&mut asm);
    match load(asm, vec![locked()]) {
        Ok(program) => on_write(&program, b"1\n", b"2\n").expect_err("a fault").to_string(),
        Err(rejection) => rejection.to_string(),
    }
}

#[test]
fn a_lock_is_taken_and_released() {
    let mut asm = Assembler::new();
    for value in [1, 2] {
        call_with_value(&mut asm, helper_ids::SPIN_LOCK, 8);
        asm.load_map_value(Reg::R1, 0, 0);
        asm.store_imm(Size::U64, Reg::R1, 0, value);
        call_with_value(&mut asm, helper_ids::SPIN_UNLOCK, 8);
    }
    allow(&mut asm);
    let program = load(asm, vec![locked()]).unwrap_or_else(|rejection| panic!("{rejection}"));
    on_write(&program, b"1\n", b"2\n").unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(program.maps()[0].lookup(&[0; 4]).map(|value| value[0]), Some(2));
}

#[test]
fn locks_are_held_and_touched_as_the_kernel_allows() {
    use helper_ids::{JIFFIES64, SPIN_LOCK, SPIN_UNLOCK};
    type Write = fn(&mut Assembler);
    let cases: [(Write, &str); 6] = [
        (
            |asm| {
                call_with_value(asm, SPIN_LOCK, 8);
                asm.call_helper(JIFFIES64);
            },
            "function calls are not allowed while holding a lock",
        ),
        (
            |asm| {
                call_with_value(asm, SPIN_LOCK, 8);
                call_with_value(asm, SPIN_LOCK, 8);
            },
            "function calls are not allowed while holding a lock",
        ),
        (
            |asm| call_with_value(asm, SPIN_LOCK, 8),
            "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
        ),
        (|asm| call_with_value(asm, SPIN_UNLOCK, 8), "bpf_spin_unlock without taking a lock"),
        (
            |asm| {
                asm.load_map_value(Reg::R1, 0, 8);
                asm.store_imm(Size::U32, Reg::R1, 0, 1);
            },
            "bpf_spin_lock cannot be accessed directly by load/store",
        ),
        (
            |asm| call_with_value(asm, SPIN_LOCK, 16),
            "r1 is a map value where bpf_spin_lock wants the lock in a map value",
        ),
    ];
    for (write, expected) in cases {
        let reason = reason(write);
        assert!(reason.contains(expected), "{reason} is not {expected}");
    }
}
