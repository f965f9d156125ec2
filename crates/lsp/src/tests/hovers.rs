use serde_json::Value;

use super::{Client, FakeMachine};

fn machine() -> FakeMachine {
    let values = [
        ("kernel/core_pattern", "|/bin/`sh`\u{1b}[2J %p\n"),
        ("net/core/default_qdisc", "\n"),
        ("net/ipv4/tcp_fastopen_key", "0-0-0-1\n"),
        ("net/vendor/limit", "1\n"),
        ("vm/drop_caches", "0\n"),
        ("vm/dirty_ratio", "60\n"),
    ];
    let files = [("/parts.knob".into(), "deny write vm.dirty_ratio if new > 90\n".to_owned())];
    FakeMachine { values: values.into_iter().collect(), files: files.into_iter().collect() }
}

fn hover(text: &str) -> Option<String> {
    let mut client = Client::initialized(machine());
    let result = client.at_cursor("textDocument/hover", "/x.knob", text);
    match result {
        Value::Null => None,
        hover => Some(hover["contents"]["value"].as_str().unwrap().to_owned()),
    }
}

#[test]
fn what_is_under_the_cursor_is_explained() {
    for (text, expected, absent) in [
        (
            "policy x\ninclude \"parts.knob\"\ndefault read deny\nclamp write vm.*  to 0..60\nallow write vm.dirty_|ratio\n",
            &[
                "`vm.dirty_ratio`: ",
                "int 0..100, one for the whole machine, mode 0644, in Linux 5.10 to ",
                "Here: `60`",
                "A read is decided by `default read deny` in line 3\\\n",
                "A write is decided by `deny write vm.dirty_ratio if new > 90` in line 1 of /parts.knob, \
                 or else by `clamp write vm.* to 0..60` in line 4",
            ][..],
            &["allow write"][..],
        ),
        (
            "policy x\ndeny write kernel.core_|pattern\n",
            &["Here: `` |/bin/`sh`\\x1b[2J %p ``", "A read is decided by the default, which is not stated"],
            &["\u{1b}"],
        ),
        ("policy x\ndeny write net.core.default|_qdisc\n", &["Here: empty"], &[]),
        (
            "policy x\ndeny write vm.drop_cach|es\n",
            &["; each write makes the kernel do something", "Its value is not read."],
            &["Here"],
        ),
        (
            "policy x\ndeny write net.ipv4.tcp_fastopen|_key\n",
            &["; the value is secret", "Its value is not read."],
            &["Here", "0-0"],
        ),
        ("policy x\ndeny write net.vendor.li|mit\n", &["The catalogue does not have this knob."], &["Here"]),
        (
            "policy x\ndeny write net.**|\n",
            &[
                "`net.**` matches 3 knobs of this machine: `net.core.default_qdisc`, `net.ipv4.tcp_fastopen_key`, `net.vendor.limit`",
            ],
            &[],
        ),
        ("policy x\ndeny write nothing.*|\n", &["matches 0 knobs of this machine"], &[":"]),
        ("policy x\ndeny write vm.dirty_|ratio\nnonsense\n", &["`vm.dirty_ratio`: "], &["decided"]),
        ("policy x\ndeny(ERO|FS) write a.b\n", &["`EROFS`: 30: Read-only file system"], &[]),
        ("policy x\ncl|amp write a.b to 1..2\n", &["`clamp`: moves the number"], &[]),
        ("policy x\nallow write a.b if cou|nt(new) == 1\n", &["how many numbers"], &[]),
        (
            "policy x\ninclude preset \"usermode-|helpers@1\"\n",
            &["`usermode-helpers@1`: deny writes", "deny "],
            &["test \""],
        ),
        (
            "policy x\ntest \"t\" {\n  write vm.dirty_|ratio \"1\" => deny\n}\n",
            &["`vm.dirty_ratio`: ", "the default"],
            &[],
        ),
    ] {
        let help = hover(text).unwrap_or_else(|| panic!("nothing at {text}"));
        for part in expected {
            assert!(help.contains(part), "{text}\nno {part:?} in\n{help}");
        }
        for part in absent {
            assert!(!help.contains(part), "{text}\n{part:?} in\n{help}");
        }
    }
}

#[test]
fn nothing_is_said_about_the_rest() {
    for text in [
        "policy x|\n",
        "# comm|ent\n",
        "policy x\nset write vm.a to \"1|0\"\n",
        "policy x\n|\n",
        "|",
        "policy x\nallow write vm.a if new == 1|0\n",
    ] {
        assert_eq!(hover(text), None, "{text}");
    }
}
