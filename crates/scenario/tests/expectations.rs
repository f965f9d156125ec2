//! What steps expect, compared with their lines.

use knobgate_hook::Profile;
use knobgate_scenario::{Mismatch, Outcome, Scenario};

/// The outcomes of these steps, on the model of this kernel.
fn outcomes(profile: &Profile, steps: &str) -> Vec<Outcome> {
    let text = format!(
        r#"{{
            "knobs": [
                {{"name": "vm.x", "value": "1", "handler": {{"kind": "int"}}}},
                {{"name": "net/ipv6/conf/lo/stable_secret", "handler": {{"kind": "stable_secret"}}}},
                {{"name": "net/ipv4/route/flush", "mode": "0200", "handler": {{"kind": "int", "read_error": "EINVAL"}}}}
            ],
            "maps": [{{"name": "m", "type": "hash", "key_size": 1, "value_size": 1, "max_entries": 4,
                       "entries": [["01", "aa"], ["02", "bb"]]}},
                     {{"name": "copies", "type": "hash", "key_size": 4, "value_size": 2097152, "max_entries": 130}},
                     {{"name": "original", "type": "array", "key_size": 4, "value_size": 2097152, "max_entries": 1}}],
            "programs": {{
                "allow": {{"insns": "b700000001000000 9500000000000000"}},
                "two": {{"insns": "b700000002000000 9500000000000000"}},
                "stack": {{"insns": "b701000000000000 b702000000000000 b703000000000000 b704000000000000 850000008d000000 b700000001000000 9500000000000000"}},
                "fills": {{"insns": "b706000000000000 636afcff00000000 1811000001000000 0000000000000000 bfa2000000000000 07020000fcffffff 1823000002000000 0000000000000000 b704000000000000 8500000002000000 0706000001000000 a506f5ff82000000 b700000001000000 9500000000000000"}},
                "subtracts": {{"insns": "bfa2000000000000 1f12000000000000 b700000001000000 9500000000000000"}}
            }},
            "cgroups": ["a"],
            "steps": [{steps}]
        }}"#
    );
    let scenario = match Scenario::parse(&text, &mut |_| Err(std::io::ErrorKind::NotFound.into())) {
        Ok(scenario) => scenario.with_profile(*profile),
        Err(errors) => panic!("{errors:#?}"),
    };
    let mut play = scenario.play_on_model().expect("it can be played");
    let mut outcomes = Vec::new();
    while let Some(line) = play.next() {
        outcomes.push(play.outcome(&line.expect("the model does not fail")));
    }
    outcomes
}

/// Member, expected, found.
type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn mismatches(outcome: &Outcome) -> Vec<Parts<'_>> {
    let Outcome::Failed(mismatches) = outcome else { panic!("{outcome:?}") };
    mismatches
        .iter()
        .map(|Mismatch { member, expected, found, .. }| (&**member, expected.as_deref(), found.as_deref()))
        .collect()
}

#[test]
fn only_the_stated_members_are_compared() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"load": "two", "expect": {"errno": "EINVAL", "log": "R0 should have been in [0, 1]"}},
           {"attach": {"program": "allow", "cgroup": "a", "mode": "link"}},
           {"effective": "a", "expect": {"ok": true, "programs": ["allow"]}},
           {"write": {"knob": "vm.x", "cgroup": "a", "data": "7\n"}, "expect": {"ret": 2, "data": null, "pos": 2, "value": {"hex": "370a"}}},
           {"read": {"knob": "vm.x", "cgroup": "a", "count": 1}, "expect": {"errno": null, "data": "7"}},
           {"map": "m", "expect": {"entries": [["01", "AA"], ["02", "b b"]]}}"#,
    );
    assert_eq!(
        outcomes,
        [
            Outcome::Passed,
            Outcome::Unchecked,
            Outcome::Passed,
            Outcome::Passed,
            Outcome::Passed,
            Outcome::Passed
        ]
    );
}

