//! What is counted is what was there.

mod common;

use std::collections::BTreeMap;

use common::{event, item, lost, report, suppressed};
use knobgate_policy::filter::{Fields, OutcomeKind};
use knobgate_report::{Counts, Report};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const OUTCOMES: [OutcomeKind; 5] = [
    OutcomeKind::Denied,
    OutcomeKind::Rewritten,
    OutcomeKind::WouldDeny,
    OutcomeKind::WouldRewrite,
    OutcomeKind::Allowed,
];

/// Some lines of a stream.
fn line() -> BoxedStrategy<Value> {
    let chosen = (0..4u64, 0..3u64, 0..3u64, any::<bool>(), 0..3usize, any::<[bool; 3]>());
    let event_line = (0..100_000u64, chosen).prop_map(|(second, chosen)| {
        let (knob, cgroup, value, is_audit, verdict, [has_time, was_denied, is_observer]) = chosen;
        let mut line = event(second);
        line["knob"] = json!({ "text": format!("vm/knob{knob}") });
        line["cgroup"] = json!({ "id": cgroup, "path": format!("/sys/fs/cgroup/{cgroup}") });
        line["new"] = json!({ "text": format!("{value}\n") });
        line["mode"] = if is_audit { "audit" } else { "enforce" }.into();
        line["verdict"] = ["allow", "deny", "rewrite"][verdict].into();
        line["attachment"] = format!("web{}", cgroup % 2).into();
        if verdict != 1 {
            line.as_object_mut().expect("an object").remove("errno");
        }
        if !has_time {
            line.as_object_mut().expect("an object").remove("time");
        }
        if was_denied {
            line["denied_before"] = "EACCES".into();
        }
        if is_observer {
            line["observer"] = true.into();
        }
        line
    });
    prop_oneof![
        10 => event_line,
        1 => (0..100_000u64, 1..100u64).prop_map(|(second, count)| suppressed(second, count)),
        1 => (0..100_000u64, 1..100u64).prop_map(|(second, count)| lost(second, count)),
    ]
    .boxed()
}

/// How many of the lines have each key and outcome.
fn naive<K: Ord>(lines: &[Value], key: impl Fn(&Value) -> K) -> BTreeMap<K, [u64; 5]> {
    let mut counts: BTreeMap<K, [u64; 5]> = BTreeMap::new();
    for line in lines {
        if let Some(outcome) = item(line).outcome() {
            let place = OUTCOMES.iter().position(|&other| other == outcome).expect("one of them");
            counts.entry(key(line)).or_default()[place] += 1;
        }
    }
    counts
}

fn array(counts: &Counts) -> [u64; 5] {
    OUTCOMES.map(|outcome| counts.of(outcome))
}

fn sum(lines: &[Value], of_type: &str) -> u64 {
    lines
        .iter()
        .filter(|line| line["type"] == of_type)
        .map(|line| line["count"].as_u64().expect("a count"))
        .sum()
}

fn knob(report: &Report, knob: usize) -> String {
    String::from_utf8(report.knobs[knob].path.bytes.clone()).expect("UTF-8")
}

