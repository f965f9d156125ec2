//! Reviews of what a policy denies, from made-up events.

use knobgate_events::StreamItem;
use knobgate_events::json::StreamReader;
use knobgate_learn::{DeniedAccesses, LeftOut, Proposal, Question, Review};
use knobgate_policy::terminal::is_interpreted;
use knobgate_policy::{
    Access, AccessKind, CheckOptions, DecidedBy, KnobName, PolicyFile, Source, Verdict, evaluate, parse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::assert_tests_pass;

fn policy(text: &str) -> PolicyFile {
    let source = Source::new("p.knob", format!("policy p\nmode audit\n\n{text}"));
    parse(source, &CheckOptions::default()).expect("a policy")
}

/// An event of policy `p` in audit mode, which would deny the access; `more` is what else it has.
fn event(knob: &str, new: Option<&str>, more: &str) -> StreamItem {
    let access = if new.is_some() { "write" } else { "read" };
    let new = new.map(|new| format!("\"new\":{{\"text\":{}}},", serde_json::to_string(new).expect("JSON")));
    let has = |member: &str| more.contains(&format!("\"{member}\""));
    let mut line = format!(
        r#"{{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":1,"access":"{access}","position":0,
        {}{more}"rule":{{"default":"{access}","text":{{"text":"x"}}}},"cgroup":{{"id":1}}"#,
        new.unwrap_or_default()
    );
    for (member, default) in [
        ("policy", "\"p\"".to_owned()),
        ("mode", "\"audit\"".to_owned()),
        ("verdict", "\"deny\",\"errno\":\"EPERM\"".to_owned()),
        ("knob", serde_json::to_string(knob).expect("JSON")),
        ("task", "{\"pid\":1,\"uid\":0,\"gid\":0,\"comm\":\"sh\"}".to_owned()),
    ] {
        if !has(member) {
            line += &format!(",\"{member}\":{default}");
        }
    }
    line.push('}');
    let item = StreamReader::new(line.replace('\n', " ").as_bytes()).next().expect("a line");
    item.unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn write(knob: &str, new: &str) -> StreamItem {
    event(knob, Some(new), "")
}

fn classes(file: &PolicyFile, items: &[StreamItem]) -> (Vec<knobgate_learn::DeniedClass>, LeftOut) {
    let mut denied = DeniedAccesses::new(file, |item| item.context.attachment.clone());
    items.iter().for_each(|item| denied.add(item));
    let left_out = denied.left_out().clone();
    (denied.into_classes(), left_out)
}

fn review<'a>(file: &'a PolicyFile, items: &[StreamItem], knobs: &'a [KnobName]) -> Review<'a> {
    Review::new(file, classes(file, items).0, 0, knobs)
}

/// What a policy has after `mode audit`.
fn body(review: &Review<'_>) -> String {
    assert_tests_pass(review.file());
    let (_, body) = review.file().source().text().split_once("mode audit\n").expect("it is in audit mode");
    body.trim().to_owned()
}

fn rules(proposal: &Proposal) -> String {
    proposal.rules().join("; ")
}

const DENY: &str = "default read allow\ndefault write deny\n";

#[test]
fn each_decision_adds_rules_comments_and_tests() {
    let file = policy(DENY);
    let items = [
        write("net.core.somaxconn", "16384\n"),
        write("net.core.somaxconn", "16384\n"),
        write("net.ipv4.ip_forward", "1\n"),
        write("vm.swappiness", "10\n"),
    ];
    let mut review = review(&file, &items, &[]);
    assert_eq!(review.classes(), 3);
    let allow = review.question().unwrap().allow.unwrap();
    review.decide(Some(allow)).unwrap();
    let deny = review.question().unwrap().deny.unwrap();
    review.decide(Some(deny)).unwrap();
    assert_eq!(review.question().unwrap().number, 3);
    review.decide(None).unwrap();
    assert!(review.question().is_none() && !review.is_complete(), "one is left for the next time");
    assert_eq!(
        body(&review),
        r#"default read allow
default write deny

# reviewed: seen 2×, by sh
allow write net.core.somaxconn if new == 16384

# reviewed and denied: seen 1×, by sh
deny write net.ipv4.ip_forward if new == 1

test "what was reviewed" {
  write net.core.somaxconn "16384\n" => allow
  write net.core.somaxconn "16385\n" => deny
  write net.ipv4.ip_forward "1\n" => deny
}"#
    );

    // The next time, only the one that was left is asked about.
    let reviewed = review.file().clone();
    let (classes, left_out) = classes(&reviewed, &items);
    assert_eq!(classes.iter().map(|class| class.knob().to_string()).collect::<Vec<_>>(), ["vm.swappiness"]);
    assert_eq!((left_out.allowed, left_out.by_rules.into_iter().collect::<Vec<_>>()), (2, vec![(1, 1)]));
}

#[test]
fn what_a_policy_does_not_deny_by_its_default_is_not_asked() {
    let file = policy(
        "default write deny\nallow write vm.a if new == 1\ndeny write vm.b\nclamp write vm.c to 1..9\n\
         allow write vm.d if uid == 7\nallow write vm.e if old == 1\n",
    );
    let items = [
        write("vm.a", "1\n"),
        write("vm.b", "1\n"),
        write("vm.c", "x\n"),
        event("vm.d", Some("1\n"), r#""task":{"uid":7},"#),
        event("vm.d", Some("1\n"), r#""task":{"pid":1},"#),
        event("vm.x", Some("1\n"), r#""policy":"other","#),
        event("vm.x", Some("1\n"), r#""denied_before":"EACCES","#),
        event("vm.x", Some("1\n"), r#""verdict":"allow","#),
        event("vm.y", Some("1\n"), r#""mode":"enforce","#),
    ];
    let (classes, left_out) = classes(&file, &items);
    assert_eq!(classes.iter().map(|class| class.knob().to_string()).collect::<Vec<_>>(), ["vm.y"]);
    assert_eq!((left_out.allowed, left_out.undecided, left_out.other_policies), (2, 1, 1));
    assert_eq!(left_out.by_rules.into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}

#[test]
fn counts_that_a_stream_makes_up_do_not_overflow() {
    let lines = ["suppressed", "lost"].map(|kind| {
        let line = format!(
            r#"{{"schema":"knobgate.events","version":1,"type":"{kind}","sequence":1,"boot_time":1,"count":{}}}"#,
            u64::MAX
        );
        StreamReader::new(line.as_bytes()).next().expect("a line").expect("an item")
    });
    let (_, left_out) = classes(&policy("default write deny\n"), &[lines.clone(), lines].concat());
    assert_eq!((left_out.suppressed, left_out.lost), (u64::MAX, u64::MAX));
}

#[test]
fn proposals_go_from_the_narrowest_to_any_value() {
    let file = policy(DENY);
    let knobs = ["net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/lo/rp_filter", "net/ipv4/conf/all/rp_filter"];
    let knobs = knobs.map(|name| KnobName::from_path(name).unwrap());
    let offered = |items: &[StreamItem]| {
        let review = review(&file, items, &knobs);
        let question = review.question().expect("a question");
        let exact = question.allow.as_ref().map_or_else(Clone::clone, rules);
        let more = question.generalised.iter().map(|proposal| (rules(proposal), proposal.notes().join("; ")));
        (exact, more.collect::<Vec<_>>())
    };
    let text = |parts: &[(&str, &str)]| -> Vec<(String, String)> {
        parts.iter().map(|(rules, notes)| ((*rules).to_owned(), (*notes).to_owned())).collect()
    };
    let (exact, more) =
        offered(&[write("net.core.somaxconn", "128\n"), write("net.core.somaxconn", "130\n")]);
    assert_eq!(exact, "allow write net.core.somaxconn if new in {128, 130}");
    assert_eq!(
        more,
        text(&[
            (
                "allow write net.core.somaxconn if new in 128..130",
                "also admits 1 number that was not seen, such as 129"
            ),
            (
                "allow write net.core.somaxconn if new in 0..130",
                "also admits 129 numbers that were not seen, such as 0, 1, 2"
            ),
            ("allow write net.core.somaxconn", "admits every value"),
        ])
    );
    let (exact, more) = offered(&[write("net.ipv4.conf.eth0.rp_filter", "1\n")]);
    assert_eq!(exact, "allow write net.ipv4.conf.eth0.rp_filter if new == 1");
    assert_eq!(
        more[0],
        (
            "deny write net.ipv4.conf.all.rp_filter, net.ipv4.conf.default.rp_filter; \
             allow write net.ipv4.conf.*.rp_filter if new == 1"
                .to_owned(),
            "also admits net.ipv4.conf.lo.rp_filter; these are no interfaces, and the pattern after them would match them"
                .to_owned()
        )
    );
    let (exact, more) = offered(&[write("kernel.domainname", "a\n"), write("kernel.domainname", "1\n")]);
    assert_eq!(exact, "allow write kernel.domainname if new in {\"1\", \"a\"}");
    assert_eq!(more, text(&[("allow write kernel.domainname", "admits every value")]));
    let (exact, more) = offered(&[write("net.ipv4.tcp_rmem", "1 2 3\n")]);
    assert_eq!(
        exact,
        "allow write net.ipv4.tcp_rmem if count(new) == 3 and new[0] == 1 and new[1] == 2 and new[2] == 3"
    );
    assert_eq!(more[0].1, "also admits other numbers in these ranges", "{more:?}");
}

#[test]
fn a_denial_of_more_than_what_was_seen_says_so() {
    let file = policy(DENY);
    let deny = |values: &[u32]| {
        let items: Vec<_> = values.iter().map(|value| write("vm.a", &format!("{value}\n"))).collect();
        let deny = review(&file, &items, &[]).question().expect("a question").deny.expect("it can be denied");
        (rules(&deny), deny.notes().contains(&"also denies numbers that were not seen"))
    };
    assert_eq!(deny(&[1, 3]), ("deny write vm.a if new in {1, 3}".to_owned(), false));
    let many: Vec<u32> = (0..20).map(|n| 2 * n).collect();
    assert_eq!(deny(&many), ("deny write vm.a if new in 0..38".to_owned(), true));
}

#[test]
fn a_way_out_of_a_container_is_not_offered() {
    let file = policy(DENY);
    let review = review(&file, &[write("kernel.core_pattern", "|/bin/x\n")], &[]);
    let question = review.question().unwrap();
    assert!(question.generalised.is_empty());
    let why = question.allow.unwrap_err();
    assert!(
        why.starts_with("never allowed by learning: the kernel runs the program after a `|` as root"),
        "{why}"
    );
    assert!(
        why.ends_with("write it yourself: allow write kernel.core_pattern if new == \"|/bin/x\""),
        "{why}"
    );
    assert_eq!(rules(&question.deny.unwrap()), "deny write kernel.core_pattern if new == \"|/bin/x\"");
}

#[test]
fn what_no_rule_can_tell_from_others_is_any_value_or_nothing() {
    let file = policy(DENY);
    let secret = event("net.ipv4.tcp_fastopen_key", None, "\"secret\":true,");
    let secret_write = {
        let mut item = secret;
        if let knobgate_events::StreamContent::Event(event) = &mut item.content {
            event.event.kind = AccessKind::Write;
        }
        item
    };
    let mut review = review(&file, std::slice::from_ref(&secret_write), &[]);
    let question = review.question().unwrap();
    assert_eq!(question.allow.unwrap_err(), "the values are secret and were not recorded");
    assert_eq!(question.doubts, [("the values are secret and were not recorded".to_owned(), 1)]);
    let [any] = &question.generalised[..] else { panic!("one") };
    assert_eq!(rules(any), "allow write net.ipv4.tcp_fastopen_key");
    let deny = question.deny.unwrap();
    assert_eq!(deny.notes(), ["the values are secret and were not recorded, and so this denies any"]);
    review.decide(Some(deny)).unwrap();
    assert!(review.is_complete());
    let reviewed = review.file().clone();
    assert_tests_pass(&reviewed);
    assert!(classes(&reviewed, &[secret_write]).0.is_empty(), "it is not asked again");
}

#[test]
fn what_a_decision_covers_is_not_asked() {
    let file = policy(DENY);
    let items = [
        write("net.ipv4.conf.eth0.rp_filter", "1\n"),
        write("net.ipv4.conf.eth1.rp_filter", "1\n"),
        write("net.ipv4.conf.eth2.rp_filter", "1\n"),
        write("net.ipv4.conf.eth2.rp_filter", "2\n"),
    ];
    let mut review = review(&file, &items, &[]);
    let all = review.question().unwrap().generalised.remove(0);
    review.decide(Some(all)).unwrap();
    let question = review.question().unwrap();
    assert_eq!((question.number, question.values), (3, vec![b"2\n".to_vec()]), "only the rest of the third");
    assert!(review.undo().unwrap());
    assert_eq!(review.question().unwrap().number, 1);
    assert_eq!(review.file().source().text(), file.source().text());
    assert!(!review.undo().unwrap(), "there is nothing more");
}

#[test]
fn knobs_of_all_interfaces_come_before_those_of_one() {
    let file = policy(DENY);
    let items = [
        write("net.ipv4.conf.all.rp_filter", "1\n"),
        write("net.ipv4.conf.all.arp_notify", "1\n"),
        write("net.ipv4.conf.a0.rp_filter", "1\n"),
        write("net.ipv4.conf.cni0.rp_filter", "1\n"),
        write("net.ipv4.conf.default.rp_filter", "1\n"),
        write("net.ipv4.ip_forward", "1\n"),
        write("net.core.somaxconn", "1\n"),
    ];
    let (classes, _) = classes(&file, &items);
    let names: Vec<String> = classes.iter().map(|class| class.knob().to_string()).collect();
    let expected = [
        "net.core.somaxconn",
        "net.ipv4.conf.all.arp_notify",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.a0.rp_filter",
        "net.ipv4.conf.cni0.rp_filter",
        "net.ipv4.ip_forward",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_errno_of_the_default_stays() {
    let file = policy("default write deny(EACCES)\n");
    let review = review(&file, &[write("vm.a", "1\n")], &[]);
    assert_eq!(rules(&review.question().unwrap().deny.unwrap()), "deny(EACCES) write vm.a if new == 1");
}

#[test]
fn a_test_that_a_decision_contradicts_is_changed() {
    let file = policy(
        "default write deny\n\ntest \"t\" {\n  write vm.a \"1\\n\" => deny # no\n  write vm.b \"1\\n\" => deny\n}\n",
    );
    let mut review = review(&file, &[write("vm.a", "1\n")], &[]);
    let allow = review.question().unwrap().allow.unwrap();
    review.decide(Some(allow)).unwrap();
    assert_eq!(review.changed_steps(), [7]);
    let body = body(&review);
    assert!(body.contains("write vm.a \"1\\n\" => allow  # no"), "{body}");
}

/// One of the decisions.
fn choose(question: Question<'_>, choice: usize) -> Option<Proposal> {
    match choice {
        0 => question.allow.ok(),
        1 => question.deny.ok(),
        2 => None,
        more => question.generalised.into_iter().nth(more - 3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is decided, the policy is sound, allows what was allowed, denies by a rule what was denied, and leaves the rest.
    #[test]
    fn every_decision_is_kept(
        writes in vec((select(&KNOBS[..]), select(&VALUES[..])), 1..12),
        choices in vec(0usize..8, 12),
        undone in vec(any::<bool>(), 12),
    ) {
        let file = policy(DENY);
        let items: Vec<_> = writes.iter().map(|(knob, value)| event(knob, Some(value), "")).collect();
        let mut review = review(&file, &items, &[]);
        let mut choices = choices.into_iter().zip(undone).cycle();
        let mut allowed: Vec<Access> = Vec::new();
        let mut denied: Vec<Access> = Vec::new();
        while let Some(question) = review.question() {
            let (choice, is_undone) = choices.next().expect("a cycle");
            let before = question.number;
            let knob = question.class.knob().clone();
            let writes: Vec<_> =
                question.values.iter().map(|value| Access::write(knob.clone(), value.clone())).collect();
            let chosen = choose(question, choice);
            if is_undone {
                review.decide(chosen.clone()).expect("it fits");
                prop_assert!(review.undo().expect("it fits"));
                prop_assert_eq!(review.question().map(|question| question.number), Some(before));
            }
            let shown = chosen.as_ref().map(Proposal::rules).unwrap_or_default();
            match (&chosen, choice) {
                (None, _) => {}
                (Some(_), 1) => denied.extend(writes),
                (Some(_), _) => allowed.extend(writes),
            }
            review.decide(chosen).expect("it fits");
            let text = review.file().source().text();
            for rule in shown {
                prop_assert!(!rule.contains(is_interpreted), "{:?}", rule);
                prop_assert!(text.lines().any(|line| line == rule), "{} is not in {}", rule, text);
            }
        }
        assert_tests_pass(review.file());
        let decide = |access: &Access| evaluate(review.file().policy(), access);
        for access in &allowed {
            prop_assert_eq!(decide(access).verdict, Verdict::Allow, "{}", access);
        }
        for access in &denied {
            let decision = decide(access);
            prop_assert!(matches!(decision.verdict, Verdict::Deny(_)), "{}", access);
            prop_assert!(matches!(decision.by, DecidedBy::Rule(_)), "{}", access);
        }
    }
}

const KNOBS: [&str; 8] = [
    "net.core.somaxconn",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.eth0.rp_filter",
    "net.ipv4.conf.x\\x23y.rp_filter",
    "net.ipv4.tcp_rmem",
    "kernel.core_pattern",
    "vm.a\\xe2\\x80\\xae\\x22b",
    "fs.binfmt_misc.status",
];

const VALUES: [&str; 10] =
    ["\u{202e}\u{7}", "1\n", "1", "2\n", "0x10\n", "-5\n", "1 2 3\n", "a\" # b\n", "", "1\n2\n"];
