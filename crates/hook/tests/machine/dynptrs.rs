//! Dynptrs.

use knobgate_bpf::{AluOp, Assembler, MapDef, MapKind, Reg, Size, helper_ids};

use super::{allow, deny_null, keep, load, map, number, on_write, rejection, results};

/// Where a dynptr is on the stack.
const FIRST: i32 = -32;

fn address(asm: &mut Assembler, register: Reg, offset: i32) {
    asm.mov(register, Reg::R10);
    asm.alu(AluOp::Add, register, offset);
}

fn maps() -> Vec<MapDef> {
    vec![results(64), map("ring", MapKind::Ringbuf, 0, 0, 4096), map("data", MapKind::Array, 4, 32, 1)]
}

/// A dynptr on the first `size` bytes of the map `data`.
fn from_mem(asm: &mut Assembler, size: i32, flags: i32, place: i32) {
    asm.load_map_value(Reg::R1, 2, 0);
    asm.mov(Reg::R2, size);
    asm.mov(Reg::R3, flags);
    address(asm, Reg::R4, place);
    asm.call_helper(helper_ids::DYNPTR_FROM_MEM);
}

fn reserve(asm: &mut Assembler, size: i32, place: i32) {
    asm.load_map(Reg::R1, 1);
    asm.mov(Reg::R2, size);
    asm.mov(Reg::R3, 0);
    address(asm, Reg::R4, place);
    asm.call_helper(helper_ids::RINGBUF_RESERVE_DYNPTR);
}

fn release(asm: &mut Assembler, helper: u32, place: i32) {
    address(asm, Reg::R1, place);
    asm.mov(Reg::R2, 0);
    asm.call_helper(helper);
}

/// Writes the number 77 into a dynptr.
fn write(asm: &mut Assembler, place: i32, offset: i32) {
    asm.store_imm(Size::U64, Reg::R10, -8, 77);
    address(asm, Reg::R1, place);
    asm.mov(Reg::R2, offset);
    address(asm, Reg::R3, -8);
    asm.mov(Reg::R4, 8);
    asm.mov(Reg::R5, 0);
    asm.call_helper(helper_ids::DYNPTR_WRITE);
}

/// Reads a number from a dynptr to the stack, and stores it and what the helper returned.
fn read(asm: &mut Assembler, place: i32, offset: i32, at: i16) {
    asm.store_imm(Size::U64, Reg::R10, -8, 0);
    address(asm, Reg::R1, -8);
    asm.mov(Reg::R2, 8);
    address(asm, Reg::R3, place);
    asm.mov(Reg::R4, offset);
    asm.mov(Reg::R5, 0);
    asm.call_helper(helper_ids::DYNPTR_READ);
    keep(asm, Reg::R0, at);
    asm.load(Size::U64, Reg::R0, Reg::R10, -8);
    keep(asm, Reg::R0, at + 8);
}

/// The results of a program.
fn kept(asm: Assembler) -> Vec<i64> {
    let program = load(asm, maps()).unwrap_or_else(|rejection| panic!("{rejection}"));
    on_write(&program, b"", b"x").unwrap_or_else(|fault| panic!("{fault}"));
    (0..8).map(|index| number(&program.maps()[0], 8 * index) as i64).collect()
}

#[test]
fn memory_is_read_and_written_within_the_dynptr() {
    let mut asm = Assembler::new();
    from_mem(&mut asm, 16, 0, FIRST);
    keep(&mut asm, Reg::R0, 0);
    write(&mut asm, FIRST, 8);
    keep(&mut asm, Reg::R0, 8);
    write(&mut asm, FIRST, 9);
    keep(&mut asm, Reg::R0, 16);
    read(&mut asm, FIRST, 8, 24);
    read(&mut asm, FIRST, 16, 40);
    allow(&mut asm);
    assert_eq!(kept(asm), [0, 0, -7, 0, 77, -7, 0, 0]);
}

#[test]
fn a_dynptr_that_cannot_be_made_is_null() {
    for (size, flags, expected) in [(16, 1, -22), (0, 0, 0)] {
        let mut asm = Assembler::new();
        from_mem(&mut asm, size, flags, FIRST);
        keep(&mut asm, Reg::R0, 0);
        read(&mut asm, FIRST, 0, 8);
        write(&mut asm, FIRST, 0);
        keep(&mut asm, Reg::R0, 24);
        allow(&mut asm);
        let of_access = if flags == 0 { -7 } else { -22 };
        assert_eq!(kept(asm)[..4], [expected, of_access, 0, of_access]);
    }
}

#[test]
fn a_record_is_submitted_or_discarded() {
    for (helper, records) in [(helper_ids::RINGBUF_SUBMIT_DYNPTR, 1), (helper_ids::RINGBUF_DISCARD_DYNPTR, 0)]
    {
        let mut asm = Assembler::new();
        reserve(&mut asm, 12, FIRST);
        write(&mut asm, FIRST, 4);
        release(&mut asm, helper, FIRST);
        allow(&mut asm);
        let program = load(asm, maps()).expect("loads");
        on_write(&program, b"", b"x").expect("runs");
        let drained = program.maps()[1].drain_records();
        assert_eq!(drained.len(), records);
        assert!(drained.iter().all(|record| record[..] == [0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0]));
    }
}

#[test]
fn without_room_the_dynptr_is_null_and_is_released_all_the_same() {
    for (size, expected) in [(4089, -22), (1 << 24, -7)] {
        let mut asm = Assembler::new();
        reserve(&mut asm, size, FIRST);
        keep(&mut asm, Reg::R0, 0);
        write(&mut asm, FIRST, 0);
        keep(&mut asm, Reg::R0, 8);
        release(&mut asm, helper_ids::RINGBUF_SUBMIT_DYNPTR, FIRST);
        allow(&mut asm);
        assert_eq!(kept(asm)[..2], [expected, -22]);

        let mut asm = Assembler::new();
        reserve(&mut asm, size, FIRST);
        allow(&mut asm);
        assert!(rejection(asm, maps()).contains("would lead to reference leak"));
    }
}

#[test]
fn data_is_a_pointer_to_the_bytes_that_were_asked_for() {
    let data = |offset: i32, len: i32| {
        let mut asm = Assembler::new();
        from_mem(&mut asm, 16, 0, FIRST);
        address(&mut asm, Reg::R1, FIRST);
        asm.mov(Reg::R2, offset);
        asm.mov(Reg::R3, len);
        asm.call_helper(helper_ids::DYNPTR_DATA);
        deny_null(&mut asm);
        asm
    };
    let mut asm = data(4, 8);
    asm.store_imm(Size::U64, Reg::R0, 0, 5);
    read(&mut asm, FIRST, 4, 0);
    allow(&mut asm);
    assert_eq!(kept(asm)[..2], [0, 5]);

    let mut asm = data(4, 8);
    asm.load(Size::U8, Reg::R0, Reg::R0, 8);
    allow(&mut asm);
    let message = rejection(asm, maps());
    assert!(message.ends_with("R0 min value is outside of the allowed memory range"), "{message}");

    let mut asm = data(12, 8);
    allow(&mut asm);
    let program = load(asm, maps()).expect("loads");
    assert_eq!(on_write(&program, b"", b"x"), Ok(0), "there is no data beyond the end");
}

#[test]
fn a_dynptr_may_be_made_anew_where_one_was() {
    let mut asm = Assembler::new();
    from_mem(&mut asm, 8, 0, FIRST);
    from_mem(&mut asm, 32, 0, FIRST);
    write(&mut asm, FIRST, 24);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    assert_eq!(kept(asm)[0], 0);
}
