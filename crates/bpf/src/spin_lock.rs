//! The lock in the values of a map, where the kernel finds it: `btf_parse_fields()` in kernel/bpf/btf.c.

use crate::MapBtf;
use crate::btf_types::{ARRAY, DATASEC, STRUCT, Type, Types, number, place};

/// The size and the alignment of a `struct bpf_spin_lock`.
const BYTES: u32 = 4;

/// How deep arrays and structs nest (`MAX_RESOLVE_DEPTH`).
const DEPTH_MAX: usize = 32;

/// More members than are looked at to find the locks of an object: structs that have each other twice have endlessly many.
const MEMBERS_MAX: usize = 1 << 16;

/// What the kernel calls the struct.
const LOCK: &str = "bpf_spin_lock";

/// The release since which a lock may be in a struct inside of the value.
const NESTED: (u16, u16) = (6, 11);

/// The release since which locks are found together with all other fields that the kernel manages (`struct btf_record`).
const RECORDS: (u16, u16) = (6, 2);

/// The kernel finds a lock that is not where it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLock {
    /// `E2BIG`: there are two in one struct.
    #[error("a struct has two bpf_spin_lock")]
    Several,
    /// `EINVAL`: a struct has a bit-field that does not begin at a byte.
    #[error("a struct with a bpf_spin_lock has a bit-field that does not begin at a byte")]
    BitField,
    /// `EFAULT`: a struct has one as a member that the kernel overlooks, for it is not aligned, or has not 4 bytes.
    #[error("a bpf_spin_lock is not aligned, or has not 4 bytes")]
    Overlooked,
    /// `EINVAL`: one is in an array of several elements.
    #[error("a bpf_spin_lock is in an array of several elements")]
    Repeated,
    /// `E2BIG`: structs and arrays nest too deep.
    #[error("structs with a bpf_spin_lock nest too deep")]
    TooDeep,
    /// There are too many members to look at all of them. It is not known what the kernel does.
    #[error("structs have too many members to look for a bpf_spin_lock in all of them")]
    TooMany,
}

impl MapBtf {
    /// The offset of the `struct bpf_spin_lock` in values, if Linux of this release finds one.
    ///
    /// It is a member of the value, or a variable of a section. Since Linux 6.11 it may also be in a struct inside of the value, and in
    /// an array of one element. A typedef, a qualifier such as `volatile`, or a union around it hides it, and so does an offset that is
    /// not a multiple of four. Since Linux 6.2 a value has none if it has a bit-field that does not begin at a byte.
    ///
    /// # Errors
    ///
    /// [`InvalidLock`]: values have no lock.
    pub fn spin_lock(&self, release: (u16, u16)) -> Result<Option<u32>, InvalidLock> {
        let Some(types) = Types::read(&self.types) else { return Ok(None) };
        let Some(of) = types.resolved(self.value_type_id) else { return Ok(None) };
        let (nested, bit_fields) = (release >= NESTED, release < RECORDS);
        let mut search = Search { types: &types, nested, bit_fields, members: MEMBERS_MAX };
        let mut found = Vec::new();
        match of.kind {
            STRUCT => search.members(of, 0, 0, &mut found)?,
            DATASEC => search.variables(of, &mut found)?,
            _ => {}
        }
        // Of several, which are in structs of their own, the kernel keeps the last.
        Ok(found.pop())
    }

    /// Why Linux of this release rejects these types altogether (`BPF_BTF_LOAD`), if so: since Linux 6.2 it looks at every struct that has
    /// a lock as a member, used or not (`btf_parse_struct_metas()`).
    pub fn rejected_lock(&self, release: (u16, u16)) -> Option<InvalidLock> {
        if release < RECORDS {
            return None;
        }
        let types = Types::read(&self.types)?;
        let is_lock = |of: Type<'_>| of.kind == STRUCT && types.strings.is_at(of.name, LOCK);
        let has_lock = |of| types.members(of).any(|member| types.get(member.of_type).is_some_and(is_lock));
        let nested = release >= NESTED;
        // Before 6.11 this is not about fields of all types, so bit-fields are passed over.
        let mut search = Search { types: &types, nested, bit_fields: !nested, members: MEMBERS_MAX };
        let mut structs = types.all().filter(|(_, of)| of.kind == STRUCT && has_lock(*of));
        structs.find_map(|(_, of)| {
            let mut found = Vec::new();
            match search.members(of, 0, 0, &mut found) {
                Ok(()) if found.is_empty() => Some(InvalidLock::Overlooked),
                searched => searched.err(),
            }
        })
    }
}

struct Search<'t, 'a> {
    types: &'t Types<'a>,
    /// Whether locks may be in structs inside of the struct.
    nested: bool,
    /// Whether bit-fields are passed over wherever they begin.
    bit_fields: bool,
    /// How many more members are looked at.
    members: usize,
}

