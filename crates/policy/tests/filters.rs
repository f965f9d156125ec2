//! Filters: for which events they hold, and what is said about mistakes.

use std::fmt::Write;

use knobgate_policy::filter::{
    EventType, Fields, Filter, IntegerField, OutcomeKind, TextField, ValueField, VerdictKind,
};
use knobgate_policy::{AccessKind, Errno, Mode, ParseError, Source};

/// An event. What is not stated is not known.
#[derive(Default)]
struct Event {
    suppressed: bool,
    knob: Option<&'static [u8]>,
    access: Option<AccessKind>,
    verdict: Option<VerdictKind>,
    outcome: Option<OutcomeKind>,
    errno: Option<Errno>,
    mode: Option<Mode>,
    values: Vec<(ValueField, &'static [u8])>,
    integers: Vec<(IntegerField, u64)>,
    texts: Vec<(TextField, &'static [u8])>,
}

fn find<K: PartialEq, V: Copy>(entries: &[(K, V)], key: &K) -> Option<V> {
    entries.iter().find(|(other, _)| other == key).map(|(_, value)| *value)
}

impl Fields for Event {
    fn event_type(&self) -> EventType {
        if self.suppressed { EventType::Suppressed } else { EventType::Event }
    }
    fn knob(&self) -> Option<&[u8]> {
        self.knob
    }
    fn access(&self) -> Option<AccessKind> {
        self.access
    }
    fn verdict(&self) -> Option<VerdictKind> {
        self.verdict
    }
    fn outcome(&self) -> Option<OutcomeKind> {
        self.outcome
    }
    fn errno(&self) -> Option<Errno> {
        self.errno
    }
    fn mode(&self) -> Option<Mode> {
        self.mode
    }
    fn value(&self, field: ValueField) -> Option<&[u8]> {
        find(&self.values, &field)
    }
    fn integer(&self, field: IntegerField) -> Option<u64> {
        find(&self.integers, &field)
    }
    fn text(&self, field: TextField) -> Option<&[u8]> {
        find(&self.texts, &field)
    }
}

fn parse(text: &str) -> Result<Filter, ParseError> {
    Filter::parse(Source::new("--filter", text))
}

/// Whether the filter holds for `event`.
fn matches(text: &str, event: &Event) -> Option<bool> {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error:#?}")).matches(event)
}

/// A write that is rewritten.
fn rewrite() -> Event {
    Event {
        knob: Some(b"net/core/somaxconn"),
        access: Some(AccessKind::Write),
        verdict: Some(VerdictKind::Rewrite),
        outcome: Some(OutcomeKind::WouldRewrite),
        mode: Some(Mode::Enforce),
        values: vec![
            (ValueField::New, b"9999999\n"),
            (ValueField::Old, b"4096\n"),
            (ValueField::Stored, b"65535\n\n\n"),
        ],
        integers: vec![
            (IntegerField::Pos, 0),
            (IntegerField::Uid, 1000),
            (IntegerField::Gid, 100),
            (IntegerField::Pid, 4711),
            (IntegerField::Tid, 4712),
            (IntegerField::CgroupId, u64::MAX),
            (IntegerField::Line, 8),
            (IntegerField::Netns, 4_026_531_840),
        ],
        texts: vec![
            (TextField::Comm, b"sysctl"),
            (TextField::Policy, b"web-tier"),
            (TextField::Cgroup, b"/system.slice/web.service"),
            (TextField::Pod, b""),
            (TextField::Rule, b"clamp write net.core.somaxconn to 128..65535"),
        ],
        ..Event::default()
    }
}

/// A denied write of some numbers.
fn denial() -> Event {
    Event {
        verdict: Some(VerdictKind::Deny),
        errno: Some(Errno::EACCES),
        values: vec![(ValueField::New, b"4096 131072 6291456\n")],
        ..Event::default()
    }
}

#[test]
fn words_are_compared_with_what_the_event_reports() {
    let (rewrite, denial) = (rewrite(), denial());
    for (filter, event, holds) in [
        ("verdict == rewrite", &rewrite, Some(true)),
        ("verdict != rewrite", &rewrite, Some(false)),
        ("verdict in {allow, deny,}", &rewrite, Some(false)),
        ("verdict in { deny,\n rewrite }", &rewrite, Some(true)),
        ("outcome == would_rewrite", &rewrite, Some(true)),
        ("outcome in {allowed, denied, rewritten, would_deny}", &rewrite, Some(false)),
        ("outcome == denied", &denial, None),
        ("access == write and mode == enforce", &rewrite, Some(true)),
        ("access == read", &rewrite, Some(false)),
        ("type == event", &rewrite, Some(true)),
        ("type in {suppressed, lost}", &rewrite, Some(false)),
        ("errno == EACCES", &denial, Some(true)),
        ("errno in {EPERM, EROFS}", &denial, Some(false)),
        // Only a denial has an errno.
        ("errno == EACCES", &rewrite, Some(false)),
        ("errno != EACCES", &rewrite, Some(true)),
        ("access == read", &denial, None),
        ("mode != audit", &denial, None),
    ] {
        assert_eq!(matches(filter, event), holds, "{filter}");
    }
}

#[test]
fn names_of_knobs_are_written_as_in_rules() {
    let event = rewrite();
    for (filter, holds) in [
        ("knob == net.core.somaxconn", true),
        ("knob == net/core/somaxconn", true),
        ("knob != net.core.somaxconn", false),
        ("knob == net.core.netdev_budget", false),
        ("knob in {kernel.panic, net.core.somaxconn}", true),
        ("knob in {kernel.panic,vm.swappiness}", false),
        ("knob in {\n  net/core/somaxconn,\n}", true),
        ("knob matches net.**", true),
        ("knob matches net/core/*", true),
        ("knob matches net.*", false),
        ("knob matches **.{somaxconn,panic}", true),
        ("(knob matches net.core.{a,b})", false),
        ("not knob matches kernel.** and (knob matches **)", true),
    ] {
        assert_eq!(matches(filter, &event), Some(holds), "{filter}");
    }
    assert_eq!(matches("knob matches **", &denial()), None);
    let too_complex = format!("knob matches {}**", "**{a,b}??".repeat(20));
    assert_eq!(matches(&too_complex, &event), Some(false));
}

#[test]
fn numbers_are_compared_as_in_rules() {
    let event = rewrite();
    for (filter, holds) in [
        ("uid == 1000", true),
        ("0 < uid <= 1000 < pid < tid", true),
        ("uid != gid", true),
        ("line in 1..7", false),
        ("line in {7, 8}", true),
        ("cgroup_id == 18446744073709551615", true),
        ("netns == 0xf0000000", true),
        ("pos == 0", true),
        ("new > 65_535 and stored == 65535", true),
        ("old < new", true),
        ("count(new) == 1 and count(stored) == 1", true),
        ("old[0] == 0x1000", true),
        ("stored in 1..65535", true),
    ] {
        assert_eq!(matches(filter, &event), Some(holds), "{filter}");
    }
    let list = denial();
    assert_eq!(matches("new[0] < new[1] < new[2] == 6291456 and count(new) == 3", &list), Some(true));
    for cannot in ["new == 4096", "new[3] == 0", "old == 1", "stored == 1", "uid == 0", "not uid == 0"] {
        assert_eq!(matches(cannot, &list), None, "{cannot}");
    }
}

#[test]
fn texts_are_compared_as_in_rules() {
    let event = rewrite();
    for (filter, holds) in [
        ("comm == \"sysctl\"", true),
        ("\"sysctl\" != comm", false),
        ("comm in {\"sh\", \"sysctl\"}", true),
        ("comm matches \"sys*\"", true),
        ("cgroup starts with \"/system.slice/\"", true),
        ("cgroup contains \"web\"", true),
        ("cgroup matches \"*.service\"", true),
        ("policy == \"web-tier\"", true),
        ("rule contains \"clamp\"", true),
        ("new == \"9999999\"", true),
        ("stored starts with \"655\"", true),
        // There is known to be none.
        ("pod == \"\"", true),
        ("pod == \"web-0\"", false),
        ("pod != \"web-0\"", true),
    ] {
        assert_eq!(matches(filter, &event), Some(holds), "{filter}");
    }
    assert_eq!(matches("container == \"web\"", &event), None);
    assert_eq!(matches("not container contains \"web\"", &event), None);
    // A cgroup's path may be longer than any value.
    let path = "/kubepods.slice".repeat(20);
    assert_eq!(matches(&format!("cgroup != \"{path}\""), &event), Some(true));
    let with_nul = Event { texts: vec![(TextField::Image, b"a\0b")], ..Event::default() };
    assert_eq!(matches("image matches \"a*\"", &with_nul), Some(true));
    assert_eq!(matches("image matches \"a\"", &with_nul), Some(false));
}

#[test]
fn what_is_known_on_the_left_guards_what_is_on_the_right() {
    let event = denial();
    for (filter, holds) in [
        ("verdict == allow and uid == 0", Some(false)),
        ("uid == 0 and verdict == allow", None),
        ("verdict == deny or uid == 0", Some(true)),
        ("uid == 0 or verdict == deny", None),
        ("verdict == deny and uid == 0", None),
        ("verdict == allow or uid == 0", None),
        ("not (verdict == allow and uid == 0)", Some(true)),
        ("not (verdict == deny and uid == 0)", None),
        ("1 == count(new) < uid", Some(false)),
    ] {
        assert_eq!(matches(filter, &event), holds, "{filter}");
    }
    let suppressed = Event { suppressed: true, ..Event::default() };
    assert_eq!(matches("type == suppressed", &suppressed), Some(true));
    assert_eq!(matches("verdict == deny", &suppressed), None);
}

/// Wrong filters, and the right ones after all fixes.
const FIXES: &[(&str, &str)] = &[
    ("if verdict == deny", "verdict == deny"),
    ("verdict = deny", "verdict == deny"),
    ("verdict is deny", "verdict == deny"),
    ("verdict == denied", "verdict == deny"),
    ("verdict == \"deny\"", "verdict == deny"),
    ("verdict == Deny", "verdict == deny"),
    ("outcome == would-deny", "outcome == would_deny"),
    ("outcome in {denied, would-rewrite}", "outcome in {denied, would_rewrite}"),
    ("outcome == deny", "outcome == denied"),
    ("result == allow", "outcome == allowed"),
    ("verdict == set", "verdict == rewrite"),
    ("verdict == {deny, rewrite}", "verdict in {deny, rewrite}"),
    ("verdict != {deny, rewrite}", "not verdict in {deny, rewrite}"),
    ("verdict not in {deny}", "not verdict in {deny}"),
    ("verdict == deny or rewrite", "verdict == deny or verdict == rewrite"),
    ("verdit == deny", "verdict == deny"),
    ("action == deny", "verdict == deny"),
    ("access == w", "access == write"),
    ("mode == complain", "mode == audit"),
    ("type == dropped", "type == lost"),
    ("errno == 13", "errno == EACCES"),
    ("errno == EPREM", "errno == EPERM"),
    ("errno in {\"EPERM\"}", "errno in {EPERM}"),
    ("verdict == deny && uid != 0", "verdict == deny and uid != 0"),
    ("verdict == deny nad uid != 0", "verdict == deny and uid != 0"),
    ("knob == \"kernel.panic\"", "knob == kernel.panic"),
    ("knob matches \"net.**\"", "knob matches net.**"),
    ("knob == net.**", "knob matches net.**"),
    ("knob != net.**", "not knob matches net.**"),
    ("knob like net.**", "knob matches net.**"),
    ("knob == /proc/sys/kernel/panic", "knob == kernel/panic"),
    ("knob == {kernel.panic, vm.swappiness}", "knob in {kernel.panic, vm.swappiness}"),
    ("sysctl == kernel.panic", "knob == kernel.panic"),
    ("pod == web", "pod == \"web\""),
    ("comm in {sh, bash}", "comm in {\"sh\", \"bash\"}"),
    ("uid == root", "uid == 0"),
    ("pid == \"1\"", "pid == 1"),
    ("net_ns == 1", "netns == 1"),
    ("tgid == 1", "pid == 1"),
    ("new <= \"9\"", "new <= 9"),
];

#[test]
fn fixes_give_the_filter_that_was_meant() {
    for (wrong, right) in FIXES {
        let mut text = (*wrong).to_owned();
        while let Err(error) = parse(&text) {
            let fix = error.diagnostics().iter().find_map(|diagnostic| diagnostic.suggestion.as_ref());
            let fix = fix.unwrap_or_else(|| panic!("{wrong}: {text} has no fix: {error}"));
            text.replace_range(fix.span.range(), &fix.replacement);
            assert!(text.len() < 100, "{wrong} became {text}");
        }
        assert_eq!(text, *right, "{wrong}");
    }
}

#[test]
fn mistakes() {
    let mut table = String::new();
    for text in [
        "",
        " # nothing\n",
        "verdict",
        "verdict ==",
        "verdict == banana",
        "verdict < deny",
        "verdict matches \"d*\"",
        "verdict in deny",
        "verdict in {}",
        "verdict in 1..2",
        "verdict in {deny, EPERM}",
        "verdict == deny == allow",
        "verdict == access",
        "deny == verdict",
        "0 == verdict",
        "deny",
        "errno == eperm",
        "errno > EPERM",
        "knob",
        "knob == ",
        "knob == kernel..panic",
        "knob < kernel.panic",
        "knob contains net",
        "knob starts with net.",
        "knob in net.core",
        "knob in {net.**}",
        "knob in {kernel.panic",
        "knob == kernel.panic vm.swappiness",
        "knob == fs.binfmt_misc.status",
        "kernel.panic == 1",
        "uid == \"root\"",
        "uid",
        "ppid == 1",
        "banana == 1",
        "comm < \"a\"",
        "comm == pod",
        "pod == 5",
        "new == \"a\\nb\"",
        "count(uid) == 1",
        "stored[8] == 1",
        "1 == 2",
        "1 in 1..2",
        "uid in ..",
        "uid matches \"1*\"",
        "(verdict == deny",
        "verdict == deny)",
        "verdict == deny; uid == 0",
        "verdict == deny, uid == 0",
        "verdict == deny log",
        "new <= \"9\" and uid == 2..1 or pod == 7",
    ] {
        let error = parse(text).expect_err(text);
        writeln!(table, "{text}").unwrap();
        for diagnostic in error.diagnostics() {
            let span = diagnostic.primary.span;
            let at = error.text().text().get(span.range()).expect("a place in the text");
            write!(table, "  {}: at {} {at:?}: {}", diagnostic.code, span.start, diagnostic.message).unwrap();
            if let Some(help) = &diagnostic.help {
                write!(table, "; {help}").unwrap();
            }
            writeln!(table).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn deep_nesting_is_an_error() {
    for (part, times) in [("not ", 1 << 16), ("(", 1 << 16), ("uid == 0 and (", 33)] {
        let error = parse(&format!("{}uid == 0", part.repeat(times))).unwrap_err();
        assert_eq!(error.diagnostics()[0].code, "nesting-too-deep", "{part}");
    }
}
