//! Programs of ELF objects, as clang makes them.

use std::collections::BTreeMap;

use knobgate_scenario::{Document, ProgramDocument};

use crate::Case;
use crate::programs::setting;

/// Files in `examples/objects`, the program that is taken, and its maps to look at.
const OBJECTS: &[(&str, Option<&str>, &[&str])] = &[
    ("context", None, &[]),
    ("kinds", None, &["by_kind", "queue", "stack", "perf"]),
    ("locks", None, &["counters", "by_kind"]),
    ("names", None, &[]),
    ("nested", None, &["reads", "writes", "names", "ring"]),
    ("vectors", None, &[]),
    ("watch", None, &["writes", "totals", "events"]),
    ("whole", None, &[]),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, program, maps) in OBJECTS {
        let object = format!("objects/{name}.bpf.o");
        let program = program.map(str::to_owned);
        let (set, contents) = (BTreeMap::new(), BTreeMap::new());
        let program = ProgramDocument::Object { object, program, set, contents };
        let document =
            Document { programs: [("program".to_owned(), program)].into(), maps: Vec::new(), ..setting() };
        let mut steps =
            vec![r#"{"attach": {"program": "program", "cgroup": "a", "mode": "link"}}"#.to_owned()];
        for knob in ["kernel/domainname", "net/core/somaxconn", "net/ipv4/tcp_rmem", "kernel/shmmax"] {
            for data in ["1", "10 20 30\n", "0x10", "4096 8192 16384", "x"] {
                steps.extend([
                    format!(r#"{{"write": {{"knob": "{knob}", "cgroup": "a/b", "data": {data:?}}}}}"#),
                    format!(
                        r#"{{"write": {{"knob": "{knob}", "cgroup": "a", "pos": 1, "data": {data:?}}}}}"#
                    ),
                ]);
            }
            steps.push(format!(r#"{{"read": {{"knob": "{knob}", "cgroup": "a/b"}}}}"#));
        }
        steps.extend(maps.iter().map(|map| format!(r#"{{"map": "{map}"}}"#)));
        cases.push((*name, document, steps.join(", ")));
    }
    cases.push(pinned());
    cases
}

/// Two objects with a map that is pinned by name, which they share, and variables of their own.
fn pinned() -> Case {
    let objects = ["objects/pinned.bpf.o", "./objects/pinned.bpf.o"];
    let programs = ["one", "other"].map(str::to_owned).into_iter().zip(objects);
    let program = |object: &str| ProgramDocument::Object {
        object: object.to_owned(),
        program: None,
        set: BTreeMap::new(),
        contents: BTreeMap::new(),
    };
    let programs = programs.map(|(name, object)| (name, program(object))).collect();
    let steps = r#"
        {"attach": {"program": "one", "cgroup": "a", "mode": "link"}},
        {"attach": {"program": "other", "cgroup": "a/b", "mode": "link"}},
        {"write": {"knob": "net/core/somaxconn", "cgroup": "a", "data": "1\n"}},
        {"write": {"knob": "net/core/somaxconn", "cgroup": "a/b", "data": "2\n"}},
        {"write": {"knob": "net/core/somaxconn", "cgroup": "a", "data": "3\n"}},
        {"map": "knobgate_test"},
        {"map": "one/.bss"},
        {"map": "other/.bss"}"#;
    ("pinned", Document { programs, maps: Vec::new(), ..setting() }, steps.to_owned())
}
