//! A program: what is loaded, attached or interpreted.

use crate::Insn;
use crate::uapi::BPF_F_RDONLY_PROG;

/// Instructions with the maps that they use, and the source lines that they were compiled from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The name that the kernel shows; the loader cuts it to 15 bytes.
    pub name: String,
    /// The license that the program states. GPL-only helpers need a compatible one. `None`: it states none, and the loader
    /// chooses.
    pub license: Option<String>,
    /// The instructions. A 64-bit immediate load takes two of them, as it does in the kernel.
    pub insns: Vec<Insn>,
    /// The maps, in the order in which [`Relocation::map`] counts them.
    pub maps: Vec<MapDef>,
    /// Where instructions refer to maps; sorted by [`Relocation::insn`].
    pub relocations: Vec<Relocation>,
    /// Functions in the order of their first instruction; the first starts at 0 and is the main program.
    pub functions: Vec<Function>,
    /// Which source line each instruction came from.
    pub lines: LineTable,
    /// The initial contents of its program arrays.
    pub tail_calls: Vec<TailCall>,
    /// The instructions that cannot run on the kernel that the program was linked for; sorted by [`Unresolved::insn`].
    pub unresolved: Vec<Unresolved>,
}

/// An instruction that needs something that the kernel does not have. If the program cannot reach it, as after
/// `bpf_core_field_exists()`, that does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The index of the instruction. It is a call of a helper that does not exist, and whose number is [`helper`](Self::helper).
    pub insn: usize,
    /// That number, which is another one for each of a program.
    pub helper: u32,
    /// What is missing.
    pub what: String,
    /// Who lacks it.
    pub reason: UnresolvedReason,
}

/// Who lacks what an instruction needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnresolvedReason {
    /// The kernel: its verifier rejects the program if it can get to the instruction.
    KernelLacks,
    /// A model of a kernel. The kernel itself may have it.
    NotModelled,
}

impl Unresolved {
    /// The number of the first such helper. It is libbpf's: `0xbad2310`.
    pub const HELPER: u32 = 195_896_080;
}

impl Program {
    /// About how many bytes of memory it takes, including the initial contents of its maps and the programs that it
    /// tail-calls.
    pub fn bytes(&self) -> usize {
        let license = self.license.as_ref().map_or(0, String::len);
        let functions: usize = self.functions.iter().map(|function| function.name.len()).sum();
        let texts: usize = self.lines.entries.iter().map(|entry| entry.text.len()).sum();
        let contents = self.maps.iter().flat_map(|def| &def.contents);
        let contents: usize = contents.map(|(key, value)| key.len() + value.len()).sum();
        let tail_calls: usize = self.tail_calls.iter().map(|call| call.program.bytes()).sum();
        let unresolved: usize = self.unresolved.iter().map(|unresolved| unresolved.what.len()).sum();
        size_of::<Self>()
            + size_of_val(&self.insns[..])
            + size_of_val(&self.relocations[..])
            + size_of_val(&self.functions[..])
            + size_of_val(&self.lines.entries[..])
            + size_of_val(&self.maps[..])
            + size_of_val(&self.unresolved[..])
            + unresolved
            + license
            + functions
            + texts
            + contents
            + tail_calls
    }
}

/// The output of an assembler: the parts of a [`Program`] that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Code {
    /// The instructions.
    pub insns: Vec<Insn>,
    /// Where they refer to maps, in ascending order.
    pub relocations: Vec<Relocation>,
    /// The functions, in ascending order.
    pub functions: Vec<Function>,
    /// Their source lines, in ascending order.
    pub lines: Vec<LineEntry>,
}

/// A program in a program array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailCall {
    /// The index of the program array among the maps.
    pub map: usize,
    /// The index in the array.
    pub index: u32,
    /// The program. It has no maps and no tail calls of its own: its relocations count the maps of the program that it
    /// belongs to.
    pub program: Program,
}

/// A map that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapDef {
    /// Its name. The kernel takes at most 15 bytes of letters, digits, `_` and `.`; the loader adapts it.
    pub name: String,
    /// What kind of map.
    pub kind: MapKind,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// The maximum of entries; 0 for a perf event array: one for each CPU.
    pub max_entries: u32,
    /// `BPF_F_…` bits to create it with, other than those that its kind and [`frozen`](Self::frozen) imply.
    pub flags: u32,
    /// Its initial contents: keys and values of the sizes above.
    pub contents: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether programs can only read it, and user space cannot change it after it was filled.
    pub frozen: bool,
    /// For an array of maps: a map like those that may be in it. Their number of entries may differ.
    pub inner: Option<Box<MapDef>>,
}

impl MapDef {
    /// An array of one frozen value.
    pub fn frozen_value(name: &str, value: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: value.len() as u32,
            max_entries: 1,
            flags: 0,
            contents: vec![(vec![0; 4], value)],
            frozen: true,
            inner: None,
        }
    }

    /// Whether programs may only read it: it is frozen, or has the flag `BPF_F_RDONLY_PROG`.
    pub fn is_read_only(&self) -> bool {
        self.frozen || self.flags & BPF_F_RDONLY_PROG != 0
    }
}

