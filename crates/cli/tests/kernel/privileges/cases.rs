//! What each command does, and what shows that it has done it.

use super::Case;

/// The files that the cases use.
pub(super) const FILES: [(&str, &str); 8] = [
    ("agent.toml", ""),
    ("p.knob", POLICY),
    ("other.knob", "policy t-privileges\ndefault write deny\n"),
    ("x.conf", "net.core.somaxconn = 1234\n"),
    ("events.jsonl", include_str!("../../policies/events.jsonl")),
    ("scenario.json", SCENARIO),
    (
        "web.knob",
        "policy web\napply if engine == runc\ndefault write deny\nclamp write net.core.somaxconn to 128..65535\n",
    ),
    ("config.json", r#"{"ociVersion": "1.0.2", "process": {"cwd": "/"}}"#),
];

/// It rewrites and looks at `comm`, which the kernel has to be asked about.
const POLICY: &str = "policy t-privileges

default write deny
clamp write net.core.somaxconn to 128..65535
deny write kernel.core_pattern if comm == \"x\"

test \"a value within the bounds\" {
  write net.core.somaxconn \"200\" => allow
}
";

/// A write that the policy changes.
const SCENARIO: &str = r#"{
  "knobs": [
    {"name": "net/core/somaxconn", "value": "4096", "mode": "0644", "handler": {"kind": "int", "min": 0, "max": 2147483647}}
  ],
  "programs": {"p": {"policy": "p.knob"}},
  "cgroups": ["a"],
  "steps": [
    {"load": "p"},
    {"attach": {"program": "p", "cgroup": "a", "mode": "link"}},
    {"write": {"knob": "net/core/somaxconn", "cgroup": "a", "data": "9999999\n"}},
    {"read": {"open": "k", "knob": "net/core/somaxconn", "cgroup": "a", "count": 9}}
  ]
}"#;

/// Removes what was found out about the kernel, so that it is tried again.
const COLD: &str = "rm -rf /run/knobgate";
const NOTHING: &str = "true";
const ATTACH: &str = "$K attach --policy p.knob --cgroup $C";
const DETACH: &str =
    "$K on 2>/dev/null; ! test -e /sys/fs/bpf/knobgate/t-privileges || $K detach t-privileges";
/// A policy that has changed a write.
const WRITTEN: &str = "$K attach --policy p.knob --cgroup $C; \
    sh -c 'echo $$ >$C/cgroup.procs; echo 9999999 >/proc/sys/net/core/somaxconn'";
/// Writes until the write is shown, or until there is nobody to show it.
const WATCH: &str = "timeout -s INT 60 $K watch t-privileges >out/said.$$ 2>&1 & watch=$!; \
    while kill -0 $watch 2>/dev/null && ! grep -q REWRITE out/said.$$; do \
        sh -c 'echo $$ >$C/cgroup.procs && echo 9999999 >/proc/sys/net/core/somaxconn' 2>/dev/null; sleep 0.1; \
    done; \
    kill -INT $watch 2>/dev/null; wait $watch; cat out/said.$$; rm -f out/said.$$";
/// Shows the screen for some seconds; for longer on a machine that is slow to draw it.
const TOP: &str = "for time in 3 12 48; do \
        said=$(timeout 90 script -qc \"stty rows 30 cols 100; timeout --foreground -s INT $time $K top\" /dev/null); \
        case $said in *t-privileges*) break ;; esac; \
    done; echo \"$said\"";
/// How a container starts, for its hook: with a process that waits in a cgroup of its own.
const CONTAINER: &str = "rm -rf /run/knobgate; \
    sh -c 'echo $$ >$C/cgroup.procs; exec setpriv --bounding-set=-all --inh-caps=-all sleep 1000' >/dev/null 2>&1 & echo $! >pid; \
    until grep -q /a$ /proc/$(cat pid)/cgroup; do sleep 0.02; done; \
    printf '{\"ociVersion\":\"1.0.2\",\"id\":\"%064d\",\"status\":\"creating\",\"pid\":%d,\"bundle\":\"%s\"}' 1 $(cat pid) $D >state.json";
