//! Programs from the object files in examples/objects, by clang, and by rustc with aya-ebpf.

use knobgate_bpf::{
    Imm64, Insn, MapDef, MapKind, MapReference, Object, ObjectError, Program, Reg, Relocation, WriteError,
    encode, write_object,
};
use proptest::prelude::*;

macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../examples/objects/", $name, ".bpf.o"))
    };
}

const OBJECTS: [&[u8]; 14] = [
    object!("context"),
    object!("foreign"),
    object!("kernel_only"),
    object!("kinds"),
    object!("legacy"),
    object!("locks"),
    object!("names"),
    object!("nested"),
    object!("one_knob"),
    object!("pinned"),
    object!("several"),
    object!("vectors"),
    object!("watch"),
    object!("whole"),
];

fn read(bytes: &[u8]) -> Object {
    Object::read(bytes).unwrap_or_else(|error| panic!("{error}"))
}

fn program(bytes: &[u8], name: Option<&str>) -> Program {
    read(bytes).program(name).unwrap_or_else(|error| panic!("{error}"))
}

fn error(bytes: &[u8], name: Option<&str>) -> String {
    read(bytes).program(name).expect_err("an error").to_string()
}

#[test]
fn programs_are_listed_with_what_they_are_for() {
    let object = read(object!("several"));
    let programs: Vec<_> = object
        .programs()
        .iter()
        .map(|program| (program.name.as_str(), program.section.as_str(), program.expected_attach_type))
        .collect();
    let ours = |name| (name, "cgroup/sysctl", Some(18));
    assert_eq!(
        programs,
        [ours("decide"), ours("read_only"), ours("hand_on"), ("device", "cgroup/dev", None)]
    );
    assert_eq!(object.license(), "GPL");
    assert_eq!(read(object!("whole")).license(), "");
}

/// A small file could have any number of sections that are all of it.
#[test]
fn sections_that_overlap_are_rejected() {
    let mut bytes = object!("watch").to_vec();
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    // e_shoff, e_shentsize and e_shnum; then sh_type, sh_flags, sh_offset and sh_size of each.
    let (table, size, count) = (number(&bytes, 0x28, 8), number(&bytes, 0x3a, 2), number(&bytes, 0x3c, 2));
    const PROGBITS: usize = 1;
    const EXECINSTR: usize = 4;
    let data = (0..count).map(|index| table + index * size).find(|header| {
        number(&bytes, header + 4, 4) == PROGBITS && number(&bytes, header + 8, 8) & EXECINSTR == 0
    });
    let (header, all) = (data.expect("a section of data"), bytes.len() as u64);
    bytes[header + 0x18..header + 0x20].fill(0);
    bytes[header + 0x20..header + 0x28].copy_from_slice(&all.to_le_bytes());
    let error = Object::read(&bytes).expect_err("it is damaged").to_string();
    assert_eq!(error, "the object is damaged: its sections overlap");
}

#[test]
fn the_only_program_needs_no_name() {
    assert_eq!(program(object!("whole"), None).name, "whole");
    assert_eq!(program(object!("context"), None).name, "context");
}

