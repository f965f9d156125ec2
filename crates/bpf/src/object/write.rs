//! Writes a program as an ELF object for libbpf, bpftool and [`Object`](crate::Object).
//!
//! The main program is in the section `cgroup/sysctl` and the functions that it calls are in `.text`, as clang has them.
//! Arrays of one value are sections of data, which is how an object carries the initial contents of a map. All other maps
//! are definitions in `.maps`.

use object::elf::{R_BPF_64_32, R_BPF_64_64, RelocationType};
use object::write::{Object, Relocation, SectionId, Symbol, SymbolFlags, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolKind, SymbolScope};

use super::write_btf::{BtfSections, CODE, FUNCTIONS};
use crate::btf::identifier;
use crate::{Callee, Function, Imm64, Insn, MapDef, MapKind, MapReference, Operation, Program, encode};

/// Why a program cannot be written as an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// An object cannot carry the contents of this kind of map.
    #[error(
        "an object cannot carry the contents of the map {map}: only arrays of one value can have initial contents"
    )]
    MapContents {
        /// Its name.
        map: String,
    },
    /// The address of a value is taken that is not in a section of data.
    #[error(
        "instruction {insn} takes the address of a value of the map {map}, which is not an array of one value"
    )]
    MapValue {
        /// The instruction.
        insn: usize,
        /// The name of the map.
        map: String,
    },
    /// Something about a map that is not written.
    #[error("the map {map} {what}, which is not written")]
    Map {
        /// Its name.
        map: String,
        /// What it is that is not written, such as "is pinned by its name".
        what: &'static str,
    },
    /// There are programs in program arrays.
    #[error("the programs in its program arrays cannot be written")]
    TailCalls,
    /// The program is not well formed.
    #[error("the program is not well formed at instruction {insn}")]
    Malformed {
        /// The instruction.
        insn: usize,
    },
}

/// The license of programs that state none.
const LICENSE: &str = "Dual MIT/GPL";

/// The program as the bytes of an object file.
///
/// # Errors
///
/// [`WriteError`].
pub fn write_object(program: &Program) -> Result<Vec<u8>, WriteError> {
    if !program.tail_calls.is_empty() {
        return Err(WriteError::TailCalls);
    }
    // Loaders know a program by the name of its function.
    let named = with_name_of_function(program);
    let program = &named;
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let maps = add_maps(&mut file, program)?;
    add_code(&mut file, program, &maps)?;

    let mut license = program.license.as_deref().unwrap_or(LICENSE).replace('\0', " ").into_bytes();
    license.push(0);
    let section = file.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    let symbol = variable(b"_license", section, 0, license.len());
    file.add_symbol(symbol);
    file.append_section_data(section, &license, 1);

    let definitions = program.maps.iter().filter(|def| !is_data(def));
    let BtfSections { btf, btf_ext } = BtfSections::of(program, definitions);
    for (name, bytes) in [(".BTF", btf), (".BTF.ext", btf_ext)] {
        let section = file.add_section(Vec::new(), name.into(), SectionKind::Other);
        file.append_section_data(section, &bytes, 4);
    }
    // Nothing in it can fail to be written: all symbols are in sections, and all relocations are of types of BPF.
    file.write().map_err(|_| WriteError::Malformed { insn: 0 })
}

fn with_name_of_function(program: &Program) -> Program {
    let mut program = program.clone();
    match program.functions.first_mut() {
        Some(main) => main.name.clone_from(&program.name),
        None => program.functions.push(Function { name: program.name.clone(), start: 0 }),
    }
    program
}

/// What instructions refer to for a map: its symbol.
struct WrittenMap {
    symbol: SymbolId,
    is_data: bool,
}

/// Whether it becomes a section of data.
fn is_data(def: &MapDef) -> bool {
    def.kind == MapKind::Array && def.max_entries == 1 && def.key_size == 4 && def.flags == 0
}

/// What cannot be left out of a definition without a change of the map. The types of keys and values can be.
fn not_written(def: &MapDef) -> Option<&'static str> {
    let special = || def.btf.as_ref().is_some_and(|btf| !btf.special_fields.is_empty());
    if def.kind.has_inner_maps() {
        Some("has maps in it")
    } else if def.pinned_by_name {
        Some("is pinned by its name")
    } else if def.map_extra != 0 {
        Some("has a map_extra")
    } else {
        special().then_some("has values with fields that the kernel manages")
    }
}

