//! CO-RE relocations: instructions are adapted to the layout that the kernel's types have. The reference is
//! tools/lib/bpf/relo_core.c.

use std::sync::LazyLock;

use super::core_compat::{TypePair, essential_name, same_kind};
use super::core_spec::{Spec, access_indices, enum_value, place};
use super::link_env::{KernelTypes, LinkEnv};
use crate::btf::context_btf;
use crate::btf_types::{ENUM, ENUM64, FWD, INT, INT_IS_SIGNED, PTR, STRUCT, Type, Types, UNION};
use crate::{Insn, Size, opcode};

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
enum Kind {
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

/// A number that an instruction has or gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    number: u64,
    /// For the offset of a member, which instructions may load or store: its size in bytes and its type.
    memory: Option<(u32, u32)>,
    /// Whether the instruction has this number before. The layout of bit fields is ambiguous.
    is_certain: bool,
}

impl Value {
    fn of(number: u64) -> Self {
        Self { number, memory: None, is_certain: true }
    }
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
    /// returns what is missing.
    ///
    /// # Errors
    ///
    /// Why the relocation cannot be applied.
    pub(super) fn apply(
        &self,
        relocation: &CoreRelocation,
        insns: &mut [Insn],
    ) -> Result<Option<String>, String> {
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
                    in_context(format!(
                        "{} has it in another size or sign, so that it cannot be loaded like this",
                        self.env.kernel
                    ))
                }))
            }
            // A field or value that is missing has no offset and no number, but a missing type has the size 0.
            None if !kind.is_of_type() && !matches!(kind, Kind::FieldExists | Kind::EnumvalExists) => {
                Ok(Some(in_context(self.missing(name, root, &wanted))))
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

/// Whether loads of the type extend it by zeros, so that another size has the same value.
fn is_zero_extended(types: &Types<'_>, id: u32) -> bool {
    types.stripped(id).is_some_and(|(_, of)| match of.kind {
        PTR => true,
        INT => of.int_encoding() != INT_IS_SIGNED,
        _ => false,
    })
}

fn field_value(types: &Types<'_>, kind: Kind, spec: &Spec<'_>) -> Result<Value, String> {
    let no_size = || "a member has no size".to_owned();
    let last = spec.steps.last().ok_or_else(no_size)?;
    if last.name.is_none() {
        let size = types.size(last.of_type).ok_or_else(no_size)?;
        return match kind {
            Kind::FieldByteOffset => {
                Ok(Value { memory: Some((size, last.of_type)), ..Value::of(spec.bits / 8) })
            }
            Kind::FieldByteSize => Ok(Value::of(u64::from(size))),
            _ => Err("an element of an array has neither sign nor shifts".to_owned()),
        };
    }
    let of = types.get(last.of_type).ok_or_else(no_size)?;
    let member = types.members(of).nth(last.index as usize).ok_or_else(no_size)?;
    let (_, width) = place(of, member.offset);
    let (id, of_member) = types.stripped(member.of_type).ok_or_else(no_size)?;
    let (offset, size, bits) = if width == 0 {
        let size = types.size(id).ok_or_else(no_size)?;
        (spec.bits / 8, u64::from(size), u64::from(size) * 8)
    } else {
        let (offset, size) = unit_of_bit_field(spec.bits, width, of_member.payload)?;
        (offset, size, u64::from(width))
    };
    let is_bit_field = width > 0;
    let uncertain = |number| Value { is_certain: !is_bit_field, ..Value::of(number) };
    Ok(match kind {
        Kind::FieldByteOffset if is_bit_field => uncertain(offset),
        Kind::FieldByteOffset => Value { memory: Some((size as u32, id)), ..Value::of(offset) },
        Kind::FieldByteSize => uncertain(size),
        Kind::FieldSigned => {
            let is_signed = if of_member.is_enum() {
                of_member.kind_flag
            } else {
                of_member.int_encoding() & INT_IS_SIGNED != 0
            };
            Value::of(u64::from(is_signed))
        }
        // Little-endian.
        Kind::FieldLshiftU64 => uncertain(64u64.wrapping_sub(spec.bits + bits - offset * 8)),
        _ => Value::of(64u64.wrapping_sub(bits)),
    })
}

/// Where the integer begins that a bit field can be loaded with, and its size, in bytes.
fn unit_of_bit_field(bits: u64, width: u32, size: u32) -> Result<(u64, u64), String> {
    let mut size = u64::from(size);
    loop {
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err("a bit field is in no integer that can be loaded".to_owned());
        }
        let offset = bits / 8 / size * size;
        if bits + u64::from(width) - offset * 8 <= size * 8 {
            return Ok((offset, size));
        }
        size *= 2;
    }
}

