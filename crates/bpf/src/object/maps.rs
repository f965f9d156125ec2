//! The maps of an object: definitions in `.maps` and `maps`, and the sections of data.

use std::ops::Range;

use object::SymbolKind;

use super::elf::{Elf, FunctionAddresses, Role, Section, Symbol};
use super::{ObjectError, ObjectVariable};
use crate::btf_types::{ARRAY, Member, PTR, STRUCT, Type, Types};
use crate::{MapDef, MapKind};

/// A map.
#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) name: String,
    /// The index of its section.
    pub(super) section: usize,
    /// Its address there; `None` for a section of data, which is one map.
    pub(super) address: Option<usize>,
    /// The definition, or what is not supported about it.
    pub(super) def: Result<MapDef, String>,
    /// The initial contents of a program array: the index in the array, and the index of the function, if it is one.
    pub(super) programs: Vec<(u32, Option<usize>)>,
    /// Where in the section these are.
    values: Option<Range<usize>>,
    pub(super) is_read_only_data: bool,
}

/// More attributes than any map has.
const MEMBERS_MAX: usize = 64;

/// The smallest page size; ring buffers are multiples of pages.
const PAGE_BYTES: u32 = 4096;

/// All maps, in the order of sections and definitions.
pub(super) fn read(elf: &Elf<'_>, types: &Types<'_>) -> Result<Vec<Map>, ObjectError> {
    let mut maps = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        match section.role {
            Role::Data | Role::ReadOnlyData if section.size > 0 => maps.push(of_data(index, section)),
            Role::Maps => of_btf(elf, types, index, &mut maps)?,
            Role::LegacyMaps => of_structs(elf, index, &mut maps)?,
            _ => {}
        }
    }
    Ok(maps)
}

/// An array of one value, which the section is.
fn of_data(index: usize, section: &Section<'_>) -> Map {
    let frozen = section.role == Role::ReadOnlyData;
    let all_zero = section.data.iter().all(|byte| *byte == 0);
    let contents = if all_zero && !frozen { Vec::new() } else { vec![(vec![0; 4], section.data.to_vec())] };
    let def = MapDef {
        name: section.name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: section.size as u32,
        max_entries: 1,
        flags: 0,
        contents,
        frozen,
        inner: None,
    };
    let def = match section.relocations.first() {
        None => Ok(def),
        Some(_) => Err(format!("the section {} holds addresses, which only a linker knows", section.name)),
    };
    Map {
        name: section.name.to_owned(),
        section: index,
        address: None,
        def,
        programs: Vec::new(),
        values: None,
        is_read_only_data: frozen,
    }
}

/// The symbols of variables in a section, by address.
fn variables<'e, 'a>(elf: &'e Elf<'a>, section: usize) -> Vec<&'e Symbol<'a>> {
    let is_variable = |symbol: &&Symbol<'_>| !symbol.name.is_empty() && symbol.kind == SymbolKind::Data;
    let mut symbols: Vec<_> = elf.symbols_in(section).map(|(_, symbol)| symbol).filter(is_variable).collect();
    symbols.sort_by_key(|symbol| symbol.address);
    symbols
}

/// The variables in the sections of data.
pub(super) fn data_variables(elf: &Elf<'_>) -> Vec<ObjectVariable> {
    let mut all = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        if matches!(section.role, Role::Data | Role::ReadOnlyData) {
            all.extend(variables(elf, index).into_iter().map(|symbol| ObjectVariable {
                name: symbol.name.to_owned(),
                section: section.name.to_owned(),
                offset: symbol.address,
                size: symbol.size,
            }));
        }
    }
    all
}

/// Definitions that are described by the types of variables.
fn of_btf(elf: &Elf<'_>, types: &Types<'_>, index: usize, maps: &mut Vec<Map>) -> Result<(), ObjectError> {
    let section = &elf.sections[index];
    let described: std::collections::HashMap<&str, u32> = types.variables(section.name).collect();
    for symbol in variables(elf, index) {
        let name = symbol.name;
        let definition = described.get(name).and_then(|id| types.resolved(*id));
        let definition = definition.filter(|of| of.kind == STRUCT).ok_or_else(|| {
            ObjectError::damaged(format!("no type in .BTF describes the map {name} (compile with -g)"))
        })?;
        let (def, values) = match parse(types, definition, name) {
            Ok((def, values)) => (Ok(def), values),
            Err(what) => (Err(what), None),
        };
        maps.push(Map {
            name: name.to_owned(),
            section: index,
            address: Some(symbol.address),
            def,
            values: values.map(|values| symbol.address + values..symbol.range().end),
            programs: Vec::new(),
            is_read_only_data: false,
        });
    }
    Ok(())
}