proptest! {
    #[test]
    fn counts_are_those_of_a_naive_count(lines in vec(line(), 0..60)) {
        let report = report(&lines);
        let text = |line: &Value, pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of_knob = |line: &Value| text(line, "/knob/text");
        let of_workload = |line: &Value| text(line, "/cgroup/path");

        let all = naive(&lines, |_| ()).remove(&()).unwrap_or_default();
        prop_assert_eq!(array(&report.events), all);
        prop_assert_eq!(report.suppressed, sum(&lines, "suppressed"));
        prop_assert_eq!(report.lost, sum(&lines, "lost"));
        prop_assert_eq!(report.without_time as usize, lines.iter().filter(|line| line["time"].is_null()).count());
        prop_assert_eq!(report.further, Default::default());

        let knobs = report.knobs.iter().enumerate();
        let knobs: BTreeMap<_, _> = knobs.map(|(number, found)| (knob(&report, number), array(&found.events))).collect();
        prop_assert_eq!(knobs, naive(&lines, of_knob));
        let workloads = report.workloads.iter().map(|found| (found.label.clone(), array(&found.events)));
        prop_assert_eq!(workloads.collect::<BTreeMap<_, _>>(), naive(&lines, of_workload));
        let cells = report.cells.iter().map(|cell| {
            let workload = report.workloads[cell.workload.expect("one")].label.clone();
            ((knob(&report, cell.knob.expect("one")), workload), array(&cell.events))
        });
        prop_assert_eq!(cells.collect::<BTreeMap<_, _>>(), naive(&lines, |line| (of_knob(line), of_workload(line))));
        let attachments = report.attachments.iter().filter(|found| found.events.total() > 0).map(|found| {
            ((found.name.clone().unwrap_or_default(), found.observer), array(&found.events))
        });
        let of_attachment = |line: &Value| (text(line, "/attachment"), line["observer"] == true);
        prop_assert_eq!(attachments.collect::<BTreeMap<_, _>>(), naive(&lines, of_attachment));

        let mut classes: BTreeMap<_, [u64; 5]> = BTreeMap::new();
        for class in &report.classes {
            let key = (knob(&report, class.key.knob), report.workloads[class.key.workload].label.clone());
            let place = OUTCOMES.iter().position(|&other| Some(other) == class.key.outcome).expect("one of them");
            classes.entry(key).or_default()[place] += class.events;
            prop_assert_eq!(class.last.is_some(), class.events > 1);
        }
        prop_assert_eq!(classes, naive(&lines, |line| (of_knob(line), of_workload(line))));
    }

    #[test]
    fn events_over_time_are_those_with_a_time(lines in vec(line(), 0..60)) {
        let report = report(&lines);
        let mut expected: BTreeMap<i64, ([u64; 5], u64, u64)> = BTreeMap::new();
        for line in lines.iter().filter(|line| !line["time"].is_null()) {
            let found = item(line);
            let time = found.time.expect("a time").duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            let bucket = expected.entry(time.as_millis() as i64 / report.timeline.width).or_default();
            match found.outcome() {
                Some(outcome) => {
                    bucket.0[OUTCOMES.iter().position(|&other| other == outcome).expect("one of them")] += 1;
                }
                None if line["type"] == "lost" => bucket.2 += line["count"].as_u64().expect("a count"),
                None => bucket.1 += line["count"].as_u64().expect("a count"),
            }
        }
        let buckets = report.timeline.buckets.iter();
        let buckets = buckets.map(|(&number, bucket)| (number, (array(&bucket.events), bucket.suppressed, bucket.lost)));
        prop_assert_eq!(buckets.collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn every_event_that_shows_a_value_is_in_a_history(lines in vec(line(), 0..100)) {
        let report = report(&lines);
        let events = naive(&lines, |line| line["knob"]["text"].as_str().unwrap_or_default().to_owned());
        for (number, found) in report.knobs.iter().enumerate() {
            let expected: u64 = events[&knob(&report, number)].iter().sum();
            prop_assert_eq!(found.history.events(), expected);
        }
    }
}

#[test]
fn a_rule_counts_for_what_it_decided() {
    let mut denied_before = event(1);
    denied_before["verdict"] = "allow".into();
    denied_before["denied_before"] = "EACCES".into();
    denied_before.as_object_mut().unwrap().remove("errno");
    let mut cannot = event(2);
    cannot["rule"]["eval_error"] = true.into();
    let report = report(&[event(0), denied_before, cannot, suppressed(3, 40)]);
    assert_eq!(report.events.of(OutcomeKind::Denied), 3);
    let [rule] = &*report.rules else { panic!("{:?}", report.rules) };
    assert_eq!((&*rule.place, &*rule.text), ("web/tour:5", "default write deny"));
    assert_eq!(rule.decided.of(OutcomeKind::Denied), 2);
    assert_eq!(rule.decided.of(OutcomeKind::Allowed), 1);
    assert_eq!((rule.eval_errors, rule.suppressed), (1, 40));
}

#[test]
fn attachments_of_the_same_policy_are_told_apart() {
    let mut other = event(1);
    other["attachment"] = "batch".into();
    let report = report(&[event(0), other]);
    let names: Vec<_> = report.attachments.iter().map(|found| found.name.as_deref()).collect();
    assert_eq!(names, [Some("web"), Some("batch")]);
    let places: Vec<_> = report.rules.iter().map(|rule| &*rule.place).collect();
    assert_eq!(places, ["web/tour:5", "batch/tour:5"]);
}

#[test]
fn boots_are_told_apart_and_a_clock_that_was_set_is_noticed() {
    let mut set_back = event(50);
    set_back["boot_time"] = 200_000_000_000u64.into();
    let mut other_boot = event(10);
    other_boot["boot_id"] = "two".into();
    other_boot["boot_time"] = 5.into();
    let report = report(&[event(0), event(100), set_back, other_boot]);
    let boots: Vec<_> = report.boots.iter().map(|boot| (boot.id.as_deref(), boot.events)).collect();
    assert_eq!(boots, [(Some("one"), 3), (Some("two"), 1)]);
    assert_eq!(report.clock_changes, 1);
}

#[test]
fn what_the_kernel_did_not_tell_is_unknown() {
    let mut bare = event(0);
    for member in ["task", "old", "new", "boot_id", "attachment", "time"] {
        bare.as_object_mut().unwrap().remove(member);
    }
    bare["secret"] = true.into();
    let report = report(&[bare]);
    let first = &report.classes[0].first;
    assert_eq!((first.pid, first.uid, &first.comm, first.time), (None, None, &None, None));
    assert!(first.secret);
    assert_eq!(report.knobs[0].history.events(), 0);
    assert_eq!((&report.boots[0].id, &report.attachments[0].name), (&None, &None));
    assert!(report.timeline.buckets.is_empty());
}

#[test]
fn a_knob_has_what_was_written_to_it_as_far_as_that_is_known() {
    for (name, changes, expected) in [
        ("denied", json!({}), Some("core\n")),
        ("allowed", json!({ "verdict": "allow" }), Some("|/tmp/x\n")),
        ("not at the start", json!({ "verdict": "allow", "position": 2 }), None),
        ("in part", json!({ "verdict": "allow", "new": { "text": "|/t", "length": 9 } }), None),
        ("would be denied", json!({ "mode": "audit" }), Some("|/tmp/x\n")),
        ("read", json!({ "verdict": "allow", "access": "read", "new": null }), Some("core\n")),
        ("rewritten", json!({ "verdict": "rewrite", "position": 2, "stored": { "text": "x" } }), Some("x")),
        ("unknown", json!({ "verdict": "allow", "observer": true, "outcome_unknown": true }), None),
    ] {
        let mut line = event(0);
        let line_members = line.as_object_mut().unwrap();
        for (member, value) in changes.as_object().unwrap() {
            line_members.insert(member.clone(), value.clone());
        }
        line_members.retain(|_, value| !value.is_null());
        if line_members["verdict"] != "deny" {
            line_members.remove("errno");
        }
        let report = report(&[line]);
        let change = report.knobs[0].history.changes().next().unwrap();
        let now = change.now.as_ref().map(|now| str::from_utf8(&now.bytes).unwrap());
        assert_eq!(now, expected, "{name}");
    }
}

#[test]
fn a_cgroup_of_which_only_the_id_is_known_is_one_of_its_boot() {
    let without_path = |second, boot: &str| {
        let mut line = event(second);
        line["cgroup"] = json!({ "id": 17 });
        line["boot_id"] = boot.into();
        line
    };
    let mut same_path = event(3);
    same_path["boot_id"] = "two".into();
    let lines = [without_path(0, "one"), without_path(1, "two"), event(2), same_path];
    let report = report(&lines);
    let workloads: Vec<_> =
        report.workloads.iter().map(|found| (&*found.label, found.events.total())).collect();
    let web = ("/sys/fs/cgroup/web", 2);
    assert_eq!(workloads, [("cgroup 17 of boot one", 1), ("cgroup 17 of boot two", 1), web]);
}

#[test]
fn what_finds_no_room_is_counted() {
    let lines = |count: u64| {
        (0..count).map(|number| {
            let mut line = event(number % 80_000);
            line["knob"] = json!({ "text": format!("net/ipv4/conf/interface{number}/{}", "x".repeat(200)) });
            line["cgroup"] =
                json!({ "id": number, "path": format!("/sys/fs/cgroup/{number}/{}", "y".repeat(200)) });
            line
        })
    };
    let count = 20_000;
    let report = report(&lines(count).collect::<Vec<_>>());
    assert_eq!(report.events.total(), count);
    let further = report.further;
    assert!(further.knobs > 0 && further.workloads > 0 && further.classes > 0, "{further:?}");
    let total = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
    assert_eq!(total(&mut report.knobs.iter().map(|found| found.events.total())) + further.knobs, count);
    assert_eq!(
        total(&mut report.workloads.iter().map(|found| found.events.total())) + further.workloads,
        count
    );
    assert_eq!(total(&mut report.classes.iter().map(|class| class.events)) + further.classes, count);
    assert_eq!(total(&mut report.cells.iter().map(|cell| cell.events.total())), count);
}

#[test]
fn nested_workloads_and_unknown_outcomes_are_kept_apart() {
    let with_workload = |second, workload| {
        let mut event = event(second);
        event["workload"] = workload;
        event
    };
    let web = json!({ "engine": "docker", "container": "web" });
    let inner = json!({ "engine": "docker", "container": "db" });
    let mut nested = web.clone();
    nested["inner"] = inner.clone();
    let mut unknown = with_workload(3, web.clone());
    for (member, value) in
        [("verdict", json!("allow")), ("observer", true.into()), ("outcome_unknown", true.into())]
    {
        unknown[member] = value;
    }
    unknown.as_object_mut().expect("an object").remove("errno");
    let report = report(&[with_workload(0, web), with_workload(1, nested), with_workload(2, inner), unknown]);
    let labels: Vec<_> = report.workloads.iter().map(|workload| workload.label.as_str()).collect();
    assert_eq!(labels, ["docker/web", "docker/db in docker/web", "docker/db"]);
    assert_eq!(report.events.of(None), 1);
    assert_eq!(report.headline(), "4 events: 3 denied, 1 of unknown outcome");
}
