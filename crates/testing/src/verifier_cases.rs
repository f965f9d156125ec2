//! Programs that Linux 6.18 accepts or rejects, with the verifier's reason: one for each thing that it looks at.

mod arguments;
mod control_flow;
mod dead_code;
mod dynptrs;
mod joins;
mod links;
mod locks;
mod memory;
mod numbers;

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Cond, MapDef, MapKind, Program, Reg, Size};

/// One program.
#[derive(Debug)]
pub struct VerifierCase {
    /// What it does.
    pub name: &'static str,
    /// The program.
    pub program: Program,
    /// Why it is rejected, if it is.
    pub rejected: Option<&'static str>,
    /// The kernels that do otherwise than the model of them.
    pub not_modelled: Vec<NotModelled>,
}

/// Some kernels that do otherwise than the model of them.
#[derive(Debug, Clone, Copy)]
pub struct NotModelled {
    /// The first release.
    pub since: (u16, u16),
    /// The first release after them.
    pub before: (u16, u16),
    /// Whether these kernels accept the program.
    pub accepted: bool,
}

impl VerifierCase {
    /// Kernels from `since` on and before `before` accept the program, and the model of them rejects it.
    #[must_use]
    fn accepted_by_kernels(self, since: (u16, u16), before: (u16, u16)) -> Self {
        self.with_not_modelled(NotModelled { since, before, accepted: true })
    }

    /// Kernels from `since` on and before `before` reject the program, and the model of them accepts it.
    #[must_use]
    fn rejected_by_kernels(self, since: (u16, u16), before: (u16, u16)) -> Self {
        self.with_not_modelled(NotModelled { since, before, accepted: false })
    }

    fn with_not_modelled(mut self, kernels: NotModelled) -> Self {
        self.not_modelled.push(kernels);
        self
    }

    /// What the kernels of a release do that the model of them does not: whether they accept the program.
    pub fn not_modelled(&self, release: (u16, u16)) -> Option<bool> {
        let is_one = |kernels: &&NotModelled| (kernels.since..kernels.before).contains(&release);
        self.not_modelled.iter().find(is_one).map(|kernels| kernels.accepted)
    }
}

/// The release after the newest one.
const NEWEST: (u16, u16) = (u16::MAX, 0);

/// Maps of every program: an array of one value, a hash, a ring buffer, a frozen text without an end, a frozen text, an
/// array of four values, a frozen format, an array of programs, an array of arrays.
const VALUE: usize = 0;
const HASH: usize = 1;
const RING: usize = 2;
const ENDLESS: usize = 3;
const TEXT: usize = 4;
const ARRAY: usize = 5;
const FORMAT: usize = 6;
const PROGRAMS: usize = 7;
const MAPS: usize = 8;

const R0: Reg = Reg::R0;
const R1: Reg = Reg::R1;
const R2: Reg = Reg::R2;
const R3: Reg = Reg::R3;
const R4: Reg = Reg::R4;
const R5: Reg = Reg::R5;
const R6: Reg = Reg::R6;
const R10: Reg = Reg::R10;

fn maps() -> Vec<MapDef> {
    let map = |name: &str, kind, key_size, value_size, max_entries| MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    vec![
        map("value", MapKind::Array, 4, 16, 1),
        map("hash", MapKind::Hash, 8, 8, 4),
        map("ring", MapKind::Ringbuf, 0, 0, 4096),
        MapDef::frozen_value("endless", b"text".to_vec()),
        MapDef::frozen_value("text", b"text\0".to_vec()),
        map("array", MapKind::Array, 4, 8, 4),
        MapDef::frozen_value("format", b"%d\0".to_vec()),
        map("programs", MapKind::ProgArray, 4, 4, 1),
        MapDef {
            inner: Some(Box::new(map("inner", MapKind::Array, 4, 8, 1))),
            ..map("maps", MapKind::ArrayOfMaps, 4, 4, 1)
        },
    ]
}

fn case(
    name: &'static str,
    rejected: Option<&'static str>,
    write: impl FnOnce(&mut Assembler),
) -> VerifierCase {
    let mut asm = Assembler::new();
    write(&mut asm);
    let code = asm.finish(true).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = Program { name: "case".to_owned(), maps: maps(), ..Program::from(code) };
    VerifierCase { name, program, rejected, not_modelled: Vec::new() }
}

fn allow(asm: &mut Assembler) {
    asm.mov(R0, 1);
    asm.exit();
}

/// r2 = a number that is not known, of 32 bits.
fn position(asm: &mut Assembler) {
    asm.load(Size::U32, R2, R1, 4);
}

/// r6 = a record of eight bytes, which is not null.
fn reserve(asm: &mut Assembler) {
    asm.load_map(R1, RING);
    asm.mov(R2, 8);
    asm.mov(R3, 0);
    asm.call_helper(id::RINGBUF_RESERVE);
    let reserved = asm.new_label();
    asm.jump_if(Cond::Ne, R0, 0, reserved);
    asm.exit();
    asm.bind(reserved);
    asm.mov(R6, R0);
}

fn submit(asm: &mut Assembler) {
    asm.mov(R1, R6);
    asm.mov(R2, 0);
    asm.call_helper(id::RINGBUF_SUBMIT);
}

/// r0 = the result of a look-up in the hash.
fn look_up(asm: &mut Assembler) {
    asm.store_imm(Size::U64, R10, -8, 9);
    asm.load_map(R1, HASH);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, -8);
    asm.call_helper(id::MAP_LOOKUP_ELEM);
}

/// Sets the new value to bytes at r2, as many as r3 says.
fn replace(asm: &mut Assembler, bytes: impl FnOnce(&mut Assembler)) {
    asm.load(Size::U32, R3, R1, 4);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, -8);
    bytes(asm);
    asm.call_helper(id::SYSCTL_SET_NEW_VALUE);
    allow(asm);
}

/// All cases.
pub fn cases() -> Vec<VerifierCase> {
    let groups = [
        numbers::registers(),
        numbers::arithmetic(),
        memory::memory(),
        memory::stack(),
        memory::many_maps(),
        arguments::arguments(),
        arguments::records(),
        control_flow::functions(),
        control_flow::call_chains(),
        control_flow::loops(),
        dead_code::instructions(),
        dead_code::functions(),
        dynptrs::dynptrs(),
        dynptrs::kernel_memory(),
        joins::joins(),
        links::links(),
        links::negation(),
        locks::locks(),
        locks::places(),
        locks::uses(),
    ];
    groups.into_iter().flatten().collect()
}
