//! Structs of C as data, and as BTF.

use std::collections::HashMap;

use crate::btf::{self, ARRAY, INT, PTR, STRUCT, Strings, Types};

/// A struct with its layout.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StructDef {
    /// Its name.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: u32,
    /// Its members, by ascending offset.
    pub members: Vec<MemberDef>,
}

/// A member of a [`StructDef`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDef {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: u32,
    /// Its type.
    pub of_type: MemberType,
}

/// The type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberType {
    /// An integer.
    Int {
        /// Its name, as in `unsigned int`.
        name: &'static str,
        /// Its size in bytes.
        size: u32,
        /// Whether it has a sign.
        signed: bool,
    },
    /// The struct of this name.
    Struct(&'static str),
    /// A pointer.
    Pointer(&'static MemberType),
    /// What a `void *` points to.
    Void,
    /// An array of this many elements.
    Array(&'static MemberType, u32),
}

impl StructDef {
    /// Lays out a struct as C does on 64-bit machines: every member at the next offset with its alignment. `known` has the
    /// structs that are members of this one; another one counts as empty.
    pub fn new(name: &'static str, members: &[(&'static str, MemberType)], known: &[Self]) -> Self {
        let (mut end, mut align) = (0u32, 1);
        let mut place = |&(name, of_type): &(&'static str, MemberType)| {
            let (size, member_align) = of_type.layout(known);
            let offset = end.next_multiple_of(member_align);
            (end, align) = (offset + size, align.max(member_align));
            MemberDef { name, offset, of_type }
        };
        let members = members.iter().map(&mut place).collect();
        Self { name, size: end.next_multiple_of(align), members }
    }

    /// A struct with members at these offsets, in ascending order. It takes `size` bytes, or more if a member does: that one has
    /// room for elements beyond the end.
    pub(crate) fn placed(
        name: &'static str,
        size: u32,
        members: &[(&'static str, u32, MemberType)],
        known: &[Self],
    ) -> Self {
        let place =
            |&(name, offset, of_type): &(&'static str, u32, MemberType)| MemberDef { name, offset, of_type };
        let end = |member: &MemberDef| member.offset.saturating_add(member.of_type.size(known));
        let members: Vec<_> = members.iter().map(place).collect();
        let size = members.iter().map(end).fold(size, u32::max);
        Self { name, size, members }
    }

    /// The offset and the type of a member of one of `structs`. `path` names the struct first, and may lead into structs
    /// inside of it: `cred.uid.val`.
    pub fn find(structs: &[Self], path: &str) -> Option<(u32, MemberType)> {
        let mut names = path.split('.');
        let name = names.next()?;
        let mut found = (0, MemberType::Struct(structs.iter().find(|of| of.name == name)?.name));
        for name in names {
            let MemberType::Struct(of) = found.1 else { return None };
            let member = structs.iter().find(|known| known.name == of)?.member(name)?;
            found = (found.0 + member.offset, member.of_type);
        }
        Some(found)
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&MemberDef> {
        self.members.iter().find(|member| member.name == name)
    }

    fn align(&self, known: &[Self]) -> u32 {
        self.members.iter().map(|member| member.of_type.layout(known).1).max().unwrap_or(1)
    }
}

impl MemberType {
    /// How many bytes it takes. `known` has the structs that it may name.
    pub fn size(&self, known: &[StructDef]) -> u32 {
        self.layout(known).0
    }

    /// Its size and alignment in bytes.
    fn layout(&self, known: &[StructDef]) -> (u32, u32) {
        match *self {
            Self::Int { size, .. } => (size, size),
            Self::Pointer(_) => (8, 8),
            Self::Void => (0, 1),
            Self::Array(element, count) => {
                let (size, align) = element.layout(known);
                (size * count, align)
            }
            Self::Struct(name) => known
                .iter()
                .find(|known| known.name == name)
                .map_or((0, 1), |found| (found.size, found.align(known))),
        }
    }
}

/// The BTF of these structs, in the format of `/sys/kernel/btf/vmlinux`. A pointer to a struct that is not among them is a
/// `void *`.
pub fn struct_btf(structs: &[StructDef]) -> Vec<u8> {
    let mut encoder = Encoder {
        types: Types::new(),
        strings: Strings::new(),
        ids: HashMap::new(),
        // The structs come first, so that their numbers are known before what they refer to.
        next: structs.len() as u32 + 1,
        others: Vec::new(),
    };
    for (id, of) in (1..).zip(structs) {
        encoder.ids.insert(MemberType::Struct(of.name), id);
    }
    for of in structs {
        let mut members = Vec::new();
        for member in &of.members {
            let name = encoder.strings.add(member.name);
            members.extend([name, encoder.id(member.of_type), 8 * member.offset]);
        }
        let name = encoder.strings.add(of.name);
        encoder.types.add(name, STRUCT, of.members.len() as u32, of.size, &members);
    }
    for [name, kind, payload, rest @ ..] in encoder.others {
        let words = match kind {
            INT => 1,
            ARRAY => 3,
            _ => 0,
        };
        encoder.types.add(name, kind, 0, payload, &rest[..words]);
    }
    btf::blob(&encoder.types, &encoder.strings)
}

struct Encoder {
    types: Types,
    strings: Strings,
    ids: HashMap<MemberType, u32>,
    /// The number of the next type in `others`.
    next: u32,
    /// The types that come after the structs: name, kind, size or type, and what follows.
    others: Vec<[u32; 6]>,
}

impl Encoder {
    /// The number of a type, which is added if it is new.
    fn id(&mut self, of: MemberType) -> u32 {
        if let Some(id) = self.ids.get(&of) {
            return *id;
        }
        let encoded = match of {
            MemberType::Void | MemberType::Struct(_) => return 0,
            MemberType::Int { name, size, signed } => {
                let encoding = if signed { btf::INT_SIGNED } else { 0 };
                [self.strings.add(name), INT, size, (encoding << 24) | (8 * size), 0, 0]
            }
            MemberType::Pointer(to) => [0, PTR, self.id(*to), 0, 0, 0],
            MemberType::Array(element, count) => {
                let index = MemberType::Int { name: "unsigned int", size: 4, signed: false };
                [0, ARRAY, 0, self.id(*element), self.id(index), count]
            }
        };
        let id = self.next;
        self.next += 1;
        self.others.push(encoded);
        self.ids.insert(of, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StructLayouts;

    const INT_TYPE: MemberType = MemberType::Int { name: "int", size: 4, signed: true };
    const BYTE: MemberType = MemberType::Int { name: "unsigned char", size: 1, signed: false };

    /// ```c
    /// struct inner { unsigned char flag; int number; };
    /// struct outer { unsigned char first; struct inner in; struct outer *next; char name[3]; void *any; struct other *no; };
    /// ```
    fn example() -> Vec<StructDef> {
        let mut structs = vec![StructDef::new("inner", &[("flag", BYTE), ("number", INT_TYPE)], &[])];
        let outer = [
            ("first", BYTE),
            ("in", MemberType::Struct("inner")),
            ("next", MemberType::Pointer(&MemberType::Struct("outer"))),
            ("name", MemberType::Array(&BYTE, 3)),
            ("any", MemberType::Pointer(&MemberType::Void)),
            ("no", MemberType::Pointer(&MemberType::Struct("other"))),
        ];
        structs.push(StructDef::new("outer", &outer, &structs));
        structs
    }

    #[test]
    fn members_are_where_c_puts_them() {
        let structs = example();
        let offset = |name| structs[1].member(name).map(|member| member.offset);
        let members = ["first", "in", "next", "name", "any", "no", "nothing"];
        assert_eq!(members.map(offset), [Some(0), Some(4), Some(16), Some(24), Some(32), Some(40), None]);
        assert_eq!((structs[0].size, structs[1].size), (8, 48));
        let found =
            |path| StructDef::find(&structs, path).map(|(offset, of_type)| (offset, of_type.size(&structs)));
        assert_eq!(found("outer.in.number"), Some((8, 4)));
        assert_eq!(found("outer.name"), Some((24, 3)));
        assert_eq!([found("outer.number"), found("outer.first.x"), found("none")], [None; 3]);
    }

    #[test]
    fn what_is_written_as_btf_is_read_again() {
        let structs = example();
        let btf = struct_btf(&structs);
        let read = StructLayouts::read(&btf).expect("BTF");
        for of in &structs {
            assert_eq!(read.size(of.name), Ok(of.size));
            for member in &of.members {
                let path = format!("{}.{}", of.name, member.name);
                assert_eq!(read.offset(&path), Ok(member.offset), "{path}");
            }
        }
        assert_eq!(read.offset("outer.in.number"), Ok(8));
        let types = crate::btf_types::Types::read(&btf).expect("BTF");
        let outer = types.structure("outer").expect("a struct");
        let sizes: Vec<Option<u32>> = types.members(outer).map(|member| types.size(member.of_type)).collect();
        assert_eq!(sizes, [1, 8, 8, 3, 8, 8].map(Some));
    }
}
