//! Random programs that the verifier accepts, made of pieces that are valid by themselves and only use what the kernel has.
//! The pieces store what they find to the results, which are compared.

mod arithmetic;
mod dynptr;
mod hook_helpers;
mod maps;
mod probe_read;
pub(crate) mod return_values;
mod text;

use knobgate_bpf::{Assembler, Insn, Label, MapDef, MapKind, Program, Reg, Size, Width, helper_ids};
use knobgate_hook::Profile;
use knobgate_testing::Random;

use crate::inputs::{self, Kind};

/// Indexes of maps; all programs have all of them.
pub(crate) const RESULTS: usize = 0;
const INPUTS: usize = 1;
const STRINGS: usize = 2;
/// The maps that pieces use by their kinds.
const KINDS: [MapKind; 11] = [
    MapKind::Array,
    MapKind::Hash,
    MapKind::LruHash,
    MapKind::PercpuArray,
    MapKind::PercpuHash,
    MapKind::LruPercpuHash,
    MapKind::LpmTrie,
    MapKind::Queue,
    MapKind::Stack,
    MapKind::Ringbuf,
    MapKind::CgroupStorage,
];
const FIRST_KIND: usize = 3;

/// Bytes of results, which the pieces fill from the start; after them is room for buffers.
const RESULT_BYTES: u32 = 6144;
const BUFFERS: u32 = 1536;

/// Bytes of inputs: random numbers, and then text.
const INPUT_BYTES: u32 = 768;
const TEXTS: u32 = 256;

/// The register of the context.
const CONTEXT: Reg = Reg::R6;

/// A program that is being generated.
struct Sketch<'r> {
    asm: Assembler,
    /// The target kernel.
    profile: &'r Profile,
    random: &'r mut Random,
    /// The offset of the next result.
    next: u32,
    /// Functions that are called but not yet generated.
    functions: Vec<(Label, Body)>,
    /// Whether it may replace the new value. On kernels that do not terminate replacements, a handler of CPU masks reads on
    /// into the old contents of the heap.
    rewrites: bool,
}

/// The kind of a function.
#[derive(Clone, Copy)]
enum Body {
    /// Computes a number from its two arguments.
    Number,
    /// Called by `bpf_loop`: adds to what its context points to, and ends the loop at this turn.
    Loop { stop_at: u32 },
    /// Called by `bpf_for_each_map_elem`: adds the value to what its context points to.
    ForEach,
}

/// A random program for accesses to a knob about `kind`.
pub(crate) fn any(random: &mut Random, profile: &Profile, kind: Kind, name: String) -> Program {
    let inputs = inputs(random, kind);
    let strings = text::strings();
    let rewrites = kind != Kind::Mask;
    let (asm, functions) = (Assembler::new(), Vec::new());
    let mut sketch = Sketch { asm, profile, random, next: 0, functions, rewrites };
    sketch.asm.mov(CONTEXT, Reg::R1);
    for _ in 0..1 + sketch.random.below(6) {
        sketch.piece();
    }
    sketch.end();
    while let Some((label, body)) = sketch.functions.pop() {
        sketch.function(label, body);
    }
    let code = sketch.asm.finish(profile.long_jump).expect("every label is bound");
    let maps = maps(inputs, strings);
    Program { name, maps, ..Program::from(code) }
}

/// Random numbers, and then what may be written to a knob.
fn inputs(random: &mut Random, kind: Kind) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..TEXTS / 8).flat_map(|_| random.number().to_le_bytes()).collect();
    while bytes.len() < INPUT_BYTES as usize {
        let text = inputs::value(random, kind);
        bytes.extend(&text[..text.len().min(40)]);
        bytes.push(0);
    }
    bytes.truncate(INPUT_BYTES as usize - 1);
    // What is printed as a string ends.
    bytes.push(0);
    bytes
}

