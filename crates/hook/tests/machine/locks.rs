//! Spin locks in the values of maps.

use knobgate_bpf::{Assembler, MapDef, Object, Reg, Size, helper_ids};

use super::{LoadOptions, LoadedProgram, Profile, allow, load, on_write, program};

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

/// Whether the verifier of this kernel accepts it.
fn is_accepted(version: &str, write: impl FnOnce(&mut Assembler)) -> bool {
    let mut asm = Assembler::new();
    write(&mut asm);
    let profile: Profile = version.parse().unwrap_or_else(|error| panic!("{error}"));
    LoadedProgram::load(&program(asm, vec![locked()]), &profile, &LoadOptions::default()).is_ok()
}

#[test]
fn functions_are_called_with_a_lock_since_6_9() {
    for (version, expected) in
        [("5.10", false), ("6.1", false), ("6.8", false), ("6.12", true), ("7.3", true)]
    {
        let calls = |asm: &mut Assembler| {
            let start = asm.new_label();
            asm.load_map_value(Reg::R6, 0, 8);
            asm.mov(Reg::R1, Reg::R6);
            asm.call_helper(helper_ids::SPIN_LOCK);
            asm.call(start);
            asm.mov(Reg::R1, Reg::R6);
            asm.call_helper(helper_ids::SPIN_UNLOCK);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            allow(asm);
        };
        assert_eq!(is_accepted(version, calls), expected, "{version}");
    }
}

#[test]
fn two_addresses_of_a_variable_are_one_lock_since_6_2() {
    for (version, expected) in [("5.10", false), ("6.1", false), ("6.8", true), ("7.3", true)] {
        let twice = |asm: &mut Assembler| {
            call_with_value(asm, helper_ids::SPIN_LOCK, 8);
            call_with_value(asm, helper_ids::SPIN_UNLOCK, 8);
            allow(asm);
        };
        assert_eq!(is_accepted(version, twice), expected, "{version}");
    }
}
