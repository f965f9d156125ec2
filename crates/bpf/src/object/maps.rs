//! The maps of an object: definitions in `.maps` and `maps`, and the sections of data.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use object::SymbolKind;

use super::elf::{Elf, FunctionAddresses, Relocation, Role, Section, Symbol};
use super::map_definition::{Definition, ElementTypes, Numbers, check_special_fields, define, has_types};
use super::map_types::MapTypes;
use super::{ObjectError, ObjectVariable};
use crate::btf_types::{STRUCT, Type, Types, VAR};
use crate::{MapBtf, MapDef, MapKind};

/// The linkage of variables that are not static (`BTF_VAR_GLOBAL_ALLOCATED`).
const GLOBAL: u32 = 1;

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
    types: ElementTypes,
    /// Those of the maps in it.
    inner_types: ElementTypes,
    /// The initial contents of an array of programs, or of an array or a hash of maps: the index or key, and the index of the
    /// function or map, if it is one.
    pub(super) values: Vec<(u32, Option<usize>)>,
    /// Where in the section these are.
    value_bytes: Option<Range<usize>>,
    pub(super) is_read_only_data: bool,
}

/// All maps, in the order of sections and definitions.
pub(super) fn read(elf: &Elf<'_>, types: &Types<'_>) -> Result<Vec<Map>, ObjectError> {
    let mut maps = Vec::new();
    let mut kept = MapTypes::of(types);
    for (index, section) in elf.sections.iter().enumerate() {
        match section.role {
            Role::Data | Role::ReadOnlyData if section.size > 0 => {
                let types = kept.keep_section(section.name, section.size, &variables(elf, index));
                maps.push(Map { types, ..of_data(index, section) });
            }
            Role::Maps => of_btf(elf, types, &mut kept, index, &mut maps)?,
            Role::LegacyMaps => of_structs(elf, index, &mut maps)?,
            _ => {}
        }
    }
    let types: Arc<[u8]> = kept.finish().into();
    maps.iter_mut().for_each(|map| map.add_types(&types));
    Ok(maps)
}

impl Map {
    /// Adds the types of keys and values to the definition.
    fn add_types(&mut self, types: &Arc<[u8]>) {
        let Ok(def) = &mut self.def else { return };
        let add = |def: &mut MapDef, found: &mut ElementTypes| {
            let ElementTypes { key: key_type_id, value: value_type_id, special_fields } =
                std::mem::take(found);
            if has_types(def.kind) && value_type_id != 0 {
                def.btf = Some(MapBtf { types: types.clone(), key_type_id, value_type_id, special_fields });
            }
            check_special_fields(def)
        };
        let mut checked = add(def, &mut self.types);
        if let Some(inner) = &mut def.inner {
            checked = checked.and_then(|()| add(inner, &mut self.inner_types));
        }
        if let Err(what) = checked {
            self.def = Err(what);
        }
    }
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
        contents,
        frozen,
        ..MapDef::default()
    };
    let def = match section.relocations.first() {
        None => Ok(def),
        Some(_) => Err(format!("the section {} holds addresses, which only a linker knows", section.name)),
    };
    Map { is_read_only_data: frozen, ..Map::new(section.name, index, None, def) }
}

impl Map {
    /// A map without types and initial contents.
    fn new(name: &str, section: usize, address: Option<usize>, def: Result<MapDef, String>) -> Self {
        Self {
            name: name.to_owned(),
            section,
            address,
            def,
            types: ElementTypes::default(),
            inner_types: ElementTypes::default(),
            values: Vec::new(),
            value_bytes: None,
            is_read_only_data: false,
        }
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
fn of_btf(
    elf: &Elf<'_>,
    types: &Types<'_>,
    kept: &mut MapTypes<'_, '_>,
    index: usize,
    maps: &mut Vec<Map>,
) -> Result<(), ObjectError> {
    let section = &elf.sections[index];
    let described: HashMap<&str, Type<'_>> = types
        .section_entries(section.name)
        .filter(|of| of.kind == VAR)
        .map(|variable| (types.name(variable), variable))
        .collect();
    for symbol in variables(elf, index) {
        let name = symbol.name;
        let variable = described.get(name);
        let definition = variable.and_then(|variable| types.resolved(variable.payload));
        let definition = definition.filter(|of| of.kind == STRUCT).ok_or_else(|| {
            ObjectError::damaged(format!("no type in .BTF describes the map {name} (compile with -g)"))
        })?;
        let address = Some(symbol.address);
        if variable.is_some_and(|variable| variable.linkage() != GLOBAL) {
            let what =
                format!("the map {name} is static; other loaders do not see it, and reject the object");
            maps.push(Map::new(name, index, address, Err(what)));
            continue;
        }
        maps.push(match Definition::parse(types, kept, definition, name) {
            Ok(Definition { def, types, inner_types, values }) => Map {
                types,
                inner_types,
                value_bytes: values.map(|values| symbol.address + values..symbol.range().end),
                ..Map::new(name, index, address, Ok(def))
            },
            Err(what) => Map::new(name, index, address, Err(what)),
        });
    }
    Ok(())
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
        let [kind, key_size, value_size, max_entries, flags] =
            std::array::from_fn(|at| u32::from_le_bytes(words.as_chunks().0[at]));
        let def = if rest.iter().any(|byte| *byte != 0) {
            Err(format!("the map {name} has more attributes than kind, sizes and flags"))
        } else {
            define(name, &Numbers { kind, key_size, value_size, max_entries, flags })
        };
        let def = def.and_then(|def| match def.kind.has_inner_maps() {
            true => Err(format!(
                "the map {name} ({}) cannot say in the section {} what its maps are like; define it in .maps",
                def.kind.name(),
                section.name
            )),
            false => Ok(def),
        });
        maps.push(Map::new(name, index, Some(symbol.address), def));
    }
    Ok(())
}

/// Fills in the initial contents of arrays of programs, and of arrays and hashes of maps.
pub(super) fn resolve_values(elf: &Elf<'_>, maps: &mut [Map], functions: &FunctionAddresses) {
    let addresses: HashMap<(usize, usize), usize> = maps
        .iter()
        .enumerate()
        .filter_map(|(index, map)| Some(((map.section, map.address?), index)))
        .collect();
    for map in maps {
        let Some(bytes) = map.value_bytes.clone() else { continue };
        let holds_maps = map.def.as_ref().is_ok_and(|def| def.kind.has_inner_maps());
        let section = &elf.sections[map.section];
        for relocation in section.relocations_in(bytes.clone()) {
            let found = target(elf, section, relocation)
                .and_then(|target| if holds_maps { addresses.get(&target) } else { functions.get(&target) });
            map.values.push((((relocation.offset - bytes.start) / 8) as u32, found.copied()));
        }
    }
}

/// The section and address that a pointer is relocated to.
fn target(elf: &Elf<'_>, section: &Section<'_>, relocation: &Relocation) -> Option<(usize, usize)> {
    let symbol = &elf.symbols[relocation.symbol];
    let in_place = || {
        let bytes = section.data.get(relocation.offset..)?.first_chunk()?;
        Some(i64::from_le_bytes(*bytes))
    };
    let addend = relocation.addend.or_else(in_place)?;
    Some((symbol.section?, symbol.address.checked_add_signed(isize::try_from(addend).ok()?)?))
}