fn maps(inputs: Vec<u8>, strings: Vec<u8>) -> Vec<MapDef> {
    let map = |name: &str, kind, key_size, value_size, max_entries| MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    };
    let filled = |name: &str, bytes: Vec<u8>| MapDef {
        contents: vec![(vec![0; 4], bytes.clone())],
        ..map(name, MapKind::Array, 4, bytes.len() as u32, 1)
    };
    let mut maps = vec![
        // Zeros that a helper writes must be visible.
        filled("results", vec![b'#'; RESULT_BYTES as usize]),
        filled("inputs", inputs),
        MapDef { frozen: true, ..filled("strings", strings) },
    ];
    maps.extend(KINDS.map(|kind| {
        let (key_size, value_size, max_entries) = match kind {
            MapKind::Ringbuf => (0, 0, 4096),
            MapKind::Queue | MapKind::Stack => (0, 12, 5),
            MapKind::LpmTrie => (8, 8, 6),
            MapKind::CgroupStorage => (8, 8, 0),
            // Eviction differs from the kernel's, so these maps never fill up.
            MapKind::LruHash | MapKind::LruPercpuHash => (4, 16, 64),
            _ => (4, 16, 4),
        };
        // The kernel only has tries without preallocated memory.
        let flags = u32::from(kind == MapKind::LpmTrie);
        MapDef { flags, ..map(kind.name(), kind, key_size, value_size, max_entries) }
    }));
    maps
}

/// The index of the map of a kind.
fn map_of(kind: MapKind) -> usize {
    FIRST_KIND + KINDS.iter().position(|other| *other == kind).expect("it is one of them")
}

impl Sketch<'_> {
    fn piece(&mut self) {
        match self.random.below(20) {
            0..=2 => self.arithmetic(),
            3 => self.memory(),
            4 => self.call(),
            5 | 6 => self.get_name(),
            7 | 8 => self.get_value(),
            9 if self.rewrites => self.set_new_value(),
            10 => self.parse_number(),
            11 if self.has(helper_ids::GET_RETVAL) => self.retval(),
            12 => self.context(),
            13 | 14 => self.map(),
            // Before 6.3, no dynptr can be made where one was.
            15 | 16 if self.has(helper_ids::DYNPTR_FROM_MEM) && self.profile.version >= (6, 3) => {
                self.dynptr();
            }
            17 if self.has(helper_ids::PROBE_READ_KERNEL) => self.probe_read(),
            _ if self.has(helper_ids::SNPRINTF) => self.text(),
            _ => self.arithmetic(),
        }
    }

    fn has(&self, helper: u32) -> bool {
        self.profile.has_helper(helper)
    }

    /// Allows, or denies, or returns a random verdict.
    fn end(&mut self) {
        match self.random.below(6) {
            0 => self.asm.mov(Reg::R0, 0),
            1 => {
                self.load_input(Reg::R0);
                self.asm.emit(Insn::alu(Width::W64, knobgate_bpf::AluOp::And, Reg::R0, 1));
            }
            2 => {
                self.asm.load(Size::U8, Reg::R0, CONTEXT, 4);
                let (deny, end) = (self.asm.new_label(), self.asm.new_label());
                self.asm.jump_if(knobgate_bpf::Cond::Gt, Reg::R0, 5, deny);
                self.asm.mov(Reg::R0, 1);
                self.asm.jump(end);
                self.asm.bind(deny);
                self.asm.mov(Reg::R0, 0);
                self.asm.bind(end);
            }
            _ => self.asm.mov(Reg::R0, 1),
        }
        self.asm.exit();
    }

    /// Stores a number to the results; changes r9.
    fn keep(&mut self, register: Reg) {
        if self.next + 8 > BUFFERS {
            return;
        }
        self.asm.load_map_value(Reg::R9, RESULTS, self.next);
        self.asm.store(Size::U64, Reg::R9, 0, register);
        self.next += 8;
    }

    /// A number that the verifier does not know.
    fn load_input(&mut self, register: Reg) {
        let at = self.random.below(u64::from(TEXTS / 8)) as u32 * 8;
        self.asm.load_map_value(register, INPUTS, at);
        self.asm.load(Size::U64, register, register, 0);
    }

    /// An offset in the results for this many bytes, mostly unaligned.
    fn buffer(&mut self, register: Reg, bytes: u32) {
        let room = RESULT_BYTES - BUFFERS - bytes;
        let at = BUFFERS + self.random.below(u64::from(room.min(600)) + 1) as u32;
        self.asm.load_map_value(register, RESULTS, at);
    }

    /// Some of the texts; its length.
    fn some_text(&mut self, register: Reg) -> u32 {
        let most = if self.random.one_in(4) { 90 } else { 24 };
        let bytes = 1 + self.random.below(most) as u32;
        let at = TEXTS + self.random.below(u64::from(INPUT_BYTES - TEXTS - bytes)) as u32;
        self.asm.load_map_value(register, INPUTS, at);
        bytes
    }

    fn stack_address(&mut self, register: Reg, offset: i32) {
        self.asm.mov(register, Reg::R10);
        self.asm.alu(knobgate_bpf::AluOp::Add, register, offset);
    }
}
