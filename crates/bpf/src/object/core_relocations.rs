//! CO-RE relocations: instructions are adapted to the layout that the kernel's types have. The reference is
//! tools/lib/bpf/relo_core.c.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::core_compat::{TypePair, essential_name, same_kind};
use super::core_spec::{Spec, access_indices, enum_value};
use super::core_values::{Value, field_value, is_zero_extended, patch};
use super::link_env::{KernelTypes, LinkEnv};
use crate::btf::context_btf;
use crate::btf_types::{ENUM, ENUM64, FWD, STRUCT, Type, Types, UNION};
use crate::{Insn, UnresolvedReason};

/// A `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CoreRelocation {
    /// The index of the instruction.
    pub(super) insn: usize,
    /// The program's own type.
    pub(super) of_type: u32,
    /// The offset of the access string among the strings.
    pub(super) access: u32,
    /// A number of `enum bpf_core_relo_kind`.
    pub(super) kind: u32,
}

/// `enum bpf_core_relo_kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshiftU64,
    FieldRshiftU64,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
}

impl Kind {
    /// By number.
    const ALL: [Self; 13] = [
        Self::FieldByteOffset,
        Self::FieldByteSize,
        Self::FieldExists,
        Self::FieldSigned,
        Self::FieldLshiftU64,
        Self::FieldRshiftU64,
        Self::TypeIdLocal,
        Self::TypeIdTarget,
        Self::TypeExists,
        Self::TypeSize,
        Self::EnumvalExists,
        Self::EnumvalValue,
        Self::TypeMatches,
    ];

    fn is_of_type(self) -> bool {
        matches!(
            self,
            Self::TypeIdLocal | Self::TypeIdTarget | Self::TypeExists | Self::TypeSize | Self::TypeMatches
        )
    }
}

/// What is relocated, in the program's own types.
enum Wanted<'a> {
    Field(Spec<'a>),
    Type,
    EnumValue { name: &'a str, value: i128 },
}

/// What relocations with one type, access and kind come to.
#[derive(Clone, Copy)]
struct Resolution {
    /// What the instruction was compiled with.
    before: Value,
    after: After,
}

#[derive(Clone, Copy)]
enum After {
    Value {
        value: Value,
        /// Whether an instruction that loads it may get another size.
        may_resize: bool,
    },
    /// The types of the kernel do not have it.
    Absent(UnresolvedReason),
}

/// The value of a relocation in the types of the kernel.
#[derive(Clone, Copy)]
struct FoundValue {
    value: Value,
    /// Whether an instruction that loads it may get another size.
    may_resize: bool,
    /// Whether the kernel, if it is a model, has what is there.
    is_modelled: bool,
}

/// What an instruction needs, but cannot have.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) what: String,
    pub(super) reason: UnresolvedReason,
}

/// The context, which every kernel has in one layout.
static CONTEXT: LazyLock<Option<KernelTypes>> = LazyLock::new(|| KernelTypes::read(context_btf().into()));

/// Applies relocations.
pub(super) struct CoreLinker<'t, 'k> {
    local: &'t Types<'t>,
    env: &'t LinkEnv<'k>,
    /// By type, access string and kind.
    resolved: RefCell<HashMap<(u32, u32, u32), Resolution>>,
}

impl<'t, 'k> CoreLinker<'t, 'k> {
    pub(super) fn new(local: &'t Types<'t>, env: &'t LinkEnv<'k>) -> Self {
        Self { local, env, resolved: RefCell::default() }
    }

    /// Relocates the instruction at `insns[relocation.insn]`. If the kernel lacks what it accesses, or a model of it does, the
    /// instruction cannot run: returns what is missing.
    ///
    /// # Errors
    ///
    /// Why the relocation cannot be applied.
    pub(super) fn apply(
        &self,
        relocation: &CoreRelocation,
        insns: &mut [Insn],
    ) -> Result<Option<Missing>, String> {
        let kind = *Kind::ALL.get(relocation.kind as usize).ok_or_else(|| {
            format!("a CO-RE relocation is of a kind that is not known yet ({})", relocation.kind)
        })?;
        let key = (relocation.of_type, relocation.access, relocation.kind);
        let known = self.resolved.borrow().get(&key).copied();
        let Resolution { before, after } = match known {
            Some(known) => known,
            None => {
                let resolution = self.resolve(relocation, kind)?;
                self.resolved.borrow_mut().insert(key, resolution);
                resolution
            }
        };
        let in_context = |why: String| self.in_context(relocation, kind, &why);
        let patched = |insns: &mut [Insn], value, may_resize| {
            patch(insns, relocation.insn, before, value, may_resize).map_err(in_context)
        };
        match after {
            After::Value { value, may_resize } => Ok((!patched(insns, value, may_resize)?).then(|| {
                let what = in_context(format!(
                    "{} has it in another size or sign, so that it cannot be loaded like this",
                    self.env.kernel
                ));
                Missing { what, reason: UnresolvedReason::KernelLacks }
            })),
            // A field or value that is missing has no offset and no number, but a missing type has the size 0.
            After::Absent(UnresolvedReason::KernelLacks)
                if kind.is_of_type() || matches!(kind, Kind::FieldExists | Kind::EnumvalExists) =>
            {
                patched(insns, Value::of(0), true).map(|_| None)
            }
            After::Absent(reason) => {
                let what = match reason {
                    UnresolvedReason::KernelLacks => in_context(self.absence(relocation, kind)),
                    UnresolvedReason::NotModelled => self.subject(relocation, kind)?,
                };
                Ok(Some(Missing { what, reason }))
            }
        }
    }

