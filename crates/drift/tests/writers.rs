//! Who is named as the writer of a knob that has drifted.

use knobgate_drift::{ConfiguredKnob, Drift, Explains, Here, Running, State, Writes};
use knobgate_events::StreamItem;
use knobgate_events::json::StreamReader;
use knobgate_policy::KnobName;
use proptest::prelude::*;

fn configured(knob: &str, value: &str) -> ConfiguredKnob {
    ConfiguredKnob {
        knob: KnobName::parse(knob).unwrap(),
        value: value.to_owned(),
        file: "web.conf".to_owned(),
        line: 1,
        glob: None,
        ignores_errors: false,
    }
}

/// A write at `time`, with what else its event has.
fn event(time: u64, new: &str, more: &str) -> StreamItem {
    let more =
        if more.contains("\"verdict\"") { more.to_owned() } else { format!("\"verdict\":\"allow\",{more}") };
    let more = if more.contains("\"mode\"") { more } else { format!("\"mode\":\"enforce\",{more}") };
    let more =
        if more.contains("\"knob\"") { more } else { format!("\"knob\":\"net.core.somaxconn\",{more}") };
    let more = if more.contains("\"position\"") { more } else { format!("\"position\":0,{more}") };
    let line = format!(
        r#"{{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":{time},"policy":"p",{more}
        "access":"write","new":{{"text":"{new}\n"}},"rule":{{"default":"write","text":{{"text":"x"}}}},
        "cgroup":{{"id":1}}}}"#
    );
    let item = StreamReader::new(line.replace('\n', " ").as_bytes()).next();
    item.expect("a line").unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn here() -> Here {
    let mut here = Here { boot_id: Some("this".to_owned()), ..Here::default() };
    here.namespaces.net = Some(4);
    here
}

/// What is known of net.core.somaxconn, which is configured as 4096 and has 16 now, after these events.
fn writes(items: &[StreamItem]) -> Writes {
    let mut drift =
        Drift::new([configured("net.core.somaxconn", "4096")], |_| Running::Value(b"16\n".into()), here());
    items.iter().for_each(|item| drift.add(item));
    drift.knobs()[0].writes().clone()
}

/// The time of each write, with whether it explains the running value.
fn times(writes: &Writes) -> (Option<(u64, Explains)>, Option<u64>, Option<u64>) {
    let last = writes.last.as_ref().map(|write| (write.item.boot_time(), write.explains));
    let explaining = writes.explaining.as_ref().map(|write| write.item.boot_time());
    (last, explaining, writes.denied.as_ref().map(StreamItem::boot_time))
}

const DENY: &str = r#""verdict":"deny","errno":"EPERM","#;
const WOULD_DENY: &str = r#""verdict":"deny","errno":"EPERM","mode":"audit","#;
const OBSERVED: &str = r#""observer":true,"outcome_unknown":true,"#;
const REWRITE: &str = r#""verdict":"rewrite","stored":{"text":"16\n\n"},"#;

