//! Policies that are learnt from made-up accesses.
#![allow(missing_docs)]

use std::sync::LazyLock;

use knobgate_events::json::StreamReader;
use knobgate_events::{CallResult, Event, EventText, StreamContent, UnknownResult};
use knobgate_learn::{LearnOptions, Learnt, RecordedAccess, Recording, learn};
use knobgate_policy::terminal::is_interpreted;
use knobgate_policy::{
    Access, AccessKind, CheckOptions, Expected, KnobName, PolicyFile, Source, Verdict, evaluate, format,
    parse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn recorded(bytes: &[u8]) -> EventText {
    let mut text = EventText::default();
    text.bytes = bytes.to_vec();
    text
}

static EVENT: LazyLock<Event> = LazyLock::new(|| {
    let line = r#"{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":1,"access":"write","knob":"vm.swappiness",
        "position":0,"verdict":"allow","mode":"enforce","policy":"p","rule":{"default":"write","text":{"text":"default write allow"}},
        "cgroup":{"id":1},"task":{"pid":1,"tid":1,"uid":0,"gid":0,"comm":"sysctl"}}"#;
    let item =
        StreamReader::new(line.replace('\n', " ").as_bytes()).next().expect("a line").expect("an event");
    match item.content {
        StreamContent::Event(seen) => seen.event,
        other => panic!("{other:?}"),
    }
});

/// A write that succeeds.
fn write(knob: &str, new: &str) -> RecordedAccess {
    let mut event = EVENT.clone();
    event.knob = recorded(knob.as_bytes());
    event.new = Some(recorded(new.as_bytes()));
    RecordedAccess { event, result: CallResult::Returned(new.len() as i64) }
}

fn read(knob: &str) -> RecordedAccess {
    let mut access = with_result(CallResult::Returned(2), write(knob, ""));
    (access.event.kind, access.event.new) = (AccessKind::Read, None);
    access
}

fn with_result(result: CallResult, access: RecordedAccess) -> RecordedAccess {
    RecordedAccess { result, ..access }
}

fn by(comm: &[u8], mut access: RecordedAccess) -> RecordedAccess {
    access.event.comm = Some(comm.to_vec());
    access
}

fn with_old(old: &str, mut access: RecordedAccess) -> RecordedAccess {
    access.event.old = Some(recorded(old.as_bytes()));
    access
}

fn as_user(uid: u32, mut access: RecordedAccess) -> RecordedAccess {
    access.event.uid = Some(uid);
    access
}

fn record<'a>(mut recording: Recording<'a>, accesses: &[RecordedAccess]) -> Recording<'a> {
    recording.begin_run();
    accesses.iter().for_each(|access| recording.add(access));
    recording
}

fn recording(accesses: &[RecordedAccess]) -> Recording<'static> {
    record(Recording::new(), accesses)
}

fn policy(text: &str) -> PolicyFile {
    parse(Source::new("web.knob", text), &CheckOptions::default()).expect("a policy")
}

/// What is learnt of `accesses` in addition to `file`.
fn extend(file: &PolicyFile, accesses: &[RecordedAccess]) -> Learnt {
    learn(&record(Recording::extending(file), accesses), &OPTIONS).expect("a policy")
}

const OPTIONS: LearnOptions<'_> =
    LearnOptions { name: "p", title: "a test", reads: false, slack: 0, knobs: &[] };

fn learnt(accesses: &[RecordedAccess]) -> Learnt {
    learn(&recording(accesses), &OPTIONS).expect("a policy")
}

/// The rules and comments, without what every policy has.
fn rules_of(learnt: &Learnt) -> String {
    let (_, rules) = learnt.file.source().text().split_once("default write deny\n").expect("defaults");
    rules.split("\ntest ").next().unwrap_or_default().trim().to_owned()
}

