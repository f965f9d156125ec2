//! What a policy decides about settings, compared with the definition of the language.
#![allow(missing_docs)]

use knobgate_arbitrary::{access, policy};
use knobgate_policy::{
    Access, CheckOptions, DecidedBy, Decision, KnobName, Policy, Source, Task, Verdict, evaluate, parse,
};
use knobgate_sysctl_conf::{
    FileKind, Key, KnobVerdict, Linter, Outcome, Possible, SetApart, Setting, Settings, Unknown, read,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn parsed(text: &str) -> Policy {
    parse(Source::new("x.knob", format!("policy x\n{text}")), &CheckOptions::default()).unwrap().into_policy()
}

/// What a policy says about one setting.
fn verdicts(policy: &str, setting: &str) -> Vec<KnobVerdict> {
    let (policy, file) = (parsed(policy), read(FileKind::Sysctl, setting));
    assert_eq!(file.errors, []);
    Linter::new(&policy).verdicts(&file.settings[0], &SetApart::of([&file]))
}

#[test]
fn what_is_unknown_stays_open_only_if_it_matters() {
    use Outcome::{Allowed, Denied, Depends, Rewritten};
    use Unknown::{CurrentValue, TaskName};
    for (policy, setting, outcome, unknown) in [
        ("allow write vm.a if new == 1\n", "vm.a = 1", Allowed, &[][..]),
        ("allow write vm.a if new == 1\n", "vm.a = 2", Denied, &[]),
        ("allow write vm.a if new == 1\n", "vm.a = x", Denied, &[]),
        ("allow write vm.a if uid == 0\n", "vm.a = x", Allowed, &[]),
        ("clamp write vm.a to 1..2\n", "vm.a = 2", Allowed, &[]),
        ("clamp write vm.a to 1..2\n", "vm.a = 3", Rewritten, &[]),
        ("clamp write vm.a to 10..20\n", "vm.a = 3", Rewritten, &[]),
        ("clamp write vm.a to 100..200\n", "vm.a = 3", Denied, &[]),
        ("ignore write vm.a\n", "vm.a = 3", Rewritten, &[CurrentValue]),
        ("allow write vm.a if old <= new\n", "vm.a = 3", Depends, &[CurrentValue]),
        // It is not a number, whatever the current value is.
        ("allow write vm.a if old <= new\n", "vm.a = x", Denied, &[]),
        ("allow write vm.a if new <= 2 and old <= new\n", "vm.a = 3", Denied, &[]),
        // The first comparison may hold, and the second one does not.
        ("allow write vm.a if old <= new <= 2\n", "vm.a = 3", Denied, &[CurrentValue]),
        ("allow write vm.a if old == \"x\" or new == 3\n", "vm.a = 3", Depends, &[CurrentValue]),
        ("allow write vm.a if new == 3 or old == 3\n", "vm.a = 3", Allowed, &[]),
        ("allow write vm.a if comm == \"x\"\n", "vm.a = 3", Depends, &[TaskName]),
        (
            "allow write vm.a if not comm == \"x\" or comm == \"x\"\nallow write vm.a\n",
            "vm.a = 3",
            Allowed,
            &[TaskName],
        ),
        ("deny write vm.a if comm == \"x\"\n", "vm.a = 3", Denied, &[TaskName]),
        (
            "allow write vm.a if old in {1} or comm contains \"x\"\n",
            "vm.a = 3",
            Depends,
            &[CurrentValue, TaskName],
        ),
        ("default write allow\n", "vm.a = 3", Allowed, &[]),
        ("default write allow\ndeny read vm.a\n", "vm.a = 3", Allowed, &[]),
    ] {
        let verdict = &verdicts(policy, setting)[0];
        let found: Vec<Unknown> = verdict.unknown.iter().copied().collect();
        assert_eq!(
            (verdict.outcome(), found.as_slice()),
            (outcome, unknown),
            "{setting} with {policy}: {verdict:?}"
        );
    }
}

#[test]
fn a_glob_has_a_verdict_for_each_way_in_which_its_knobs_are_decided() {
    let policy = "\
deny write net.ipv4.conf.wg*.rp_filter
allow write net.ipv4.conf.*.rp_filter if new in {1, 2}
allow write net.ipv4.conf.lo.rp_filter
";
    let found = |setting: &str| -> Vec<(String, Outcome)> {
        let verdicts = verdicts(policy, setting).into_iter();
        let mut found: Vec<_> = verdicts
            .map(|one| (one.knob.as_ref().map(ToString::to_string).unwrap_or_default(), one.outcome()))
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    };
    assert_eq!(
        found("net.ipv4.conf.*.rp_filter = 1"),
        [
            ("net.ipv4.conf.eth0.rp_filter".to_owned(), Outcome::Allowed),
            ("net.ipv4.conf.wg.rp_filter".to_owned(), Outcome::Denied),
        ]
    );
    assert_eq!(
        found("net.ipv4.conf.*.rp_filter = 1\n-net.ipv4.conf.wg*.rp_filter\n"),
        [("net.ipv4.conf.eth0.rp_filter".to_owned(), Outcome::Allowed)]
    );
    assert_eq!(found("net.ipv4.conf.l[o].rp_filter = 1\n-net.ipv4.conf.lo.rp_filter\n"), []);
}

#[test]
fn files_that_apply_together_keep_globs_away() {
    let policy = parsed(
        "allow write net.ipv4.conf.*.rp_filter if new == 1\ndeny write net.ipv4.conf.eth0.rp_filter\n",
    );
    let files = [
        "net.ipv4.conf.*.rp_filter = 2\n",
        "net.ipv4.conf.eth0.rp_filter = 1\n",
        "-net.ipv4.conf.*.rp_filter\n",
    ]
    .map(|text| read(FileKind::Sysctl, text));
    let knobs = |files: &[Settings]| {
        let verdicts = Linter::new(&policy).verdicts(&files[0].settings[0], &SetApart::of(files));
        verdicts.iter().map(|verdict| verdict.knob.as_ref().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(knobs(&files[..1]).len(), 2);
    assert_eq!(knobs(&files[..2]), ["net.ipv4.conf.x.rp_filter"]);
    assert_eq!(knobs(&files), [""; 0]);
}

#[test]
fn patterns_that_are_too_complex_leave_a_glob_open() {
    let question_marks = "?".repeat(40);
    let verdicts = verdicts("default write allow\n", &format!("a*a{question_marks} = 1"));
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].outcome(), Outcome::Depends);
    assert_eq!(verdicts[0].unknown.iter().collect::<Vec<_>>(), [&Unknown::Names]);
}

/// Whether `decision` is one of those that are possible.
fn is_among(decision: &Decision, possible: &[Possible]) -> bool {
    let rule = |by: DecidedBy| match by {
        DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => Some(rule),
        DecidedBy::Default(_) => None,
    };
    possible.iter().any(|possible| match &possible.verdict {
        Some(verdict) => *verdict == decision.verdict && rule(possible.by) == rule(decision.by),
        // A rewrite to the current value may change nothing, and may not fit.
        None => rule(possible.by) == rule(decision.by),
    })
}

/// The text of a value.
fn text(bytes: Option<Vec<u8>>) -> String {
    let line = bytes.unwrap_or_default().into_iter().take_while(|byte| !matches!(byte, 0 | b'\n')).collect();
    String::from_utf8(line).unwrap_or_default()
}

/// A policy and an access close to what it states.
fn policy_and_access() -> impl Strategy<Value = (Policy, Access)> {
    policy()
        .prop_flat_map(|policy| (access(&policy), Just(policy)).prop_map(|(access, policy)| (policy, access)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_decided_is_among_what_is_possible((policy, access) in policy_and_access()) {
        let value = text(access.new);
        let setting = Setting { line: 1, key: Key::Knob(access.knob.clone()), value: value.clone() };
        let verdicts = Linter::new(&policy).verdicts(&setting, &SetApart::default());
        let [verdict] = verdicts.as_slice() else { panic!("it is one knob") };

        let mut written = Access::write(access.knob, format!("{value}\n"));
        written.old = access.old;
        written.knob_netns = access.knob_netns;
        written.task = Task::default().comm(access.task.comm);
        let decision = evaluate(&policy, &written);
        prop_assert!(is_among(&decision, &verdict.possible), "{:?} of {:?}", decision, verdict);
        // If several parts of a condition cannot be evaluated, either error is right.
        prop_assert!(!verdict.unknown.is_empty() || verdict.possible.len() == 1, "{:?}", verdict);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_glob_leaves_out_no_verdict(
        rules in vec((select(PATTERNS), select(&["", " if new == 1", " if new <= 1"][..])), 0..5),
        glob in select(GLOBS),
        apart in vec(select(NAMES), 0..3),
    ) {
        let rules: Vec<String> = rules.iter().map(|(pattern, condition)| format!("allow write {pattern}{condition}\n")).collect();
        let policy = parsed(&rules.concat());
        let apart: Vec<String> = apart.iter().enumerate().map(|(at, name)| if at == 0 { format!("-{name}\n") } else { format!("{name} = 1\n") }).collect();
        let file = read(FileKind::Sysctl, format!("{glob} = 2\n{}", apart.concat()));
        let verdicts = Linter::new(&policy).verdicts(&file.settings[0], &SetApart::of([&file]));
        for name in NAMES {
            let knob = KnobName::parse(name).unwrap();
            let is_apart = file.exclusions.contains(&Key::Knob(knob.clone()))
                || file.settings.iter().any(|setting| setting.key == Key::Knob(knob.clone()));
            if !file.settings[0].key.names(&knob) || is_apart {
                continue;
            }
            let decision = evaluate(&policy, &Access::write(knob, "2\n"));
            prop_assert!(verdicts.iter().any(|one| is_among(&decision, &one.possible)), "{}: {:?} of {:?}", name, decision, verdicts);
        }
        for KnobVerdict { knob, possible, .. } in &verdicts {
            let knob = knob.clone().unwrap();
            prop_assert!(file.settings[0].key.names(&knob));
            let decision = evaluate(&policy, &Access::write(knob, "2\n"));
            prop_assert!(is_among(&decision, possible));
            prop_assert!(possible.iter().all(|one| matches!(one.verdict, Some(Verdict::Allow | Verdict::Deny(_)))));
        }
    }
}

const PATTERNS: &[&str] =
    &["n.**", "n.a.*", "n.a.x", "n.*.x", "n.{a,b}.?", "n.[!b].*", "n.ab.x*", "**", "n.a*.xy", "kernel.**"];
const GLOBS: &[&str] = &["n.*.x", "n.a.*", "n.[ab].?", "n.a*.x*", "n.*.*", "*.a.x", "n.?.[!z]*"];
const NAMES: &[&str] = &[
    "n.a.x", "n.a.xy", "n.b.x", "n.b.y", "n.ab.x", "n.ab.xy", "n.ac.xz", "n.c.z", "n.c.x", "m.a.x", "n.a.z",
];