fn add_maps(file: &mut Object<'_>, program: &Program) -> Result<Vec<WrittenMap>, WriteError> {
    let mut definitions = None;
    let mut written = Vec::new();
    for def in &program.maps {
        if let Some(what) = not_written(def) {
            return Err(WriteError::Map { map: def.name.clone(), what });
        }
        if is_data(def) {
            let symbol = add_data(file, def)?;
            written.push(WrittenMap { symbol, is_data: true });
            continue;
        }
        if !def.contents.is_empty() || def.frozen {
            return Err(WriteError::MapContents { map: def.name.clone() });
        }
        let section = *definitions
            .get_or_insert_with(|| file.add_section(Vec::new(), b".maps".to_vec(), SectionKind::Data));
        let bytes = [0; super::write_btf::DEFINITION_BYTES as usize];
        let offset = file.append_section_data(section, &bytes, 8);
        let symbol =
            file.add_symbol(variable(identifier(&def.name).as_bytes(), section, offset, bytes.len()));
        written.push(WrittenMap { symbol, is_data: false });
    }
    Ok(written)
}

/// The section for an array of one value. Its name says whether programs may write it, and whether it starts with
/// anything.
fn add_data(file: &mut Object<'_>, def: &MapDef) -> Result<SymbolId, WriteError> {
    let size = def.value_size as usize;
    let value = match &def.contents[..] {
        [] => None,
        [(key, value)] if key[..] == [0; 4] && value.len() == size => Some(value),
        _ => return Err(WriteError::MapContents { map: def.name.clone() }),
    };
    // Libbpf has names of one's own in these two, since 0.6, and none in .bss.
    let (prefix, kind) =
        if def.frozen { (".rodata", SectionKind::ReadOnlyData) } else { (".data", SectionKind::Data) };
    let is_one = |prefix: &str| {
        def.name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let zeros = || vec![0; size];
    let section = if def.name == ".bss" && value.is_none() {
        let section = file.add_section(Vec::new(), b".bss".to_vec(), SectionKind::UninitializedData);
        file.append_section_bss(section, size as u64, 8);
        section
    } else {
        let name = if is_one(prefix) { def.name.clone() } else { format!("{prefix}.{}", def.name) };
        let section = file.add_section(Vec::new(), name.into_bytes(), kind);
        file.append_section_data(section, &value.cloned().unwrap_or_else(zeros), 8);
        section
    };
    let name = identifier(def.name.trim_start_matches('.'));
    Ok(file.add_symbol(variable(name.as_bytes(), section, 0, size)))
}

fn variable(name: &[u8], section: SectionId, offset: u64, size: usize) -> Symbol {
    symbol(name, section, offset, size, SymbolKind::Data, SymbolScope::Dynamic)
}

fn symbol(
    name: &[u8],
    section: SectionId,
    offset: u64,
    size: usize,
    kind: SymbolKind,
    scope: SymbolScope,
) -> Symbol {
    Symbol {
        name: name.to_vec(),
        value: offset,
        size: size as u64,
        kind,
        scope,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    }
}

/// Where a section of code begins and ends in the program.
struct Code {
    section: SectionId,
    insns: std::ops::Range<usize>,
}

fn add_code(file: &mut Object<'_>, program: &Program, maps: &[WrittenMap]) -> Result<(), WriteError> {
    let all = program.insns.len();
    let starts = || program.functions.iter().map(|function| function.start);
    let main_end = starts().nth(1).unwrap_or(all);
    if starts().next().unwrap_or(0) != 0 || !starts().chain([all]).is_sorted_by(|a, b| a < b) {
        return Err(WriteError::Malformed { insn: main_end });
    }
    let insns = resolved(program, main_end)?;
    let add_section = |file: &mut Object<'_>, name: &str, range: std::ops::Range<usize>| {
        let section = file.add_section(Vec::new(), name.into(), SectionKind::Text);
        file.append_section_data(section, &encode(&insns[range.clone()]), 8);
        Code { section, insns: range }
    };
    let functions = add_section(file, FUNCTIONS, main_end..all);
    let main = add_section(file, CODE, 0..main_end);
    let ends = starts().skip(1).chain([all]);
    for (index, (function, end)) in program.functions.iter().zip(ends).enumerate() {
        let (code, scope) =
            if index == 0 { (&main, SymbolScope::Dynamic) } else { (&functions, SymbolScope::Compilation) };
        let offset = ((function.start - code.insns.start) * Insn::BYTES) as u64;
        let size = (end - function.start) * Insn::BYTES;
        let name = identifier(&function.name);
        file.add_symbol(symbol(name.as_bytes(), code.section, offset, size, SymbolKind::Text, scope));
    }
    let text = file.section_symbol(functions.section);
    for code in [&main, &functions] {
        for (insn, symbol, r_type) in references(program, code, maps, main_end, text)? {
            let offset = ((insn - code.insns.start) * Insn::BYTES) as u64;
            let flags = RelocationFlags::Elf { r_type };
            let relocation = Relocation { offset, symbol, addend: 0, flags };
            file.add_relocation(code.section, relocation).map_err(|_| WriteError::Malformed { insn })?;
        }
    }
    Ok(())
}

