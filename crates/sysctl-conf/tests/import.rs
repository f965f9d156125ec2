//! Policies made from sysctl.d files.
#![allow(missing_docs)]

use std::collections::HashMap;

use knobgate_policy::{Access, Expected, KnobName, Source, Verdict, evaluate, format, limits, parse_numbers};
use knobgate_sysctl_conf::{Conf, ConfFile, ImportError, Imported, Key, import};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn imported(text: &str) -> Imported {
    let conf = Conf::parse(text.as_bytes());
    import("p", &[ConfFile { name: "p.conf", conf: &conf }]).expect("no line is wrong")
}

/// The rules and comments of the policy, without what every policy has.
fn rules(text: &str) -> String {
    let imported = imported(text);
    let text = imported.file.source().text();
    let (_, rules) = text.split_once("default write deny\n").unwrap();
    rules.split("\ntest ").next().unwrap().trim().to_owned()
}

fn allows(imported: &Imported, knob: &KnobName, value: &str) -> bool {
    let access = Access::write(knob.clone(), format!("{value}\n"));
    evaluate(imported.file.policy(), &access).verdict == Verdict::Allow
}

#[test]
fn comments_and_order_stay() {
    let text = "\
; The cache
vm.swappiness=10

# The network
# (all of it)
-net.core.somaxconn = 0x1000
net.ipv4.tcp_rmem = 4096 131072\t6291456
kernel.core_pattern = core
# The end
";
    assert_eq!(
        rules(text),
        "\
# The cache
allow write vm.swappiness if new == 10

# The network
# (all of it)
allow write net.core.somaxconn if new == 4096  # -: an error is ignored
allow write net.ipv4.tcp_rmem if new == [4096, 131072, 6291456]
allow write kernel.core_pattern if new == \"core\"
# The end"
    );
}

#[test]
fn what_keeps_a_glob_away_comes_before_it() {
    let text = "\
kernel.panic = 1

# All interfaces
net.ipv4.conf.*.rp_filter = 2
# but not lo
-net.ipv4.conf.lo.rp_filter
-net.ipv4.conf.lo.forwarding
net.ipv4.conf.eth0.rp_filter = 0
net.ipv4.conf.eth1.rp_filter = 2
";
    assert_eq!(
        rules(text),
        "\
allow write kernel.panic if new == 1

# but not lo
deny write net.ipv4.conf.lo.rp_filter
allow write net.ipv4.conf.eth0.rp_filter if new == 0
deny write net.ipv4.conf.eth0.rp_filter
allow write net.ipv4.conf.eth1.rp_filter if new == 2

# All interfaces
allow write net.ipv4.conf.*.rp_filter if new == 2
# -net.ipv4.conf.lo.forwarding: no glob matches it"
    );
}

#[test]
fn globs_that_compare_texts_come_first() {
    let text = "a.*.x = 1\na.b*.x = 1 2\na.*c.x = word\n";
    assert_eq!(
        rules(text),
        "\
allow write a.*c.x if new == \"word\"
allow write a.b*.x if count(new) == 2 and new[0] == 1 and new[1] == 2
allow write a.*.x if new == 1"
    );
}

#[test]
fn a_glob_for_which_nothing_is_left_becomes_a_comment() {
    assert_eq!(
        rules("a.[bc] = 3\na.b = 2\n-a.c*\n"),
        "\
allow write a.b if new == 2
deny write a.b
deny write a.c*
# allow write a.[bc] if new == 3: other lines set what this matches, or exclude it"
    );
}