/// A definition as `libbpf` has them: every attribute is a member of the struct, and numbers are lengths of arrays.
///
/// Says where the values of a program array begin as well, in bytes from the beginning of the variable.
fn parse(types: &Types<'_>, definition: Type<'_>, name: &str) -> Result<(MapDef, Option<usize>), String> {
    if types.member_count(definition) > MEMBERS_MAX {
        return Err(format!("the map {name} has too many attributes"));
    }
    let (mut kind, mut key_size, mut value_size, mut max_entries, mut flags) = (0, 0, 0, 0, 0);
    let mut values = None;
    for member in types.members(definition) {
        let bad = || format!("the map {name}: its {} cannot be read", member.name);
        let number = || number_of(types, &member).ok_or_else(bad);
        let size = || size_of(types, &member).ok_or_else(bad);
        match member.name {
            "type" => kind = number()?,
            "key" => key_size = size()?,
            "key_size" => key_size = number()?,
            "value" => value_size = size()?,
            "value_size" => value_size = number()?,
            "max_entries" => max_entries = number()?,
            "map_flags" => flags = number()?,
            "values" => values = Some(member.offset as usize / 8),
            "pinning" if number()? == 0 => {}
            "pinning" => return Err(format!("the map {name} wants to be pinned by its name")),
            other => return Err(format!("the map {name} has the attribute \"{other}\"")),
        }
    }
    let def = define(name, [kind, key_size, value_size, max_entries, flags])?;
    match def.kind {
        MapKind::ProgArray => Ok((def, values)),
        _ if values.is_some() => Err(format!("the map {name} has values that it starts with")),
        _ => Ok((def, None)),
    }
}

/// `int (*name)[NUMBER]`
fn number_of(types: &Types<'_>, member: &Member<'_>) -> Option<u32> {
    let pointer = types.resolved(member.of_type).filter(|of| of.kind == PTR)?;
    let array = types.resolved(pointer.payload).filter(|of| of.kind == ARRAY)?;
    types.length(array)
}

/// `TYPE *name`
fn size_of(types: &Types<'_>, member: &Member<'_>) -> Option<u32> {
    let pointer = types.resolved(member.of_type).filter(|of| of.kind == PTR)?;
    types.size(pointer.payload)
}

/// Definitions as `struct bpf_map_def`: type, sizes of key and value, number of entries, flags, and what loaders have
/// added after these, which is ignored if it is zero.
fn of_structs(elf: &Elf<'_>, index: usize, maps: &mut Vec<Map>) -> Result<(), ObjectError> {
    let section = &elf.sections[index];
    for symbol in variables(elf, index) {
        let name = symbol.name;
        let bytes = section.data.get(symbol.range()).unwrap_or_default();
        let (words, rest) = bytes.split_at_checked(20).ok_or_else(|| {
            ObjectError::damaged(format!("the map {name} is described by {} bytes, not 20", bytes.len()))
        })?;
        let words = std::array::from_fn(|at| u32::from_le_bytes(words.as_chunks().0[at]));
        let def = if rest.iter().all(|byte| *byte == 0) {
            define(name, words)
        } else {
            Err(format!("the map {name} has more attributes than kind, sizes and flags"))
        };
        maps.push(Map {
            name: name.to_owned(),
            section: index,
            address: Some(symbol.address),
            def,
            programs: Vec::new(),
            values: None,
            is_read_only_data: false,
        });
    }
    Ok(())
}

/// Fills in the initial contents of program arrays.
pub(super) fn resolve_programs(elf: &Elf<'_>, maps: &mut [Map], addresses: &FunctionAddresses) {
    for map in maps {
        let Some(values) = map.values.clone() else { continue };
        for relocation in elf.sections[map.section].relocations_in(values.clone()) {
            let symbol = &elf.symbols[relocation.symbol];
            let function = symbol.section.and_then(|section| addresses.get(&(section, symbol.address)));
            map.programs.push((((relocation.offset - values.start) / 8) as u32, function.copied()));
        }
    }
}

fn define(name: &str, [kind, key_size, value_size, max_entries, flags]: [u32; 5]) -> Result<MapDef, String> {
    let kind = MapKind::from_number(kind)
        .ok_or_else(|| format!("the map {name} is of the kind {kind} of enum bpf_map_type"))?;
    if kind == MapKind::ArrayOfMaps {
        return Err(format!("the map {name} is an {}, whose maps only the running kernel has", kind.name()));
    }
    let (key_size, value_size) = match kind {
        // The kernel has one size for the elements of these, which may be left out.
        MapKind::ProgArray | MapKind::PerfEventArray => (4, 4),
        _ => (key_size, value_size),
    };
    let max_entries = match kind {
        MapKind::Ringbuf => max_entries
            .max(PAGE_BYTES)
            .checked_next_power_of_two()
            .ok_or_else(|| format!("the map {name} is larger than 2 GiB"))?,
        _ => max_entries,
    };
    let contents = Vec::new();
    Ok(MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags,
        contents,
        frozen: false,
        inner: None,
    })
}
