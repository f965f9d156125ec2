//! What would be different, in tables.

mod common;

use common::{event, item, knob, policy};
use knobgate_events::StreamItem;
use knobgate_events::words::{self, Length};
use knobgate_policy::{Access, KnobName, evaluate};
use knobgate_replay::{DiffEvents, Now, Outcome, Replay, Report, Unknown};
use serde_json::{Value, json};

/// A write, and what this policy decided about it.
fn written(rules: &str, value: &str) -> Value {
    let access = Access { old: Some(b"1\n".to_vec()), ..Access::write(knob("vm.swappiness"), value) };
    event(&access, &evaluate(&policy(rules), &access))
}

fn replayed(rules: &str, events: &[Value]) -> Report {
    let policy = policy(rules);
    let mut replay = Replay::new(&policy, |item| item.context.attachment.clone());
    events.iter().for_each(|event| replay.add(&item(event)));
    replay.finish()
}

#[test]
fn verdicts_are_compared() {
    use Outcome::{Errno, NewlyAllowed, NewlyDenied, RewrittenDifferently, Same};
    let (allow, deny) = ("allow write **", "deny write **");
    for (old, new, outcome) in [
        (allow, allow, Same),
        (allow, deny, NewlyDenied),
        (allow, "set write ** to \"5\"", RewrittenDifferently),
        (deny, allow, NewlyAllowed),
        (deny, "deny(EACCES) write **", Errno),
        (deny, "deny(EPERM) write vm.*", Same),
        (deny, "set write ** to \"5\"", NewlyAllowed),
        (deny, "clamp write ** to [1..2, 3..4]", Errno),
        ("set write ** to \"5\"", allow, NewlyAllowed),
        ("set write ** to \"5\"", deny, NewlyDenied),
        ("set write ** to \"5\"", "set write ** to \"6\"", RewrittenDifferently),
        ("set write ** to \"5\"", "clamp write ** to 5..5", Same),
        ("ignore write **", "clamp write ** to 1..1", Same),
    ] {
        let report = replayed(new, &[written(old, "70\n")]);
        assert_eq!(report.classes[0].outcome, outcome, "{old} → {new}");
        assert_eq!(report.events(outcome), 1);
    }
}

fn in_audit_mode(mut event: Value) -> Value {
    event["mode"] = "audit".into();
    event
}

fn denied_before(mut event: Value) -> Value {
    event["denied_before"] = "EACCES".into();
    event
}

#[test]
fn an_observer_before_other_programs_does_not_know_what_happened() {
    let observed = || {
        let mut event = written("allow write **", "1\n");
        (event["observer"], event["outcome_unknown"]) = (true.into(), true.into());
        event
    };
    for (new, may_be) in [
        ("deny write **", &[Outcome::NewlyDenied, Outcome::Errno, Outcome::Same][..]),
        ("allow write **", &[Outcome::NewlyAllowed, Outcome::Same]),
        ("set write ** to \"5\"", &[Outcome::NewlyAllowed, Outcome::RewrittenDifferently, Outcome::Same]),
    ] {
        let report = replayed(new, &[observed(), observed()]);
        assert_eq!(report.events(Outcome::Unknown), 2, "{new}");
        let Now::Unknown { unknown, may_be: found } = &report.classes[0].now else { panic!("{new}") };
        assert_eq!((&unknown[..], &found[..]), (&[Unknown::Outcome][..], may_be), "{new}");
    }
    // One that comes last does.
    let mut event = observed();
    event["outcome_unknown"] = false.into();
    assert_eq!(replayed("deny write **", &[event]).events(Outcome::NewlyDenied), 1);
}

#[test]
fn what_happened_counts_not_the_verdict_of_a_policy_that_did_not_enforce_it() {
    use Outcome::{Errno, NewlyAllowed, NewlyDenied, RewrittenDifferently, Same};
    let (allow, deny, set) = ("allow write **", "deny write **", "set write ** to \"5\"");
    let audited = |rules: &str| in_audit_mode(written(rules, "70\n"));
    let before = |rules: &str| denied_before(written(rules, "70\n"));
    for (event, rules, outcome, passed) in [
        (audited(allow), deny, NewlyDenied, 1),
        (audited(deny), deny, NewlyDenied, 1),
        (audited(deny), "mode audit\ndeny write **", NewlyDenied, 1),
        (audited(deny), allow, Same, 1),
        (audited(deny), set, RewrittenDifferently, 1),
        (audited(set), set, RewrittenDifferently, 1),
        (audited(set), allow, Same, 1),
        (audited(set), deny, NewlyDenied, 1),
        (before(allow), deny, Same, 0),
        (before(allow), "deny(EROFS) write **", Errno, 0),
        (before(allow), "deny(EACCES) write **", Same, 0),
        (before(allow), allow, NewlyAllowed, 0),
        (before(set), "deny(EACCES) write **", Same, 0),
        (before(deny), deny, Same, 0),
        (denied_before(audited(deny)), "deny(EACCES) write **", Same, 0),
    ] {
        let report = replayed(rules, std::slice::from_ref(&event));
        assert_eq!((report.classes[0].outcome, report.passed), (outcome, passed), "{event} → {rules}");
    }
}

