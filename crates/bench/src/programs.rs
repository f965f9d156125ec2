//! The programs that are compared.

use std::error::Error;

use knobgate_bench::{PolicyText, literal};
use knobgate_bpf::{
    AluOp, Assembler, Features, MapDef, MapKind, Object, Program, Reg, Size, StructLayouts, helper_ids,
};
use knobgate_kernel::{LoadOptions, LoadedProgram, load, probe_cached};

/// What this kernel can do.
pub(crate) fn features() -> Features {
    probe_cached().features()
}

/// `return 1`: what every program of this type costs at least.
///
/// # Errors
///
/// The kernel rejects it.
pub(crate) fn return_1() -> Result<LoadedProgram, Box<dyn Error>> {
    allowing("return_1", Assembler::new(), Vec::new())
}

/// Fetches the knob's name into a buffer of zeros with these flags, one time after the other, and allows.
///
/// # Errors
///
/// The kernel rejects it.
pub(crate) fn fetching(flags: &[u32]) -> Result<LoadedProgram, Box<dyn Error>> {
    let mut asm = Assembler::new();
    asm.mov(Reg::R6, Reg::R1);
    for &flags in flags {
        for word in 1..=8 {
            asm.store_imm(Size::U64, Reg::R10, -8 * word, 0);
        }
        asm.mov(Reg::R1, Reg::R6);
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -64);
        asm.mov(Reg::R3, 64);
        asm.mov(Reg::R4, flags as i32);
        asm.call_helper(helper_ids::SYSCTL_GET_NAME);
    }
    allowing("fetching", asm, Vec::new())
}

/// Adds one to a number in a map, and allows.
///
/// # Errors
///
/// The kernel rejects it.
pub(crate) fn counting() -> Result<LoadedProgram, Box<dyn Error>> {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R1, 0, 0);
    asm.mov(Reg::R2, 1);
    asm.atomic_add(Size::U64, Reg::R1, 0, Reg::R2);
    let counters = MapDef {
        name: "counters".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    };
    allowing("counting", asm, vec![counters])
}

/// Reads the length and the handler of the knob from its `ctl_table`, which the kernel's own context leads to, and allows.
///
/// # Errors
///
/// The kernel has no BTF, or rejects it.
pub(crate) fn reading_table() -> Result<LoadedProgram, Box<dyn Error>> {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux")?;
    let layouts = StructLayouts::read(&btf)?;
    let mut asm = Assembler::new();
    let mut read = |bytes: i32, at: i32, base: Reg, member: &str| -> Result<(), Box<dyn Error>> {
        asm.mov(Reg::R3, base);
        asm.alu(AluOp::Add, Reg::R3, i32::try_from(layouts.offset(member)?)?);
        asm.mov(Reg::R1, Reg::R10);
        asm.alu(AluOp::Add, Reg::R1, at);
        asm.mov(Reg::R2, bytes);
        asm.call_helper(helper_ids::PROBE_READ_KERNEL);
        asm.load(Size::U64, Reg::R6, Reg::R10, -8);
        Ok(())
    };
    read(8, -8, Reg::R1, "bpf_sysctl_kern.table")?;
    read(4, -16, Reg::R6, "ctl_table.maxlen")?;
    read(8, -24, Reg::R6, "ctl_table.proc_handler")?;
    allowing("reading_table", asm, Vec::new())
}

fn allowing(name: &str, mut asm: Assembler, maps: Vec<MapDef>) -> Result<LoadedProgram, Box<dyn Error>> {
    asm.mov(Reg::R0, 1);
    asm.exit();
    let program = Program { name: name.to_owned(), maps, ..Program::from(asm.finish(false)?) };
    Ok(load(&program, &LoadOptions::default())?)
}

/// The program of a policy.
///
/// # Errors
///
/// It is too large for the compiler or for the kernel.
pub(crate) fn of_policy(policy: &PolicyText) -> Result<LoadedProgram, Box<dyn Error>> {
    let compiled = knobgate_compiler::compile(&policy.parsed(), &features())?;
    Ok(load(compiled.program(), &LoadOptions::default())?)
}

/// A program of `by_hand.c`, for the middle one of so many rules being about `knob`.
///
/// # Errors
///
/// The kernel rejects it.
pub(crate) fn by_hand(name: &str, rules: usize, knob: &str) -> Result<LoadedProgram, Box<dyn Error>> {
    let mut program = Object::read(include_bytes!("../fixtures/by_hand.bpf.o"))?.program(Some(name))?;
    if let Some(map) = program.maps.iter_mut().find(|map| map.name == "rules") {
        map.contents = (0..rules)
            .map(|rule| {
                let mut key = if rule == rules / 2 { knob.to_owned() } else { literal(rule) }.into_bytes();
                key.resize(map.key_size as usize, 0);
                (key, (rule as u32).to_ne_bytes().to_vec())
            })
            .collect();
    }
    Ok(load(&program, &LoadOptions::default())?)
}
