//! Memory accesses, and the faults of invalid ones.

use knobgate_bpf::{AluOp, Assembler, Cond, Reg, Size, helper_ids};

use super::{allow, deny_null, fault, frozen, keep, load, map, result, results};
use knobgate_bpf::MapKind;

#[test]
fn pointers_survive_in_the_stack() {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R6, 0, 0);
    asm.store(Size::U64, Reg::R10, -16, Reg::R6);
    asm.load(Size::U64, Reg::R7, Reg::R10, -16);
    asm.store_imm(Size::U64, Reg::R7, 0, 77);
    allow(&mut asm);
    assert_eq!(result(asm), 77);
}

#[test]
fn accesses_that_may_be_out_of_bounds_are_rejected() {
    let through = |asm: &mut Assembler, base: Option<Reg>, offset: i32| {
        // The offset is not known when the program is loaded.
        asm.load(Size::U32, Reg::R6, Reg::R1, 4);
        asm.alu(AluOp::And, Reg::R6, 7);
        asm.alu(AluOp::Add, Reg::R6, offset);
        match base {
            Some(base) => asm.mov(Reg::R1, base),
            None => asm.load_map_value(Reg::R1, 0, 0),
        }
        asm.alu(AluOp::Add, Reg::R1, Reg::R6);
    };
    let rejection = |asm, maps| load(asm, maps).expect_err("a rejection").to_string();

    let mut beyond = Assembler::new();
    through(&mut beyond, None, 1);
    beyond.load(Size::U64, Reg::R0, Reg::R1, 0);
    allow(&mut beyond);
    let outside = "R1 max value is outside of the allowed memory range";
    assert!(rejection(beyond, vec![results(15)]).ends_with(outside));

    let mut within = Assembler::new();
    through(&mut within, None, 1);
    within.load(Size::U64, Reg::R0, Reg::R1, 0);
    allow(&mut within);
    load(within, vec![results(16)]).expect("8 bytes at offset 1 to 8");

    let mut above = Assembler::new();
    through(&mut above, Some(Reg::R10), -7);
    above.store_imm(Size::U8, Reg::R1, 0, 1);
    allow(&mut above);
    assert!(rejection(above, vec![]).contains("invalid variable-offset write to stack R1"));

    let mut misaligned = Assembler::new();
    through(&mut misaligned, Some(Reg::R10), -15);
    misaligned.store_imm(Size::U64, Reg::R1, 0, 1);
    allow(&mut misaligned);
    assert!(rejection(misaligned, vec![]).contains("misaligned stack access"));
}

/// Looks up a key in map 0, and copies the result to r6.
fn look_up(asm: &mut Assembler) {
    asm.store_imm(Size::U32, Reg::R10, -4, 9);
    asm.load_map(Reg::R1, 0);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, -4);
    asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
    asm.mov(Reg::R6, Reg::R0);
}

#[test]
fn accesses_through_scalars_and_possible_null_pointers_are_rejected() {
    let hash = || vec![map("hash", MapKind::Hash, 4, 8, 1)];
    let rejection = |asm| load(asm, hash()).expect_err("a rejection").to_string();

    let mut unchecked = Assembler::new();
    look_up(&mut unchecked);
    unchecked.load(Size::U8, Reg::R0, Reg::R0, 0);
    allow(&mut unchecked);
    assert!(rejection(unchecked).ends_with("R0 invalid mem access 'map_value_or_null'"));

    let mut null = Assembler::new();
    look_up(&mut null);
    let found = null.new_label();
    null.jump_if(Cond::Ne, Reg::R0, 0, found);
    null.store_imm(Size::U8, Reg::R6, 0, 1);
    null.bind(found);
    allow(&mut null);
    assert!(rejection(null).ends_with("R6 invalid mem access 'scalar'"));

    let mut copy = Assembler::new();
    look_up(&mut copy);
    deny_null(&mut copy);
    copy.store_imm(Size::U8, Reg::R6, 0, 1);
    allow(&mut copy);
    load(copy, hash()).expect("a copy of what is not null");

    let mut description = Assembler::new();
    description.load_map(Reg::R6, 0);
    description.store_imm(Size::U64, Reg::R6, 0, 1);
    allow(&mut description);
    assert!(rejection(description).ends_with("only read from bpf_htab is supported"));
}

#[test]
fn read_only_memory_and_addresses_cannot_be_written() {
    let mut constant = Assembler::new();
    constant.load_map_value(Reg::R1, 0, 0);
    constant.store_imm(Size::U8, Reg::R1, 0, 1);
    allow(&mut constant);
    let rejection = load(constant, vec![frozen(b"text\0")]).expect_err("a rejection").to_string();
    assert!(rejection.ends_with("write into map forbidden, value_size=5 off=0 size=1"), "{rejection}");

    let mut leak = Assembler::new();
    leak.mov(Reg::R6, Reg::R10);
    keep(&mut leak, Reg::R6, 0);
    allow(&mut leak);
    assert!(fault(leak, vec![results(8)]).contains("a pointer is stored to a map value"));

    let mut address = Assembler::new();
    address.mov(Reg::R6, Reg::R10);
    address.alu(AluOp::And, Reg::R6, 7);
    allow(&mut address);
    let rejection = load(address, vec![]).expect_err("a rejection").to_string();
    assert!(rejection.ends_with("R6 bitwise operator &= on pointer prohibited"), "{rejection}");
}

#[test]
fn records_are_released_exactly_once() {
    let reserve = || {
        let mut asm = Assembler::new();
        asm.load_map(Reg::R1, 0);
        asm.mov(Reg::R2, 8);
        asm.mov(Reg::R3, 0);
        asm.call_helper(helper_ids::RINGBUF_RESERVE);
        deny_null(&mut asm);
        asm.mov(Reg::R6, Reg::R0);
        asm
    };
    let submit = |asm: &mut Assembler| {
        asm.mov(Reg::R1, Reg::R6);
        asm.mov(Reg::R2, 0);
        asm.call_helper(helper_ids::RINGBUF_SUBMIT);
    };
    let ring = || vec![map("events", MapKind::Ringbuf, 0, 0, 4096)];
    let rejection = |asm| load(asm, ring()).expect_err("a rejection").to_string();
    let mut forgotten = reserve();
    allow(&mut forgotten);
    assert!(rejection(forgotten).ends_with("would lead to reference leak"));
    let mut twice = reserve();
    submit(&mut twice);
    submit(&mut twice);
    allow(&mut twice);
    assert!(rejection(twice).ends_with("R1 type=scalar expected=ringbuf_mem"));
    let mut late = reserve();
    submit(&mut late);
    late.store_imm(Size::U8, Reg::R6, 0, 1);
    allow(&mut late);
    assert!(rejection(late).ends_with("R6 invalid mem access 'scalar'"));
    let mut once = reserve();
    submit(&mut once);
    allow(&mut once);
    load(once, ring()).expect("released once");
}
