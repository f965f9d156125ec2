//! Programs by clang, on the hook in user space. tests/hook/objects.rs runs them on the running kernel.

use knobgate_hook::{LoadedProgram, Profile};
use knobgate_testing::object_cases::{CASES, Case, play_on_model};

fn play(case: &Case) -> LoadedProgram {
    play_on_model(case, &Profile::default())
}

#[test]
fn programs_from_objects_decide_as_expected() {
    let (reading, writing): (Vec<_>, Vec<_>) = CASES.iter().partition(|case| case.only_reads());
    assert!(!reading.is_empty() && !writing.is_empty());
    reading.into_iter().chain(writing).for_each(|case| drop(play(case)));
}

#[test]
fn what_programs_keep_is_in_their_maps() {
    let case = |object: &str| CASES.iter().find(|case| case.object == object).expect("a case");
    let numbers = |value: Vec<u8>| -> Vec<u32> {
        value.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    };
    let first = 0u32.to_le_bytes();

    let names = play(case("names"));
    // Of net/ipv4/neigh/lo/retrans_time: slashes, lengths, vowels. Before them, how many accesses there were.
    let kept = numbers(names.map(".bss").expect("variables").lookup(&first).expect("their values"));
    assert_eq!(kept.iter().sum::<u32>(), 6 + 4 + 12 + 30 + 4, "{kept:?}");

    let watch = play(case("watch"));
    let events = watch.map("events").expect("a ring buffer").drain_records();
    assert_eq!(events.len(), 6);
    assert!(events.iter().all(|event| event.len() == 72), "{events:?}");
    assert!(events[0][8..].starts_with(b"net/ipv4/ip_default_ttl\0"), "{events:?}");
    let counted: Vec<u8> = events.iter().map(|event| event[0]).collect();
    assert_eq!(counted, [1, 2, 3, 4, 5, 6]);

    let kinds = play(case("kinds"));
    let kept = numbers(kinds.map(".bss").expect("variables").lookup(&first).expect("their values"));
    let (pushed, popped, failed) = (5, 2, 2);
    let mut expected = [pushed, popped, failed];
    let mut found: Vec<u32> = kept.iter().copied().step_by(2).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(kinds.map("perf").expect("events").drain_events().len(), 6);
}