    /// What a relocation comes to.
    fn resolve(&self, relocation: &CoreRelocation, kind: Kind) -> Result<Resolution, String> {
        let of_type = relocation.of_type;
        let (root, wanted) = self.root_and_wanted(relocation, kind)?;
        if kind == Kind::TypeIdLocal {
            let value = Value { is_certain: false, ..Value::of(u64::from(of_type)) };
            return Ok(Resolution { before: value, after: After::Value { value, may_resize: true } });
        }
        let in_context = |why: String| self.in_context(relocation, kind, &why);
        let name = essential_name(self.local.name(root));
        if name.is_empty() {
            return Err(in_context("a type without a name cannot be found in a kernel".to_owned()));
        }
        let before = self.value(self.local, kind, of_type, &wanted).map_err(in_context)?;
        let is_context = name == "bpf_sysctl" && kind != Kind::TypeIdTarget;
        let found = match &*CONTEXT {
            Some(context) if is_context => self.find(context, root, of_type, kind, &wanted),
            _ => self.find(self.env.types().map_err(in_context)?, root, of_type, kind, &wanted),
        };
        let after = match found.map_err(in_context)? {
            Some(FoundValue { is_modelled: false, .. }) => After::Absent(UnresolvedReason::NotModelled),
            Some(FoundValue { value, may_resize, .. }) => After::Value { value, may_resize },
            None if is_context => After::Absent(UnresolvedReason::KernelLacks),
            None => {
                let wanted = match wanted {
                    Wanted::EnumValue { name, value } => {
                        Wanted::EnumValue { name: essential_name(name), value }
                    }
                    wanted => wanted,
                };
                After::Absent(self.env.why_absent(&describe(name, root, &wanted)))
            }
        };
        Ok(Resolution { before, after })
    }

    /// The program's own type, and what of it is relocated.
    fn root_and_wanted(
        &self,
        relocation: &CoreRelocation,
        kind: Kind,
    ) -> Result<(Type<'t>, Wanted<'t>), String> {
        let damaged = || "the section .BTF.ext is damaged: a CO-RE relocation leads nowhere".to_owned();
        let root = self.local.get(relocation.of_type).ok_or_else(damaged)?;
        let access = self.local.strings.at(relocation.access);
        let wanted = self.wanted(kind, relocation.of_type, access)?.ok_or_else(damaged)?;
        Ok((root, wanted))
    }

    /// A message about a relocation.
    fn in_context(&self, relocation: &CoreRelocation, kind: Kind, why: &str) -> String {
        match self.subject(relocation, kind) {
            Ok(what) => format!("CO-RE relocation of {what}: {why}"),
            Err(damaged) => damaged,
        }
    }

    /// What a relocation is about, as in `struct task_struct.pid`.
    fn subject(&self, relocation: &CoreRelocation, kind: Kind) -> Result<String, String> {
        let (root, wanted) = self.root_and_wanted(relocation, kind)?;
        Ok(shortened(describe(self.local.name(root), root, &wanted)))
    }

    fn absence(&self, relocation: &CoreRelocation, kind: Kind) -> String {
        let root = self.local.get(relocation.of_type);
        let is_known = root.zip(self.env.types().ok()).is_some_and(|(root, target)| {
            let name = essential_name(self.local.name(root));
            target.named(name).any(|(_, candidate)| same_kind(root, candidate))
        });
        let what = match kind {
            _ if !is_known || kind.is_of_type() => "type",
            Kind::EnumvalExists | Kind::EnumvalValue => "value",
            _ => "field",
        };
        format!("{} has no such {what}", self.env.kernel)
    }

