//! Objects by clang with maps in maps, locks, and maps that they share. crates/testing runs them on the kernel as well.

use knobgate_bpf::{MapBtf, MapDef};
use knobgate_hook::maps::{ANY, EXIST, LOCK, NOEXIST};
use knobgate_hook::prelude::*;
use knobgate_hook::{LoadedProgram, MapError, Rejection};

macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../examples/objects/", $name, ".bpf.o"))
    };
}

const DOMAIN: &str = "kernel.domainname";

/// The hook with one object on the root, and a process.
fn with(object: &[u8]) -> (Hook, LoadedObject, ProcessId) {
    let mut hook = Hook::default();
    let loaded = hook.attach_object(hook.root(), object).expect("it loads");
    let process = hook.spawn(hook.root(), Process::default()).expect("a process");
    (hook, loaded, process)
}

/// Why the only program that is at fault is rejected.
fn rejection(object: &[u8]) -> String {
    match Hook::default().load_object(object).expect_err("it is rejected") {
        Error::Rejected { rejection, .. } => rejection.to_string(),
        error => panic!("{error}"),
    }
}

#[test]
fn locked_updates_do_as_the_kernels_do() -> Result<(), Error> {
    let (mut hook, locks, process) = with(object!("locks"));
    assert_eq!(hook.write_sysctl(process, DOMAIN, "one")?, Written(3));
    let results = ["updated", "created", "of_missing", "of_existing", "of_flags", "of_index", "of_unlocked"];
    let results = results.map(|name| locks.variable::<i64>(name).expect("a variable"));
    assert_eq!(results, [0, 0, -2, -17, -22, -7, -22]);
    assert_eq!(locks.map("counters")?.get(1_u32)?, Some([7_u64, 1 << 32, 7]));
    assert_eq!(locks.map("by_kind")?.get(1_u32)?, Some([8_u64, 1 << 32, 8]));
    assert_eq!(hook.write_sysctl(process, DOMAIN, "two")?, Written(3));
    assert_eq!(locks.variable::<i64>("created")?, 0);
    Ok(())
}

#[test]
fn user_space_updates_leave_the_lock_alone() -> Result<(), Error> {
    let (_, locks, _) = with(object!("locks"));
    let (counters, by_kind) = (locks.map("counters")?, locks.map("by_kind")?);
    let key = 0_u32.to_le_bytes();
    let mut expected = vec![7; 24];
    expected[8..12].fill(0);
    for flags in [ANY, LOCK, EXIST, EXIST | LOCK] {
        assert_eq!(counters.update(&key, &[7; 24], flags), Ok(()), "{flags}");
        assert_eq!(counters.lookup(&key), Some(expected.clone()), "{flags}");
    }
    assert_eq!(counters.update(&key, &[7; 24], NOEXIST | LOCK), Err(MapError::Exists));
    assert_eq!(by_kind.update(&key, &[7; 24], EXIST | LOCK), Err(MapError::NoEntry));
    assert_eq!(by_kind.update(&key, &[7; 24], NOEXIST | LOCK), Ok(()));
    assert_eq!(by_kind.lookup(&key), Some(expected));
    assert_eq!(locks.map("without_lock")?.update(&key, &[7; 8], LOCK), Err(MapError::Invalid));
    Ok(())
}

#[test]
fn a_program_uses_the_maps_that_are_in_others() -> Result<(), Error> {
    let (mut hook, nested, process) = with(object!("nested"));
    hook.read_sysctl(process, DOMAIN)?;
    hook.write_sysctl(process, DOMAIN, "one")?;
    hook.write_sysctl(process, DOMAIN, "two")?;
    assert_eq!(nested.map("reads")?.get(1_u32)?, Some(1_u64));
    assert_eq!(nested.map("writes")?.get(1_u32)?, Some(2_u64));
    assert_eq!(nested.map("names")?.get("kernel/domainname")?, Some(2_u64));
    assert_eq!((nested.variable::<u32>("missing")?, nested.variable::<u32>("sent")?), (3, 3));
    let records = nested.map("ring")?.drain_records();
    assert_eq!(records, [0_u32, 1, 1].map(|kind| kind.to_le_bytes().to_vec()));
    Ok(())
}

