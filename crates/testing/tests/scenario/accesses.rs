//! Reads and writes, with programs that interfere.

use crate::Case;
use crate::programs::{is_here, setting};

/// The knobs, each with values to write.
const WRITES: &[(&str, &[&str])] = &[
    (
        "kernel/domainname",
        &[
            "two\n",
            "a\u{0}b",
            "",
            "\n",
            "0123456789012345678901234567890123456789012345678901234567890123456789",
        ],
    ),
    ("net/core/somaxconn", &["1", "0x10\n", "-1", "1 2\n", " 3", "", "\n", "x", "2147483648"]),
    ("net/ipv4/ip_default_ttl", &["1", "0", "255\n", "256", "7 8"]),
    ("net/ipv4/tcp_rmem", &["1 2 3", "4", "5 6 7 8", "1 x", "0"]),
    ("net/ipv4/tcp_keepalive_time", &["1", "-1", "9999999"]),
    ("net/ipv4/icmp_ratelimit", &["1", "7\n", "2147483648", "4294967296", "-4294966295", "-1"]),
    ("net/ipv4/neigh/lo/locktime", &["1", "214748364", "429496730\n", "858993460", "-1"]),
    ("net/ipv4/ip_local_reserved_ports", &["", "7", "8-9\n", "9-8", "70000", "\n"]),
    ("kernel/shmmax", &["1", "-1", "18446744073709551615"]),
    ("net/ipv4/fib_multipath_hash_fields", &["1", "0", "4096", "3 4"]),
    ("kernel/ostype", &["x"]),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for program in [
        None,
        Some("allow"),
        Some("deny"),
        Some("ENOENT"),
        Some("return 5"),
        Some("return -5000"),
        Some("an errno without a name"),
        Some("set 7"),
        Some("set a long value"),
        Some("to position 1"),
    ] {
        let mut steps = Vec::new();
        if let Some(program) = program {
            steps.push(format!(r#"{{"attach": {{"program": "{program}", "cgroup": "a", "mode": "link"}}}}"#));
        }
        for (knob, values) in WRITES.iter().filter(|(knob, _)| is_here(knob)) {
            for (index, value) in values.iter().enumerate() {
                let data = serde_json::to_string(value).expect("a string");
                let read = |cgroup: &str, rest: &str| {
                    format!(r#"{{"read": {{"knob": "{knob}", "cgroup": "{cgroup}"{rest}}}}}"#)
                };
                let write = |cgroup: &str, rest: &str| {
                    format!(
                        r#"{{"write": {{"knob": "{knob}", "cgroup": "{cgroup}", "data": {data}{rest}}}}}"#
                    )
                };
                let shared = format!(r#", "open": "{knob} {index}""#);
                steps.extend([
                    write("a/b", ""),
                    read("a/b", ""),
                    read("a/b", r#", "pos": 1, "count": 3"#),
                    read("a/b", r#", "count": 0"#),
                    write("a/b", r#", "pos": 2"#),
                    write("a/b", r#", "pos": 4294967296"#),
                    write("d", &shared),
                    write("a/b", &shared),
                    read("a/b", &shared),
                    read("d", &format!(r#"{shared}, "pos": 0"#)),
                ]);
            }
        }
        cases.push((program.unwrap_or("nothing"), setting(), steps.join(", ")));
    }
    cases.push((
        "what no kernel takes",
        setting(),
        r#"{"attach": {"program": "allow", "cgroup": "a", "mode": "link"}},
           {"read": {"knob": "kernel/ostype", "cgroup": "a", "count": 4194303}},
           {"read": {"knob": "kernel/ostype", "cgroup": "a", "count": 4194304}},
           {"read": {"knob": "kernel/ostype", "cgroup": "a", "pos": 9223372036854775807, "count": 1}},
           {"read": {"knob": "kernel/ostype", "cgroup": "a", "pos": 9223372036854775800, "count": 7}},
           {"write": {"knob": "kernel/domainname", "cgroup": "a", "pos": 9223372036854775800, "data": "x"}},
           {"write": {"knob": "kernel/domainname", "cgroup": "a", "data": {"hex": "ff00"}}}"#
            .to_owned(),
    ));
    cases
}