#[test]
fn only_the_last_setting_of_a_key_counts() {
    let text = "vm.swappiness = 10\nvm/swappiness = 20\nkernel.panic = 1\n-kernel.panic\n-vm.laptop_mode\nvm.laptop_mode=5\n";
    assert_eq!(
        rules(text),
        "\
# vm.swappiness = 10: p.conf:2 counts instead
allow write vm.swappiness if new == 20
# kernel.panic = 1: p.conf:4 counts instead
# -kernel.panic: no glob matches it
# -vm.laptop_mode: p.conf:6 counts instead
allow write vm.laptop_mode if new == 5"
    );
    let (one, other) = (Conf::parse(b"vm.swappiness = 10\n"), Conf::parse(b"# more\nvm.swappiness = 20\n"));
    let files = [ConfFile { name: "10.conf", conf: &one }, ConfFile { name: "20.conf", conf: &other }];
    let imported = import("p", &files).unwrap();
    let text = imported.file.source().text();
    for expected in [
        "# Allows what 10.conf and 20.conf set, and nothing else.\n",
        "# From 10.conf:\n\n# vm.swappiness = 10: 20.conf:2 counts instead\n\n# From 20.conf:\n\n# more\n",
        "\nallow write vm.swappiness if new == 20\n",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn characters_of_the_policy_language_are_escaped() {
    for (key, pattern) in [
        ("net/ipv4/conf/a,b/rp_filter", r"net.ipv4.conf.a\,b.rp_filter"),
        ("net/ipv4/conf/{a}/rp_filter", r"net.ipv4.conf.\{a\}.rp_filter"),
        ("net/ipv4/conf/eth0.5/rp_filter", "net.ipv4.conf.eth0/5.rp_filter"),
        (r"net/ipv4/conf/\#/rp_filter", r"net.ipv4.conf.\\\#.rp_filter"),
        ("log", r"\x6cog"),
        ("net/ipv4/conf/e{1,2}*/rp_filter", r"net.ipv4.conf.e\{1\,2\}*.rp_filter"),
        ("net/ipv4/conf/**/rp_filter", "net.ipv4.conf.*.rp_filter"),
    ] {
        assert_eq!(rules(&format!("{key} = 1\n")), format!("allow write {pattern} if new == 1"));
    }
}

#[test]
fn what_is_set_is_allowed_even_where_a_rule_on_numbers_would_deny_it() {
    for (key, value, knob, other) in [
        ("net.ipv4.icmp_ratelimit", "4294967296", "net.ipv4.icmp_ratelimit", "0"),
        ("vm.dirty_bytes", "-1", "vm.dirty_bytes", "18446744073709551615"),
        ("vm.*_bytes", "-1", "vm.dirty_bytes", "1"),
        ("kernel.shmmax", "18446744073692774399", "kernel.shmmax", "4096"),
        ("net.ipv4.neigh.*.locktime", "300000000", "net.ipv4.neigh.lo.locktime", "100"),
        ("net.ipv4.neigh.*.locktime", "100", "net.ipv4.neigh.lo.locktime", "101"),
        ("net.core.flow_limit_cpu_bitmap", "10", "net.core.flow_limit_cpu_bitmap", "0xa"),
        ("kernel.printk", "3", "kernel.printk", "3 4"),
        ("vendor.limit", "4294967296", "vendor.limit", "4294967297"),
    ] {
        let imported = imported(&format!("{key} = {value}\n"));
        let knob = KnobName::parse(knob).unwrap();
        assert!(allows(&imported, &knob, value), "{key} = {value}");
        assert!(!allows(&imported, &knob, other), "{key} = {value}, not {other}");
    }
}

#[test]
fn what_no_policy_applies_to_is_left_out_with_a_note() {
    let text = "fs.binfmt_misc.status = 1\nfs.binfmt_misc.* = 1\nvm.swappiness = 10 # low\n";
    let imported = imported(text);
    assert_eq!(
        imported.notes,
        [
            "p.conf:1: fs.binfmt_misc.status is left out: it is not a sysctl, and no policy applies to it",
            "p.conf:2: fs.binfmt_misc.* is left out: it is not a sysctl, and no policy applies to it",
            "p.conf:3: the value of vm.swappiness includes `# low`: a comment has a line of its own",
        ]
    );
    let rules: Vec<String> = imported.file.policy().rules().iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["allow write vm.swappiness if new == \"10 # low\""]);
}

#[test]
fn a_file_that_sets_nothing_is_a_policy_that_allows_nothing() {
    for text in ["", "\n\n", "# nothing\n"] {
        let imported = imported(text);
        assert!(imported.file.policy().rules().is_empty());
        assert!(imported.file.policy().tests().is_empty());
    }
}

#[test]
fn lines_that_are_wrong_are_errors_with_their_file() {
    let long = "x".repeat(limits::VALUE_MAX);
    let conf = Conf::parse(format!("oops\nkernel.core_pattern = {long}\n").as_bytes());
    let Err(ImportError::Lines(errors)) = import("p", &[ConfFile { name: "p.conf", conf: &conf }]) else {
        panic!("two lines are wrong");
    };
    let places: Vec<_> = errors.iter().map(|(file, error)| (file.as_str(), error.line)).collect();
    assert_eq!(places, [("p.conf", 1), ("p.conf", 2)]);
    assert!(matches!(import("a b", &[]), Err(ImportError::Name { .. })));
}

/// A line of a file.
fn line() -> impl Strategy<Value = String> {
    let component = || select(vec!["a", "b", "ab", "a.b", "a{b}", "*", "a*", "?", "[ab]", "[!a]*", "*b"]);
    let key = (vec(component(), 1..3), any::<bool>()).prop_map(|(components, dots)| {
        // No glob matches a knob of which something is known.
        let path = format!("user/{}", components.join("/"));
        let swapped = |c: char| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        if dots { path.chars().map(swapped).collect() } else { path }
    });
    let value = prop_oneof![
        4 => select(VALUES),
        1 => "[ -~]{0,8}".prop_map(|text| text.trim().to_owned().leak() as &str),
    ];
    let before = select(vec!["", "", "", "# a comment\n", "; one\n\n", "\n\n\n"]);
    (before, any::<bool>(), key, option::weighted(0.85, value)).prop_map(|(before, dash, key, value)| {
        match value {
            Some(value) => format!("{before}{}{key} = {value}\n", if dash { "-" } else { "" }),
            None => format!("{before}-{key}\n"),
        }
    })
}

const VALUES: &[&str] = &[
    "0",
    "1",
    "0x1",
    "01",
    "-1",
    "4294967295",
    "4294967296",
    "1 2",
    "1\t0x2",
    "1 2 3",
    "word",
    "a b",
    "",
    "08",
    "1,2",
    "\"q\"\\",
    "é",
];

/// What the files set `name` to, as systemd-sysctl and sysctl(8) say.
fn values_of(text: &str, name: &KnobName) -> Vec<String> {
    let mut last: HashMap<String, (usize, Key, Option<String>)> = HashMap::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, line)| !line.starts_with(['#', ';']) && !line.is_empty())
    {
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
            None => (line, None),
        };
        let key = Key::parse(key.strip_prefix('-').unwrap_or(key)).unwrap();
        last.insert(key.to_string(), (number, key, value));
    }
    let own = last.values().find(|(_, key, _)| *key == Key::Knob(name.clone()));
    if let Some((_, _, value)) = own {
        return value.iter().cloned().collect();
    }
    let matching: Vec<_> = last.values().filter(|(_, key, _)| key.names(name)).collect();
    if matching.iter().any(|(_, _, value)| value.is_none()) {
        return Vec::new();
    }
    matching.into_iter().filter_map(|(_, _, value)| value.clone()).collect()
}

