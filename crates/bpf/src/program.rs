//! A program: what is loaded, attached or interpreted.

use std::sync::Arc;

use crate::object::printable;
use crate::{Insn, KernelStructs, MapDef};

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
    /// The initial contents of its arrays and hashes of maps.
    pub inner_maps: Vec<InnerMap>,
    /// The instructions that cannot run on the kernel that the program was linked for; sorted by [`Unresolved::insn`].
    pub unresolved: Vec<Unresolved>,
    /// The layout of the kernel's structs that it was linked for, on a model that has them as [a kernel's
    /// BTF](crate::TargetKernel::structs) says. `None`: the model's own, or the kernel's.
    pub kernel_structs: Option<Arc<KernelStructs>>,
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
            + size_of_val(&self.inner_maps[..])
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

/// A map in an array or a hash of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerMap {
    /// The index of the outer map among the maps.
    pub outer: usize,
    /// The index in the array, or the key in the hash.
    pub key: u32,
    /// The index of the map itself among the maps.
    pub map: usize,
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
        self.unresolved.push(Unresolved { insn, helper, what: printable(&what), reason });
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
