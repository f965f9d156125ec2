//! Where the members of the kernel's structs are.

use crate::btf_types::{Type, Types};

/// The layouts of a kernel's structs, from its BTF: what `/sys/kernel/btf/vmlinux` holds.
pub struct StructLayouts<'a> {
    types: Types<'a>,
}

/// What is asked for is not in the BTF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// It is no BTF that can be read here.
    #[error("it is cut short, or not of a version that is known")]
    Unreadable,
    /// There is no such struct, or no such member in it.
    #[error("it has no {0}")]
    Missing(String),
    /// It is of a kernel for another kind of machine.
    #[error("its long integers have {bytes} bytes; only 64-bit kernels have this layout")]
    PointerSize {
        /// The size of a `long`.
        bytes: u32,
    },
    /// A struct takes more memory than there is for it.
    #[error("its struct {name} takes {size} bytes, which is too much")]
    TooLarge {
        /// The struct.
        name: &'static str,
        /// Its size in bytes.
        size: u32,
    },
    /// Structs have too many members, with those of structs and unions inside of them.
    #[error("its structs have too many members, with those of the structs and unions inside of them")]
    TooComplex,
}

impl<'a> StructLayouts<'a> {
    /// Takes the BTF of a kernel.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Unreadable`].
    pub fn read(btf: &'a [u8]) -> Result<Self, LayoutError> {
        Types::read(btf).map(|types| Self { types }).ok_or(LayoutError::Unreadable)
    }

    /// How many bytes after the beginning of its struct a member is. `member` names the struct first, and may lead into
    /// structs inside of it: `task_struct.comm`, `cgroup.self.parent`. Structs and unions without a name are looked into.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Missing`], also for a bit field.
    pub fn offset(&self, member: &str) -> Result<u32, LayoutError> {
        self.bits(member)
            .filter(|bits| bits.is_multiple_of(8))
            .map(|bits| bits / 8)
            .ok_or_else(|| LayoutError::Missing(member.to_owned()))
    }

    /// How many bytes a struct takes.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Missing`].
    pub fn size(&self, structure: &str) -> Result<u32, LayoutError> {
        let found = self.types.structure(structure);
        found.map(|of| of.payload).ok_or_else(|| LayoutError::Missing(format!("struct {structure}")))
    }

    /// The value of an enumerator, of whichever enum.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Missing`].
    pub fn enumerator(&self, name: &str) -> Result<i128, LayoutError> {
        let enums = self.types.all().map(|(_, of)| of).filter(|of| of.is_enum());
        let mut values = enums.flat_map(|of| self.types.enumerators(of));
        let found = values.find(|(found, _)| *found == name).map(|(_, value)| value);
        found.ok_or_else(|| LayoutError::Missing(format!("enumerator {name}")))
    }

    fn bits(&self, member: &str) -> Option<u32> {
        let mut names = member.split('.');
        let mut of = Some(self.types.structure(names.next()?)?);
        let mut bits = 0u32;
        for name in names {
            let (offset, of_type) = self.member(of?, name, 0)?;
            bits = bits.checked_add(offset)?;
            of = self.types.resolved(of_type);
        }
        Some(bits)
    }

    /// The offset of a member in bits, and its type.
    fn member(&self, of: Type<'_>, name: &str, depth: u32) -> Option<(u32, u32)> {
        const DEPTH_MAX: u32 = 16;
        self.types.members(of).find_map(|member| {
            // In a struct with bit fields, the upper byte is their width.
            let (offset, width) = (member.offset & 0x00ff_ffff, member.offset >> 24);
            if member.name == name {
                return (width == 0).then_some((offset, member.of_type));
            }
            if !member.name.is_empty() || depth == DEPTH_MAX {
                return None;
            }
            let (inner, of_type) = self.member(self.types.resolved(member.of_type)?, name, depth + 1)?;
            Some((offset.checked_add(inner)?, of_type))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Strings, Types, blob};

    const STRUCT: u32 = 4;
    const UNION: u32 = 5;
    const ENUM: u32 = 6;
    const TYPEDEF: u32 = 8;
    /// The bit that says that members can be bit fields.
    const BIT_FIELDS: u32 = 1 << 31;

    /// ```c
    /// struct inner { int first; int second; };
    /// typedef struct inner inner_t;
    /// struct outer { int number; union { int either; struct inner or; }; inner_t named; int bit : 1; };
    /// ```
    fn example() -> Vec<u8> {
        let (mut types, mut strings) = (Types::new(), Strings::new());
        let mut name = |name: &str| strings.add(name);
        let int = types.int(name("int"), 1);
        let members = [name("first"), int, 0, name("second"), int, 32];
        let inner = types.add(name("inner"), STRUCT, 2, 8, &members);
        let alias = types.add(name("inner_t"), TYPEDEF, 0, inner, &[]);
        let union = types.add(0, UNION, 2, 8, &[name("either"), int, 0, name("or"), inner, 0]);
        let bit = [name("bit"), int, 1 << 24 | 160];
        let members = [name("number"), int, 0, 0, union, 32, name("named"), alias, 96];
        let members: Vec<u32> = members.into_iter().chain(bit).collect();
        types.add(name("outer"), STRUCT | BIT_FIELDS >> 24, 4, 24, &members);
        types.add(name("numbers"), ENUM, 2, 4, &[name("FEW"), 3, name("MANY"), 0xefff_fff9]);
        blob(&types, &strings)
    }

    #[test]
    fn members_are_found_where_they_are() {
        let btf = example();
        let layouts = StructLayouts::read(&btf).expect("BTF");
        let cases = [
            ("outer.number", Some(0)),
            ("outer.either", Some(4)),
            ("outer.or.second", Some(8)),
            ("outer.named", Some(12)),
            ("outer.named.second", Some(16)),
            ("outer.bit", None),
            ("outer.nothing", None),
            ("outer.number.deeper", None),
            ("inner_t.first", None),
            ("", None),
        ];
        for (member, expected) in cases {
            assert_eq!(layouts.offset(member).ok(), expected, "{member}");
        }
        assert_eq!(layouts.enumerator("MANY"), Ok(0xefff_fff9));
        assert_eq!(layouts.enumerator("numbers"), Err(LayoutError::Missing("enumerator numbers".to_owned())));
        assert_eq!(layouts.size("inner"), Ok(8));
        assert_eq!(layouts.size("inne"), Err(LayoutError::Missing("struct inne".to_owned())));
    }

    #[test]
    fn input_that_is_not_btf_is_rejected() {
        let btf = example();
        for length in [0, 4, 24, btf.len() - 1] {
            assert_eq!(StructLayouts::read(&btf[..length]).err(), Some(LayoutError::Unreadable), "{length}");
        }
    }
}
