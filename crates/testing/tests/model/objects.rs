//! Programs by clang, on the hook in user space. tests/hook/objects.rs runs them on the running kernel.

use std::collections::BTreeMap;

use knobgate_backend::{Backend, ModelBackend};
use knobgate_hook::{Hook, Map, Profile};
use knobgate_testing::object_cases::{CASES, Case, knobs};

/// The maps of the case's program, by name, with what it has kept.
fn play(case: &Case) -> BTreeMap<String, Map> {
    let profile = Profile::default();
    let mut model = ModelBackend::new(Hook::new(profile, knobs(&profile)), 1).expect("a new hook");
    let maps = case.play(&mut model).unwrap_or_else(|error| panic!("{}: {error}", case.object));
    let named =
        |map| (model.map_def(map).expect("a map").name.clone(), model.map(map).expect("a map").clone());
    maps.into_iter().map(named).collect()
}

#[test]
fn programs_from_objects_decide_as_expected() {
    let (reading, writing): (Vec<_>, Vec<_>) = CASES.iter().partition(|case| case.only_reads());
    assert!(!reading.is_empty() && !writing.is_empty());
    reading.into_iter().chain(writing).for_each(|case| drop(play(case)));
}

#[test]
fn programs_keep_their_results_in_their_maps() {
    let case = |object: &str| CASES.iter().find(|case| case.object == object).expect("a case");
    let numbers = |map: &Map| -> Vec<u32> {
        let value = map.lookup(&0u32.to_le_bytes()).expect("their values");
        value.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    };

    // Of net/ipv4/neigh/lo/retrans_time: slashes, lengths, vowels. Before them, how many accesses there were.
    let kept = numbers(&play(case("names"))[".bss"]);
    assert_eq!(kept.iter().sum::<u32>(), 6 + 4 + 12 + 30 + 4, "{kept:?}");

    let events = play(case("watch"))["events"].drain_records();
    assert_eq!(events.len(), 6);
    assert!(events.iter().all(|event| event.len() == 72), "{events:?}");
    assert!(events[0][8..].starts_with(b"net/ipv4/ip_default_ttl\0"), "{events:?}");
    let counted: Vec<u8> = events.iter().map(|event| event[0]).collect();
    assert_eq!(counted, [1, 2, 3, 4, 5, 6]);

    let kinds = play(case("kinds"));
    let kept = numbers(&kinds[".bss"]);
    let (pushed, popped, failed) = (5, 2, 2);
    let mut expected = [pushed, popped, failed];
    let mut found: Vec<u32> = kept.iter().copied().step_by(2).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(kinds["perf"].drain_events().len(), 6);
}