#[test]
fn equal_accesses_with_other_outcomes_are_not_counted_together() {
    let deny = "deny(EROFS) write **";
    let enforced = || written(deny, "70\n");
    let events = [
        enforced(),
        in_audit_mode(enforced()),
        denied_before(in_audit_mode(enforced())),
        enforced(),
        in_audit_mode(enforced()),
    ];
    let report = replayed(deny, &events);
    assert_eq!(
        (report.events(Outcome::Same), report.events(Outcome::NewlyDenied), report.events(Outcome::Errno)),
        (2, 2, 1)
    );
}

#[test]
fn a_diff_from_an_audited_policy_counts_what_replay_calls_newly_denied() {
    let old = policy("mode audit\ndeny write ** if new > 60\nallow write **");
    let new = policy("deny write ** if new > 60\nallow write **");
    let diff = knobgate_diff::Diff::between(&old, &new).unwrap();
    let mut counts = DiffEvents::new(&diff, &old, &new, |_| None);
    let mut replay = Replay::new(&new, |_| None);
    for value in ["50\n", "70\n", "80\n"] {
        let access = Access::write(knob("vm.swappiness"), value);
        let item = item(&in_audit_mode(event(&access, &evaluate(&old, &access))));
        counts.add(&item);
        replay.add(&item);
    }
    let newly_denied = diff.classes().iter().zip(&counts.classes);
    let newly_denied = newly_denied.filter(|(class, _)| class.change == knobgate_diff::Change::NewlyDenied);
    let counted: u64 = newly_denied.map(|(_, tally)| tally.events).sum();
    let report = replay.finish();
    assert_eq!((counted, counts.same), (2, 1));
    assert_eq!((report.events(Outcome::NewlyDenied), report.events(Outcome::Same)), (2, 1));
}

/// The event without one of its members.
fn without(mut event: Value, of: &str, member: &str) -> Value {
    event[of].as_object_mut().unwrap().remove(member).unwrap();
    event
}

fn secret(mut event: Value) -> Value {
    for member in ["old", "new", "stored"] {
        event.as_object_mut().unwrap().remove(member);
    }
    event["secret"] = true.into();
    event
}

/// What an outcome depends on; nothing if it is known.
fn depends_on(rules: &str, event: Value) -> Vec<Unknown> {
    let report = replayed(rules, &[event]);
    match &report.classes[0].now {
        Now::Unknown { unknown, .. } => unknown.clone(),
        Now::Decided { .. } => Vec::new(),
    }
}

#[test]
fn what_a_verdict_depends_on_is_unknown() {
    use Unknown::{Comm, Gid, Old, Secret, Uid};
    let allowed = || written("allow write **", "70\n");
    let uid = || without(allowed(), "task", "uid");
    let comm = || without(allowed(), "task", "comm");
    let cut = |length: u32| {
        let mut event = allowed();
        event["old"] = json!({ "text": "1", "length": length });
        event
    };
    for (rules, event, expected) in [
        ("allow write ** if uid == 0", uid(), vec![Uid]),
        ("allow write ** if new <= 60 and uid == 0", uid(), vec![]),
        ("allow write ** if new <= 80 or uid == 0", uid(), vec![]),
        ("allow write ** if uid == 0 and new <= 60", uid(), vec![]),
        ("allow write vm.overcommit_memory if uid == 0", uid(), vec![]),
        ("deny read ** if uid == 0", uid(), vec![]),
        ("deny write **\nallow write ** if uid == 0", uid(), vec![]),
        ("deny write ** if uid == 0\ndeny write ** if new > 60", uid(), vec![]),
        ("deny(EACCES) write ** if uid == 0", uid(), vec![Uid]),
        ("allow write ** if new[1] == 1 or uid == 0", uid(), vec![]),
        ("allow write ** if uid <= new[3]", uid(), vec![]),
        ("allow write ** if gid in {1, 2}", uid(), vec![]),
        ("allow write ** if gid in {1, 2}", without(uid(), "task", "gid"), vec![Gid]),
        ("allow write ** if comm == \"sh\"", comm(), vec![Comm]),
        ("allow write ** if not comm starts with \"s\"", comm(), vec![Comm]),
        ("allow write ** if old == 1", cut(3), vec![Old]),
        ("allow write ** if old == 1", cut(4095), vec![Old]),
        ("allow write ** if old == 1", cut(4096), vec![]),
        ("allow write ** if new == 70", cut(3), vec![]),
        ("ignore write **", cut(3), vec![Old]),
        ("allow write **", secret(allowed()), vec![]),
        ("set write ** to \"1\"", secret(allowed()), vec![Secret]),
        ("allow write ** if old <= new", secret(allowed()), vec![Secret]),
        ("allow write ** if uid == 1", secret(allowed()), vec![]),
        ("allow write ** if uid == 1 and new == 2", secret(allowed()), vec![]),
    ] {
        assert_eq!(depends_on(rules, event), expected, "{rules}");
    }
}