/// The kinds of map; the discriminant is the kernel's `enum bpf_map_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PROG_ARRAY`
    ProgArray = 3,
    /// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
    PerfEventArray = 4,
    /// `BPF_MAP_TYPE_PERCPU_HASH`
    PercpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PercpuArray = 6,
    /// `BPF_MAP_TYPE_CGROUP_ARRAY`
    CgroupArray = 8,
    /// `BPF_MAP_TYPE_LRU_HASH`
    LruHash = 9,
    /// `BPF_MAP_TYPE_LRU_PERCPU_HASH`
    LruPercpuHash = 10,
    /// `BPF_MAP_TYPE_LPM_TRIE`
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_ARRAY_OF_MAPS`
    ArrayOfMaps = 12,
    /// `BPF_MAP_TYPE_CGROUP_STORAGE`, which the kernel calls deprecated
    CgroupStorage = 19,
    /// `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE`
    PercpuCgroupStorage = 21,
    /// `BPF_MAP_TYPE_QUEUE`
    Queue = 22,
    /// `BPF_MAP_TYPE_STACK`
    Stack = 23,
    /// `BPF_MAP_TYPE_RINGBUF`
    Ringbuf = 27,
}

impl MapKind {
    /// All kinds, by number.
    pub const ALL: [Self; 16] = [
        Self::Hash,
        Self::Array,
        Self::ProgArray,
        Self::PerfEventArray,
        Self::PercpuHash,
        Self::PercpuArray,
        Self::CgroupArray,
        Self::LruHash,
        Self::LruPercpuHash,
        Self::LpmTrie,
        Self::ArrayOfMaps,
        Self::CgroupStorage,
        Self::PercpuCgroupStorage,
        Self::Queue,
        Self::Stack,
        Self::Ringbuf,
    ];

    /// The kernel's number of it.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind with this number, if there is one here.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether each CPU has a value of its own under a key.
    pub const fn is_per_cpu(self) -> bool {
        matches!(self, Self::PercpuHash | Self::PercpuArray | Self::LruPercpuHash | Self::PercpuCgroupStorage)
    }

    /// Whether a program has one value for each attachment.
    pub const fn is_cgroup_storage(self) -> bool {
        matches!(self, Self::CgroupStorage | Self::PercpuCgroupStorage)
    }

    /// Its name, as `bpftool` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Array => "array",
            Self::ProgArray => "prog_array",
            Self::PerfEventArray => "perf_event_array",
            Self::PercpuHash => "percpu_hash",
            Self::PercpuArray => "percpu_array",
            Self::CgroupArray => "cgroup_array",
            Self::LruHash => "lru_hash",
            Self::LruPercpuHash => "lru_percpu_hash",
            Self::LpmTrie => "lpm_trie",
            Self::ArrayOfMaps => "array_of_maps",
            Self::CgroupStorage => "cgroup_storage",
            Self::PercpuCgroupStorage => "percpu_cgroup_storage",
            Self::Queue => "queue",
            Self::Stack => "stack",
            Self::Ringbuf => "ringbuf",
        }
    }
}

/// A reference to a map by an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// The index of the first instruction of a 64-bit immediate load.
    pub insn: usize,
    /// The index of the map.
    pub map: usize,
    /// What is loaded.
    pub target: MapReference,
}

/// What a 64-bit immediate load takes from a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapReference {
    /// The map itself, as an argument of helpers (`BPF_PSEUDO_MAP_FD`).
    Map,
    /// The address of this byte in the value of an array of one entry (`BPF_PSEUDO_MAP_VALUE`).
    Value(u32),
}

/// A function: the main program or a subprogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name: a C identifier.
    pub name: String,
    /// The index of its first instruction.
    pub start: usize,
}

/// The source lines of instructions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineTable {
    /// The name of the source file.
    pub file: String,
    /// In ascending order of instructions. An entry covers the instructions until the next entry.
    pub entries: Vec<LineEntry>,
}

/// One entry of a [`LineTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineEntry {
    /// The index of the first instruction.
    pub insn: usize,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
    /// The text of the line.
    pub text: String,
}

impl Program {
    /// The first map with cgroup storage that a program in a program array uses and this one does not, with that program.
    ///
    /// If it was called, it would get the storage of this program's attachment. Kernels do not accept it in the array
    /// (`storage_cookie` in kernel/bpf/core.c), or dereference a null pointer (5.10).
    pub fn foreign_storage(&self) -> Option<(&Self, &MapDef)> {
        self.tail_calls.iter().map(|call| &call.program).find_map(|callee| {
            let uses = |map: usize| self.relocations.iter().any(|relocation| relocation.map == map);
            let foreign = callee.relocations.iter().map(|used| used.map).filter(|&map| !uses(map));
            let mut maps = foreign.filter_map(|map| self.maps.get(map));
            maps.find(|map| map.kind.is_cgroup_storage()).map(|map| (callee, map))
        })
    }
}

impl Program {
    /// Makes the instruction one that cannot run.
    pub(crate) fn set_unresolved(&mut self, insn: usize, what: String, reason: UnresolvedReason) {
        let helper = Unresolved::HELPER + self.unresolved.len() as u32;
        // What is left of a 64-bit load is an instruction that does nothing.
        if self.insns[insn].is_load_imm64()
            && let Some(second) = self.insns.get_mut(insn + 1)
        {
            *second = Insn::jump(0);
        }
        self.insns[insn] = Insn::call_helper(helper);
        self.unresolved.push(Unresolved { insn, helper, what, reason });
    }
}

impl From<Code> for Program {
    /// The code as a program that has neither a name nor maps yet.
    fn from(code: Code) -> Self {
        let Code { insns, relocations, functions, lines } = code;
        let lines = LineTable { file: String::new(), entries: lines };
        Self { insns, relocations, functions, lines, ..Self::default() }
    }
}

impl LineTable {
    /// The entry that covers instruction `insn`.
    pub fn of(&self, insn: usize) -> Option<&LineEntry> {
        let after = self.entries.partition_point(|entry| entry.insn <= insn);
        after.checked_sub(1).map(|index| &self.entries[index])
    }
}
