//! The machine, instruction by instruction and helper by helper, compared with the kernel's documentation and sources.

mod dynptrs;
mod formats;
mod functions;
mod hook_helpers;
mod instructions;
mod kernel_reads;
mod link_storage;
mod locks;
mod maps;
mod memory;
mod other_helpers;
mod releases;
mod verifier;

use knobgate_bpf::{Assembler, Cond, MapDef, MapKind, Program, Reg, Size};
use knobgate_hook::{
    Fault, Invocation, LoadOptions, LoadedProgram, Map, Profile, Rejection, RunOptions, Task,
};

/// The assembled code as a program with these maps.
fn program(asm: Assembler, maps: Vec<MapDef>) -> Program {
    Program { name: "test".to_owned(), maps, ..Program::from(asm.finish(true).expect("assembles")) }
}

fn load(asm: Assembler, maps: Vec<MapDef>) -> Result<LoadedProgram, Rejection> {
    LoadedProgram::load(&program(asm, maps), &Profile::LINUX_6_18, &LoadOptions::default())
}

/// An array of one value, of 8 bytes or more, in which programs store results.
fn results(bytes: u32) -> MapDef {
    map("results", MapKind::Array, 4, bytes, 1)
}

fn map(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    let contents = Vec::new();
    MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        contents,
        frozen: false,
        ..MapDef::default()
    }
}

/// A frozen array with one value.
fn frozen(bytes: &[u8]) -> MapDef {
    let contents = vec![(vec![0; 4], bytes.to_vec())];
    MapDef { contents, frozen: true, ..map("data", MapKind::Array, 4, bytes.len() as u32, 1) }
}

/// Stores a register to the results, map 0, and allows. Changes r1, unless that is the stored register.
fn keep(asm: &mut Assembler, register: Reg, offset: i16) {
    let base = if register == Reg::R1 { Reg::R2 } else { Reg::R1 };
    asm.load_map_value(base, 0, 0);
    asm.store(Size::U64, base, offset, register);
}

fn allow(asm: &mut Assembler) {
    asm.mov(Reg::R0, 1);
    asm.exit();
}

/// A write of `new` to `net/ipv4/tcp_mem`, which holds `current`.
fn on_write(program: &LoadedProgram, current: &[u8], new: &[u8]) -> Result<u64, Fault> {
    let (comm, cgroups) = (b"tester".to_vec(), vec![1, 20, 300]);
    let task = Task { tgid: 7, pid: 8, uid: 9, gid: 10, comm, cgroups, ..Task::default() };
    let profile = Profile::LINUX_6_18;
    let mut invocation = Invocation::write("net/ipv4/tcp_mem", current, new, &task, &profile);
    program.run(&mut invocation, &mut RunOptions::default())
}

/// Runs a program that stores one number, and returns that.
fn result(asm: Assembler) -> u64 {
    let program = load(asm, vec![results(8)]).unwrap_or_else(|rejection| panic!("{rejection}"));
    on_write(&program, b"1\n", b"2\n").unwrap_or_else(|fault| panic!("{fault}"));
    number(&program.maps()[0], 0)
}

/// The number that a program has stored.
fn number(map: &Map, offset: usize) -> u64 {
    let value = map.lookup(&[0; 4]).expect("one value");
    u64::from_le_bytes(*value[offset..].first_chunk().expect("eight bytes"))
}

/// Why the run of a loaded program was stopped.
fn fault(asm: Assembler, maps: Vec<MapDef>) -> String {
    let program = load(asm, maps).unwrap_or_else(|rejection| panic!("{rejection}"));
    on_write(&program, b"1\n", b"2\n").expect_err("a fault").to_string()
}

/// Why a program is rejected.
fn rejection(asm: Assembler, maps: Vec<MapDef>) -> String {
    load(asm, maps).expect_err("a rejection").to_string()
}

/// Denies if r0 is null, and continues otherwise.
fn deny_null(asm: &mut Assembler) {
    let found = asm.new_label();
    asm.jump_if(Cond::Ne, Reg::R0, 0, found);
    asm.exit();
    asm.bind(found);
}
