//! What a CO-RE relocation accesses: a member, a type, or a value of an enum; in the program's types and in the kernel's.

use super::core_compat::{TypePair, essential_name};
use crate::btf_types::{Types, place};

/// A path from a type to a member or an element.
#[derive(Debug, Clone, Default)]
pub(super) struct Spec<'a> {
    /// The steps that have a meaning: named members and indices. Structs and unions without a name are passed through.
    pub(super) steps: Vec<Step<'a>>,
    /// Where it leads, in bits from the start of the type.
    pub(super) bits: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    /// The struct of a member, or the type of an element.
    pub(super) of_type: u32,
    pub(super) index: u32,
    /// Of a member.
    pub(super) name: Option<&'a str>,
}

/// The most steps of a path (`BPF_CORE_SPEC_MAX_LEN` in tools/lib/bpf/relo_core.h).
const STEPS_MAX: usize = 64;

/// The numbers of an access string, as in `0:1:2`.
pub(super) fn access_indices(access: &str) -> Option<Vec<u32>> {
    let indices: Option<Vec<u32>> = access.split(':').map(|index| index.parse().ok()).collect();
    indices.filter(|indices| indices.len() <= STEPS_MAX)
}

impl<'a> Spec<'a> {
    /// The path of a relocation in the program's own types. `None`: it leads nowhere.
    pub(super) fn of(types: &Types<'a>, type_id: u32, indices: &[u32]) -> Option<Self> {
        let (&first, rest) = indices.split_first()?;
        let (mut id, _) = types.stripped(type_id)?;
        let mut spec = Self::default();
        spec.add_element(types, id, first)?;
        for &index in rest {
            let (stripped, of) = types.stripped(id)?;
            if of.is_composite() {
                let member = types.member(of, index)?;
                spec.bits = spec.bits.checked_add(place(of, member.offset).0)?;
                if !member.name.is_empty() {
                    spec.steps.push(Step { of_type: stripped, index, name: Some(member.name) });
                }
                id = member.of_type;
            } else {
                let (element, count) = of.array()?;
                if index >= count && !spec.is_flexible(types, count) {
                    return None;
                }
                id = types.stripped(element)?.0;
                spec.add_element(types, id, index)?;
            }
        }
        Some(spec)
    }

    /// The same path in a type of the kernel; `None` if that has no such member or element, or one of another kind.
    pub(super) fn in_target<'k>(
        &self,
        types: &TypePair<'_, 'a, 'k>,
        type_id: u32,
    ) -> Result<Option<Spec<'k>>, String> {
        let damaged = || "the BTF of the kernel is damaged: a type leads nowhere, or has no size".to_owned();
        let mut found = Spec::default();
        let mut id = type_id;
        for (index, step) in self.steps.iter().enumerate() {
            let (stripped, of) = types.target.stripped(id).ok_or_else(damaged)?;
            id = stripped;
            if step.name.is_some() {
                match found.find_member(types, step, id, 0)? {
                    Some(next) => id = next,
                    None => return Ok(None),
                }
                continue;
            }
            if index > 0 {
                let Some((element, count)) = of.array() else { return Ok(None) };
                if step.index >= count && !found.is_flexible(types.target, count) {
                    return Ok(None);
                }
                id = types.target.stripped(element).ok_or_else(damaged)?.0;
            }
            found.add_element(types.target, id, step.index).ok_or_else(damaged)?;
        }
        Ok(Some(found))
    }

    /// Goes on to a member of the same name, also inside of structs and unions without a name. Returns its type.
    fn find_member<'l>(
        &mut self,
        types: &TypePair<'_, 'l, 'a>,
        wanted: &Step<'l>,
        target: u32,
        depth: usize,
    ) -> Result<Option<u32>, String> {
        let Some((id, of)) = types.target.stripped(target).filter(|(_, of)| of.is_composite()) else {
            return Ok(None);
        };
        let ours = types
            .local
            .get(wanted.of_type)
            .and_then(|of| types.local.member(of, wanted.index).map(|member| member.of_type));
        let (Some(ours), Some(name)) = (ours, wanted.name) else { return Ok(None) };
        if depth > STEPS_MAX {
            return Err("its structs nest too deep".to_owned());
        }
        for (index, member) in (0..).zip(types.target.members(of)) {
            types.step()?;
            let (bits, _) = place(of, member.offset);
            if member.name.is_empty() {
                let before = self.bits;
                self.bits = before.saturating_add(bits);
                let found = self.find_member(types, wanted, member.of_type, depth + 1)?;
                if found.is_some() {
                    return Ok(found);
                }
                self.bits = before;
            } else if member.name == name {
                if !types.fields_fit(ours, member.of_type)? {
                    return Ok(None);
                }
                self.bits = self.bits.saturating_add(bits);
                self.steps.push(Step { of_type: id, index, name: Some(member.name) });
                return Ok(Some(member.of_type));
            }
        }
        Ok(None)
    }

    /// Goes on to an element of this type; `None` if it has no size.
    fn add_element(&mut self, types: &Types<'a>, of_type: u32, index: u32) -> Option<()> {
        let size = u64::from(types.size(of_type)?);
        self.bits = self.bits.checked_add(u64::from(index).checked_mul(size.checked_mul(8)?)?)?;
        self.steps.push(Step { of_type, index, name: None });
        Some(())
    }

    /// Whether an array of `count` elements, to which the last step leads, is the last member of a struct, and has no
    /// size of its own.
    fn is_flexible(&self, types: &Types<'a>, count: u32) -> bool {
        let last = self.steps.last().filter(|step| step.name.is_some() && count == 0);
        let of = last.and_then(|step| Some((step.index, types.get(step.of_type)?)));
        of.is_some_and(|(index, of)| index + 1 == of.vlen)
    }

    /// The steps after the first as C writes them: `.cred.uid[2]`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for (place, step) in self.steps.iter().enumerate() {
            match step.name {
                Some(name) => path.extend([".", name]),
                None if place > 0 || step.index > 0 => path.push_str(&format!("[{}]", step.index)),
                None => {}
            }
        }
        path
    }
}

/// The value that an enum of the kernel has under the name, without its flavour, of one of the program's.
pub(super) fn enum_value(
    types: &TypePair<'_, '_, '_>,
    target: u32,
    name: &str,
) -> Result<Option<i128>, String> {
    let of = types.target.stripped(target).map(|(_, of)| of).filter(|of| of.is_enum());
    let Some(of) = of else { return Ok(None) };
    let wanted = essential_name(name);
    for (name, value) in types.target.enumerators(of) {
        types.step()?;
        if essential_name(name) == wanted {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
