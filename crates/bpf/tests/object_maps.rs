//! The maps of objects, by clang: their types, the maps in them, and what they share.

use knobgate_bpf::{InnerMap, InvalidLock, MapDef, MapKind, MapSupport, Object, Program, write_object};

macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../examples/objects/", $name, ".bpf.o"))
    };
}

fn program(object: &[u8], name: Option<&str>) -> Program {
    Object::read(object).and_then(|object| object.program(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn map<'p>(program: &'p Program, name: &str) -> &'p MapDef {
    program.maps.iter().find(|map| map.name == name).expect("a map")
}

/// The type, offset and size of each field that the kernel manages.
fn special_fields(def: &MapDef) -> Vec<(&'static str, u32, u32)> {
    let fields = &def.btf.as_ref().expect("types").special_fields;
    fields.iter().map(|field| (field.type_name, field.offset, field.size)).collect()
}

#[test]
fn maps_have_the_types_of_their_keys_and_values() {
    let locks = program(object!("locks"), None);
    for name in ["counters", "by_kind"] {
        let def = map(&locks, name);
        assert_eq!((def.key_size, def.value_size), (4, 24));
        assert_eq!(special_fields(def), [("bpf_spin_lock", 8, 4)]);
        assert_ne!(def.btf.as_ref().map(|btf| btf.key_type_id), Some(0));
    }
    assert_eq!(special_fields(map(&locks, "without_lock")), []);
    let variables = map(&locks, ".bss").btf.as_ref().expect("the type of the section");
    assert_eq!(variables.key_type_id, 0);
    assert!(variables.types.windows(12).any(|text| text == b"of_unlocked\0"));
    // Functions are not among the types, so nothing about them has to be adapted to a kernel.
    assert!(!variables.types.windows(6).any(|text| text == b"locks\0"));
}

#[test]
fn maps_of_one_object_share_their_types() {
    let locks = program(object!("locks"), None);
    let types: Vec<_> = locks.maps.iter().filter_map(|map| Some(map.btf.as_ref()?.types.as_ptr())).collect();
    assert!(types.len() == 4 && types.iter().all(|other| other == &types[0]));
}

#[test]
fn types_for_older_kernels_are_only_made_if_they_differ() {
    let locks = program(object!("locks"), None);
    let btf = map(&locks, "counters").btf.as_ref().expect("types");
    assert_eq!(btf.for_older_kernels(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_map_says_which_maps_are_in_it() {
    let nested = program(object!("nested"), None);
    let index = |name: &str| nested.maps.iter().position(|map| map.name == name).expect("a map");
    let inner = |name: &str| map(&nested, name).inner.as_deref().expect("an inner map");
    assert_eq!(map(&nested, "by_kind").kind, MapKind::ArrayOfMaps);
    assert_eq!(map(&nested, "by_length").kind, MapKind::HashOfMaps);
    let counters = inner("by_kind");
    assert_eq!((counters.kind, counters.value_size, counters.max_entries), (MapKind::Array, 8, 2));
    assert_eq!((inner("by_length").kind, inner("by_length").key_size), (MapKind::Hash, 32));
    assert_eq!((inner("rings").kind, inner("rings").max_entries), (MapKind::Ringbuf, 4096));
    let mut expected =
        [("by_kind", 0, "reads"), ("by_kind", 1, "writes"), ("by_length", 1, "names"), ("rings", 0, "ring")]
            .map(|(outer, key, map)| (index(outer), key, index(map)));
    let mut found: Vec<_> =
        nested.inner_maps.iter().map(|&InnerMap { outer, key, map }| (outer, key, map)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_map_can_be_pinned_by_its_name() {
    let pinned = program(object!("pinned"), None);
    let names: Vec<_> = pinned.maps.iter().filter(|map| map.pinned_by_name).map(|map| &*map.name).collect();
    assert_eq!(names, ["knobgate_test"]);
}

#[test]
fn maps_that_only_the_kernel_has_are_read() {
    let object = object!("kernel_only");
    let storage = program(object, Some("task_storage"));
    let tasks = map(&storage, "tasks");
    assert_eq!((tasks.kind, tasks.key_size, tasks.value_size), (MapKind::TaskStorage, 4, 8));
    assert!(tasks.btf.is_some() && matches!(tasks.kind.support(), MapSupport::KernelOnly { since: (6, 16) }));
    assert_eq!(special_fields(map(&program(object, Some("timer")), "timers")), [("bpf_timer", 0, 16)]);
    let filter = program(object, Some("bloom_filter"));
    assert_eq!((map(&filter, "filter").kind, map(&filter, "filter").map_extra), (MapKind::BloomFilter, 3));
}

#[test]
fn a_map_that_would_change_is_not_written() {
    let cases: [(&[u8], &str); 3] = [
        (object!("nested"), "the map by_kind has maps in it, which is not written"),
        (object!("pinned"), "the map knobgate_test is pinned by its name, which is not written"),
        (
            object!("locks"),
            "the map counters has values with fields that the kernel manages, which is not written",
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(write_object(&program(object, None)).expect_err(expected).to_string(), expected);
    }
}

#[test]
fn what_libbpf_rejects_about_a_definition_is_named() {
    let object = Object::read(object!("definitions")).expect("an object");
    let cases = [
        (
            "trie_without_flag",
            "lpm_trie) lacks the flag BPF_F_NO_PREALLOC, without which the kernel rejects it",
        ),
        ("other_key", "contradicts itself: 4 bytes by its \"key\", 8 by another attribute"),
        ("other_value", "contradicts itself: 8 bytes by its \"value_size\", 4 by another attribute"),
        ("unknown_attribute", "has the attribute \"no_such_attribute\", which is not supported"),
        ("without_type", "is of type 0, which Linux 6.18 does not have"),
        ("static_map", "is static; other loaders do not see it, and reject the object"),
        ("other_slot", "contradicts itself: 4 bytes by its \"values\", 8 by another attribute"),
        ("pinned_inside", ".inner cannot be pinned: it is in another one"),
        ("other_values", "starts with something else than programs: it needs __array(values, int (void *))"),
    ];
    for (name, expected) in cases {
        let error = object.program(Some(name)).expect_err(name).to_string();
        assert!(error.contains(&format!("the map {name}_map")) && error.contains(expected), "{error}");
    }
}

#[test]
fn sizes_are_those_that_libbpf_gives_the_kernel() {
    let object = object!("definitions");
    let sizes = |name: &str| {
        let MapDef { key_size, value_size, max_entries, .. } = program(object, Some(name)).maps[0];
        (key_size, value_size, max_entries)
    };
    // The kernel rejects the first two.
    for (name, expected) in [
        ("ring_without_size", (0, 0, 0)),
        ("events_without_sizes", (0, 0, 0)),
        ("ring_of_5000", (0, 0, 8192)),
        ("events", (4, 4, 0)),
        ("same_sizes", (4, 4, 1)),
    ] {
        assert_eq!(sizes(name), expected, "{name}");
    }
}

#[test]
fn a_lock_is_where_the_kernel_finds_it() {
    let places = program(object!("lock_places"), None);
    let cases = [
        // Since 6.11, and before.
        ("member", Ok(Some(4)), Ok(Some(4))),
        ("with_typedef", Ok(None), Ok(None)),
        ("with_volatile", Ok(None), Ok(None)),
        ("in_struct", Ok(Some(8)), Ok(None)),
        ("in_typedef", Ok(None), Ok(None)),
        ("in_struct_without_name", Ok(Some(4)), Ok(None)),
        ("in_union", Ok(None), Ok(None)),
        ("array_of_two", Err(InvalidLock::Repeated), Ok(None)),
        ("array_of_one", Ok(Some(4)), Ok(None)),
        ("in_array_of_two", Err(InvalidLock::Repeated), Ok(None)),
        ("in_array_of_one", Ok(Some(8)), Ok(None)),
    ];
    for (name, since, before) in cases {
        let types = map(&places, name).btf.as_ref().expect("types");
        assert_eq!((types.spin_lock((6, 11)), types.spin_lock((6, 10))), (since, before), "{name}");
        assert_eq!(types.rejected_lock((6, 11)), None, "{name}");
    }
    use InvalidLock::{Overlooked, Several};
    for (object, since, before, rejected) in [
        (&object!("lock_twice")[..], Err(Several), Err(Several), Several),
        (object!("lock_not_aligned"), Ok(None), Ok(None), Overlooked),
    ] {
        let program = program(object, None);
        let types = map(&program, "values").btf.as_ref().expect("types");
        assert_eq!((types.spin_lock((6, 11)), types.spin_lock((6, 10))), (since, before));
        assert_eq!(types.rejected_lock((6, 11)), Some(rejected));
        assert_eq!(types.rejected_lock((6, 1)), None);
    }
    let program = program(object!("lock_bit_field"), None);
    let types = map(&program, "values").btf.as_ref().expect("types");
    let releases = [(6, 1), (6, 2), (6, 10), (6, 11)];
    let (found, bits) = (Ok(Some(0)), Err(InvalidLock::BitField));
    assert_eq!(releases.map(|release| types.spin_lock(release)), [found, bits, bits, bits]);
    assert_eq!(
        releases.map(|release| types.rejected_lock(release)),
        [None, None, None, Some(InvalidLock::BitField)]
    );
}