#[test]
fn user_space_exchanges_the_maps_in_a_map() -> Result<(), Error> {
    let (mut hook, nested, process) = with(object!("nested"));
    let (by_kind, writes) = (nested.map("by_kind")?, nested.map("writes")?);
    let key = |number: u32| number.to_le_bytes();
    let map = |error| Error::Map { map: "by_kind".to_owned(), error };

    assert_eq!(by_kind.delete(&key(1)), Ok(()));
    assert_eq!(by_kind.delete(&key(1)), Err(MapError::NoEntry));
    assert_eq!(by_kind.delete(&key(4)), Err(MapError::TooBig));
    hook.write_sysctl(process, DOMAIN, "one")?;
    assert_eq!(writes.get(1_u32)?, Some(0_u64));

    by_kind.put_map(&key(3), writes).map_err(map)?;
    hook.write_sysctl(process, DOMAIN, "two")?;
    assert_eq!(nested.variable::<u32>("missing")?, 1);
    assert!(
        by_kind.inner_map(&key(3)).is_some_and(|map| map.get(1_u32).is_ok_and(|value| value == Some(0_u64)))
    );
    assert_eq!(by_kind.inner_map(&key(2)).map(drop), None);

    // Only maps like the one in the definition.
    assert_eq!(by_kind.put_map(&key(2), nested.map("names")?), Err(MapError::Invalid));
    assert_eq!(by_kind.put_map(&key(2), nested.map("by_length")?), Err(MapError::Invalid));
    assert_eq!(by_kind.put_map(&key(4), writes), Err(MapError::TooBig));
    assert_eq!(nested.map("names")?.put_map(&[0; 32], writes), Err(MapError::Invalid));
    assert_eq!(by_kind.update(&key(2), &key(7), ANY), Err(MapError::Invalid));
    // The hash has room for four.
    let (by_length, names) = (nested.map("by_length")?, nested.map("names")?);
    let put: Vec<_> = (1..6).map(|number| by_length.put_map(&key(number), names)).collect();
    assert_eq!(put, [Ok(()), Ok(()), Ok(()), Ok(()), Err(MapError::TooBig)]);
    Ok(())
}

#[test]
fn objects_share_maps_that_are_pinned_by_name() -> Result<(), Error> {
    let object = object!("pinned");
    let (mut hook, first, process) = with(object);
    let second = hook.attach_object(hook.root(), object)?;
    // Both count every write.
    assert_eq!(hook.write_sysctl(process, DOMAIN, "one")?, Written(3));
    assert_eq!(hook.write_sysctl(process, DOMAIN, "two")?, Denied(Errno::EPERM));
    for loaded in [&first, &second] {
        assert_eq!(loaded.map("knobgate_test")?.get(1_u32)?, Some(4_u64));
        assert_eq!(loaded.variable::<u32>("own")?, 2);
    }
    Ok(())
}

#[test]
fn pinned_perf_events_are_shared_without_a_number_of_entries() -> Result<(), Error> {
    let object = object!("pinned_events");
    let (mut hook, first, process) = with(object);
    let second = hook.attach_object(hook.root(), object)?;
    assert_eq!(hook.write_sysctl(process, DOMAIN, "one")?, Written(3));
    assert_eq!(second.map("knobgate_events")?.drain_events().len(), 2);
    assert!(first.map("knobgate_events")?.drain_events().is_empty());
    Ok(())
}