#[test]
fn what_is_not_as_expected_is_shown_member_by_member() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"load": "allow", "expect": {"ok": false, "errno": "EACCES", "log": "R0"}},
           {"write": {"knob": "vm.x", "cgroup": "a", "data": "7\n"}, "expect": {"ret": 3, "value": "8\n", "pos": 3}},
           {"map": "m", "expect": {"entries": [["01", "aa"], ["02", "cc"], ["03", "dd"]]}},
           {"effective": "a", "expect": {"programs": ["allow"]}}"#,
    );
    assert_eq!(
        mismatches(&outcomes[0]),
        [
            ("ok", Some("false"), Some("true")),
            ("errno", Some("\"EACCES\""), Some("null")),
            ("log", Some("\"R0\""), None)
        ]
    );
    assert_eq!(
        mismatches(&outcomes[1]),
        [
            ("ret", Some("3"), Some("2")),
            ("pos", Some("3"), Some("2")),
            ("value", Some(r#""8\n""#), Some(r#""7\n""#))
        ]
    );
    assert_eq!(
        mismatches(&outcomes[2]),
        [
            ("entries[1]", Some(r#"["02","cc"]"#), Some(r#"["02","bb"]"#)),
            ("entries[2]", Some(r#"["03","dd"]"#), None)
        ]
    );
    assert_eq!(mismatches(&outcomes[3]), [("programs[0]", Some("\"allow\""), None)]);
}

#[test]
fn the_first_expectation_that_is_for_the_kernel_counts() {
    let on = |name: &str| {
        let profile = name.parse().expect("a profile");
        let outcomes = outcomes(
            &profile,
            r#"{"load": "allow", "expect": [{"kernels": "<5.10"}, {"kernels": "<=6.1 or >=7.2", "ok": true}, {"ok": false}]}"#,
        );
        outcomes.into_iter().next().expect("one step")
    };
    assert_eq!(on("5.4"), Outcome::OtherKernel);
    assert_eq!(on("5.10"), Outcome::Passed);
    assert_eq!(on("6.1.192"), Outcome::Passed);
    assert_eq!(mismatches(&on("6.8")), [("ok", Some("false"), Some("true"))]);
    assert_eq!(on("7.3"), Outcome::Passed);
}

#[test]
fn a_step_that_expects_something_fails_with_a_fault() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"attach": {"program": "fills", "cgroup": "a", "mode": "link"}},
           {"read": {"knob": "vm.x", "cgroup": "a"}, "expect": {"ok": false}}"#,
    );
    let failed = mismatches(&outcomes[1]);
    assert_eq!((failed[0].0, failed[0].1), ("fault", None));
}

#[test]
fn a_step_that_depends_on_what_is_not_modelled_does_not_fail() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"attach": {"program": "stack", "cgroup": "a", "mode": "link"}, "expect": {"ok": true}},
           {"read": {"knob": "vm.x", "cgroup": "a"}, "expect": {"ok": false}},
           {"read": {"knob": "vm.x", "cgroup": "a"}},
           {"load": "stack", "expect": [{"kernels": "<5.10", "ok": true}]}"#,
    );
    let not_modelled = |what: &str| Outcome::NotModelled(format!("not modelled: {what}"));
    assert_eq!(
        outcomes,
        [
            not_modelled("helper bpf_get_task_stack#141"),
            not_modelled("it depends on stack, which is not modelled"),
            Outcome::Unchecked,
            Outcome::OtherKernel
        ]
    );
}

#[test]
fn a_program_that_goes_on_with_an_address_is_not_modelled() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"attach": {"program": "subtracts", "cgroup": "a", "mode": "link"}, "expect": {"ok": true}},
           {"read": {"knob": "vm.x", "cgroup": "a"}, "expect": {"ok": true}}"#,
    );
    let what = "not modelled: subtracts, instruction 1: r2 -= r1: the result depends on an address: \
                the operands are the stack and the context";
    assert_eq!(outcomes, [Outcome::Passed, Outcome::NotModelled(what.to_owned())]);
}

#[test]
fn a_knob_whose_reads_fail_has_no_value_for_anybody() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"attach": {"program": "allow", "cgroup": "a", "mode": "link"}},
           {"read": {"knob": "net/ipv6/conf/lo/stable_secret", "cgroup": "a"}, "expect": {"errno": "EIO", "value": null}},
           {"write": {"knob": "net/ipv6/conf/lo/stable_secret", "cgroup": "a", "data": "::1\n"},
            "expect": {"ret": 4, "value": "0000:0000:0000:0000:0000:0000:0000:0001\n"}},
           {"read": {"knob": "net/ipv4/route/flush", "cgroup": "a"}, "expect": {"errno": "EACCES"}},
           {"write": {"knob": "net/ipv4/route/flush", "cgroup": "a", "data": "1\n"}, "expect": {"ret": 2, "value": null}}"#,
    );
    assert_eq!(outcomes[1..], [Outcome::Passed, Outcome::Passed, Outcome::Passed, Outcome::Passed]);
}

#[test]
fn a_program_cannot_be_attached_to_another_hook() {
    let outcomes = outcomes(
        &Profile::default(),
        r#"{"attach": {"program": "allow", "cgroup": "a", "mode": "override", "attach_type": 0}, "expect": {"errno": "EINVAL"}},
           {"attach": {"program": "allow", "cgroup": "a", "mode": "link", "attach_type": 9}, "expect": {"errno": "EINVAL"}},
           {"effective": "a", "expect": {"programs": []}},
           {"attach": {"program": "allow", "cgroup": "a", "mode": "link", "attach_type": 18}, "expect": {"ok": true}}"#,
    );
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Passed), "{outcomes:?}");
}
