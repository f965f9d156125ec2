//! The lock in the values of a map, where the kernel finds it: `btf_parse_fields()` in kernel/bpf/btf.c.

use crate::MapBtf;
use crate::btf_types::{ARRAY, DATASEC, STRUCT, Type, Types, number, place};

/// The size and the alignment of a `struct bpf_spin_lock`.
const BYTES: u32 = 4;

/// How deep arrays and structs nest (`MAX_RESOLVE_DEPTH`).
const DEPTH_MAX: usize = 32;

/// More members than a kernel looks at before a type is too large for it.
const MEMBERS_MAX: usize = 1 << 16;

/// The kernel finds a lock that is not where it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLock {
    /// `E2BIG`: there are two in one struct.
    #[error("a struct has two bpf_spin_lock")]
    Several,
    /// `EINVAL`: one is not aligned. Since 6.11 the kernel overlooks it instead.
    #[error("a bpf_spin_lock is not aligned")]
    NotAligned,
    /// `EFAULT`: a struct has one as a member that the kernel overlooks, for it is not aligned, or has not 4 bytes.
    #[error("a bpf_spin_lock is not aligned, or has not 4 bytes")]
    Overlooked,
    /// `EINVAL`: one is in an array of several elements.
    #[error("a bpf_spin_lock is in an array of several elements")]
    Repeated,
    /// `E2BIG`: structs and arrays nest too deep.
    #[error("structs with a bpf_spin_lock nest too deep")]
    TooDeep,
}

impl MapBtf {
    /// The offset of the `struct bpf_spin_lock` in values, if they have one.
    ///
    /// It is a member of the value, or a variable of a section. With `nested`, since Linux 6.11, it may also be in a struct inside of
    /// the value, and in an array of one element. A typedef, a qualifier such as `volatile`, or a union around it hides it.
    ///
    /// # Errors
    ///
    /// [`InvalidLock`]: values have no lock.
    pub fn spin_lock(&self, nested: bool) -> Result<Option<u32>, InvalidLock> {
        let Some(types) = Types::read(&self.types) else { return Ok(None) };
        let Some(of) = types.get(self.value_type_id) else { return Ok(None) };
        let mut search = Search { types: &types, nested, members: MEMBERS_MAX };
        let mut found = Vec::new();
        match of.kind {
            STRUCT => search.members(of, 0, 0, &mut found)?,
            DATASEC => search.variables(of, &mut found)?,
            _ => {}
        }
        // Of several, which are in structs of their own, the kernel keeps the last.
        Ok(found.pop())
    }

    /// Why the kernel rejects these types altogether (`BPF_BTF_LOAD`), if so: since Linux 6.2 it looks at every struct that has a lock
    /// as a member, used or not (`btf_parse_struct_metas()`).
    pub fn rejected_lock(&self, nested: bool) -> Option<InvalidLock> {
        let types = Types::read(&self.types)?;
        let is_lock =
            |id| types.get(id).is_some_and(|of| of.kind == STRUCT && types.name(of) == "bpf_spin_lock");
        let mut members = MEMBERS_MAX;
        types.all().filter(|(_, of)| of.kind == STRUCT).find_map(|(_, of)| {
            let mut search = Search { types: &types, nested, members };
            let has_lock = types.members(of).take(members).any(|member| is_lock(member.of_type));
            members = members.saturating_sub(types.member_count(of));
            let mut found = Vec::new();
            match search.members(of, 0, 0, &mut found) {
                _ if !has_lock => None,
                Ok(()) if found.is_empty() => Some(InvalidLock::Overlooked),
                searched => searched.err(),
            }
        })
    }
}

struct Search<'t, 'a> {
    types: &'t Types<'a>,
    nested: bool,
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
                // A bit field. The kernel takes it for an error only if it has the name of a lock.
                continue;
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
        self.members = self.members.checked_sub(1).ok_or(InvalidLock::TooDeep)?;
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
        if self.types.name(of) == "bpf_spin_lock" {
            if std::mem::replace(is_seen, true) {
                return Err(InvalidLock::Several);
            }
            if !offset.is_multiple_of(BYTES) {
                return if self.nested { Ok(()) } else { Err(InvalidLock::NotAligned) };
            }
            if of.kind != STRUCT || of.payload != BYTES {
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