/// The instructions before linking, with the addends of relocations in them.
fn resolved(program: &Program, main_end: usize) -> Result<Vec<Insn>, WriteError> {
    let mut insns = program.insns.clone();
    for relocation in &program.relocations {
        let insn = relocation.insn;
        let Some([first, second, ..]) = insns.get_mut(insn..) else {
            return Err(WriteError::Malformed { insn });
        };
        let offset = match relocation.target {
            MapReference::Map => 0,
            MapReference::Value(offset) => offset,
        };
        *first = first.with_src(0).with_imm(offset as i32);
        *second = second.with_imm(0);
    }
    for (insn, target, is_call) in functions_referred_to(program)? {
        let in_text = target.checked_sub(main_end).ok_or(WriteError::Malformed { insn })? as i32;
        insns[insn] = match is_call {
            // Inside .text the distance is final, and there is nothing to relocate.
            true if insn >= main_end => continue,
            true => insns[insn].with_imm(in_text - 1),
            false => insns[insn].with_src(0).with_imm(in_text * Insn::BYTES as i32),
        };
    }
    Ok(insns)
}

/// What has to be relocated in a section of code: instructions, symbols and types.
fn references(
    program: &Program,
    code: &Code,
    maps: &[WrittenMap],
    main_end: usize,
    text: SymbolId,
) -> Result<Vec<(usize, SymbolId, RelocationType)>, WriteError> {
    let mut references = Vec::new();
    for relocation in program.relocations.iter().filter(|relocation| code.insns.contains(&relocation.insn)) {
        let insn = relocation.insn;
        let map = maps.get(relocation.map).ok_or(WriteError::Malformed { insn })?;
        // A section of data is all of a map to libbpf, and a map that is one has no other address.
        if map.is_data != matches!(relocation.target, MapReference::Value(_)) {
            return Err(WriteError::MapValue { insn, map: program.maps[relocation.map].name.clone() });
        }
        references.push((insn, map.symbol, R_BPF_64_64));
    }
    for (insn, _, is_call) in functions_referred_to(program)? {
        if code.insns.contains(&insn) && !(is_call && insn >= main_end) {
            references.push((insn, text, if is_call { R_BPF_64_32 } else { R_BPF_64_64 }));
        }
    }
    references.sort_by_key(|(insn, ..)| *insn);
    Ok(references)
}

/// Instructions that call functions of the program or take their addresses: where, which instruction is meant, and
/// whether it is a call.
fn functions_referred_to(program: &Program) -> Result<Vec<(usize, usize, bool)>, WriteError> {
    let mut found = Vec::new();
    let mut insn = 0;
    while insn < program.insns.len() {
        let operation = Operation::at(&program.insns, insn).map_err(|_| WriteError::Malformed { insn })?;
        let (off, is_call) = match operation {
            Operation::Call { callee: Callee::Function(off) } => (Some(off), true),
            Operation::LoadImm64 { imm: Imm64::Function { off }, .. } => (Some(off), false),
            _ => (None, false),
        };
        if let Some(off) = off {
            let target = usize::try_from(insn as i64 + 1 + i64::from(off)).ok();
            let is_start =
                |target: &usize| program.functions.iter().any(|function| function.start == *target);
            found.push((insn, target.filter(is_start).ok_or(WriteError::Malformed { insn })?, is_call));
        }
        insn += operation.slots();
    }
    Ok(found)
}