#[test]
fn an_unknown_replacement_matters_only_to_another_rewrite() {
    let rewritten = || {
        let mut event = written("set write ** to \"5\"", "70\n");
        event["stored"]["length"] = 300.into();
        event
    };
    assert_eq!(depends_on("set write ** to \"5\"", rewritten()), [Unknown::Replacement]);
    assert_eq!(depends_on("allow write **", rewritten()), []);
    assert_eq!(depends_on("deny write **", rewritten()), []);
}

#[test]
fn what_an_unknown_outcome_may_be_is_said() {
    use Outcome::{Errno, NewlyAllowed, NewlyDenied, RewrittenDifferently, Same};
    let without_uid = |rules: &str| without(written(rules, "70\n"), "task", "uid");
    let (allow, deny) = ("allow write **", "deny write **");
    for (rules, event, expected) in [
        ("allow write ** if uid == 0", without_uid(allow), vec![NewlyDenied, Same]),
        ("allow write ** if uid == 0", without_uid(deny), vec![NewlyAllowed, Same]),
        ("deny(EACCES) write ** if uid == 0", without_uid(allow), vec![NewlyDenied]),
        (
            "set write ** to \"1\"",
            secret(written(allow, "70\n")),
            vec![NewlyDenied, RewrittenDifferently, Same],
        ),
        ("set write ** to \"1\"", secret(written(deny, "70\n")), vec![NewlyAllowed, Errno]),
    ] {
        let report = replayed(rules, &[event]);
        let Now::Unknown { may_be, .. } = &report.classes[0].now else { panic!("{rules}") };
        assert_eq!(*may_be, expected, "{rules}");
        for outcome in Outcome::ALL {
            assert_eq!(report.may_be(outcome), expected.contains(&outcome), "{rules} {outcome:?}");
        }
    }
}

#[test]
fn a_knob_of_which_only_the_start_is_known_is_unknown() {
    let mut event = written("deny write **", "70\n");
    event["knob"] = json!({ "text": "vm/swap", "length": 256 });
    assert_eq!(depends_on("allow write **", event), [Unknown::Knob]);
}

#[test]
fn equal_classes_are_counted_together() {
    let event = |time: &str, value: &str, cgroup: u64, attachment: &str| {
        let mut event = written("deny(EROFS) write **", value);
        event["time"] = time.into();
        event["cgroup"]["id"] = cgroup.into();
        event["attachment"] = attachment.into();
        event
    };
    let mut events = vec![
        event("2026-11-29T12:00:02Z", "10\n", 1, "a"),
        event("2026-11-29T12:00:01Z", "20\n", 2, "b"),
        event("2026-11-29T12:00:03Z", "20\n", 3, "a"),
        event("2026-11-29T12:00:03Z", "70\n", 3, "a"),
    ];
    events[2]["denied_before"] = "EACCES".into();
    events.push(json!({ "schema": "knobgate.events", "version": 1, "type": "lost", "sequence": 9,
        "boot_time": 1, "count": 4 }));
    events.push(json!({ "schema": "knobgate.events", "version": 1, "type": "suppressed", "sequence": 9,
        "boot_time": 1, "count": 5 }));
    let report = replayed("allow write ** if new <= 60\ndeny(EROFS) write **", &events);
    let [allowed, same] = &report.classes[..] else { panic!("{:#?}", report.classes) };
    assert_eq!((allowed.outcome, same.outcome), (Outcome::NewlyAllowed, Outcome::Same));
    assert_eq!((allowed.tally.events, allowed.tally.denied_before), (3, 1));
    assert_eq!(allowed.tally.workloads, ["a", "b"]);
    let span = allowed.tally.last.unwrap().duration_since(allowed.tally.first.unwrap()).unwrap();
    assert_eq!(span.as_secs(), 2);
    assert_eq!((report.lost, report.suppressed, report.passed), (4, 5, 0));
}

