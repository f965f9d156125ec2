//! The types in the section `.BTF`: `Documentation/bpf/btf.rst`.

use super::ObjectError;

pub(super) const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
pub(super) const ARRAY: u32 = 3;
pub(super) const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
pub(super) const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
pub(super) const VAR: u32 = 14;
pub(super) const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// How many types may stand between a name and what it means.
const DEPTH_MAX: usize = 32;

/// Strings are looked at so far; nothing that matters is longer.
const STRING_MAX: usize = 512;

/// All types of an object, numbered from 1, and its strings.
#[derive(Default)]
pub(super) struct Types<'a> {
    types: Vec<Type<'a>>,
    pub(super) strings: Strings<'a>,
}

/// Strings, each by the offset of its first byte.
#[derive(Clone, Copy, Default)]
pub(super) struct Strings<'a>(pub(super) &'a [u8]);

impl<'a> Strings<'a> {
    /// The string at an offset, as far as it is text; "" where there is none.
    pub(super) fn at(self, offset: u32) -> &'a str {
        let bytes = self.0.get(offset as usize..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(STRING_MAX)];
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text)
            .unwrap_or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default())
    }
}

/// A `struct btf_type` with what follows it.
#[derive(Clone, Copy)]
pub(super) struct Type<'a> {
    name: u32,
    pub(super) kind: u32,
    /// A size in bytes or another type.
    pub(super) payload: u32,
    /// What follows: records of as many words as the kind has.
    rest: &'a [[u8; 4]],
}

/// A member of a struct.
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) of_type: u32,
    /// In bits, for members that are no bit fields.
    pub(super) offset: u32,
}

impl<'a> Types<'a> {
    pub(super) fn read(section: &'a [u8]) -> Result<Self, ObjectError> {
        let damaged = || ObjectError::damaged("the section .BTF is cut short or of an unknown version");
        let word = |at: usize| words(section.get(at..at + 4)?).first().map(|word| number(*word) as usize);
        let (magic, header) = (section.get(..4), word(4).filter(|length| *length >= 24));
        if magic != Some(&[0x9f, 0xeb, 1, 0]) {
            return Err(damaged());
        }
        let part = |offset: usize| {
            let start = header?.checked_add(word(offset)?)?;
            section.get(start..start.checked_add(word(offset + 4)?)?)
        };
        let (types, strings) = (part(8).ok_or_else(damaged)?, part(16).ok_or_else(damaged)?);
        let mut all = Self { types: Vec::new(), strings: Strings(strings) };
        let mut rest = words(types);
        while let [name, info, payload, following @ ..] = rest {
            let info = number(*info);
            let (kind, records) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let length = match kind {
                INT | VAR | DECL_TAG => 1,
                ARRAY => 3,
                STRUCT | UNION | DATASEC | ENUM64 => 3 * records,
                ENUM | FUNC_PROTO => 2 * records,
                PTR | 7 | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
                _ => return Err(damaged()),
            };
            let (of_type, next) = following.split_at_checked(length).ok_or_else(damaged)?;
            all.types.push(Type { name: number(*name), kind, payload: number(*payload), rest: of_type });
            rest = next;
        }
        if rest.is_empty() { Ok(all) } else { Err(damaged()) }
    }

    pub(super) fn get(&self, id: u32) -> Option<Type<'a>> {
        self.types.get((id as usize).checked_sub(1)?).copied()
    }

    pub(super) fn name(&self, of: Type<'a>) -> &'a str {
        self.strings.at(of.name)
    }

    /// What a type is behind its other names and qualifiers.
    pub(super) fn resolved(&self, mut id: u32) -> Option<Type<'a>> {
        for _ in 0..DEPTH_MAX {
            let found = self.get(id)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.payload,
                _ => return Some(found),
            }
        }
        None
    }

    /// How many bytes a value takes.
    pub(super) fn size(&self, mut id: u32) -> Option<u32> {
        let mut count = 1u32;
        for _ in 0..DEPTH_MAX {
            let found = self.resolved(id)?;
            match found.kind {
                ARRAY => {
                    count = count.checked_mul(number(*found.rest.get(2)?))?;
                    id = number(*found.rest.first()?);
                }
                PTR => return count.checked_mul(8),
                INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => return count.checked_mul(found.payload),
                _ => return None,
            }
        }
        None
    }

    /// How many elements an array has.
    pub(super) fn length(&self, array: Type<'a>) -> Option<u32> {
        (array.kind == ARRAY).then(|| number(array.rest[2]))
    }

    /// How many members a struct has, or how many records of another kind follow a type.
    pub(super) fn member_count(&self, of: Type<'a>) -> usize {
        of.rest.len() / 3
    }

    pub(super) fn members(&self, of: Type<'a>) -> impl Iterator<Item = Member<'a>> {
        let records = if of.kind == STRUCT { of.rest.as_chunks().0 } else { &[] };
        records.iter().map(|[name, of_type, offset]| Member {
            name: self.strings.at(number(*name)),
            of_type: number(*of_type),
            offset: number(*offset),
        })
    }

    /// The variables that BTF has in a section: each with its type.
    pub(super) fn variables(&self, section: &str) -> impl Iterator<Item = (&'a str, u32)> {
        let section = self.types.iter().find(|of| of.kind == DATASEC && self.name(**of) == section);
        let records = section.map(|of| of.rest.as_chunks::<3>().0).unwrap_or_default();
        records.iter().filter_map(|[variable, ..]| {
            let variable = self.get(number(*variable)).filter(|of| of.kind == VAR)?;
            Some((self.name(variable), variable.payload))
        })
    }
}

pub(super) fn words(bytes: &[u8]) -> &[[u8; 4]] {
    bytes.as_chunks().0
}

pub(super) fn number(word: [u8; 4]) -> u32 {
    u32::from_le_bytes(word)
}
