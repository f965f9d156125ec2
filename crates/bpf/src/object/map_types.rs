//! The types of an object's maps: what describes their keys and values and the sections of data, as BTF of its own.
//!
//! The BTF of an object has more: functions, some of them the kernel's, and sections that are no maps. Libbpf changes those so
//! that kernels accept them. Here they are left out.

use std::collections::HashMap;

use super::elf::Symbol;
use super::map_definition::ElementTypes;
use crate::btf::{self, Strings};
use crate::btf_types::{
    ARRAY, CONST, DATASEC, ENUM, ENUM64, FLOAT, FUNC_PROTO, FWD, INT, PTR, RESTRICT, STRUCT, TYPE_TAG,
    TYPEDEF, Type, Types, UNION, VAR, VOLATILE, number,
};
use crate::map_btf::{SpecialField, special_fields};

/// The linkage of a variable that is static (`BTF_VAR_STATIC`).
const VAR_STATIC: u32 = 0;

/// The types that are kept of an object's, numbered anew.
pub(super) struct MapTypes<'t, 'a> {
    types: &'t Types<'a>,
    sections: HashMap<&'a str, Type<'a>>,
    kept: Vec<Kept<'a>>,
    /// The new numbers by the old ones.
    numbers: HashMap<u32, u32>,
    /// How many more members of structs are looked at for fields that the kernel manages.
    members: usize,
}

/// More members than the values of all maps of a program have.
const MEMBERS_MAX: usize = 1 << 20;

#[derive(Clone)]
enum Kept<'a> {
    Type(Type<'a>),
    Section(Section<'a>),
}

#[derive(Clone)]
struct Section<'a> {
    name: &'a str,
    size: u32,
    /// The type, offset and size of each variable.
    variables: Vec<[u32; 3]>,
}

impl<'t, 'a> MapTypes<'t, 'a> {
    pub(super) fn of(types: &'t Types<'a>) -> Self {
        let sections = types.all().filter(|(_, of)| of.kind == DATASEC);
        let sections = sections.map(|(_, of)| (types.name(of), of)).collect();
        Self { types, sections, kept: Vec::new(), numbers: HashMap::new(), members: MEMBERS_MAX }
    }

    /// Keeps a type with all that it consists of. Returns its new number; 0 for what cannot describe a value.
    pub(super) fn keep(&mut self, id: u32) -> u32 {
        let Some(of) = self.types.get(id).filter(|of| describes_values(of.kind)) else { return 0 };
        let next = self.kept.len() as u32 + 1;
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.kept.push(Kept::Type(of));
        }
        number
    }

    /// The fields of a type that the kernel manages.
    pub(super) fn special_fields(&mut self, id: u32) -> Vec<SpecialField> {
        special_fields(self.types, id, &mut self.members)
    }

    /// Keeps the type of a section of data, with the variables that have a place in it. Compilers leave open what only a linker
    /// knows: the size of the section, and where the variables are that other objects see. Of sections of the same name, only the
    /// first has a type.
    pub(super) fn keep_section(
        &mut self,
        name: &'a str,
        size: usize,
        symbols: &[&Symbol<'_>],
    ) -> ElementTypes {
        let Some(section) = self.sections.remove(name) else { return ElementTypes::default() };
        let addresses: HashMap<&str, usize> =
            symbols.iter().map(|symbol| (symbol.name, symbol.address)).collect();
        let records = section.rest.as_chunks::<3>().0.iter();
        let mut variables: Vec<[u32; 3]> = records
            .filter_map(|[id, offset, size]| {
                let id = number(*id);
                let variable = self.types.get(id).filter(|of| of.kind == VAR)?;
                let is_static = variable.rest.first().is_some_and(|linkage| number(*linkage) == VAR_STATIC);
                let offset = match addresses.get(self.types.name(variable)) {
                    _ if is_static => number(*offset),
                    Some(address) => *address as u32,
                    None => return None,
                };
                Some([id, offset, number(*size)])
            })
            .collect();
        variables.sort_by_key(|[_, offset, _]| *offset);
        let mut end = 0;
        variables.retain(|[_, offset, length]| {
            let next = u64::from(*offset) + u64::from(*length);
            // The kernel rejects a variable without bytes, and with it all types.
            let fits = u64::from(*offset) >= end && *length > 0 && next <= size as u64;
            end = if fits { next } else { end };
            fits
        });
        if variables.is_empty() {
            return ElementTypes::default();
        }
        let mut fields = Vec::new();
        for [variable, offset, _] in &variables {
            let of_type = self.types.get(*variable).map_or(0, |variable| variable.payload);
            let found = self.special_fields(of_type).into_iter();
            fields.extend(
                found.map(|field| SpecialField { offset: offset.saturating_add(field.offset), ..field }),
            );
        }
        self.kept.push(Kept::Section(Section { name, size: size as u32, variables }));
        ElementTypes { key: 0, value: self.kept.len() as u32, special_fields: fields }
    }

    /// The types for `BPF_BTF_LOAD`.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let mut next = 0;
        while let Some(kept) = self.kept.get(next).cloned() {
            match kept {
                Kept::Type(of) => self.write(of, &mut types, &mut strings),
                Kept::Section(Section { name, size, variables }) => {
                    let records: Vec<u32> = variables
                        .iter()
                        .flat_map(|[variable, offset, size]| [self.keep(*variable), *offset, *size])
                        .collect();
                    types.add(strings.add(name), DATASEC, variables.len() as u32, size, &records);
                }
            }
            next += 1;
        }
        btf::blob(&types, &strings)
    }

    fn write(&mut self, of: Type<'a>, types: &mut btf::Types, strings: &mut Strings) {
        let mut words: Vec<u32> = of.rest.iter().map(|word| number(*word)).collect();
        let (stride, named) = self.types.record_words(of);
        if named {
            let typed = matches!(of.kind, STRUCT | UNION | FUNC_PROTO);
            for record in words.chunks_exact_mut(stride) {
                record[0] = strings.add(self.types.strings.at(record[0]));
                record[1] = if typed { self.keep(record[1]) } else { record[1] };
            }
        }
        if of.kind == ARRAY {
            words[..2].iter_mut().for_each(|word| *word = self.keep(*word));
        }
        let payload = match of.kind {
            PTR | TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG | FUNC_PROTO | VAR => {
                self.keep(of.payload)
            }
            _ => of.payload,
        };
        let count = words.len().checked_div(stride).unwrap_or(0);
        let name = strings.add(self.types.name(of));
        types.add_flagged(name, of.kind, of.kind_flag, count as u32, payload, &words);
    }
}

/// Whether types of this kind are parts of what describes a value.
fn describes_values(kind: u32) -> bool {
    matches!(
        kind,
        INT | PTR
            | ARRAY
            | STRUCT
            | UNION
            | ENUM
            | FWD
            | TYPEDEF
            | VOLATILE
            | CONST
            | RESTRICT
            | FUNC_PROTO
            | VAR
            | FLOAT
            | TYPE_TAG
            | ENUM64
    )
}