#[test]
fn what_is_not_modelled_is_named() {
    let object = object!("kernel_only");
    assert_eq!(rejection(object), "map 0, tasks: maps of type task_storage are not modelled");
    let loads = |name| {
        let object = knobgate_bpf::Object::read(object).expect("an object");
        let program = object.program(Some(name)).expect("a program");
        LoadedProgram::load(&program, &Default::default(), &Default::default()).map(drop)
    };
    let messages = ["timer", "bloom_filter"].map(|name| loads(name).expect_err("it is rejected"));
    assert!(
        messages
            .iter()
            .all(|rejection| matches!(rejection, Rejection::Map { error: MapError::NotModelled(_), .. }))
    );
    let messages = messages.map(|rejection| rejection.to_string());
    assert_eq!(
        messages,
        [
            "map 0, timers: values with a bpf_timer are not modelled",
            "map 1, filter: maps of type bloom_filter are not modelled"
        ]
    );
}

#[test]
fn values_have_a_lock_where_the_kernel_finds_one() {
    let object = Object::read(object!("lock_places")).expect("an object");
    let defs = object.program(None).expect("a program").maps;
    let with_lock = |profile: &str| {
        let profile: Profile = profile.parse().expect("a profile");
        let has_lock = |def: &MapDef| {
            let map = Map::for_kernel(def, &profile, 1).expect("a map");
            // Only values with a lock can be changed while it is held.
            let updated = map.update(&[0; 4], &vec![0; map.lookup(&[0; 4]).expect("an entry").len()], LOCK);
            updated.is_ok().then(|| def.name.clone())
        };
        defs.iter().filter_map(has_lock).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(with_lock("6.8"), "member");
    assert_eq!(with_lock("6.18"), "member in_struct in_struct_without_name array_of_one in_array_of_one");
}

#[test]
fn misplaced_locks_make_the_kernel_reject_the_types() {
    for (object, expected, errno) in [
        (&object!("lock_twice")[..], "a struct has two bpf_spin_lock", Errno::E2BIG),
        (object!("lock_not_aligned"), "a bpf_spin_lock is not aligned, or has not 4 bytes", Errno::EFAULT),
        (
            object!("lock_bit_field"),
            "a struct with a bpf_spin_lock has a bit-field that does not begin at a byte",
            Errno::EINVAL,
        ),
    ] {
        let Err(Error::Rejected { rejection, .. }) = Hook::default().load_object(object) else {
            panic!("{expected}");
        };
        assert!(rejection.to_string().ends_with(expected), "{rejection}");
        assert_eq!(rejection.errno(), errno);
        // Before 6.2 the map has no lock, except next to a bit-field.
        let mut old = Hook::new("6.1".parse().expect("a profile"), Knobs::defaults());
        let loaded = old.load_object(object).expect("it loads");
        let values = loaded.map("values").expect("a map");
        let size = values.def().value_size as usize;
        let updated = values.update(&[0; 4], &vec![0; size], LOCK);
        assert_eq!(updated.is_ok(), errno == Errno::EINVAL, "{updated:?}");
    }
}

#[test]
fn types_that_do_not_fit_a_map_are_left_out() {
    let program = Object::read(object!("locks")).and_then(|object| object.program(None)).expect("a program");
    let def = |name| program.maps.iter().find(|map| map.name == name).expect("a map");
    let has_lock = |def: &MapDef| {
        let map = Map::new(def).expect("a map");
        map.update(&vec![0; def.key_size as usize], &vec![0; def.value_size as usize], LOCK).is_ok()
    };
    for name in ["counters", "by_kind"] {
        let def = def(name);
        let btf = def.btf.as_ref().expect("types");
        let with = |btf| MapDef { btf: Some(btf), ..def.clone() };
        assert!(has_lock(def), "{name}");
        assert!(!has_lock(&with(MapBtf { key_type_id: 0, ..btf.clone() })), "{name}: no type of keys");
        let key_type_id = btf.value_type_id;
        assert!(!has_lock(&with(MapBtf { key_type_id, ..btf.clone() })), "{name}: a type of other keys");
        assert!(!has_lock(&MapDef { value_size: 32, ..def.clone() }), "{name}: a type of other values");
    }
}