/// The rules without comments.
fn rules(accesses: &[RecordedAccess]) -> Vec<String> {
    let rules = rules_of(&learnt(accesses));
    rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[track_caller]
fn assert_sound(file: &PolicyFile) {
    // That a knob rounds what was written to it cannot be helped, and what an existing rule asks is not learnt.
    let warnings: Vec<_> = file
        .warnings()
        .iter()
        .filter(|warning| !["stored-as-another", "chosen-comm"].contains(&warning.code))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}\n{}", file.source().text());
    assert_eq!(format(file.source()).expect("it parses"), file.source().text());
    for step in file.policy().tests().iter().flat_map(|test| &test.steps) {
        let verdict = evaluate(file.policy(), step.access()).verdict;
        let is_as_expected = match step.expected() {
            Expected::Allow => verdict == Verdict::Allow,
            Expected::Deny(None) => matches!(verdict, Verdict::Deny(_)),
            other => panic!("{other:?} is not expected of a learnt policy"),
        };
        assert!(is_as_expected, "{step}: {verdict:?}\n{}", file.source().text());
    }
}

#[test]
fn values_become_the_narrowest_condition() {
    let values = |knob: &str, values: &[&str]| {
        let accesses: Vec<_> = values.iter().map(|value| write(knob, value)).collect();
        let learnt = learnt(&accesses);
        assert_sound(&learnt.file);
        rules(&accesses).join("\n")
    };
    for (knob, written, rule) in [
        ("net/core/somaxconn", &["128\n"][..], "new == 128"),
        ("net/core/somaxconn", &["128\n", "0x80"], "new == 128"),
        ("net/core/somaxconn", &["1\n", "2\n"], "new in {1, 2}"),
        ("net/core/somaxconn", &["1", "2", "3", "4", "5"], "new in 1..5"),
        ("net/core/somaxconn", &["1", "2", "4", "5"], "new in {1, 2, 4, 5}"),
        ("net/core/somaxconn", &["1", "2", "4", "8", "16", "32", "64", "128", "256"], "new in 1..256"),
        (
            "net/ipv4/tcp_rmem",
            &["1 2 3\n", "1\t2\t9\n"],
            "count(new) == 3 and new[0] == 1 and new[1] == 2 and new[2] in {3, 9}",
        ),
        (
            "net/ipv4/tcp_rmem",
            &["7\n", "1 2\n"],
            "count(new) == 1 and new[0] == 7 or count(new) == 2 and new[0] == 1 and new[1] == 2",
        ),
        ("kernel/domainname", &["a b"], r#"new == "a b""#),
        ("kernel/domainname", &["1\n", "x\n"], r#"new in {"1", "x"}"#),
        // These are no numbers, so that another notation of the number is another text.
        ("kernel/hostname", &["10\n"], r#"new == "10""#),
        ("net/ipv4/tcp_congestion_control", &["1 2\n"], r#"new == "1 2""#),
        // A number that the knob does not store as such is compared as text.
        ("net/ipv4/icmp_ratelimit", &["4294967296"], r#"new == "4294967296""#),
    ] {
        let name = KnobName::from_path(knob).unwrap();
        assert_eq!(values(knob, written), format!("allow write {name} if {rule}"));
    }
}

#[test]
fn a_range_says_what_it_also_admits() {
    let values = ["1", "2", "4", "8", "16", "32", "64", "128", "256"];
    let text = rules_of(&learnt(&values.map(|value| write("net/core/somaxconn", value))));
    assert_eq!(
        text,
        "# seen 9×, by sysctl
# new: also admits 247 numbers that were not seen, such as 3, 5, 6
allow write net.core.somaxconn if new in 1..256"
    );
}

#[test]
fn slack_widens_numbers_within_what_the_knob_stores() {
    let with_slack = |knob: &str, values: &[&str]| {
        let accesses: Vec<_> = values.iter().map(|value| write(knob, value)).collect();
        let learnt = learn(&recording(&accesses), &LearnOptions { slack: 10, ..OPTIONS }).expect("a policy");
        assert_sound(&learnt.file);
        rules_of(&learnt).lines().last().unwrap().split(" if ").nth(1).unwrap().to_owned()
    };
    assert_eq!(with_slack("net/core/somaxconn", &["100", "205"]), "new in 90..226");
    assert_eq!(with_slack("net/core/somaxconn", &["0"]), "new == 0");
    assert_eq!(with_slack("net/core/somaxconn", &["-10"]), "new in -11..-9");
    assert_eq!(with_slack("net/core/somaxconn", &["4294967295"]), "new in 3865470565..4294967295");
}

#[test]
fn what_may_not_have_succeeded_is_a_comment() {
    use CallResult::{Returned, Unknown};
    let cut = |cut_from| {
        let mut cut = recorded(&[b'x'; 256]);
        cut.cut_from = Some(cut_from);
        let mut access = with_result(Returned(cut_from.into()), write("kernel/domainname", ""));
        access.event.new = Some(cut);
        access
    };
    let mut not_at_the_start = write("net/ipv4/tcp_ecn", "1\n");
    not_at_the_start.event.position = 2;
    let accesses = [
        with_result(Returned(-22), write("net/ipv4/ip_default_ttl", "256\n")),
        with_result(Unknown(UnknownResult::SeveralAccesses), write("net/ipv4/tcp_syncookies", "1\n")),
        with_result(Returned(2), write("net/ipv4/tcp_sack", "1 2\n")),
        not_at_the_start,
        write("net/ipv6/conf/eth0/stable_secret", ""),
        write("net/core/dev_weight", "1\n2\n"),
        write("fs/binfmt_misc/register", ":x\n"),
        cut(300),
        write(&format!("net/ipv4/conf/{}/mtu", "x".repeat(255)), "1\n"),
        write(&format!("net/ipv4/conf/{}/mtu", "y".repeat(255)), "1\n"),
    ];
    let learnt = learnt(&accesses);
    assert_sound(&learnt.file);
    assert_eq!(learnt.rules, 0);
    assert_eq!(
        rules_of(&learnt).replace(&"x".repeat(255), "X").replace(&"y".repeat(255), "Y"),
        "\
# seen 1×, by sysctl
# not allowed, because no policy applies to this: it is on another file system
# take care: no namespace has its own: it is the whole machine's
# write fs.binfmt_misc.register

# seen 1×, by sysctl
# not allowed, because the value is too long for a condition, and so this allows any
# allow write kernel.domainname

# seen 1×, by sysctl
# not allowed, because no condition can be evaluated for this: the new value goes on after its first newline or NUL
# allow write net.core.dev_weight

# seen 1×, by sysctl
# not allowed, because the name has more than 255 bytes
# write net.ipv4.conf.X.mtu

# seen 1×, by sysctl
# not allowed, because the name has more than 255 bytes
# write net.ipv4.conf.Y.mtu

# seen 1×, by sysctl: write net.ipv4.ip_default_ttl failed with EINVAL

# seen 1×, by sysctl
# not allowed, because no condition can be evaluated for this: the write is at a file position other than 0
# allow write net.ipv4.tcp_ecn

# seen 1×, by sysctl
# not allowed, because the knob took only the start of the value
# allow write net.ipv4.tcp_sack if count(new) == 2 and new[0] == 1 and new[1] == 2

# seen 1×, by sysctl
# not allowed, because it is not known whether this succeeded: its system call made several accesses
# allow write net.ipv4.tcp_syncookies if new == 1

# seen 1×, by sysctl
# not allowed, because the values are secret and were not recorded, so this allows any
# allow write net.ipv6.conf.eth0.stable_secret"
    );
    assert_eq!(learnt.notes.len(), 1);
}

#[test]
fn a_way_out_of_a_container_is_never_allowed() {
    for knob in ["kernel/core_pattern", "kernel/modprobe", "kernel/usermodehelper/bset"] {
        let text = rules_of(&learnt(&[write(knob, "1\n")]));
        assert!(text.contains("\n# never allowed by learning: "), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
    let text = rules_of(&learnt(&[write("kernel/sysrq", "1\n")]));
    assert!(text.contains("# take care: it enables keys"), "{text}");
    assert!(text.ends_with("\nallow write kernel.sysrq if new == 1"), "{text}");
}

#[test]
fn the_knob_of_several_interfaces_has_one_rule() {
    let accesses = [
        write("net/ipv4/conf/eth0/rp_filter", "1\n"),
        write("net/ipv4/conf/eth0/rp_filter", "2\n"),
        write("net/ipv4/conf/eth1/rp_filter", "0x2\n"),
        write("net/ipv4/conf/eth1/rp_filter", "1\n"),
        write("net/ipv4/conf/all/rp_filter", "0\n"),
        write("net/ipv4/conf/eth1/forwarding", "1\n"),
    ];
    let knobs = ["eth0", "lo", "all", "default"]
        .map(|interface| KnobName::from_path(format!("net/ipv4/conf/{interface}/rp_filter")).unwrap());
    let learnt = learn(&recording(&accesses), &LearnOptions { knobs: &knobs, ..OPTIONS }).expect("a policy");
    assert_sound(&learnt.file);
    assert_eq!(
        rules_of(&learnt),
        "\
# seen 1×, by sysctl
allow write net.ipv4.conf.all.rp_filter if new == 0
# these are no interfaces, and the pattern after them would match them
deny write net.ipv4.conf.all.rp_filter, net.ipv4.conf.default.rp_filter
# seen 4×, by sysctl, with net.ipv4.conf.eth0.rp_filter, net.ipv4.conf.eth1.rp_filter
# also admits net.ipv4.conf.lo.rp_filter
allow write net.ipv4.conf.*.rp_filter if new in {1, 2}

# seen 1×, by sysctl
allow write net.ipv4.conf.eth1.forwarding if new == 1"
    );
}

#[test]
fn interfaces_that_differ_have_a_rule_each() {
    let mtu = |interface: &str, value: &str| write(&format!("net/ipv6/conf/{interface}/mtu"), value);
    let failed = |result| with_result(result, mtu("a2", "1400\n"));
    for more in [
        mtu("a1", "1500\n"),
        mtu("a2", "1500\n"),
        failed(CallResult::Returned(-22)),
        failed(CallResult::Unknown(UnknownResult::NotTraced)),
    ] {
        let learnt = learnt(&[mtu("a0", "1400\n"), mtu("a1", "1400\n"), more.clone()]);
        assert_sound(&learnt.file);
        let verdict = |interface: &str, value: &str| {
            let name = KnobName::from_path(format!("net/ipv6/conf/{interface}/mtu")).unwrap();
            evaluate(learnt.file.policy(), &Access::write(name, value)).verdict
        };
        assert_eq!(verdict("a0", "1400\n"), Verdict::Allow);
        assert_ne!(verdict("a0", "1500\n"), Verdict::Allow, "{more:?}");
        assert_ne!(verdict("a2", "1400\n"), Verdict::Allow, "{more:?}");
    }
}

#[test]
fn names_and_tasks_that_look_like_the_language_change_nothing() {
    let odd = ["**", "{a,*}", "a.b", "a#b", "a b", "é", "a\nallow write kernel"];
    for interface in odd {
        let knob = format!("net/ipv4/conf/{interface}/rp_filter");
        let access = by(b"x\nallow write **", write(&knob, "1\n"));
        let learnt = learnt(&[access]);
        assert_sound(&learnt.file);
        assert_eq!(learnt.file.policy().rules().len(), 1, "{}", learnt.file.source().text());
        let verdict = |path: &str| {
            let name = KnobName::from_path(path).unwrap();
            evaluate(learnt.file.policy(), &Access::write(name, "1\n")).verdict
        };
        assert_eq!(verdict(&knob), Verdict::Allow, "{}", learnt.file.source().text());
        assert_ne!(verdict("net/ipv4/conf/eth0/rp_filter"), Verdict::Allow);
    }
}

#[test]
fn reads_are_learnt_if_asked() {
    let options = LearnOptions { reads: true, ..OPTIONS };
    let accesses = [
        read("kernel/ostype"),
        read("net/ipv4/conf/a/mtu"),
        read("net/ipv4/conf/b/mtu"),
        read("net/ipv4/conf/all/mtu"),
        read("net/ipv4/conf/default/mtu"),
    ];
    let learnt = learn(&recording(&accesses), &options).expect("a policy");
    assert_sound(&learnt.file);
    let rules: Vec<String> = learnt.file.policy().rules().iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "allow read kernel.ostype",
            "allow read net.ipv4.conf.all.mtu",
            "allow read net.ipv4.conf.default.mtu",
            "allow read net.ipv4.conf.*.mtu"
        ]
    );
    let name = KnobName::parse("kernel.osrelease").unwrap();
    assert_ne!(evaluate(learnt.file.policy(), &Access::read(name)).verdict, Verdict::Allow);
}

#[test]
fn runs_and_tasks_are_counted() {
    let mut recording = Recording::new();
    for run in 0..3 {
        recording.begin_run();
        if run != 1 {
            recording.add(&write("vm/swappiness", "10\n"));
        }
        for task in 0..6 {
            recording.add(&by(format!("task{task}").as_bytes(), write("vm/laptop_mode", "1\n")));
        }
    }
    let text = rules_of(&learn(&recording, &OPTIONS).expect("a policy"));
    assert!(text.contains("# seen 2×, in 2 of 3 runs, by sysctl\n"), "{text}");
    assert!(
        text.contains("# seen 18×, in 3 of 3 runs, by task0, task1, task2, task3 and others\n"),
        "{text}"
    );
}

#[test]
fn a_policy_is_extended_where_it_does_not_decide() {
    let text = "# Mine\npolicy web\n\nallow write vm.swappiness if new == 10  # ten\ndeny write kernel.*\n\n# the end\ntest \"mine\" {\n  write vm.swappiness \"10\\n\" => allow\n}\n";
    let file = policy(text);
    let seen = [
        write("vm/swappiness", "10\n"),
        write("vm/swappiness", "20\n"),
        write("kernel/domainname", "x\n"),
        write("net/core/somaxconn", "5\n"),
    ];
    let extended = extend(&file, &seen);
    assert_sound(&extended.file);
    assert_eq!(
        extended.file.source().text(),
        "\
# Mine
policy web

allow write vm.swappiness if new == 10  # ten
deny write kernel.*

# seen 1×, by sysctl
# not allowed, because the rule `deny write kernel.*` decides otherwise
# allow write kernel.domainname if new == \"x\"

# seen 1×, by sysctl
allow write net.core.somaxconn if new == 5

# seen 1×, by sysctl
# take care: no namespace has its own: it is the whole machine's
allow write vm.swappiness if new == 20

# the end
test \"mine\" {
  write vm.swappiness \"10\\n\" => allow
}

test \"what was seen\" {
  write net.core.somaxconn \"5\\n\" => allow
  write net.core.somaxconn \"6\\n\" => deny
  write vm.swappiness \"20\\n\" => allow
  write vm.swappiness \"21\\n\" => deny
}
"
    );
    let again = extend(&extended.file, &seen[..2]);
    assert_eq!((again.rules, again.file.source().text()), (0, extended.file.source().text()));
}

#[test]
fn what_a_policy_allows_of_an_access_counts_with_all_that_is_known_of_it() {
    let ttl = || write("net/ipv4/ip_default_ttl", "64\n");
    let forward = || write("net/ipv4/ip_forward", "1\n");
    let somaxconn = |old, new| with_old(old, write("net/core/somaxconn", new));
    let only_root = "allow write net.ipv4.ip_default_ttl if uid == 0";
    let only_bash = "allow write net.ipv4.ip_forward if comm == \"bash\"";
    let only_more = "allow write net.core.somaxconn if old <= new";
    for (rule, access, is_added) in [
        (only_root, as_user(0, ttl()), false),
        (only_root, as_user(65534, ttl()), true),
        (only_bash, by(b"bash", forward()), false),
        (only_bash, by(b"sh", forward()), true),
        (only_more, somaxconn("10\n", "20\n"), false),
        (only_more, somaxconn("20\n", "10\n"), true),
        // What may not have succeeded is allowed all the same.
        (only_root, with_result(CallResult::Unknown(UnknownResult::NotTraced), ttl()), false),
    ] {
        let file = policy(&format!("policy web\n\n{rule}\n"));
        let extended = extend(&file, std::slice::from_ref(&access));
        assert_sound(&extended.file);
        let text = extended.file.source().text();
        assert_eq!(extended.rules, usize::from(is_added), "{access:?}\n{text}");
        assert_eq!(text == file.source().text(), !is_added, "{access:?}\n{text}");
        assert_eq!(extended.notes, [""; 0]);
    }
}

#[test]
fn a_comment_says_on_what_the_verdict_of_a_policy_depends() {
    let file = policy("policy web\n\nallow write net.ipv4.tcp_sack if comm == \"sh\" or uid == 1\n");
    let mut access = write("net/ipv4/tcp_sack", "1\n");
    (access.event.comm, access.event.uid) = (None, None);
    let extended = extend(&file, &[access]);
    assert_sound(&extended.file);
    assert_eq!(
        extended.file.source().text(),
        "policy web

allow write net.ipv4.tcp_sack if comm == \"sh\" or uid == 1

# seen 1×
# not allowed, because what the policy decides depends on what was not recorded: the user id, the name of the task
# allow write net.ipv4.tcp_sack if new == 1
"
    );
}

#[test]
fn a_rule_for_others_stays_and_the_test_does_not_contradict_it() {
    let file = policy("policy web\n\ndeny write vm.swappiness if uid == 0\n");
    let extended = extend(&file, &[as_user(5, write("vm/swappiness", "10\n"))]);
    assert_sound(&extended.file);
    assert_eq!(extended.rules, 1);
}

#[test]
fn only_what_is_not_allowed_is_counted() {
    let file = policy("policy web\n\nallow write net.ipv4.ip_forward if new == 1\n");
    let mut recording = Recording::extending(&file);
    for run in 0..3 {
        recording.begin_run();
        recording.add(&by(b"up", write("net/ipv4/ip_forward", "1\n")));
        if run == 1 {
            recording.add(&by(b"down", write("net/ipv4/ip_forward", "0\n")));
        }
    }
    let text = learn(&recording, &OPTIONS).expect("a policy").file.source().text().to_owned();
    let added = "# seen 1×, in 1 of 3 runs, by down\nallow write net.ipv4.ip_forward if new == 0\n";
    assert!(text.contains(added), "{text}");
}

#[test]
fn a_test_that_an_added_rule_contradicts_is_changed() {
    let file = learnt(&[write("net/core/somaxconn", "16384\n"), write("net/ipv4/ip_forward", "1\n")]).file;
    assert!(
        file.source().text().contains("write net.core.somaxconn \"16385\\n\" => deny"),
        "next to what was seen"
    );
    let extended = extend(&file, &[write("net/core/somaxconn", "16385\n")]);
    assert_sound(&extended.file);
    let text = extended.file.source().text();
    assert!(text.contains("write net.core.somaxconn \"16385\\n\" => allow"), "{text}");
    assert!(text.contains("write net.ipv4.ip_forward \"2\\n\" => deny"), "{text}");
    assert_eq!(
        extended.notes,
        ["the tests expected otherwise of what is allowed now, and were changed: line 17"]
    );
}

#[test]
fn the_text_of_an_extended_policy_stays_as_it_is() {
    let text = "# tab\there, \u{200d}joiner\r\npolicy web\r\n\r\nallow write kernel.domainname if new == \"\u{200d}\"\r\n";
    let file = policy(text);
    let extended = extend(&file, &[write("net/core/somaxconn", "5\n")]);
    assert_sound(&extended.file);
    let extended = extended.file.source().text();
    assert!(extended.starts_with(text), "{extended:?}");
    assert!(extended.contains("\r\nallow write net.core.somaxconn if new == 5\r\n"), "{extended:?}");
    assert!(extended.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{extended:?}");
}

#[test]
fn what_nobody_would_see_is_escaped() {
    let odd = "a\u{202e}b\u{200b}";
    let file = learnt(&[]).file;
    let access = || by(odd.as_bytes(), write(&format!("net/ipv4/conf/{odd}/tag"), "1\n"));
    let accesses =
        [access(), write("kernel/domainname", odd), with_result(CallResult::Returned(-1), access())];
    for learnt in [learnt(&accesses), extend(&file, &accesses)] {
        assert_sound(&learnt.file);
        let text = learnt.file.source().text();
        assert_eq!(learnt.rules, 2);
        assert!(!text.chars().any(|c| c != '\n' && is_interpreted(c)), "{text:?}");
        assert!(
            text.contains(r#"allow write kernel.domainname if new == "a\xe2\x80\xaeb\xe2\x80\x8b""#),
            "{text}"
        );
    }
}

#[test]
fn more_values_than_are_kept_become_a_range_or_a_comment() {
    let mut recording = Recording::new();
    recording.begin_run();
    for number in 0..10_000 {
        recording.add(&write("net/core/somaxconn", &format!("{}\n", number * 2)));
        recording.add(&write("kernel/domainname", &format!("x{number}\n")));
    }
    let learnt = learn(&recording, &OPTIONS).expect("a policy");
    assert_sound(&learnt.file);
    let text = rules_of(&learnt);
    assert!(text.contains("\nallow write net.core.somaxconn if new in 0..19998"), "{text}");
    assert!(text.contains("\n# allow write kernel.domainname\n"), "{text}");
}

/// Knobs of different widths and with different normalisations, and names that need escapes.
const KNOBS: [&str; 16] = [
    "net/core/somaxconn",
    "net/ipv4/tcp_rmem",
    "net/ipv4/icmp_ratelimit",
    "net/ipv4/ip_local_reserved_ports",
    "net/core/rps_sock_flow_entries",
    "net/core/flow_limit_cpu_bitmap",
    "kernel/shmmax",
    "kernel/domainname",
    "vm/lowmem_reserve_ratio",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/neigh/eth0/locktime",
    "net/ipv4/neigh/**/locktime",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/eth0/rp_filter",
    "net/ipv4/conf/a.1/rp_filter",
    "net/ipv6/conf/{a,*}/mtu",
];

fn value() -> impl Strategy<Value = String> {
    let number =
        prop_oneof![(-3i128..12).prop_map(|n| n.to_string()), any::<i64>().prop_map(|n| n.to_string())];
    let list = vec(number.clone(), 1..4).prop_map(|numbers| numbers.join(" "));
    let text = "[a-c ,\"\\\\#é-]{0,6}";
    (prop_oneof![3 => number, 2 => list, 1 => text.prop_map(|text| text)], any::<bool>())
        .prop_map(|(value, newline)| if newline { value + "\n" } else { value })
}

proptest! {
    #[test]
    fn a_learnt_policy_allows_what_was_seen_and_is_sound(
        seen in vec((select(&KNOBS[..]), value()), 1..40),
        slack in prop_oneof![Just(0u32), 1..50u32],
    ) {
        let accesses: Vec<_> = seen.iter().map(|(knob, new)| write(knob, new)).collect();
        let learnt = learn(&recording(&accesses), &LearnOptions { slack, ..OPTIONS }).expect("a policy");
        assert_sound(&learnt.file);
        let policy = learnt.file.policy();
        let text = learnt.file.source().text();
        for (knob, new) in &seen {
            let access = Access::write(KnobName::from_path(*knob).unwrap(), new.as_str());
            // No rule looks at an empty write.
            if !new.is_empty() {
                prop_assert_eq!(evaluate(policy, &access).verdict, Verdict::Allow, "{}\n{}", access, text);
            }
        }
        let other = Access::write(KnobName::parse("net.ipv4.ip_forward").unwrap(), "1\n");
        prop_assert_ne!(evaluate(policy, &other).verdict, Verdict::Allow);
    }

    /// Without slack, and with no more values of a knob than are listed, nothing else is allowed.
    #[test]
    fn a_learnt_policy_denies_everything_else(
        seen in vec((select(&KNOBS[..6]), select(&["1", "2", "5", "9", "x", "y z", "12\n"][..])), 1..20),
        other in select(&["0", "3", "6", "8", "10", "11", "13", "x1", "y", "1 2", ""][..]),
        knob in select(&KNOBS[..]),
    ) {
        let accesses: Vec<_> = seen.iter().map(|(knob, new)| write(knob, new)).collect();
        let learnt = learnt(&accesses);
        let access = Access::write(KnobName::from_path(knob).unwrap(), other);
        prop_assert_ne!(
            evaluate(learnt.file.policy(), &access).verdict,
            Verdict::Allow,
            "{}\n{}", access, learnt.file.source().text()
        );
    }

    #[test]
    fn an_extended_policy_allows_what_was_seen(
        before in vec((select(&KNOBS[..]), value()), 0..20),
        seen in vec((select(&KNOBS[..]), value()), 1..20),
    ) {
        let accesses = |seen: &[(&str, String)]| seen.iter().map(|(knob, new)| write(knob, new)).collect::<Vec<_>>();
        let first = learnt(&accesses(&before));
        let extended = extend(&first.file, &accesses(&seen));
        assert_eq!(format(extended.file.source()).unwrap(), extended.file.source().text());
        let leaves_out = extended.file.source().text().contains("\n# not allowed");
        for (knob, new) in before.iter().chain(&seen).filter(|(_, new)| !new.is_empty()) {
            let access = Access::write(KnobName::from_path(*knob).unwrap(), new.as_str());
            let is_allowed = evaluate(extended.file.policy(), &access).verdict == Verdict::Allow;
            prop_assert!(is_allowed || leaves_out, "{}\n{}", access, extended.file.source().text());
        }
    }
}
