use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::{knobgate, snapshot, tree};

/// A directory like `/proc/sys` of Linux 6.12, with knobs that differ from the catalogue.
fn machine() -> tempfile::TempDir {
    let tree = tree(&[
        ("kernel/osrelease", "6.12.9-test\n"),
        ("kernel/ostype", "Linux\n"),
        ("kernel/modules_disabled", "0\n"),
        ("kernel/vendor_limit", "5\n"),
        ("net/ipv4/tcp_rmem", "4096\t131072\n"),
        ("net/ipv4/tcp_sack", "on\n"),
        ("net/ipv4/tcp_fastopen_key", "00000001-00000002-00000003-00000004\n"),
        ("net/ipv4/conf/all/forwarding", "1\n"),
        ("net/ipv4/conf/eth0/forwarding", "1\n"),
        ("net/ipv4/conf/eth0.100/forwarding", "0\n"),
        ("net/ipv4/conf/\u{1b}[31m/forwarding", "0\n"),
        ("net/ipv4/ip_forward", "1\n"),
        ("vm/drop_caches", "0\n"),
        ("vm/panic_on_oom", "0\n"),
    ]);
    for (name, mode) in [
        ("kernel/osrelease", 0o444),
        ("kernel/ostype", 0o444),
        ("net/ipv4/tcp_fastopen_key", 0o600),
        ("net/ipv4/conf/eth0.100/forwarding", 0o444),
        ("vm/drop_caches", 0o200),
        ("vm/panic_on_oom", 0o600),
    ] {
        fs::set_permissions(tree.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    tree
}

/// The output for a machine, without its path.
fn knobs(machine: &tempfile::TempDir, arguments: &[&str]) -> Output {
    knobgate(["knobs", "--proc-sys", machine.path().to_str().unwrap()]).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The lines about the knobs whose names begin like this.
fn lines(machine: &tempfile::TempDir, pattern: &str) -> Vec<String> {
    let output = knobs(machine, &[pattern]);
    assert!(output.status.success(), "{output:?}");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text(&output).lines().skip(1).map(words).collect()
}

fn has(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

#[test]
fn a_list_marks_what_the_machine_has() {
    let machine = machine();
    let of_kernel = lines(&machine, "kernel.*");
    for expected in [
        "kernel.ostype uts 0444 text yes name of the operating system",
        "kernel.modules_disabled host 0644 int 1..1 yes",
        "kernel.shmmax ipc 0644 unsigned-long no",
        "kernel.vendor_limit ? 0644 ? yes not in the catalogue",
    ] {
        assert!(has(&of_kernel, expected), "{expected}: {of_kernel:#?}");
    }
    let last = of_kernel.last().unwrap();
    assert!(last.contains("Linux 6.12.9-test, has ") && last.contains(" that the catalogue lacks"), "{last}");
    assert!(of_kernel.iter().any(|line| line.contains("[up]")), "{of_kernel:#?}");
    let forwarding = lines(&machine, "net.ipv4.conf.*.forwarding");
    assert!(has(&forwarding, "net.ipv4.conf.<interface>.forwarding network 0644 int 3"), "{forwarding:#?}");
    assert!(has(&forwarding, "net.ipv4.conf.all.forwarding network 0644 int yes"), "{forwarding:#?}");
}

#[test]
fn a_list_says_where_the_machine_differs() {
    let machine = machine();
    for (pattern, knob, difference) in [
        ("vm.panic_on*", "vm.panic_on_oom", "differs: mode 0600 here, 0644 in the catalogue"),
        ("net.ipv4.tcp_rm*", "net.ipv4.tcp_rmem", "differs: 2 numbers here, 3 in the catalogue"),
        ("net.ipv4.tcp_s*k", "net.ipv4.tcp_sack", "differs: does not read as numbers here"),
        (
            "net.ipv4.conf.eth*.forwarding",
            "net.ipv4.conf.<interface>.forwarding",
            "differs: mode 0444 here, 0644 in the catalogue: net.ipv4.conf.eth0/100.forwarding",
        ),
    ] {
        let lines = lines(&machine, pattern);
        let at = lines.iter().position(|line| line.starts_with(knob)).expect(knob);
        assert_eq!(lines[at + 1], difference, "{lines:#?}");
        assert!(lines.last().unwrap().contains("; 1 differ"), "{lines:#?}");
    }
    let same = lines(&machine, "vm.drop_*");
    assert!(same.iter().all(|line| !line.contains("differ")), "{same:#?}");
}

#[test]
fn a_name_shows_everything_about_the_knob() {
    let machine = machine();
    let full = |knob: &str| text(&knobs(&machine, &[knob]));
    for knob in ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"] {
        let text = full(knob);
        for expected in [
            "net.ipv4.ip_forward\n",
            "  same as   net.ipv4.conf.all.forwarding\n",
            "  also sets net.ipv4.conf.<interface>.forwarding\n",
            "  scope     network: one for each network namespace\n",
            "  here      1\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
    let of_interface = full("net.ipv4.conf.<interface>.forwarding");
    assert!(of_interface.contains("  here      net.ipv4.conf.\\x1b\\[31m.forwarding: 0\n"), "{of_interface}");
    assert!(of_interface.contains("net.ipv4.conf.eth0/100.forwarding: 0\n"), "{of_interface}");
    assert!(full("kernel.modules_disabled").contains("  effect    a write can raise the value"));
    assert!(full("kernel.vendor_limit").contains("the catalogue does not have it\n"));
    assert!(full("kernel.shmmax").contains("  here      no: its module is not loaded"));
    let secret = full("net.ipv4.tcp_fastopen_key");
    assert!(secret.contains("(a secret)") && !secret.contains("00000003"), "{secret}");
}

#[test]
fn json_has_no_secrets_and_all_facts() {
    let machine = machine();
    let output = text(&knobs(&machine, &["--format", "json", "net.**", "kernel.vendor*", "vm.drop_caches"]));
    assert!(!output.contains("00000003") && !output.contains('\u{1b}'), "{output}");
    let document: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(document["kernel"], "6.12.9-test");
    let knob = |name: &str| {
        let knobs = document["knobs"].as_array().unwrap();
        knobs.iter().find(|knob| knob["knob"] == name).unwrap_or_else(|| panic!("{name}: {document:#}"))
    };
    assert_eq!(knob("net.ipv4.tcp_fastopen_key")["secret"], true);
    assert_eq!(knob("net.ipv4.ip_forward")["same_as"], "net.ipv4.conf.all.forwarding");
    assert_eq!(knob("vm.drop_caches")["acts"], true);
    assert_eq!(knob("vm.drop_caches")["variants"][0]["mode"], "0200");
    assert_eq!(knob("kernel.vendor_limit").get("summary"), None);
    assert_eq!(knob("net.ipv4.conf.<interface>.forwarding")["here"].as_array().unwrap().len(), 3);
    assert_eq!(
        knob("net.ipv4.tcp_rmem")["here"][0]["differs"],
        serde_json::json!(["2 numbers here, 3 in the catalogue"])
    );
}

#[test]
fn a_policy_to_start_with_has_no_warnings_and_its_tests_pass() {
    for patterns in [&[][..], &["vm.**", "net.ipv4.**"], &["kernel.core_pattern", "kernel.hostname"]] {
        let policy = knobgate(["knobs", "--format", "policy"]).args(patterns).output().unwrap();
        assert!(policy.status.success(), "{policy:?}");
        for (command, expected) in
            [(knobgate(["check", "--any-machine", "-"]), "no errors"), (knobgate(["test", "-"]), "passed")]
        {
            let output = command.stdin(text(&policy)).output().unwrap();
            assert!(output.status.success() && text(&output).contains(expected), "{output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
        }
        let formatted = knobgate(["fmt", "--check", "-"]).stdin(text(&policy)).output().unwrap();
        assert!(formatted.status.success(), "{formatted:?}");
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    snapshot(
        "knobs-unknown",
        [
            knobgate(["knobs", "kernel.core_patern"]),
            knobgate(["knobs", "kernel.ostype", "kernel.banana*"]),
            knobgate(["knobs", "net.ipv4.conf.<device>.forwarding"]),
            knobgate(["knobs", "kernel.[a"]),
            knobgate(["knobs", "fs.binfmt_misc.status"]),
            knobgate(["knobs", "banana\u{1b}[2J"]),
            knobgate(["knobs", "--format", "text"]),
        ],
    );
}

#[test]
fn a_machine_without_knobs_is_a_note() {
    snapshot("knobs-nowhere", [knobgate(["knobs", "--proc-sys", "/nowhere", "kernel.ostype"])]);
}
