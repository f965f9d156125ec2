//! CO-RE relocations: instructions are adapted to the layout that the kernel's types have. The reference is
//! tools/lib/bpf/relo_core.c.

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

/// The context, which every kernel has in one layout.
static CONTEXT: LazyLock<Vec<u8>> = LazyLock::new(context_btf);

/// Applies relocations.
pub(super) struct CoreLinker<'t, 'k> {
    local: &'t Types<'t>,
    context: Option<KernelTypes<'static>>,
    env: &'t LinkEnv<'k>,
}

impl<'t, 'k> CoreLinker<'t, 'k> {
    pub(super) fn new(local: &'t Types<'t>, env: &'t LinkEnv<'k>) -> Self {
        Self { local, context: KernelTypes::read(&CONTEXT), env }
    }

    /// Relocates the instruction at `insns[relocation.insn]`. If the kernel lacks what it accesses, the instruction cannot run:
    /// returns what is missing, and who lacks it.
    ///
    /// # Errors
    ///
    /// Why the relocation cannot be applied.
    pub(super) fn apply(
        &self,
        relocation: &CoreRelocation,
        insns: &mut [Insn],
    ) -> Result<Option<(String, UnresolvedReason)>, String> {
        let damaged = || "the section .BTF.ext is damaged: a CO-RE relocation leads nowhere".to_owned();
        let kind = *Kind::ALL.get(relocation.kind as usize).ok_or_else(|| {
            format!("a CO-RE relocation is of a kind that is not known yet ({})", relocation.kind)
        })?;
        let root = self.local.get(relocation.of_type).ok_or_else(damaged)?;
        let access = self.local.strings.at(relocation.access);
        let wanted = self.wanted(kind, relocation.of_type, access).ok_or_else(damaged)?;
        let what = self.describe(root, &wanted);
        let in_context = |why: String| format!("CO-RE relocation of {what}: {why}");
        if kind == Kind::TypeIdLocal {
            let value = Value { is_certain: false, ..Value::of(u64::from(relocation.of_type)) };
            return patch(insns, relocation.insn, value, value, true).map(|_| None).map_err(in_context);
        }

        let name = essential_name(self.local.name(root));
        if name.is_empty() {
            return Err(in_context("a type without a name cannot be found in a kernel".to_owned()));
        }
        let is_context = name == "bpf_sysctl" && kind != Kind::TypeIdTarget;
        let found = match &self.context {
            Some(context) if is_context => self.find(context, root, relocation.of_type, kind, &wanted),
            _ => self.find(self.env.types().map_err(in_context)?, root, relocation.of_type, kind, &wanted),
        };
        let before = self.value(self.local, kind, relocation.of_type, &wanted).map_err(in_context)?;
        match found.map_err(in_context)? {
            Some((value, may_resize)) => {
                let patched = patch(insns, relocation.insn, before, value, may_resize).map_err(in_context)?;
                Ok((!patched).then(|| {
                    let why = format!(
                        "{} has it in another size or sign, so that it cannot be loaded like this",
                        self.env.kernel
                    );
                    (in_context(why), UnresolvedReason::KernelLacks)
                }))
            }
            // A field or value that is missing has no offset and no number, but a missing type has the size 0.
            None if !kind.is_of_type() && !matches!(kind, Kind::FieldExists | Kind::EnumvalExists) => {
                // A model has few of the kernel's types, but all of the context.
                Ok(Some(if self.env.kernel.has_code() || is_context {
                    (in_context(self.missing(name, root, &wanted)), UnresolvedReason::KernelLacks)
                } else {
                    (what, UnresolvedReason::NotModelled)
                }))
            }
            None => {
                patch(insns, relocation.insn, before, Value::of(0), true).map(|_| None).map_err(in_context)
            }
        }
    }

    fn missing(&self, name: &str, root: Type<'_>, wanted: &Wanted<'_>) -> String {
        let is_known = self
            .env
            .types()
            .is_ok_and(|target| target.named(name).any(|(_, candidate)| same_kind(root, candidate)));
        let what = match wanted {
            _ if !is_known => "type",
            Wanted::Field(_) => "field",
            Wanted::EnumValue { .. } => "value",
            Wanted::Type => "type",
        };
        format!("{} has no such {what}", self.env.kernel)
    }

    /// What a relocation is about. `None`: the object is damaged.
    fn wanted(&self, kind: Kind, of_type: u32, access: &str) -> Option<Wanted<'t>> {
        match kind {
            _ if kind.is_of_type() => (access == "0").then_some(Wanted::Type),
            Kind::EnumvalExists | Kind::EnumvalValue => {
                let (_, of) = self.local.stripped(of_type)?;
                let index: usize = access.parse().ok()?;
                self.local.enumerators(of).nth(index).map(|(name, value)| Wanted::EnumValue { name, value })
            }
            _ => Spec::of(self.local, of_type, &access_indices(access)?).map(Wanted::Field),
        }
    }

    /// `struct task_struct.cred`, `enum pid_type::PIDTYPE_PID`, `struct rq`
    fn describe(&self, root: Type<'_>, wanted: &Wanted<'_>) -> String {
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
        format!("{kind}{}{of_member}", self.local.name(root))
    }

    /// The value in the kernel's types, and whether an instruction that loads it may get another size. `None`: they lack it.
    fn find<'n>(
        &self,
        target: &KernelTypes<'n>,
        root: Type<'_>,
        of_type: u32,
        kind: Kind,
        wanted: &Wanted<'t>,
    ) -> Result<Option<(Value, bool)>, String> {
        let pair = TypePair { local: self.local, target: &target.types, budget: &self.env.budget };
        let mut found: Option<(Value, u64, bool)> = None;
        for (id, candidate) in target.named(essential_name(self.local.name(root))) {
            pair.step()?;
            if !same_kind(root, candidate) {
                continue;
            }
            let Some(theirs) = self.in_candidate(&pair, of_type, id, kind, wanted)? else { continue };
            let bits = if let Wanted::Field(spec) = &theirs { spec.bits } else { 0 };
            let value = self.value(&target.types, kind, id, &theirs)?;
            let may_resize = match self.value(self.local, kind, of_type, wanted)?.memory.zip(value.memory) {
                Some(((size, ours), (their_size, theirs))) if size != their_size => {
                    is_zero_extended(self.local, ours) && is_zero_extended(&target.types, theirs)
                }
                _ => true,
            };
            match found {
                Some((other, place, _)) if (other.number, place) != (value.number, bits) => {
                    return Err(format!(
                        "{} has several types of that name, which differ in it ({} and {})",
                        self.env.kernel, other.number, value.number
                    ));
                }
                Some(_) => {}
                None => found = Some((value, bits, may_resize)),
            }
        }
        Ok(found.map(|(value, _, may_resize)| (value, may_resize)))
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
                enum_value(pair, candidate, name).map(|value| Wanted::EnumValue { name: "", value })
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

#[cfg(test)]
mod tests;