/// The labels of the workloads of writes that would be denied, each of which has these members.
fn labels(events: &[Value]) -> Vec<String> {
    let policy = policy("deny write **");
    let mut replay = Replay::new(&policy, |item| words::workload(item, Length::Full));
    for members in events {
        let mut event = written("allow write **", "1\n");
        let (event_members, members) = (event.as_object_mut().unwrap(), members.as_object().unwrap());
        event_members.extend(members.clone());
        replay.add(&item(&event));
    }
    let report = replay.finish();
    assert_eq!(report.classes.len(), 1);
    report.classes[0].tally.workloads.clone()
}

#[test]
fn every_workload_is_named() {
    let at =
        |boot: &str, id: u64, path: &str| json!({ "boot_id": boot, "cgroup": { "id": id, "path": path } });
    // After a reboot, another cgroup has the same id.
    assert_eq!(labels(&[at("one", 7, "/a"), at("two", 7, "/b")]), ["/a", "/b"]);
    assert_eq!(labels(&[at("one", 7, "/a"), at("one", 7, "/a"), at("one", 8, "/a")]), ["/a"]);

    // What is learnt later replaces what was known before, and stays.
    let unknown = |id: u64| json!({ "boot_id": "one", "cgroup": { "id": id } });
    let web = |id: u64| {
        let mut event = at("one", id, "/docker/web");
        event["workload"] = json!({ "engine": "docker", "container": "web" });
        event
    };
    assert_eq!(labels(&[unknown(7), web(7)]), ["docker/web"]);
    assert_eq!(labels(&[unknown(7), at("one", 7, "/docker/web"), web(7), unknown(7)]), ["docker/web"]);
    assert_eq!(labels(&[web(7), unknown(8), web(8), unknown(9)]), ["docker/web", "cgroup 9"]);
}

#[test]
fn classes_that_find_no_room_are_counted() {
    let policy = policy("allow write **");
    let mut replay = Replay::new(&policy, |_| None);
    let event = written("deny write **", &"x".repeat(250));
    let count = 9000;
    for number in 0..count {
        let mut event = event.clone();
        event["knob"] = format!("net.ipv4.conf.eth{number}.forwarding").into();
        replay.add(&item(&event));
    }
    let report = replay.finish();
    let further = report.further[Outcome::NewlyAllowed as usize];
    assert!((1..count).contains(&further), "{further}");
    assert_eq!(report.classes.len() as u64 + further, count);
    assert_eq!(report.events(Outcome::NewlyAllowed), count);
}

#[test]
fn events_are_counted_by_the_classes_of_a_diff() {
    let (old, new) =
        (policy("allow write ** if new <= 60"), policy("allow write ** if new <= 80 and uid == 0"));
    let diff = knobgate_diff::Diff::between(&old, &new).unwrap();
    let mut counts = DiffEvents::new(&diff, &old, &new, |item: &StreamItem| item.context.attachment.clone());
    let write = |value: &str, uid: u32| {
        let access = Access::write(KnobName::parse("vm.swappiness").unwrap(), value);
        let access = Access { task: access.task.clone().uid(uid), ..access };
        event(&access, &evaluate(&old, &access))
    };
    for event in [write("70\n", 0), write("80\n", 0), write("50\n", 1), write("50\n", 0), write("90\n", 7)] {
        counts.add(&item(&event));
    }
    counts.add(&item(&without(write("50\n", 0), "task", "uid")));
    counts.add(&item(&without(write("90\n", 0), "task", "uid")));
    let mut events: Vec<(String, u64)> = diff
        .classes()
        .iter()
        .zip(&counts.classes)
        .filter(|(_, tally)| tally.events > 0)
        .map(|(class, tally)| (format!("{:?}", class.change), tally.events))
        .collect();
    events.sort();
    assert_eq!(events, [("NewlyAllowed".to_owned(), 2), ("NewlyDenied".to_owned(), 1)]);
    assert_eq!((counts.same, counts.unknown), (3, 1));
    assert_eq!(counts.unknown_inputs, [Unknown::Uid]);
}
