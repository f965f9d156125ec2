use serde_json::Value;

use super::{Client, FakeMachine};

fn machine() -> FakeMachine {
    let values = [
        ("kernel/hostname", "h\n"),
        ("net/ipv4/conf/all/rp_filter", "1\n"),
        ("net/ipv4/conf/eno2.100/rp_filter", "1\n"),
        ("vm/dirty_ratio", "60\n"),
    ];
    FakeMachine { values: values.into_iter().collect(), ..FakeMachine::default() }
}

/// What is offered at the `|`, each with what is written if that is another text.
fn offered(text: &str) -> Vec<String> {
    let mut client = Client::initialized(machine());
    let result = client.at_cursor("textDocument/completion", "/x.knob", text);
    let shown = |item: &Value| {
        let (label, text) = (item["label"].as_str().unwrap(), item["textEdit"]["newText"].as_str().unwrap());
        if label == text { label.to_owned() } else { format!("{label}={text}") }
    };
    result.as_array().unwrap().iter().map(shown).collect()
}

#[test]
fn what_may_come_at_the_cursor_is_offered() {
    for (text, expected, absent) in [
        ("|", &["policy", "allow", "test"][..], &["read", "if"][..]),
        ("policy x\nal|\n", &["allow", "deny", "default"], &["policy", "read"]),
        ("policy x\nallow |\n", &["read", "write"], &["allow", "vm"]),
        ("policy x\nallow write |\n", &["read", "vm", "kernel", "net"], &["write", "*"]),
        ("policy x\nallow write vm.|\n", &["dirty_ratio=vm.dirty_ratio"], &["vm", "read"]),
        ("policy x\nallow write vm/d|\n", &["dirty_ratio=vm/dirty_ratio"], &[]),
        (
            "policy x\nallow write net.ipv4.conf.|\n",
            &["*=net.ipv4.conf.*", "eno2/100=net.ipv4.conf.eno2/100"],
            &[],
        ),
        ("policy x\nallow write vm.a, kernel.h| if new == 1\n", &["hostname=kernel.hostname"], &[]),
        ("policy x\ndeny(|) write vm.a\n", &["EPERM", "EACCES", "EROFS"], &["deny"]),
        ("policy x\nallow write vm.a | log\n", &["if", "log", "nolog"], &["to"]),
        ("policy x\nclamp write vm.a |\n", &["to"], &["if"]),
        ("policy x\nallow write vm.a log(|)\n", &["all"], &[]),
        ("policy x\nallow write vm.a if |\n", &["new", "old", "comm", "count", "not"], &["engine", "and"]),
        ("policy x\nallow write vm.a if new |\n", &["in", "matches", "starts", "contains"], &["new"]),
        ("policy x\napply if |\n", &["engine", "label", "pod"], &["new"]),
        ("policy x\napply if engine == |\n", &["docker", "podman"], &["pod"]),
        ("policy x\ninclude |\n", &["preset"], &[]),
        ("policy x\ninclude preset \"|\n", &["docker-default@1", "usermode-helpers@1"], &[]),
        ("policy x\ntest \"t\" {\n  |\n}\n", &["read", "write"], &["allow"]),
        (
            "policy x\ntest \"t\" {\n  write net.ipv4.conf.|\n}\n",
            &["all=net.ipv4.conf.all"],
            &["*=net.ipv4.conf.*"],
        ),
        ("policy x\ntest \"t\" {\n  read vm.a |\n}\n", &["old", "uid", "=>"], &["log"]),
        ("policy x\ntest \"t\" {\n  read vm.a => |\n}\n", &["allow", "deny", "set"], &["clamp"]),
        ("policy x\n# allow |\n", &[], &["read"]),
        ("policy x\nset write vm.a to \"|\"\n", &[], &["read"]),
    ] {
        let offered = offered(text);
        for item in expected {
            assert!(offered.iter().any(|offered| offered == item), "{text}: no {item} in {offered:?}");
        }
        for item in absent {
            assert!(!offered.iter().any(|offered| offered == item), "{text}: {item} in {offered:?}");
        }
        if expected.is_empty() {
            assert_eq!(offered, [""; 0], "{text}");
        }
    }
}

#[test]
fn an_item_replaces_what_was_begun_and_says_what_it_is() {
    let mut client = Client::initialized(machine());
    let result = client.at_cursor(
        "textDocument/completion",
        "/x.knob",
        "policy x\nallow write \u{e9}, vm.dirty_r|atio\n",
    );
    let item = result.as_array().unwrap().iter().find(|item| item["label"] == "dirty_ratio").unwrap();
    let (start, end) = (&item["textEdit"]["range"]["start"], &item["textEdit"]["range"]["end"]);
    assert_eq!((start["character"].as_u64(), end["character"].as_u64()), (Some(16), Some(26)));
    assert_eq!(item["filterText"], "vm.dirty_ratio");
    assert!(!item["detail"].as_str().unwrap().is_empty());
    assert_eq!(item["kind"], 10);
}