const NO_CONTAINER: &str = "kill $(cat pid); rm -rf /sys/fs/bpf/knobgate";

/// A case that needs no preparation, and leaves nothing.
const fn plain(command: &'static str, does: &'static str, prints: &'static str) -> Case {
    Case { command, part: "", prepare: NOTHING, does, prints, clean: NOTHING }
}

/// A case with the policy attached.
const fn attached(command: &'static str, does: &'static str, prints: &'static str) -> Case {
    Case { command, part: "", prepare: ATTACH, does, prints, clean: DETACH }
}

pub(super) const CASES: &[Case] = &[
    plain("check", "$K check p.knob", "no errors"),
    plain("fmt", "$K fmt - <p.knob", "clamp write net.core.somaxconn to 128..65535"),
    plain("explain", "$K explain --policy p.knob write net.core.somaxconn 200", "verdict   allow"),
    plain("diff", "$K diff p.knob other.knob", "newly denied"),
    plain("test", "$K test p.knob", "1 test passed"),
    plain("import", "$K import x.conf", "allow write net.core.somaxconn"),
    plain("presets", "$K presets", "usermode-helpers@1"),
    plain("knobs", "$K knobs net.core.somaxconn", "network: one for each network namespace"),
    plain("lint", "$K lint --policy p.knob x.conf", "1 allowed"),
    plain(
        "lsp",
        r#"printf 'Content-Length: %d\r\n\r\n%s' 91 '{"id":1,"method":"initialize","params":{"processId":null,"rootUri":null,"capabilities":{}}}' | $K lsp; test $? = 1"#,
        "serverInfo",
    ),
    plain("drift", "$K drift x.conf; test $? = 1", "x.conf:1: net.core.somaxconn = 1234"),
    Case {
        command: "drift",
        part: "to know who wrote a knob",
        prepare: WRITTEN,
        does: "$K drift x.conf; test $? = 1",
        prints: "written 20",
        clean: DETACH,
    },
    plain(
        "compile",
        "$K compile --policy other.knob --output out/o && test -s out/o && echo written; rm -f out/o",
        "written",
    ),
    plain("simulate", "$K simulate scenario.json", "65535"),
    Case {
        command: "simulate",
        part: "with --on-kernel",
        prepare: COLD,
        does: "$K simulate --on-kernel scenario.json",
        prints: "65535",
        clean: NOTHING,
    },
    Case {
        command: "attach",
        part: "",
        prepare: COLD,
        does: "said=$($K attach --policy p.knob --cgroup $C 2>&1); echo \"$said\"; ! echo \"$said\" | grep -q warning",
        prints: "attached the policy",
        clean: "! test -e /sys/fs/bpf/knobgate/t-privileges || $K detach t-privileges",
    },
    Case {
        command: "attach",
        part: "to attach again under a name that is in use",
        prepare: ATTACH,
        does: "$K attach --policy other.knob --cgroup $C",
        prints: "replaced program",
        clean: DETACH,
    },
    attached("detach", "$K detach t-privileges", "detached"),
    attached("off", "$K off t-privileges", "detached"),
    Case {
        command: "on",
        part: "",
        prepare: "$K off",
        does: "$K on",
        prints: "all policies are on again",
        clean: "$K on",
    },
    attached(
        "list",
        "said=$($K list 2>&1); echo \"$said\"; ! echo \"$said\" | grep -q warning",
        "t-privileges",
    ),
    attached("show", "$K show t-privileges", "clamp write net.core.somaxconn to 128..65535"),
    attached("status", "$K status; test $? = 3", "t-privileges: 1 cgroup"),
    attached("top", TOP, "t-privileges"),
    attached("watch", WATCH, "REWRITE"),
    Case {
        command: "watch",
        part: "with --from",
        prepare: NOTHING,
        does: "$K watch --from events.jsonl",
        prints: "net.core.somaxconn",
        clean: NOTHING,
    },
    Case {
        command: "log",
        part: "",
        prepare: WRITTEN,
        does: "$K log t-privileges",
        prints: "REWRITE",
        clean: DETACH,
    },
    plain("replay", "$K replay --policy other.knob events.jsonl", "1 event"),
    plain(
        "report",
        "$K report -o out/r events.jsonl && test -s out/r && echo written; rm -f out/r",
        "written",
    ),
    plain("doctor", "$K doctor; true", "ok    cgroup v2"),
    Case {
        command: "doctor",
        part: "to examine a process",
        prepare: "$K attach --policy p.knob --cgroup $C; \
            setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all --inh-caps=-all sh -c 'exec sleep 1000' >/dev/null 2>&1 & \
            echo $! >pid; echo $! >$C/cgroup.procs; until grep -q sleep /proc/$(cat pid)/comm; do sleep 0.02; done",
        does: "said=$($K doctor --pid $(cat pid) 2>&1); echo \"$said\"; ! echo \"$said\" | grep -q unknown",
        prints: "ok    policies            t-privileges",
        clean: "kill $(cat pid); $K detach t-privileges",
    },
    Case {
        command: "run",
        part: "",
        prepare: COLD,
        does: "$K run --policy p.knob -- sh -c 'echo 9999999 >/proc/sys/net/core/somaxconn && cat /proc/sys/net/core/somaxconn'",
        prints: "65535\n",
        clean: NOTHING,
    },
    Case {
        command: "run",
        part: "to say at the end what was denied",
        prepare: COLD,
        does: "$K run --policy other.knob -- sh -c '(echo 1 >/proc/sys/net/core/somaxconn) 2>/dev/null || true'",
        prints: "DENY EPERM",
        clean: NOTHING,
    },
    plain("runtime", "$K runtime --runtime echo -- state abc", "state abc"),
    Case {
        command: "learn",
        part: "",
        prepare: COLD,
        does: "$K learn --out out/l -- sh -c 'echo 1234 >/proc/sys/net/core/somaxconn' && cat out/l",
        prints: "allow write net.core.somaxconn",
        clean: "rm -f out/l",
    },
    Case {
        command: "learn",
        part: "with --from",
        prepare: NOTHING,
        does: "$K learn --from events.jsonl --accept-loss --out out/l && cat out/l",
        prints: "default write deny",
        clean: "rm -f out/l",
    },
    Case {
        command: "oci-hook",
        part: "",
        prepare: CONTAINER,
        does: "$K oci-hook --policies policies.d --agent-config agent.toml <state.json && ls -R /sys/fs/bpf/knobgate",
        prints: "cgroup-",
        clean: NO_CONTAINER,
    },
    Case {
        command: "systemd-dropin",
        part: "",
        prepare: COLD,
        does: "said=$($K systemd-dropin --policy p.knob web 2>&1); echo \"$said\"; ! echo \"$said\" | grep -q 'would rewrite'",
        prints: "BPFProgram=sysctl:/sys/fs/bpf/knobgate/t-privileges/program",
        clean: "! test -e /sys/fs/bpf/knobgate/t-privileges || $K detach t-privileges",
    },
    Case {
        command: "unhook",
        part: "",
        prepare: "hooks=machine/etc/containers/oci/hooks.d; mkdir -p $hooks; \
            echo '{\"version\": \"1.0.0\", \"hook\": {\"path\": \"/usr/bin/knobgate\", \"args\": [\"knobgate\", \"oci-hook\"]}, \
                \"when\": {\"always\": true}, \"stages\": [\"createRuntime\"]}' >$hooks/knobgate.json",
        does: "$K unhook --root machine",
        prints: "removed ",
        clean: "rm -rf machine",
    },
    Case {
        command: "verify",
        part: "",
        prepare: COLD,
        does: "$K verify --policy p.knob",
        prints: "accepted",
        clean: NOTHING,
    },
    plain("completions", "$K completions bash", "_knobgate"),
    plain("man", "$K man attach", "Privileges"),
];
