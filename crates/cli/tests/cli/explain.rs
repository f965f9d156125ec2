use snapbox::cmd::Command;

use crate::{knobgate, snapshot};

/// `knobgate explain` with the policy `web.knob`.
fn explain<const N: usize>(access: [&str; N]) -> Command {
    knobgate(["explain", "--policy", "web.knob"]).args(access)
}

#[test]
fn an_allowed_write() {
    snapshot("explain-allow", [explain(["write", "net/core/somaxconn", "512", "--old", "4096"])]);
}

#[test]
fn a_rewrite() {
    snapshot("explain-clamp", [explain(["write", "net.core.somaxconn", r"9999999\n", "--old", r"4096\n"])]);
}

#[test]
fn a_value_put_back() {
    snapshot("explain-ignore", [explain(["write", "kernel.printk", r"7 7 7 7\n", "--old", r"4\t4\t1\t7\n"])]);
}

#[test]
fn a_denial() {
    snapshot(
        "explain-deny",
        [
            explain(["write", "kernel.core_pattern", "|/tmp/x", "--old", "core"]),
            explain(["write", "kernel.ostype", "x", "--old", r"Linux\n"]),
            explain(["write", "vm.overcommit_memory", "1", "--old", r"0\n"]),
        ],
    );
}

#[test]
fn a_condition_that_does_not_hold() {
    snapshot(
        "explain-condition",
        [
            explain(["write", "vm.max_map_count", "65530", "--old", r"262144\n"]),
            explain(["write", "net.ipv4.tcp_rmem", "4096 87380 100", "--old", "4096 87380 629145"]),
            explain(["write", "kernel.hostname", "h", "--old", "g", "--uid", "7", "--comm", "bash"]),
            explain(["write", "kernel.hostname", "evil", "--old", "g", "--uid", "1000"]),
            knobgate([
                "explain",
                "--policy",
                "-",
                "write",
                "vm.swappiness",
                "1",
                "--old",
                "60",
                "--comm",
                "sh",
            ])
            .stdin("policy x\nallow write vm.swappiness if comm == \"sysctl\"\n"),
        ],
    );
}

#[test]
fn the_network_namespace_of_the_knob() {
    const POLICY: &str = "policy x\ndeny(EROFS) write net.** if netns == host\nallow write net.**\n";
    let explain = |more: &[&str]| {
        let write = ["explain", "--policy", "-", "write", "net.core.somaxconn", "1", "--old", "2"];
        knobgate(write).args(more).stdin(POLICY)
    };
    snapshot(
        "explain-netns",
        [
            explain(&["--netns", "host"]),
            explain(&["--netns", "other"]),
            explain(&["--netns", "other", "--json"]),
            explain(&[]),
            knobgate([
                "explain",
                "--policy",
                "-",
                "write",
                "vm.swappiness",
                "1",
                "--old",
                "2",
                "--netns",
                "host",
            ])
            .stdin(POLICY),
        ],
    );
}

#[test]
fn what_cannot_be_evaluated_is_denied() {
    snapshot(
        "explain-eval-error",
        [
            explain(["write", "vm.max_map_count", "x", "--old", "1"]),
            explain(["write", "net.core.somaxconn", "512", "--old", "4096", "--pos", "1"]),
            explain(["write", "vm.swappiness", "1", "--old", "60"]),
        ],
    );
}

#[test]
fn a_read() {
    snapshot(
        "explain-read",
        [
            explain(["read", "net.core.somaxconn", "--old", r"4096\n"]),
            explain(["read", "/proc/sys/kernel/ostype"]),
            explain(["read", "kernel.no_such_knob"]),
        ],
    );
}

#[test]
fn a_write_only_knob_is_called_that() {
    let write = ["write", "vm.drop_caches", r"1\n"];
    snapshot("explain-write-only", [explain(write), explain(write).arg("--json")]);
}