#[test]
fn a_choice_is_left_to_the_user() {
    let several = object!("several");
    assert_eq!(
        error(several, None),
        "the object has several programs, one of which has to be named: decide, read_only, hand_on"
    );
    assert_eq!(
        error(several, Some("other")),
        "the object has no program \"other\"; it has decide, read_only, hand_on, device"
    );
    assert_eq!(
        error(several, Some("device")),
        "the program \"device\" is not for the accesses to /proc/sys: its section is cgroup/dev, not cgroup/sysctl"
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        ("kconfig", "the option CONFIG_HZ (kconfig): it is not known which kernel"),
        ("layout", "CO-RE relocation of struct task_struct.pid: it is not known which kernel"),
        ("address", "the section .data holds addresses"),
    ];
    for (name, expected) in cases {
        let message = error(object!("foreign"), Some(name));
        assert!(message.starts_with(&format!("the program \"{name}\" cannot be used: ")), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn maps_are_as_they_were_defined() {
    let of = |bytes: &[u8]| -> Vec<(String, MapKind, [u32; 4], bool)> {
        let maps = program(bytes, None).maps.into_iter();
        maps.map(|map| {
            let sizes = [map.key_size, map.value_size, map.max_entries, map.flags];
            (map.name, map.kind, sizes, map.frozen)
        })
        .collect()
    };
    let map = |name: &str, kind, sizes, frozen| (name.to_owned(), kind, sizes, frozen);
    assert_eq!(
        of(object!("watch")),
        [
            map("totals", MapKind::Array, [4, 32, 2, 0], false),
            map("writes", MapKind::Hash, [64, 8, 16, 0], false),
            map("events", MapKind::Ringbuf, [0, 0, 4096, 0], false),
            map(".bss", MapKind::Array, [4, 8, 1, 0], false),
            map(".rodata", MapKind::Array, [4, 8, 1, 0], true),
        ]
    );
    assert_eq!(
        of(object!("kinds"))[..6],
        [
            map("by_kind", MapKind::PercpuHash, [4, 8, 4, 0], false),
            map(".bss", MapKind::Array, [4, 24, 1, 0], false),
            map("queue", MapKind::Queue, [0, 8, 3, 0], false),
            map("stack", MapKind::Stack, [0, 8, 3, 0], false),
            map("perf", MapKind::PerfEventArray, [4, 4, 0, 0], false),
            map("verdicts", MapKind::LpmTrie, [32, 4, 8, 1], false),
        ]
    );
    assert_eq!(
        of(object!("legacy")),
        [
            map("counts", MapKind::PercpuArray, [4, 8, 2, 0], false),
            map("kept", MapKind::Hash, [16, 1, 8, 1], false),
        ]
    );
}

#[test]
fn a_program_in_rust_is_read_too() {
    let program = program(object!("one_knob"), None);
    assert_eq!(program.name, "one_knob");
    let [counts] = &program.maps[..] else { panic!("{:?}", program.maps) };
    assert_eq!((counts.name.as_str(), counts.kind, counts.value_size), ("COUNTS", MapKind::Array, 8));
    assert!(
        program.lines.entries.iter().any(|line| line.text.contains("*count += 1")),
        "{:?}",
        program.lines
    );
}

#[test]
fn variables_hold_what_they_start_with() {
    let program = program(object!("names"), None);
    let contents = |name: &str| {
        let map = program.maps.iter().find(|map| map.name == name).expect("a section");
        map.contents.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(contents(".bss"), []);
    assert_eq!(contents(".data"), [(vec![0; 4], b"tag\0\0\0\0\0".to_vec())]);
    assert_eq!(contents(".rodata"), [(vec![0; 4], b"aeiou\0".to_vec())]);
    let offsets = program.relocations.iter().filter_map(|relocation| match relocation.target {
        MapReference::Value(offset) if program.maps[relocation.map].name == ".bss" => Some(offset),
        _ => None,
    });
    assert!(offsets.max() > Some(0), "not everything is at the beginning");
}

#[test]
fn a_program_comes_with_the_functions_that_it_calls() {
    let program = program(object!("names"), None);
    let names: Vec<_> = program.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["names", "count_vowels", "count_slash", "is_vowel"]);
    let listing = program.listing().to_string();
    assert!(listing.contains(" <count_slash>") && listing.contains("<count_vowels>"), "{listing}");
    assert!(listing.contains("; ./names.bpf.c:"), "{listing}");
    assert!(listing.contains("last.depth++;"), "{listing}");
}

#[test]
fn a_program_array_starts_with_its_programs() {
    let program = program(object!("several"), Some("hand_on"));
    let [call] = &program.tail_calls[..] else { panic!("{:?}", program.tail_calls) };
    assert_eq!(program.maps[call.map].kind, MapKind::ProgArray);
    assert_eq!((call.index, call.program.name.as_str()), (2, "decide"));
    assert!(call.program.maps.is_empty() && call.program.tail_calls.is_empty());
    let shared = call.program.relocations.iter().map(|relocation| &program.maps[relocation.map].name);
    assert_eq!(shared.collect::<Vec<_>>(), [".bss"]);
}

#[test]
fn other_files_are_not_objects() {
    let linked = std::fs::read(std::env::current_exe().expect("its path")).expect("this program");
    let mut big_endian = object!("whole").to_vec();
    big_endian[5] = 2;
    let cases: [(&[u8], &str); 5] = [
        (b"", "it is not in ELF format"),
        (b"int main() {}", "it is not in ELF format"),
        (b"\x7fELF", "it is not for a 64-bit little-endian machine"),
        (&big_endian, "it is not for a 64-bit little-endian machine"),
        (&linked, "it is for another machine than BPF"),
    ];
    for (bytes, why) in cases {
        assert_eq!(Object::read(bytes).expect_err(why), ObjectError::NotAnObject { why: why.to_owned() });
    }
}

#[test]
fn what_was_written_is_read_back() {
    for object in ["context", "kinds", "legacy", "names", "vectors", "watch", "whole"] {
        let program = program(by_name(object), None);
        let written = write_object(&program).unwrap_or_else(|error| panic!("{object}: {error}"));
        let again = self::program(&written, None);
        assert_eq!(again.listing().to_string(), program.listing().to_string(), "{object}");
        let maps = |program: &Program| {
            // The types of keys and values are not written.
            let mut maps: Vec<_> =
                program.maps.iter().map(|map| MapDef { btf: None, ..map.clone() }).collect();
            maps.sort_by(|a, b| a.name.cmp(&b.name));
            maps
        };
        assert_eq!(maps(&again), maps(&program), "{object}");
        assert_eq!((again.name, again.license), (program.name, program.license));
        assert_eq!(again.functions, program.functions);
    }
}

fn by_name(name: &str) -> &'static [u8] {
    let path = format!("./{name}.bpf.c");
    let holds = |object: &&&[u8]| object.windows(path.len()).any(|bytes| bytes == path.as_bytes());
    OBJECTS.iter().find(holds).expect("an object")
}

#[test]
fn sections_are_named_after_their_contents() {
    let insns = vec![Insn::mov(knobgate_bpf::Width::W64, Reg::R0, 1), Insn::exit()];
    let open = MapDef { frozen: false, ..MapDef::frozen_value("counters", vec![0; 8]) };
    let maps =
        vec![MapDef::frozen_value("text", b"policy".to_vec()), MapDef { contents: Vec::new(), ..open }];
    let program = Program { name: "web-tier".to_owned(), insns, maps, ..Program::default() };
    let again = self::program(&write_object(&program).expect("an object"), Some("web_tier"));
    let maps: Vec<_> = again.maps.iter().map(|map| (map.name.as_str(), &map.contents)).collect();
    assert_eq!(maps, [(".rodata.text", &program.maps[0].contents)], "the other one is not referred to");
    assert_eq!(again.license.as_deref(), Some("Dual MIT/GPL"));
}

#[test]
fn what_an_object_cannot_carry_is_rejected() {
    let value = MapDef::frozen_value("names", vec![1; 8]);
    let hash = MapDef { kind: MapKind::Hash, ..value.clone() };
    let several = MapDef { max_entries: 2, contents: Vec::new(), frozen: false, ..value };
    let [first, second] = Insn::load_imm64(Reg::R1, Imm64::Value(0));
    let insns = vec![first, second, Insn::mov(knobgate_bpf::Width::W64, Reg::R0, 1), Insn::exit()];
    let with = |map: MapDef, target| Program {
        name: "rejected".to_owned(),
        insns: insns.clone(),
        maps: vec![map],
        relocations: vec![Relocation { insn: 0, map: 0, target }],
        ..Program::default()
    };
    assert_eq!(
        write_object(&with(hash, MapReference::Map)),
        Err(WriteError::MapContents { map: "names".to_owned() })
    );
    assert_eq!(
        write_object(&with(several, MapReference::Value(0))),
        Err(WriteError::MapValue { insn: 0, map: "names".to_owned() })
    );
    assert_eq!(write_object(&program(object!("several"), Some("hand_on"))), Err(WriteError::TailCalls));
}

/// Takes all out of it that can be taken. What is wrong with it is of no matter.
fn exhaust(bytes: &[u8]) {
    let Ok(object) = Object::read(bytes) else { return };
    for program in object.programs() {
        if let Ok(program) = object.program(Some(&program.name)) {
            encode(&program.insns);
            program.listing().to_string();
        }
    }
    let _ = object.program(None);
}

#[test]
fn every_beginning_of_an_object_is_read_or_rejected() {
    for object in OBJECTS {
        for end in 0..object.len() {
            exhaust(&object[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_damaged_object_is_read_or_rejected(
        object in 0..OBJECTS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..6),
    ) {
        let mut bytes = OBJECTS[object].to_vec();
        for (place, value) in changes {
            let start = place.index(bytes.len());
            let end = (start + value.len()).min(bytes.len());
            bytes[start..end].copy_from_slice(&value[..end - start]);
        }
        exhaust(&bytes);
    }
}

/// Numbers of all sizes, the odd ones more often.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        any::<u64>(),
        0..64u64,
        Just(u64::MAX),
        Just(1 << 31),
        (0..64u32).prop_map(|bit| (1 << bit) - 1),
    ];
    (number, prop::sample::select(&[1usize, 2, 4, 8]))
        .prop_map(|(number, bytes)| number.to_le_bytes()[..bytes].to_vec())
}