    /// What a relocation is about. `None`: the object is damaged.
    fn wanted(&self, kind: Kind, of_type: u32, access: &str) -> Result<Option<Wanted<'t>>, String> {
        Ok(match kind {
            _ if kind.is_of_type() => (access == "0").then_some(Wanted::Type),
            Kind::EnumvalExists | Kind::EnumvalValue => {
                let of = self.local.stripped(of_type).map(|(_, of)| of);
                let value = of.zip(access.parse().ok());
                let value = value.and_then(|(of, index)| self.local.enumerator(of, index));
                value.map(|(name, value)| Wanted::EnumValue { name, value })
            }
            _ => match access_indices(access) {
                Some(indices) => {
                    self.env.charge(indices.len() as u64)?;
                    Spec::of(self.local, of_type, &indices).map(Wanted::Field)
                }
                None => None,
            },
        })
    }

    /// The value in the kernel's types. `None`: they lack it.
    fn find(
        &self,
        kernel: &KernelTypes,
        root: Type<'_>,
        of_type: u32,
        kind: Kind,
        wanted: &Wanted<'t>,
    ) -> Result<Option<FoundValue>, String> {
        let target = kernel.types();
        let pair = TypePair { local: self.local, target: &target, budget: &self.env.budget };
        let before = self.value(self.local, kind, of_type, wanted)?.memory;
        let mut found: Option<(FoundValue, u64)> = None;
        for (id, candidate) in kernel.named(essential_name(self.local.name(root))) {
            pair.step()?;
            if !same_kind(root, candidate) {
                continue;
            }
            let Some(theirs) = self.in_candidate(&pair, of_type, id, kind, wanted)? else { continue };
            let bits = if let Wanted::Field(spec) = &theirs { spec.bits } else { 0 };
            let value = self.value(&target, kind, id, &theirs)?;
            let is_modelled = kind != Kind::FieldByteOffset || {
                let name = essential_name(target.name(candidate));
                self.env.is_modelled(name, bits / 8, value.memory.map_or(1, |(size, _)| size))
            };
            let may_resize = match before.zip(value.memory) {
                Some(((size, ours), (their_size, theirs))) if size != their_size => {
                    is_zero_extended(self.local, ours) && is_zero_extended(&target, theirs)
                }
                _ => true,
            };
            match found {
                Some((FoundValue { value: other, .. }, place))
                    if (other.number, place) != (value.number, bits) =>
                {
                    return Err(format!(
                        "{} has several types of that name, which differ in it ({} and {})",
                        self.env.kernel, other.number, value.number
                    ));
                }
                Some(_) => {}
                None => found = Some((FoundValue { value, may_resize, is_modelled }, bits)),
            }
        }
        Ok(found.map(|(found, _)| found))
    }

    /// The same in a type of the kernel.
    fn in_candidate<'n>(
        &self,
        pair: &TypePair<'_, 't, 'n>,
        of_type: u32,
        candidate: u32,
        kind: Kind,
        wanted: &Wanted<'t>,
    ) -> Result<Option<Wanted<'n>>, String> {
        Ok(match wanted {
            Wanted::Field(spec) => spec.in_target(pair, candidate)?.map(Wanted::Field),
            Wanted::EnumValue { name, .. } => {
                enum_value(pair, candidate, name)?.map(|value| Wanted::EnumValue { name: "", value })
            }
            Wanted::Type if kind == Kind::TypeMatches => {
                pair.types_match(of_type, candidate)?.then_some(Wanted::Type)
            }
            Wanted::Type => pair.types_fit(of_type, candidate)?.then_some(Wanted::Type),
        })
    }

    /// The number that the relocation stands for in these types.
    fn value(&self, types: &Types<'_>, kind: Kind, root: u32, wanted: &Wanted<'_>) -> Result<Value, String> {
        let no_size = || "a type has no size".to_owned();
        match wanted {
            Wanted::Type => Ok(match kind {
                Kind::TypeIdTarget => Value { is_certain: false, ..Value::of(u64::from(root)) },
                Kind::TypeSize => Value::of(u64::from(types.size(root).ok_or_else(no_size)?)),
                _ => Value::of(1),
            }),
            Wanted::EnumValue { value, .. } => {
                Ok(Value::of(if kind == Kind::EnumvalExists { 1 } else { *value as u64 }))
            }
            Wanted::Field(_) if kind == Kind::FieldExists => Ok(Value::of(1)),
            Wanted::Field(spec) => field_value(types, kind, spec),
        }
    }
}

/// `struct task_struct.cred`, `enum pid_type::PIDTYPE_PID`, `struct rq`
fn describe(name: &str, root: Type<'_>, wanted: &Wanted<'_>) -> String {
    let kind = match root.kind {
        STRUCT => "struct ",
        UNION => "union ",
        ENUM | ENUM64 => "enum ",
        FWD if root.kind_flag => "union ",
        FWD => "struct ",
        _ => "",
    };
    let of_member = match wanted {
        Wanted::Field(spec) => spec.path(),
        Wanted::EnumValue { name, .. } => format!("::{name}"),
        Wanted::Type => String::new(),
    };
    format!("{kind}{name}{of_member}")
}

/// A description of at most some hundred bytes.
fn shortened(mut description: String) -> String {
    const BYTES_MAX: usize = 512;
    if description.len() > BYTES_MAX {
        description.truncate(description.floor_char_boundary(BYTES_MAX));
        description.push('…');
    }
    description
}

#[cfg(test)]
mod tests;