#[test]
fn nothing_is_enforced_in_audit_mode() {
    let access = ["explain", "--policy", "audit.knob", "write", "kernel.hostname", "x", "--old", "y"];
    snapshot("explain-audit", [knobgate(access)]);
}

#[test]
fn a_process_instead_of_an_access() {
    snapshot(
        "explain-pid",
        [
            explain(["--pid", "x"]),
            explain(["--pid", "1", "read", "vm.swappiness"]),
            explain(["--pid", "1", "--uid", "0"]),
            explain(["read"]),
        ],
    );
}

#[test]
fn an_answer_for_programs() {
    snapshot(
        "explain-json",
        [
            explain(["--json", "write", "vm.max_map_count", r"65530\xff", "--old", r"262144\n"]),
            explain(["--json", "write", "net.ipv4.tcp_rmem", "4096 87380 100", "--old", "1"]),
            explain(["--json", "write", "net.core.somaxconn", r"9999999\n", "--old", r"4096\n"]),
        ],
    );
}

#[test]
fn a_verdict_can_depend_on_the_kernel() {
    let clamped = ["write", "net.core.somaxconn", r"9999999\n", "--old", r"4096\n", "--profile", "6.8"];
    let unused = ["write", "net.core.somaxconn", r"512\n", "--old", r"4096\n", "--profile", "6.8"];
    snapshot(
        "explain-profile",
        [
            explain(clamped),
            explain(clamped).arg("--json"),
            explain(unused),
            knobgate(["explain", "--policy", "comm.knob", "--profile", "5.15"])
                .args(["read", "kernel.ostype"]),
            explain(["read", "kernel.ostype", "--old", "x", "--profile", "5.4"]),
        ],
    );
}

#[test]
fn accesses_that_reach_no_policy() {
    let beyond = i64::MAX.to_string();
    snapshot(
        "explain-no-policy",
        [
            explain(["write", "kernel.hostname", "x", "--old", "y", "--pos", &beyond]),
            explain(["write", "kernel/../hostname", "x", "--old", "y"]),
        ],
    );
}

#[test]
fn a_negative_value_is_not_an_option() {
    snapshot("explain-negative", [explain(["write", "net.core.somaxconn", r"-1\n", "--old", r"-2\n"])]);
}

#[test]
fn a_long_name_of_a_task_is_cut_as_the_kernel_does() {
    let access = ["read", "kernel.ostype", "--old", "x", "--comm", "a-name-of-many-bytes"];
    snapshot("explain-long-comm", [explain(access)]);
}

#[test]
fn wrong_arguments() {
    snapshot(
        "explain-usage",
        [
            explain(["write", "vm.swappiness"]),
            explain(["write", "vm.max_map_count=5"]),
            explain(["write", "net.ipv4.tcp_rmem = 1 2 3"]),
            explain(["read", "vm.swappiness", "1"]),
            explain(["read", "vm.*"]),
            explain(["write", "fs.binfmt_misc.register", "x"]),
            explain(["read", "\u{1b}[2J"]),
            explain(["write", "vm.swappiness", r"\q"]),
            explain(["write", "vm.swappiness", "1", "--old", r"\x1"]),
        ],
    );
}

#[test]
fn a_policy_with_errors_explains_nothing() {
    let access = ["explain", "--policy", "-", "read", "vm.swappiness", "--old", "60"];
    snapshot("explain-bad-policy", [knobgate(access).stdin("policy x\nalow write vm.swappiness\n")]);
}

#[test]
fn a_write_of_a_knob_that_engines_write_themselves() {
    snapshot(
        "explain-engines",
        [
            explain(["write", "net.ipv4.ping_group_range", "0 0", "--old", r"1\t0\n"]),
            explain(["write", "net.ipv4.ip_unprivileged_port_start", "0", "--old", r"1024\n"]).arg("--json"),
            explain(["read", "net.ipv4.ip_unprivileged_port_start", "--old", r"1024\n"]),
        ],
    );
}