/// Puts the number into the instruction. `false`: it would load or store the wrong bytes.
fn patch(
    insns: &mut [Insn],
    at: usize,
    before: Value,
    after: Value,
    may_resize: bool,
) -> Result<bool, String> {
    let unexpected = || "the instruction does not have what it was compiled with".to_owned();
    let insn = *insns.get(at).ok_or_else(unexpected)?;
    let is_expected = |found: u64| !before.is_certain || found == before.number;
    match insn.class() {
        opcode::ALU | opcode::ALU64
            if insn.opcode & opcode::SOURCE_MASK == opcode::K && is_expected(i64::from(insn.imm) as u64) =>
        {
            insns[at] = insn.with_imm(after.number as i32);
            Ok(true)
        }
        opcode::LDX | opcode::ST | opcode::STX if is_expected(i64::from(insn.off) as u64) => {
            if !may_resize {
                return Ok(false);
            }
            let off = i16::try_from(after.number).map_err(|_| {
                format!("it is {} bytes from the start, too far for an instruction", after.number)
            })?;
            insns[at] = insn.with_off(off);
            let sizes = before.memory.zip(after.memory).map(|((before, _), (after, _))| (before, after));
            if let Some((before, after)) = sizes.filter(|(before, after)| before != after) {
                if Size::from_code(insn.opcode).bytes() != before {
                    return Err(unexpected());
                }
                let size = Size::ALL.into_iter().find(|size| size.bytes() == after);
                let size = size.ok_or_else(|| format!("no instruction loads {after} bytes"))?;
                let opcode = insn.opcode & !opcode::SIZE_MASK | size.code();
                insns[at] = Insn::new(opcode, insn.dst(), insn.src(), off, insn.imm);
            }
            Ok(true)
        }
        opcode::LD if insn.is_load_imm64() && insn.src() == 0 => {
            let second = *insns.get(at + 1).ok_or_else(unexpected)?;
            let found = u64::from(insn.imm as u32) | u64::from(second.imm as u32) << 32;
            if !is_expected(found) {
                return Err(unexpected());
            }
            insns[at] = insn.with_imm(after.number as i32);
            insns[at + 1] = second.with_imm((after.number >> 32) as i32);
            Ok(true)
        }
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::target_kernel::{KernelSymbol, TargetKernel};
    use super::*;
    use crate::btf::{self, Strings, blob};
    use crate::btf_types::{ARRAY, FUNC_PROTO, TYPEDEF};
    use crate::{Cond, Imm64, Reg, Width};

    const BIT_FIELDS: u32 = 1 << 7;

    /// A kernel with these types and nothing else.
    struct Kernel(Vec<u8>);

    impl std::fmt::Display for Kernel {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the kernel")
        }
    }

    impl TargetKernel for Kernel {
        fn btf(&self) -> Result<&[u8], String> {
            Ok(&self.0)
        }

        fn version_code(&self) -> Result<u32, String> {
            Ok(0)
        }

        fn config(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }

        fn symbol(&self, _: &str) -> Result<Option<KernelSymbol>, String> {
            Ok(None)
        }

        fn has_code(&self) -> bool {
            false
        }
    }

    /// Types by hand. `int`, `unsigned int`, `unsigned long`, `char` and `void *` are 1 to 5.
    struct Builder {
        types: btf::Types,
        strings: Strings,
    }

    const SIGNED: u32 = 1;
    const UNSIGNED: u32 = 2;
    const LONG: u32 = 3;
    const CHAR: u32 = 4;
    const POINTER: u32 = 5;

    impl Builder {
        fn new() -> Self {
            let (mut types, mut strings) = (btf::Types::new(), Strings::new());
            types.int(strings.add("int"), INT_IS_SIGNED);
            types.int(strings.add("unsigned int"), 0);
            types.add(strings.add("unsigned long"), INT, 0, 8, &[64]);
            types.add(strings.add("char"), INT, 0, 1, &[INT_IS_SIGNED << 24 | 8]);
            types.add(0, PTR, 0, 0, &[]);
            Self { types, strings }
        }

        /// A struct with members: name, type and offset in bits.
        fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
            self.composite(STRUCT, name, size, members)
        }

        fn composite(&mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
            let words: Vec<u32> = members
                .iter()
                .flat_map(|(name, of, offset)| [self.strings.add(name), *of, *offset])
                .collect();
            let name = self.strings.add(name);
            self.types.add(name, kind, members.len() as u32, size, &words)
        }

        fn array(&mut self, of: u32, count: u32) -> u32 {
            self.types.add(0, ARRAY, 0, 0, &[of, SIGNED, count])
        }

        fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
            let words: Vec<u32> =
                values.iter().flat_map(|(name, value)| [self.strings.add(name), *value]).collect();
            let name = self.strings.add(name);
            self.types.add(name, ENUM, values.len() as u32, 4, &words)
        }

        fn blob(&self) -> Vec<u8> {
            blob(&self.types, &self.strings)
        }
    }

    /// What becomes of instructions that access `access` of the type `root`.
    fn relocated(
        mut local: Builder,
        target: &Builder,
        (root, access): (u32, &str),
        kind: Kind,
        insns: &[Insn],
    ) -> Result<Result<Vec<Insn>, String>, String> {
        let access = local.strings.add(access);
        let bytes = local.blob();
        let types = Types::read(&bytes).expect("BTF");
        let kernel = Kernel(target.blob());
        let env = LinkEnv::new(&kernel);
        let kind = Kind::ALL.iter().position(|found| *found == kind).expect("a kind") as u32;
        let mut insns = insns.to_vec();
        let relocation = CoreRelocation { insn: 0, of_type: root, access, kind };
        Ok(match CoreLinker::new(&types, &env).apply(&relocation, &mut insns)? {
            None => Ok(insns),
            Some(missing) => Err(missing),
        })
    }

    fn mov(imm: i32) -> Insn {
        Insn::mov(Width::W64, Reg::R0, imm)
    }

    fn load(size: Size, off: i16) -> Insn {
        Insn::load(size, Reg::R0, Reg::R1, off)
    }

    /// `struct s { int a; unsigned int b; void *p; char text[8]; }`, in the kernel with another layout and a longer b.
    fn structs() -> (Builder, Builder, u32) {
        let (mut local, mut target) = (Builder::new(), Builder::new());
        let text = local.array(CHAR, 8);
        let members = [("a", SIGNED, 0), ("b", UNSIGNED, 32), ("p", POINTER, 64), ("text", text, 128)];
        let root = local.structure("s___mine", 24, &members);
        let text = target.array(CHAR, 16);
        let inner = target.composite(UNION, "", 32, &[("text", text, 64), ("a", SIGNED, 192)]);
        target.structure("s", 48, &[("p", POINTER, 0), ("", inner, 64), ("b", LONG, 320)]);
        (local, target, root)
    }

    #[test]
    fn a_member_is_found_wherever_the_kernel_has_it() {
        use Kind::{FieldByteOffset, FieldByteSize, FieldExists, FieldSigned, TypeExists, TypeSize};
        let cases = [
            ("0:0", FieldByteOffset, load(Size::U32, 0), load(Size::U32, 32)),
            ("0:1", FieldByteOffset, load(Size::U32, 4), load(Size::U64, 40)),
            ("0:2", FieldByteOffset, load(Size::U64, 8), load(Size::U64, 0)),
            ("0:3:5", FieldByteOffset, mov(21), mov(21)),
            ("1:0", FieldByteOffset, mov(24), mov(48 + 32)),
            ("0:3", FieldByteSize, mov(8), mov(16)),
            ("0:0", FieldSigned, mov(1), mov(1)),
            ("0:1", FieldSigned, mov(0), mov(0)),
            ("0:0", FieldExists, mov(1), mov(1)),
            ("0", TypeExists, mov(1), mov(1)),
            ("0", TypeSize, mov(24), mov(48)),
        ];
        for (access, kind, before, after) in cases {
            let (local, target, root) = structs();
            let found = relocated(local, &target, (root, access), kind, &[before]);
            assert_eq!(found, Ok(Ok(vec![after])), "{access} {kind:?}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_missing_or_0() {
        let of = |access, kind, before| {
            let (_, target, _) = structs();
            let mut local = Builder::new();
            let root = local.structure("s", 16, &[("a", POINTER, 0), ("none", UNSIGNED, 64)]);
            relocated(local, &target, (root, access), kind, &[before])
        };
        let missing = |what: &str| {
            Ok(Err(format!("CO-RE relocation of struct s.{what}: the kernel has no such field")))
        };
        assert_eq!(of("0:1", Kind::FieldByteOffset, mov(8)), missing("none"));
        assert_eq!(of("0:1", Kind::FieldExists, mov(1)), Ok(Ok(vec![mov(0)])));
        // It is a number there.
        assert_eq!(of("0:0", Kind::FieldByteOffset, mov(0)), missing("a"));
        assert_eq!(of("0:0", Kind::FieldExists, mov(1)), Ok(Ok(vec![mov(0)])));
    }

    #[test]
    fn a_type_that_the_kernel_lacks_has_no_size() {
        let cases =
            [(Kind::TypeExists, 1), (Kind::TypeSize, 8), (Kind::TypeMatches, 1), (Kind::TypeIdTarget, 9)];
        for (kind, before) in cases {
            let mut local = Builder::new();
            let root = local.structure("none", 8, &[("a", SIGNED, 0)]);
            let found = relocated(local, &Builder::new(), (root, "0"), kind, &[mov(before)]);
            assert_eq!(found, Ok(Ok(vec![mov(0)])), "{kind:?}");
        }
    }

    #[test]
    fn a_number_with_a_sign_is_not_loaded_in_another_size() {
        let (mut local, mut target) = (Builder::new(), Builder::new());
        let root = local.structure("s", 4, &[("a", SIGNED, 0)]);
        target.structure("s", 8, &[("a", LONG, 0)]);
        let before = [load(Size::U32, 0)];
        let found = relocated(local, &target, (root, "0:0"), Kind::FieldByteOffset, &before);
        assert!(
            found.clone().is_ok_and(|found| found.is_err_and(|why| why.contains("another size"))),
            "{found:?}"
        );
    }

    #[test]
    fn types_of_one_name_have_to_agree() {
        for (offset, fits) in [(32, true), (64, false)] {
            let (mut local, mut target) = (Builder::new(), Builder::new());
            let root = local.structure("s", 8, &[("a", SIGNED, 0)]);
            target.structure("s", 8, &[("a", SIGNED, 32)]);
            target.structure("s___2", 12, &[("a", SIGNED, offset)]);
            let found = relocated(local, &target, (root, "0:0"), Kind::FieldByteOffset, &[mov(0)]);
            match fits {
                true => assert_eq!(found, Ok(Ok(vec![mov(4)]))),
                false => assert!(found.clone().is_err_and(|why| why.contains("several types")), "{found:?}"),
            }
        }
    }

    #[test]
    fn bit_fields_are_loaded_as_integers() {
        let cases = [
            (Kind::FieldByteOffset, 4),
            (Kind::FieldByteSize, 4),
            (Kind::FieldLshiftU64, 64 - 13),
            (Kind::FieldRshiftU64, 64 - 3),
            (Kind::FieldSigned, 0),
        ];
        for (kind, expected) in cases {
            let (mut local, mut target) = (Builder::new(), Builder::new());
            let kind_of_struct = STRUCT | BIT_FIELDS;
            let root = local.composite(kind_of_struct, "s", 4, &[("x", UNSIGNED, 3 << 24)]);
            target.composite(kind_of_struct, "s", 8, &[("x", UNSIGNED, 3 << 24 | 42)]);
            // What it was compiled with is not checked, except for the sign and the right shift.
            let before = match kind {
                Kind::FieldRshiftU64 => 61,
                Kind::FieldSigned => 0,
                _ => 77,
            };
            let found = relocated(local, &target, (root, "0:0"), kind, &[mov(before)]);
            assert_eq!(found, Ok(Ok(vec![mov(expected)])), "{kind:?}");
        }
    }

    #[test]
    fn values_of_enums_are_the_kernels() {
        let of = |access, kind, before: u64, present: bool| {
            let (mut local, mut target) = (Builder::new(), Builder::new());
            let root = local.enumeration("e", &[("A___old", 1), ("B", 2)]);
            if present {
                target.enumeration("e", &[("A", 7)]);
            }
            let before = Insn::load_imm64(Reg::R0, Imm64::Value(before));
            relocated(local, &target, (root, access), kind, &before)
        };
        let load = |number| Ok(Ok(Insn::load_imm64(Reg::R0, Imm64::Value(number)).to_vec()));
        assert_eq!(of("0", Kind::EnumvalValue, 1, true), load(7));
        assert_eq!(of("0", Kind::EnumvalExists, 1, true), load(1));
        assert_eq!(of("1", Kind::EnumvalExists, 1, true), load(0));
        let missing = |what| Ok(Err(format!("CO-RE relocation of enum e::B: the kernel has no such {what}")));
        assert_eq!(of("1", Kind::EnumvalValue, 2, true), missing("value"));
        assert_eq!(of("1", Kind::EnumvalValue, 2, false), missing("type"));
    }

    /// Whether a local struct with a member of the type that is built matches `struct s { unsigned int a; int (*f)(int); }`.
    fn matches(member: &str, build: impl Fn(&mut Builder) -> u32) -> bool {
        let prototype = |types: &mut Builder, argument| {
            let proto = types.types.add(0, FUNC_PROTO, 1, SIGNED, &[0, argument]);
            types.types.add(0, PTR, 0, proto, &[])
        };
        let (mut local, mut target) = (Builder::new(), Builder::new());
        let of_member = build(&mut local);
        let root = local.structure("s___mine", 16, &[(member, of_member, 0)]);
        let function = prototype(&mut target, SIGNED);
        target.structure("s", 16, &[("a", UNSIGNED, 0), ("f", function, 64)]);
        relocated(local, &target, (root, "0"), Kind::TypeMatches, &[mov(1)]) == Ok(Ok(vec![mov(1)]))
    }

    #[test]
    fn a_type_matches_if_all_its_members_do() {
        let function = |argument: u32| {
            move |types: &mut Builder| {
                let proto = types.types.add(0, FUNC_PROTO, 1, SIGNED, &[0, argument]);
                types.types.add(0, PTR, 0, proto, &[])
            }
        };
        let alias = |types: &mut Builder| {
            let name = types.strings.add("u32");
            types.types.add(name, TYPEDEF, 0, UNSIGNED, &[])
        };
        assert!(matches("a", |_| UNSIGNED));
        assert!(matches("a", alias));
        assert!(!matches("a", |_| SIGNED));
        assert!(!matches("b", |_| UNSIGNED));
        assert!(matches("f", function(SIGNED)));
        assert!(!matches("f", function(LONG)));
    }

    #[test]
    fn a_damaged_relocation_is_an_error() {
        let cases = [
            ("0:9", Kind::FieldByteOffset, mov(0), "leads nowhere"),
            ("0:3:8", Kind::FieldByteOffset, mov(24), "leads nowhere"),
            ("0:0:0", Kind::FieldByteOffset, mov(0), "leads nowhere"),
            ("", Kind::FieldByteOffset, mov(0), "leads nowhere"),
            ("x", Kind::FieldExists, mov(0), "leads nowhere"),
            ("1", Kind::TypeSize, mov(24), "leads nowhere"),
            ("0", Kind::EnumvalValue, mov(0), "leads nowhere"),
            ("0:1", Kind::FieldByteOffset, mov(5), "what it was compiled with"),
            ("0:1", Kind::FieldByteOffset, Insn::exit(), "what it was compiled with"),
            (
                "0:1",
                Kind::FieldByteOffset,
                Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, 4, 1),
                "what it was compiled with",
            ),
        ];
        for (access, kind, insn, expected) in cases {
            let (local, target, root) = structs();
            let found = relocated(local, &target, (root, access), kind, &[insn]);
            assert!(found.clone().is_err_and(|why| why.contains(expected)), "{access} {kind:?}: {found:?}");
        }
    }

    /// Each struct has two members without a name that are the next one: 2^60 paths.
    #[test]
    fn hostile_types_are_given_up() {
        let (mut local, mut target) = (Builder::new(), Builder::new());
        let root = local.structure("s", 8, &[("a", SIGNED, 0)]);
        let mut inner = target.structure("", 0, &[]);
        for _ in 0..60 {
            inner = target.structure("", 0, &[("", inner, 0), ("", inner, 0)]);
        }
        target.structure("s", 8, &[("", inner, 0)]);
        let found = relocated(local, &target, (root, "0:0"), Kind::FieldByteOffset, &[mov(0)]);
        assert!(found.clone().is_err_and(|why| why.contains("takes too long")), "{found:?}");
    }
}
