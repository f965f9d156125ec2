//! Policies that are learnt from made-up accesses.
#![allow(missing_docs)]

mod extending;
mod random;
mod review;

use std::sync::LazyLock;

use knobgate_events::json::StreamReader;
use knobgate_events::{CallResult, Event, EventText, StreamContent, UnknownResult};
use knobgate_learn::{LearnOptions, Learnt, RecordedAccess, Recording, learn};
use knobgate_policy::terminal::is_interpreted;
use knobgate_policy::{
    Access, AccessKind, CheckOptions, Expected, KnobName, PolicyFile, Source, Verdict, evaluate, format,
    parse,
};

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

/// Asserts that the policy is formatted, and that its tests pass.
#[track_caller]
fn assert_tests_pass(file: &PolicyFile) {
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

/// The same, and that there is nothing to warn about.
#[track_caller]
fn assert_sound(file: &PolicyFile) {
    // That a knob rounds what was written to it cannot be helped, and what an existing rule asks is not learnt. The numbers of these
    // tests are partly ones that no kernel takes.
    let warnings: Vec<_> = file
        .warnings()
        .iter()
        .filter(|warning| !["stored-as-another", "chosen-comm", "out-of-bounds"].contains(&warning.code))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}\n{}", file.source().text());
    assert_tests_pass(file);
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
# take care: no namespace has its own: it is the whole machine's
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
