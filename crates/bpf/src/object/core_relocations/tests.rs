//! Single relocations, between types by hand.

use std::sync::Arc;

use super::super::target_kernel::tests::Kernel;
use super::*;
use crate::btf::{self, Strings, blob};
use crate::btf_types::{ARRAY, FUNC_PROTO, INT, INT_IS_SIGNED, PTR, TYPEDEF};
use crate::{Cond, Imm64, KernelStructs, Reg, Size, Width};

const BIT_FIELDS: u32 = 1 << 7;

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
        let words: Vec<u32> =
            members.iter().flat_map(|(name, of, offset)| [self.strings.add(name), *of, *offset]).collect();
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
    let kernel = Kernel { btf: target.blob(), is_model: false, structs: None };
    let env = LinkEnv::new(&kernel);
    let kind = Kind::ALL.iter().position(|found| *found == kind).expect("a kind") as u32;
    let mut insns = insns.to_vec();
    let relocation = CoreRelocation { insn: 0, of_type: root, access, kind };
    Ok(match CoreLinker::new(&types, &env).apply(&relocation, &mut insns)? {
        None => Ok(insns),
        Some(missing) => Err(missing.what),
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
        // It loads an element, however many the kernel has.
        ("0:3", FieldByteOffset, load(Size::U8, 16), load(Size::U8, 16)),
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
    let missing =
        |what: &str| Ok(Err(format!("CO-RE relocation of struct s.{what}: the kernel has no such field")));
    assert_eq!(of("0:1", Kind::FieldByteOffset, mov(8)), missing("none"));
    assert_eq!(of("0:1", Kind::FieldExists, mov(1)), Ok(Ok(vec![mov(0)])));
    // It is a number there.
    assert_eq!(of("0:0", Kind::FieldByteOffset, mov(0)), missing("a"));
    assert_eq!(of("0:0", Kind::FieldExists, mov(1)), Ok(Ok(vec![mov(0)])));
}

#[test]
fn what_a_model_does_not_know_is_never_0() {
    let kinds = [
        (Kind::FieldByteOffset, 8),
        (Kind::FieldByteSize, 4),
        (Kind::FieldExists, 1),
        (Kind::FieldSigned, 0),
        (Kind::FieldRshiftU64, 32),
        (Kind::TypeExists, 1),
        (Kind::TypeSize, 16),
        (Kind::TypeMatches, 1),
    ];
    let kernel = Kernel { btf: Builder::new().blob(), is_model: true, structs: None };
    for (kind, before) in kinds {
        let mut local = Builder::new();
        let root = local.structure("s___old", 16, &[("absent", POINTER, 0), ("unknown", UNSIGNED, 64)]);
        let access = local.strings.add(if kind.is_of_type() { "0" } else { "0:1" });
        let bytes = local.blob();
        let types = Types::read(&bytes).expect("BTF");
        let env = LinkEnv::new(&kernel);
        let kind_number = Kind::ALL.iter().position(|found| *found == kind).expect("a kind") as u32;
        let relocation = CoreRelocation { insn: 0, of_type: root, access, kind: kind_number };
        let mut insns = [mov(before)];
        let missing = CoreLinker::new(&types, &env).apply(&relocation, &mut insns).expect("it is applied");
        let missing = missing.unwrap_or_else(|| panic!("{kind:?}: {insns:?}"));
        assert_eq!(missing.reason, UnresolvedReason::NotModelled, "{kind:?}");
    }
    let mut local = Builder::new();
    let root = local.structure("s___old", 16, &[("absent", POINTER, 0)]);
    let access = local.strings.add("0:0");
    let bytes = local.blob();
    let types = Types::read(&bytes).expect("BTF");
    let env = LinkEnv::new(&kernel);
    let relocation = CoreRelocation { insn: 0, of_type: root, access, kind: 2 };
    let mut insns = [mov(1)];
    assert!(CoreLinker::new(&types, &env).apply(&relocation, &mut insns).is_ok_and(|lacks| lacks.is_none()));
    assert_eq!(insns, [mov(0)]);
}

#[test]
fn what_the_types_of_a_whole_kernel_do_not_have_is_absent() {
    let structs = Some(Arc::new(KernelStructs::default()));
    let kernel = Kernel { btf: Builder::new().blob(), is_model: true, structs };
    let local = |add: fn(&mut Builder) -> u32| {
        let mut local = Builder::new();
        (add(&mut local), local)
    };
    for (root, mut local) in [
        local(|local| local.structure("no_such_struct", 4, &[("a", UNSIGNED, 0)])),
        local(|local| local.enumeration("no_such_enum", &[("A", 0)])),
        local(|local| local.types.add(local.strings.add("no_such_t"), TYPEDEF, 0, UNSIGNED, &[])),
        local(|local| local.types.add(local.strings.add("__int128"), INT, 0, 16, &[128])),
    ] {
        let access = local.strings.add("0");
        let bytes = local.blob();
        let types = Types::read(&bytes).expect("BTF");
        let env = LinkEnv::new(&kernel);
        for kind in [Kind::TypeExists, Kind::TypeSize, Kind::TypeMatches] {
            let number = Kind::ALL.iter().position(|found| *found == kind).expect("a kind") as u32;
            let relocation = CoreRelocation { insn: 0, of_type: root, access, kind: number };
            let linker = CoreLinker::new(&types, &env);
            let before = if kind == Kind::TypeSize { types.size(root).expect("a size") as i32 } else { 1 };
            let mut insns = [mov(before)];
            let missing = linker.apply(&relocation, &mut insns).expect("it is applied");
            assert!(missing.is_none(), "{kind:?}: {missing:?}");
            assert_eq!(insns, [mov(0)], "{kind:?} of type {root}");
        }
    }
}

#[test]
fn equal_relocations_are_looked_up_once() {
    let (mut local, target, root) = structs();
    let access = local.strings.add("0:1");
    let bytes = local.blob();
    let types = Types::read(&bytes).expect("BTF");
    let kernel = Kernel { btf: target.blob(), is_model: false, structs: None };
    let env = LinkEnv::new(&kernel);
    let core = CoreLinker::new(&types, &env);
    let mut insns = [load(Size::U32, 4), load(Size::U32, 4)];
    let mut spent = Vec::new();
    for insn in 0..2 {
        let before = env.budget.get();
        let relocation = CoreRelocation { insn, of_type: root, access, kind: 0 };
        assert!(core.apply(&relocation, &mut insns).is_ok_and(|lacks| lacks.is_none()));
        spent.push(before - env.budget.get());
    }
    assert_eq!(insns, [load(Size::U64, 40); 2]);
    assert!(spent[0] > 0 && spent[1] == 0, "{spent:?}");
}

#[test]
fn a_type_that_the_kernel_lacks_has_no_size() {
    let cases = [(Kind::TypeExists, 1), (Kind::TypeSize, 8), (Kind::TypeMatches, 1), (Kind::TypeIdTarget, 9)];
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
        ("4294967295:0:0", Kind::FieldLshiftU64, mov(0), "leads nowhere"),
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
