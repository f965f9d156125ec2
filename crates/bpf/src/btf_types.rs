//! The types in BTF, of an object or of the kernel: `Documentation/bpf/btf.rst`.

use std::borrow::Cow;
use std::ops::Range;

/// What is no type: `void`, which has the id 0.
pub(crate) const VOID: u32 = 0;
pub(crate) const INT: u32 = 1;
pub(crate) const PTR: u32 = 2;
pub(crate) const ARRAY: u32 = 3;
pub(crate) const STRUCT: u32 = 4;
pub(crate) const UNION: u32 = 5;
pub(crate) const ENUM: u32 = 6;
pub(crate) const FWD: u32 = 7;
pub(crate) const TYPEDEF: u32 = 8;
pub(crate) const VOLATILE: u32 = 9;
pub(crate) const CONST: u32 = 10;
pub(crate) const RESTRICT: u32 = 11;
pub(crate) const FUNC: u32 = 12;
pub(crate) const FUNC_PROTO: u32 = 13;
pub(crate) const VAR: u32 = 14;
pub(crate) const DATASEC: u32 = 15;
pub(crate) const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
pub(crate) const TYPE_TAG: u32 = 18;
pub(crate) const ENUM64: u32 = 19;

/// Bits of the encoding of an integer.
pub(crate) const INT_IS_SIGNED: u32 = 1;
pub(crate) const INT_IS_BOOL: u32 = 4;

/// The longest chain of typedefs and qualifiers that is followed.
const DEPTH_MAX: usize = 32;

/// The longest string that is read.
const STRING_MAX: usize = 512;

/// All types, numbered from 1, and their strings.
#[derive(Default)]
pub(crate) struct Types<'a> {
    words: &'a [[u8; 4]],
    /// The first word of each type.
    starts: Cow<'a, [u32]>,
    pub(crate) strings: Strings<'a>,
}

/// Strings, each by the offset of its first byte.
#[derive(Clone, Copy, Default)]
pub(crate) struct Strings<'a>(pub(crate) &'a [u8]);

