//! Programs that are linked for a kernel: no object and no kernel makes that panic or take for ever.

use std::fmt;

use knobgate_bpf::{
    KernelSymbol, MemberType, Object, Program, StructDef, TargetKernel, Unresolved, UnresolvedReason,
    struct_btf,
};
use proptest::prelude::*;

macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../examples/objects/", $name, ".bpf.o"))
    };
}

const OBJECTS: [&[u8]; 6] = [
    object!("kfuncs"),
    object!("layout"),
    object!("missing"),
    object!("monitor"),
    object!("options"),
    object!("settings"),
];

/// A kernel with one struct.
struct Kernel {
    btf: Vec<u8>,
    module: Option<&'static str>,
    /// Whether several symbols have every name.
    ambiguous: bool,
}

impl Kernel {
    fn new() -> Self {
        let int = MemberType::Int { name: "int", size: 4, signed: true };
        let text = MemberType::Array(&MemberType::Int { name: "char", size: 1, signed: true }, 16);
        let members = [("state", int), ("pid", int), ("tgid", int), ("comm", text)];
        Self {
            btf: struct_btf(&[StructDef::new("task_struct", &members, &[])]),
            module: None,
            ambiguous: false,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Linux 6.18")
    }
}

impl TargetKernel for Kernel {
    fn btf(&self) -> Result<&[u8], String> {
        Ok(&self.btf)
    }

    fn version_code(&self) -> Result<u32, String> {
        Ok(6 << 16 | 18 << 8)
    }

    fn config(&self, option: &str) -> Result<Option<String>, String> {
        let value = match option {
            "CONFIG_HZ" => "1000",
            "CONFIG_DEFAULT_HOSTNAME" => "\"a name of more than 15 bytes\"",
            "CONFIG_NO_SUCH_OPTION" => return Ok(None),
            _ => "y",
        };
        Ok(Some(value.to_owned()))
    }

    fn symbol(&self, _: &str) -> Result<Option<KernelSymbol>, String> {
        if self.ambiguous {
            return Err("there are several symbols of that name".to_owned());
        }
        Ok(Some(KernelSymbol { address: 0xffff_ffff_8100_0000, module: self.module.map(str::to_owned) }))
    }

    fn lacks(&self, _: &str) -> bool {
        true
    }

    fn has_code(&self) -> bool {
        true
    }
}

fn link(bytes: &[u8], name: &str, kernel: &Kernel) -> Result<Program, String> {
    let object = Object::read(bytes).unwrap_or_else(|error| panic!("{error}"));
    object.program_for(Some(name), kernel).map_err(|error| error.to_string())
}

#[test]
fn what_is_not_reached_may_be_missing() {
    let program = link(object!("layout"), "layout", &Kernel::new()).expect("it is linked");
    let [member, other, value] = &program.unresolved[..] else { panic!("{:?}", program.unresolved) };
    let missing = |of: &Unresolved, what: &str| {
        assert_eq!(of.what, format!("CO-RE relocation of {what}"));
        assert_eq!(of.reason, UnresolvedReason::KernelLacks);
        assert_eq!(program.insns[of.insn].imm, of.helper as i32);
    };
    let mut all = [member, other, value];
    all.sort_by_key(|unresolved| unresolved.what.clone());
    missing(all[0], "enum pid_type___other::PIDTYPE_PGID___other: Linux 6.18 has no such type");
    missing(all[1], "struct no_such_struct.member: Linux 6.18 has no such type");
    missing(all[2], "struct task_struct___other.no_such_member: Linux 6.18 has no such field");
    assert_ne!(member.helper, other.helper);
}

#[test]
fn options_are_one_read_only_map() {
    let program = link(object!("options"), "options", &Kernel::new()).expect("it is linked");
    let options = program.maps.iter().find(|map| map.name == ".kconfig").expect("a map");
    assert!(options.frozen && options.max_entries == 1);
    let (_, value) = &options.contents[0];
    assert!(value.windows(16).any(|bytes| bytes == b"a name of more \0"), "{value:?}");
    assert!(value.windows(4).any(|bytes| bytes == [0, 0x12, 6, 0]), "the version: {value:?}");
    let used =
        program.relocations.iter().filter(|relocation| program.maps[relocation.map].name == ".kconfig");
    assert!(used.count() >= 9);
}

#[test]
fn what_is_in_a_module_is_refused() {
    let kernel = Kernel { module: Some("driver"), ..Kernel::new() };
    for (object, name) in [(&object!("missing")[..], "function"), (object!("missing"), "variable")] {
        let error = link(object, name, &kernel).expect_err("an error");
        assert!(error.contains("it is in the module driver, and only those of the kernel itself"), "{error}");
    }
}

#[test]
fn a_weak_symbol_is_not_absent_because_there_are_several() {
    let kernel = Kernel { ambiguous: true, ..Kernel::new() };
    let error = link(object!("options"), "weak", &kernel).expect_err("an error");
    assert!(
        error.ends_with(
            "the variable no_such_symbol of the kernel (ksym): there are several symbols of that name"
        ),
        "{error}"
    );
}

/// Links all programs of an object, with a variable set to several values.
fn exhaust(bytes: &[u8], kernel: &Kernel) {
    let Ok(mut object) = Object::read(bytes) else { return };
    let variables: Vec<_> = object.variables().iter().map(|variable| variable.name.clone()).collect();
    for name in variables.iter().take(64) {
        for value in ["1", "-1", "true", "text", "1,2", "hex:00", "hex:00000000"] {
            let _ = object.set(name, value);
        }
    }
    for program in object.programs() {
        if let Ok(program) = object.program_for(Some(&program.name), kernel) {
            program.listing().to_string();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_damaged_object_is_linked_or_rejected(
        object in 0..OBJECTS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..6),
    ) {
        exhaust(&changed(OBJECTS[object], &changes), &Kernel::new());
    }

    #[test]
    fn the_damaged_btf_of_a_kernel_is_read_or_rejected(
        object in 0..OBJECTS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..6),
        length in any::<prop::sample::Index>(),
    ) {
        let whole = Kernel::new();
        let mut btf = changed(&whole.btf, &changes);
        // Half of them are cut short.
        let length = length.index(2 * btf.len()).min(btf.len());
        btf.truncate(length);
        exhaust(OBJECTS[object], &Kernel { btf, ..whole });
    }
}

/// Some of the words are others: small ones, and any.
fn changed(bytes: &[u8], changes: &[(prop::sample::Index, u32)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, value) in changes {
        let start = place.index(bytes.len());
        let value = if value & 1 == 0 { value >> 1 & 0x1f } else { *value };
        let end = (start + 4).min(bytes.len());
        bytes[start..end].copy_from_slice(&value.to_le_bytes()[..end - start]);
    }
    bytes
}