impl Search<'_, '_> {
    /// `btf_find_struct_field()`. `start` is the offset of the struct.
    fn members(
        &mut self,
        of: Type<'_>,
        start: u32,
        level: usize,
        found: &mut Vec<u32>,
    ) -> Result<(), InvalidLock> {
        let mut is_seen = false;
        for member in self.types.members(of) {
            let (bits, _) = place(of, member.offset);
            if !bits.is_multiple_of(8) {
                if self.bit_fields {
                    continue;
                }
                return Err(InvalidLock::BitField);
            }
            let offset = (bits / 8) as u32;
            self.one(member.of_type, (start, offset), level, &mut is_seen, found)?;
        }
        Ok(())
    }

    /// `btf_find_datasec_var()`
    fn variables(&mut self, of: Type<'_>, found: &mut Vec<u32>) -> Result<(), InvalidLock> {
        let mut is_seen = false;
        for [variable, offset, _] in of.rest.as_chunks().0 {
            let Some(variable) = self.types.get(number(*variable)) else { continue };
            self.one(variable.payload, (0, number(*offset)), 0, &mut is_seen, found)?;
        }
        Ok(())
    }

    /// `btf_find_field_one()`: a member or a variable at this offset from the start of a struct.
    fn one(
        &mut self,
        id: u32,
        (start, offset): (u32, u32),
        level: usize,
        is_seen: &mut bool,
        found: &mut Vec<u32>,
    ) -> Result<(), InvalidLock> {
        self.members = self.members.checked_sub(1).ok_or(InvalidLock::TooMany)?;
        let Some(mut of) = self.types.get(id) else { return Ok(()) };
        let mut count = 1u32;
        if self.nested {
            for depth in 0.. {
                let Some((element, length)) = of.array().filter(|_| of.kind == ARRAY) else { break };
                if depth == DEPTH_MAX {
                    return Err(InvalidLock::TooDeep);
                }
                count = count.wrapping_mul(length);
                let Some(next) = self.types.get(element) else { return Ok(()) };
                of = next;
            }
        }
        if count == 0 {
            return Ok(());
        }
        let at = start.saturating_add(offset);
        if self.types.strings.is_at(of.name, LOCK) {
            if std::mem::replace(is_seen, true) {
                return Err(InvalidLock::Several);
            }
            if !offset.is_multiple_of(BYTES) || of.kind != STRUCT || of.payload != BYTES {
                return Ok(());
            }
            if count > 1 {
                return Err(InvalidLock::Repeated);
            }
            found.push(at);
        } else if self.nested && of.kind == STRUCT {
            if level + 1 == DEPTH_MAX {
                return Err(InvalidLock::TooDeep);
            }
            let before = found.len();
            self.members(of, at, level + 1, found)?;
            if count > 1 && found.len() > before {
                return Err(InvalidLock::Repeated);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{self, Strings};

    /// The types of structs, numbered from 2 after a lock of the number 1, each with members of these types at the start.
    fn structs(all: &[&[u32]]) -> MapBtf {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        types.add(strings.add(LOCK), STRUCT, 0, 4, &[]);
        for members in all {
            let records: Vec<u32> = members.iter().flat_map(|of_type| [0, *of_type, 0]).collect();
            types.add(0, STRUCT, members.len() as u32, 4, &records);
        }
        let types = btf::blob(&types, &strings).into();
        MapBtf { types, key_type_id: 0, value_type_id: 2, special_fields: Vec::new() }
    }

    #[test]
    fn structs_that_have_each_other_twice_are_not_searched_to_the_end() {
        // The first 20 have the next one twice, and 65,000 have the first one; only those with a lock are searched.
        let nested: Vec<[u32; 2]> = (3..23).map(|next| [next, next]).collect();
        let mut all: Vec<&[u32]> = nested.iter().map(|members| &members[..]).collect();
        all.push(&[]);
        all.resize(65_000, &[2]);
        assert_eq!(structs(&all).rejected_lock(NESTED), None);
        assert_eq!(structs(&all).spin_lock(NESTED), Err(InvalidLock::TooMany));
        assert_eq!(structs(&all).spin_lock((6, 10)), Ok(None));
        all.push(&[1, 2]);
        assert_eq!(structs(&all).rejected_lock(NESTED), Some(InvalidLock::TooMany));
    }

    #[test]
    fn all_structs_with_a_lock_are_searched_together() {
        let many = vec![2; 60_000];
        let with_lock = [&[1][..], &many].concat();
        let all = |count| [vec![&[][..]], vec![&with_lock[..]; count]].concat();
        assert_eq!(structs(&all(1)).rejected_lock(NESTED), None);
        assert_eq!(structs(&all(2)).rejected_lock(NESTED), Some(InvalidLock::TooMany));
    }
}