impl<'a> Strings<'a> {
    /// The string at an offset, up to the first byte that is not text; "" if there is none.
    pub(crate) fn at(self, offset: u32) -> &'a str {
        let bytes = self.0.get(offset as usize..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(STRING_MAX)];
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text)
            .unwrap_or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default())
    }

    /// Whether this is the string at an offset.
    pub(crate) fn is_at(self, offset: u32, string: &str) -> bool {
        let rest = self.0.get(offset as usize..).and_then(|bytes| bytes.strip_prefix(string.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// A `struct btf_type` with what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Type<'a> {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    /// `kind_flag`: of a struct or union, whether offsets of members have the width of bit fields in their upper byte; of an enum,
    /// whether it is signed; of a forward declaration, whether it is a union.
    pub(crate) kind_flag: bool,
    /// Of a function, its linkage.
    pub(crate) vlen: u32,
    /// A size in bytes or another type.
    pub(crate) payload: u32,
    /// What follows: records of as many words as the kind has.
    pub(crate) rest: &'a [[u8; 4]],
}

/// A member of a struct or a union.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) of_type: u32,
    /// In bits; in a struct with bit fields, the upper byte is the width.
    pub(crate) offset: u32,
}

impl<'a> Type<'a> {
    const VOID: Self = Self { name: 0, kind: VOID, kind_flag: false, vlen: 0, payload: 0, rest: &[] };

    /// The type at the start of these words, and the words after it.
    fn decode(words: &'a [[u8; 4]]) -> Option<(Self, &'a [[u8; 4]])> {
        let [name, info, payload, following @ ..] = words else { return None };
        let info = number(*info);
        let (kind, vlen) = (info >> 24 & 0x1f, info & 0xffff);
        let records = vlen as usize;
        let length = match kind {
            INT | VAR | DECL_TAG => 1,
            ARRAY => 3,
            STRUCT | UNION | DATASEC | ENUM64 => 3 * records,
            ENUM | FUNC_PROTO => 2 * records,
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
            _ => return None,
        };
        let (rest, after) = following.split_at_checked(length)?;
        let (name, payload, kind_flag) = (number(*name), number(*payload), info >> 31 != 0);
        Some((Self { name, kind, kind_flag, vlen, payload, rest }, after))
    }

    pub(crate) fn is_composite(self) -> bool {
        matches!(self.kind, STRUCT | UNION)
    }

    pub(crate) fn is_enum(self) -> bool {
        matches!(self.kind, ENUM | ENUM64)
    }

    /// The encoding of an integer: [`INT_IS_SIGNED`] and other bits; 0 for other kinds.
    pub(crate) fn int_encoding(self) -> u32 {
        if self.kind == INT { self.word(0) >> 24 & 0xf } else { 0 }
    }

    /// Where in its bytes an integer begins, in bits; compilers no longer use that for bit fields.
    pub(crate) fn int_offset(self) -> u32 {
        self.word(0) >> 16 & 0xff
    }

    /// Whether it is an integer of this many bits that begins where its bytes do.
    pub(crate) fn is_int_of(self, bits: u32) -> bool {
        self.kind == INT && self.word(0) & 0xff == bits && self.int_offset() == 0
    }

    /// The type and the number of the elements of an array.
    pub(crate) fn array(self) -> Option<(u32, u32)> {
        (self.kind == ARRAY).then(|| (self.word(0), self.word(2)))
    }

    /// The linkage of a variable or function: 0 static, 1 global, 2 extern.
    pub(crate) fn linkage(self) -> u32 {
        if self.kind == VAR { self.word(0) } else { self.vlen }
    }

    /// The types of the parameters of a prototype; that of a variadic one is void.
    pub(crate) fn parameters(self) -> impl Iterator<Item = u32> {
        let records = if self.kind == FUNC_PROTO { self.rest.as_chunks::<2>().0 } else { &[] };
        records.iter().map(|[_, of_type]| number(*of_type))
    }

    fn word(self, index: usize) -> u32 {
        self.rest.get(index).map_or(0, |word| number(*word))
    }
}

/// Where the types of a section are, which takes a pass over all of them to find out.
pub(crate) struct TypeIndex {
    /// The bytes of the section that are types, and those that are strings.
    types: Range<usize>,
    strings: Range<usize>,
    /// The first word of each type.
    starts: Vec<u32>,
}

impl TypeIndex {
    /// `None` if it is cut short, of an unknown version, or has types of an unknown kind.
    pub(crate) fn read(section: &[u8]) -> Option<Self> {
        let word = |at: usize| words(section.get(at..at + 4)?).first().map(|word| number(*word) as usize);
        let (magic, header) = (section.get(..4), word(4).filter(|length| *length >= 24));
        if magic != Some(&[0x9f, 0xeb, 1, 0]) {
            return None;
        }
        let part = |offset: usize| {
            let start = header?.checked_add(word(offset)?)?;
            let end = start.checked_add(word(offset + 4)?)?;
            section.get(start..end).map(|_| start..end)
        };
        let (types, strings) = (part(8)?, part(16)?);
        let mut starts = Vec::new();
        let mut rest = words(&section[types.clone()]);
        while !rest.is_empty() {
            starts.push(u32::try_from(types.len() / 4 - rest.len()).ok()?);
            (_, rest) = Type::decode(rest)?;
        }
        Some(Self { types, strings, starts })
    }

    /// The types. `section` is what the index was made from.
    pub(crate) fn types<'a>(&'a self, section: &'a [u8]) -> Types<'a> {
        let part = |range: &Range<usize>| section.get(range.clone()).unwrap_or_default();
        Types {
            words: words(part(&self.types)),
            starts: Cow::Borrowed(&self.starts),
            strings: Strings(part(&self.strings)),
        }
    }
}

impl<'a> Types<'a> {
    /// `None` if it is cut short, of an unknown version, or has types of an unknown kind.
    pub(crate) fn read(section: &'a [u8]) -> Option<Self> {
        let TypeIndex { types, strings, starts } = TypeIndex::read(section)?;
        Some(Self {
            words: words(&section[types]),
            starts: Cow::Owned(starts),
            strings: Strings(&section[strings]),
        })
    }

    fn at(&self, start: u32) -> Option<Type<'a>> {
        Type::decode(self.words.get(start as usize..)?).map(|(of, _)| of)
    }

    pub(crate) fn get(&self, id: u32) -> Option<Type<'a>> {
        self.at(*self.starts.get((id as usize).checked_sub(1)?)?)
    }

    pub(crate) fn name(&self, of: Type<'a>) -> &'a str {
        self.strings.at(of.name)
    }

    /// A type without typedefs and qualifiers.
    pub(crate) fn resolved(&self, mut id: u32) -> Option<Type<'a>> {
        for _ in 0..DEPTH_MAX {
            let found = self.get(id)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.payload,
                _ => return Some(found),
            }
        }
        None
    }

    /// A type without typedefs and qualifiers, and its id; `void` for 0.
    pub(crate) fn stripped(&self, mut id: u32) -> Option<(u32, Type<'a>)> {
        for _ in 0..DEPTH_MAX {
            if id == 0 {
                return Some((0, Type::VOID));
            }
            let found = self.get(id)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.payload,
                _ => return Some((id, found)),
            }
        }
        None
    }

    /// The names and values of an enum.
    pub(crate) fn enumerators(&self, of: Type<'a>) -> impl Iterator<Item = (&'a str, i128)> {
        (0..).map_while(move |index| self.enumerator(of, index))
    }

    /// The name and value at an index of an enum.
    pub(crate) fn enumerator(&self, of: Type<'a>, index: usize) -> Option<(&'a str, i128)> {
        let words = if of.kind == ENUM64 { 3 } else { 2 };
        let records = if of.is_enum() { of.rest } else { &[] };
        let record = records.get(index.checked_mul(words)?..)?.get(..words)?;
        let low = number(record[1]);
        let value = match (record.get(2), of.kind_flag) {
            (None, false) => i128::from(low),
            (None, true) => i128::from(low as i32),
            (Some(high), is_signed) => {
                let value = u64::from(low) | u64::from(number(*high)) << 32;
                if is_signed { i128::from(value as i64) } else { i128::from(value) }
            }
        };
        Some((self.strings.at(number(record[0])), value))
    }

    /// What a section of data has: variables, and functions that are declared in it, with their types.
    pub(crate) fn section_entries(&self, section: &str) -> impl Iterator<Item = Type<'a>> {
        let records = self.section(section).map(|of| of.rest.as_chunks::<3>().0).unwrap_or_default();
        records.iter().filter_map(|[entry, ..]| self.get(number(*entry)))
    }

    /// How many bytes a value takes.
    pub(crate) fn size(&self, mut id: u32) -> Option<u32> {
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

    /// A type as C writes it, without typedefs and qualifiers: `unsigned int`, `char[16]`, `struct task_struct *`.
    pub(crate) fn describe(&self, id: u32) -> String {
        let (mut id, mut suffix) = (id, String::new());
        for _ in 0..DEPTH_MAX {
            let Some((_, of)) = self.stripped(id) else { break };
            let tag = match of.kind {
                PTR => {
                    suffix.insert(0, '*');
                    id = of.payload;
                    continue;
                }
                ARRAY => {
                    suffix.push_str(&format!("[{}]", of.word(2)));
                    id = of.word(0);
                    continue;
                }
                VOID => return format!("void{suffix}"),
                FUNC_PROTO => return format!("a function{suffix}"),
                STRUCT => "struct ",
                UNION => "union ",
                FWD => {
                    if of.kind_flag {
                        "union "
                    } else {
                        "struct "
                    }
                }
                ENUM | ENUM64 => "enum ",
                _ => "",
            };
            let name = self.name(of);
            let name = if name.is_empty() { "(without a name)" } else { name };
            return format!("{tag}{name}{suffix}");
        }
        "an unknown type".to_owned()
    }

    /// The struct of this name.
    pub(crate) fn structure(&self, name: &str) -> Option<Type<'a>> {
        self.all().map(|(_, of)| of).find(|of| of.kind == STRUCT && self.strings.is_at(of.name, name))
    }

    /// How many elements an array has.
    pub(crate) fn length(&self, array: Type<'a>) -> Option<u32> {
        (array.kind == ARRAY).then(|| number(array.rest[2]))
    }

    /// The type of the elements of an array.
    pub(crate) fn element(&self, array: Type<'a>) -> Option<u32> {
        (array.kind == ARRAY).then(|| number(array.rest[0]))
    }

    /// How many members a struct has, or how many records of another kind follow a type.
    pub(crate) fn member_count(&self, of: Type<'a>) -> usize {
        of.rest.len() / 3
    }

    /// The words of each record that follows a type, and whether the first one is a name; no words if there are no records.
    pub(crate) fn record_words(&self, of: Type<'a>) -> (usize, bool) {
        match of.kind {
            STRUCT | UNION | ENUM64 => (3, true),
            ENUM | FUNC_PROTO => (2, true),
            DATASEC => (3, false),
            _ => (0, false),
        }
    }

    pub(crate) fn members(&self, of: Type<'a>) -> impl Iterator<Item = Member<'a>> {
        (0..).map_while(move |index| self.member(of, index))
    }

    /// The member at an index of a struct or union.
    pub(crate) fn member(&self, of: Type<'a>, index: u32) -> Option<Member<'a>> {
        let records = if of.is_composite() { of.rest.as_chunks().0 } else { &[] };
        let [name, of_type, offset] = *records.get(index as usize)?;
        Some(Member { name: self.strings.at(number(name)), of_type: number(of_type), offset: number(offset) })
    }

    /// The section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<Type<'a>> {
        self.all().map(|(_, of)| of).find(|of| of.kind == DATASEC && self.strings.is_at(of.name, name))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// All types with their numbers.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = (u32, Type<'a>)> {
        (1..=self.count() as u32).filter_map(|id| Some((id, self.get(id)?)))
    }

    /// The variables of a section, with their types.
    pub(crate) fn variables(&self, section: &str) -> impl Iterator<Item = (&'a str, u32)> {
        let variables = self.section_entries(section).filter(|of| of.kind == VAR);
        variables.map(|variable| (self.name(variable), variable.payload))
    }
}

/// The offset of a member in bits, and the width of a bit field, which is 0 for other members.
pub(crate) fn place(of: Type<'_>, offset: u32) -> (u64, u32) {
    if of.kind_flag { (u64::from(offset & 0x00ff_ffff), offset >> 24) } else { (u64::from(offset), 0) }
}

pub(crate) fn words(bytes: &[u8]) -> &[[u8; 4]] {
    bytes.as_chunks().0
}

pub(crate) fn number(word: [u8; 4]) -> u32 {
    u32::from_le_bytes(word)
}
