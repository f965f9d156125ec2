//! Which types of a kernel fit those that a program was compiled with: the rules of CO-RE (tools/lib/bpf/relo_core.c).

use std::cell::Cell;

use super::link_env::charge;
use crate::btf_types::{
    ARRAY, ENUM, ENUM64, FLOAT, FUNC_PROTO, FWD, INT, INT_IS_SIGNED, PTR, STRUCT, Type, Types, UNION, VOID,
};

/// The types of a program, and those of the kernel that it is linked for.
pub(super) struct TypePair<'t, 'a, 'k> {
    pub(super) local: &'t Types<'a>,
    pub(super) target: &'t Types<'k>,
    /// How many more types and members may be looked at, so that damaged BTF does not take forever.
    pub(super) budget: &'t Cell<u64>,
}

/// How deep types are followed, and how deep prototypes and structs nest.
const DEPTH_MAX: u32 = 32;

impl<'a, 'k> TypePair<'_, 'a, 'k> {
    /// Counts one step.
    pub(super) fn step(&self) -> Result<(), String> {
        charge(self.budget, 1)
    }

    /// Two types without typedefs and qualifiers.
    fn stripped(&self, local: u32, target: u32) -> Result<(Type<'a>, Type<'k>), String> {
        self.step()?;
        let both = self.local.stripped(local).zip(self.target.stripped(target));
        both.map(|((_, ours), (_, theirs))| (ours, theirs))
            .ok_or_else(|| "the BTF is damaged: a type does not exist, or leads nowhere".to_owned())
    }

    /// Whether a member of type `target` may be accessed like one of type `local`.
    pub(super) fn fields_fit(&self, mut local: u32, mut target: u32) -> Result<bool, String> {
        for _ in 0..DEPTH_MAX {
            let (ours, theirs) = self.stripped(local, target)?;
            if ours.is_composite() && theirs.is_composite() {
                return Ok(true);
            }
            if !same_kind(ours, theirs) {
                return Ok(false);
            }
            match (ours.array(), theirs.array()) {
                (Some((of_ours, _)), Some((of_theirs, _))) => (local, target) = (of_ours, of_theirs),
                _ => {
                    return Ok(match ours.kind {
                        PTR | FLOAT => true,
                        FWD | ENUM | ENUM64 => {
                            let ours = essential_name(self.local.name(ours));
                            let theirs = essential_name(self.target.name(theirs));
                            ours.is_empty() || theirs.is_empty() || ours == theirs
                        }
                        INT => ours.int_offset() == 0 && theirs.int_offset() == 0,
                        _ => false,
                    });
                }
            }
        }
        Err(too_deep())
    }

    /// Whether two types of the same name are of one kind, and so are the types that they are made of: what
    /// `bpf_core_type_exists` asks.
    pub(super) fn types_fit(&self, local: u32, target: u32) -> Result<bool, String> {
        self.fit(local, target, DEPTH_MAX)
    }

    fn fit(&self, mut local: u32, mut target: u32, level: u32) -> Result<bool, String> {
        for _ in 0..DEPTH_MAX {
            let (ours, theirs) = self.stripped(local, target)?;
            if !same_kind(ours, theirs) {
                return Ok(false);
            }
            match ours.kind {
                VOID | STRUCT | UNION | ENUM | ENUM64 | FWD => return Ok(true),
                INT => return Ok(ours.int_offset() == 0 && theirs.int_offset() == 0),
                PTR => (local, target) = (ours.payload, theirs.payload),
                ARRAY => {
                    let (Some((of_ours, _)), Some((of_theirs, _))) = (ours.array(), theirs.array()) else {
                        return Ok(false);
                    };
                    (local, target) = (of_ours, of_theirs);
                }
                FUNC_PROTO => {
                    let inner = |ours, theirs, level| self.fit(ours, theirs, level);
                    if !self.parameters_fit(ours, theirs, level, inner)? {
                        return Ok(false);
                    }
                    (local, target) = (ours.payload, theirs.payload);
                }
                _ => return Ok(false),
            }
        }
        Err(too_deep())
    }

    fn parameters_fit(
        &self,
        ours: Type<'_>,
        theirs: Type<'_>,
        level: u32,
        fit: impl Fn(u32, u32, u32) -> Result<bool, String>,
    ) -> Result<bool, String> {
        if ours.parameters().count() != theirs.parameters().count() {
            return Ok(false);
        }
        let level = level.checked_sub(1).ok_or_else(too_deep)?;
        for (ours, theirs) in ours.parameters().zip(theirs.parameters()) {
            if !fit(ours, theirs, level)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether two types are alike in names, sizes and members: what `bpf_core_type_matches` asks.
    pub(super) fn types_match(&self, local: u32, target: u32) -> Result<bool, String> {
        self.matches(local, target, false, DEPTH_MAX)
    }

    fn matches(
        &self,
        mut local: u32,
        mut target: u32,
        mut pointed: bool,
        level: u32,
    ) -> Result<bool, String> {
        let level = level.checked_sub(1).ok_or_else(too_deep)?;
        for _ in 0..DEPTH_MAX {
            let (ours, theirs) = self.stripped(local, target)?;
            if !self.names_match(self.local.name(ours), self.target.name(theirs)) {
                return Ok(false);
            }
            let same = ours.kind == theirs.kind;
            match ours.kind {
                VOID => return Ok(same),
                FWD if same => return Ok(ours.kind_flag == theirs.kind_flag),
                FWD => return Ok(pointed && theirs.kind == if ours.kind_flag { UNION } else { STRUCT }),
                ENUM | ENUM64 => return self.enums_match(ours, theirs),
                STRUCT | UNION if pointed => {
                    let is_union = ours.kind == UNION;
                    return Ok(same || (theirs.kind == FWD && theirs.kind_flag == is_union));
                }
                _ if !same => return Ok(false),
                STRUCT | UNION => return self.members_match(ours, theirs, level),
                INT => {
                    let sign = |of: Type<'_>| of.int_encoding() & INT_IS_SIGNED;
                    return Ok(ours.payload == theirs.payload && sign(ours) == sign(theirs));
                }
                PTR => {
                    pointed = true;
                    (local, target) = (ours.payload, theirs.payload);
                }
                ARRAY => {
                    let (Some((of_ours, count)), Some((of_theirs, their_count))) =
                        (ours.array(), theirs.array())
                    else {
                        return Ok(false);
                    };
                    if count != their_count {
                        return Ok(false);
                    }
                    (local, target) = (of_ours, of_theirs);
                }
                FUNC_PROTO => {
                    let inner = |ours, theirs, level| self.matches(ours, theirs, pointed, level);
                    if !self.parameters_fit(ours, theirs, level, inner)? {
                        return Ok(false);
                    }
                    (local, target) = (ours.payload, theirs.payload);
                }
                _ => return Ok(false),
            }
        }
        Err(too_deep())
    }

    fn names_match(&self, ours: &str, theirs: &str) -> bool {
        if theirs.is_empty() { ours.is_empty() } else { essential_name(ours) == essential_name(theirs) }
    }

    fn enums_match(&self, ours: Type<'_>, theirs: Type<'_>) -> Result<bool, String> {
        if !theirs.is_enum() || ours.payload != theirs.payload || ours.vlen > theirs.vlen {
            return Ok(false);
        }
        for (name, _) in self.local.enumerators(ours) {
            let mut found = false;
            for (theirs, _) in self.target.enumerators(theirs) {
                self.step()?;
                found = self.names_match(name, theirs);
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn members_match(&self, ours: Type<'_>, theirs: Type<'_>, level: u32) -> Result<bool, String> {
        if ours.vlen > theirs.vlen {
            return Ok(false);
        }
        for member in self.local.members(ours) {
            let mut found = false;
            for other in self.target.members(theirs) {
                self.step()?;
                if self.names_match(member.name, other.name) {
                    found = self.matches(member.of_type, other.of_type, false, level)?;
                }
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether types are of one kind; to CO-RE, the two kinds of enum are one.
pub(super) fn same_kind(ours: Type<'_>, theirs: Type<'_>) -> bool {
    ours.kind == theirs.kind || (ours.is_enum() && theirs.is_enum())
}

/// A name without its flavour, which is what comes after the last `___` that is inside of it.
pub(super) fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    let is_separator =
        |at: &usize| bytes[*at] != b'_' && &bytes[at + 1..at + 4] == b"___" && bytes[at + 4] != b'_';
    let last = (0..bytes.len().saturating_sub(4)).rev().find(is_separator);
    last.map_or(name, |at| &name[..=at])
}

fn too_deep() -> String {
    "its types nest too deep".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_is_not_a_part_of_the_name() {
        let cases = [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("___b", "___b"),
            ("a___", "a___"),
            ("a____b", "a____b"),
            ("ä___b", "ä"),
            ("", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(essential_name(name), expected, "{name}");
        }
    }
}