#[test]
fn the_last_write_that_passed_is_named() {
    for (events, expected) in [
        (vec![], (None, None, None)),
        (vec![event(1, "16", "")], (Some((1, Explains::Yes)), None, None)),
        (vec![event(1, "16", WOULD_DENY)], (Some((1, Explains::Yes)), None, None)),
        (vec![event(1, "9", REWRITE)], (Some((1, Explains::Yes)), None, None)),
        (vec![event(1, "0x10", ""), event(2, "7", "")], (Some((2, Explains::No)), Some(1), None)),
        (vec![event(1, "7", ""), event(2, "16", "")], (Some((2, Explains::Yes)), None, None)),
        // The one that was denied would have restored the value.
        (vec![event(1, "16", ""), event(2, "4096", DENY)], (Some((1, Explains::Yes)), None, Some(2))),
        (vec![event(1, "4096", DENY), event(2, "16", "")], (Some((2, Explains::Yes)), None, None)),
        (vec![event(1, "5", DENY)], (None, None, None)),
        (
            vec![event(1, "4096", DENY), event(2, "7", OBSERVED)],
            (Some((2, Explains::MayHaveBeenDenied)), None, Some(1)),
        ),
        (
            vec![event(2, "7", ""), event(3, "7", OBSERVED), event(1, "4096", DENY)],
            (Some((3, Explains::MayHaveBeenDenied)), None, None),
        ),
        // Only the end of the value, and what may have been denied.
        (vec![event(1, "16", r#""position":2,"#)], (Some((1, Explains::Unknown)), None, None)),
        (vec![event(1, "16", OBSERVED)], (Some((1, Explains::MayHaveBeenDenied)), None, None)),
        // Elsewhere.
        (vec![event(1, "16", r#""knob":"net.core.rmem_max","#)], (None, None, None)),
        (vec![event(1, "16", r#""boot_id":"other","#)], (None, None, None)),
        (vec![event(1, "16", r#""boot_id":"this","#)], (Some((1, Explains::Yes)), None, None)),
        (vec![event(1, "16", r#""namespaces":{"net":5},"#)], (None, None, None)),
        (vec![event(1, "16", r#""namespaces":{"net":4,"uts":9},"#)], (Some((1, Explains::Yes)), None, None)),
    ] {
        assert_eq!(times(&writes(&events)), expected, "{events:#?}");
    }
}

#[test]
fn a_knob_of_another_namespace_has_other_writers() {
    for (knob, namespaces, expected) in [
        ("net.core.somaxconn", r#"{"net":4}"#, Some(true)),
        ("net.core.somaxconn", r#"{"net":5}"#, Some(false)),
        ("net.core.somaxconn", "{}", None),
        ("kernel.ns_last_pid", r#"{"pid":9}"#, Some(false)),
        // Before Linux 6.14, it was the machine's.
        ("kernel.pid_max", r#"{"pid":8}"#, Some(true)),
        ("kernel.pid_max", r#"{"pid":9}"#, None),
        ("vm.swappiness", r#"{"pid":9}"#, Some(true)),
    ] {
        let mut here = here();
        here.namespaces.pid = Some(8);
        let mut drift = Drift::new([configured(knob, "1")], |_| Running::Value(b"2\n".into()), here);
        let item = event(1, "2", &format!(r#""knob":"{knob}","namespaces":{namespaces},"#));
        drift.add(&item);
        let knob = &drift.knobs()[0];
        let found = knob.is_accessed_by(&item.event().unwrap().event);
        assert_eq!(found, expected, "{item:?}");
        assert_eq!(knob.writes().last.is_some(), expected != Some(false), "{item:?}");
    }
}

#[test]
fn a_denied_write_of_what_the_knob_stores_as_the_configured_value_counts() {
    let running = |_: &KnobName| Running::Value(b"4096\n".into());
    let mut drift = Drift::new([configured("fs.pipe-max-size", "5000")], running, here());
    drift.add(&event(1, "5000", &format!(r#"{DENY}"knob":"fs.pipe-max-size","#)));
    assert!(drift.knobs()[0].writes().denied.is_some());
}

#[test]
fn events_of_other_boots_are_counted() {
    let mut drift = Drift::new(
        [configured("net.core.somaxconn", "4096"), configured("vm.swappiness", "1")],
        |_| Running::Value(b"1\n".into()),
        here(),
    );
    for item in [
        event(1, "1", r#""boot_id":"other","#),
        event(1, "1", r#""boot_id":"other","knob":"vm.swappiness","#),
        event(2, "1", ""),
    ] {
        drift.add(&item);
    }
    assert_eq!(drift.of_other_boots(), 1, "only of knobs that differ");
}

#[test]
fn secret_knobs_are_neither_read_nor_shown() {
    let drift = Drift::new(
        [configured("net.ipv4.tcp_fastopen_key", "0-1-2-3")],
        |knob| panic!("{knob} was read"),
        here(),
    );
    let knob = &drift.knobs()[0];
    assert_eq!((knob.state(), knob.configured_value(), knob.running()), (State::Secret, None, None));
}

proptest! {
    #[test]
    fn the_order_of_events_does_not_matter(
        events in proptest::collection::vec(0usize..6, 0..8),
        seed in any::<u64>(),
    ) {
        let kinds = [("16", ""), ("7", ""), ("4096", DENY), ("9", REWRITE), ("4096", ""), ("5", DENY)];
        let items: Vec<StreamItem> = events
            .iter()
            .enumerate()
            .map(|(time, &kind)| event(time as u64 + 1, kinds[kind].0, kinds[kind].1))
            .collect();
        let in_order = times(&writes(&items));
        let mut shuffled = items.clone();
        let mut state = seed;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        // More than once, too.
        shuffled.extend(items.first().cloned());
        prop_assert_eq!(times(&writes(&shuffled)), in_order);
    }
}