/// Whether a handler reads the same from both.
fn is_same(one: &str, other: &str) -> bool {
    let numbers = |text: &str| {
        parse_numbers(text).ok().filter(|numbers| {
            !numbers.is_empty()
                && numbers.iter().all(|number| (i32::MIN.into()..=u32::MAX.into()).contains(&number.get()))
        })
    };
    one == other || numbers(one).is_some_and(|one| numbers(other) == Some(one))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exactly_what_files_set_is_allowed(lines in vec(line(), 0..8)) {
        let text = lines.concat();
        let imported = imported(&text);
        for name in ["a", "b", "ab", "a.b", "a{b}", "c", "a/a", "a/b", "ab/b", "c/a{b}", "b/a", "bb/aa", "c/c"] {
            let name = KnobName::from_path(format!("user/{name}")).unwrap();
            let set = values_of(&text, &name);
            for value in VALUES.iter().map(|value| (*value).to_owned()).chain(set.iter().cloned()) {
                let expected = set.iter().any(|set| is_same(set, &value));
                prop_assert_eq!(allows(&imported, &name, &value), expected, "{} = {:?} of {:?}\n{}\n{}", name, value, set, text, imported.file.source().text());
            }
        }
    }

    #[test]
    fn the_policy_is_laid_out_and_its_tests_pass(lines in vec(line(), 0..8)) {
        let imported = imported(&lines.concat());
        let text = imported.file.source().text();
        // A random number may be one that no kernel takes.
        let warnings = imported.file.warnings().iter().filter(|warning| warning.code != "out-of-bounds");
        prop_assert_eq!(warnings.collect::<Vec<_>>(), Vec::<&knobgate_policy::Diagnostic>::new(), "{}", text);
        prop_assert_eq!(&format(&Source::new("p.knob", text)).unwrap(), text);
        for step in imported.file.policy().tests().iter().flat_map(|test| &test.steps) {
            let verdict = evaluate(imported.file.policy(), step.access()).verdict;
            match step.expected() {
                Expected::Allow => prop_assert_eq!(&verdict, &Verdict::Allow, "{}\n{}", step, text),
                _ => prop_assert!(matches!(verdict, Verdict::Deny(_)), "{}\n{}", step, text),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let conf = Conf::parse(&bytes);
        let _ = import("p", &[ConfFile { name: "\u{1b}\n.conf", conf: &conf }]);
    }
}
