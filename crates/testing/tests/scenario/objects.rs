//! Programs of ELF objects, as clang makes them.

use std::collections::BTreeMap;

use knobgate_scenario::{Document, ProgramDocument};

use crate::Case;
use crate::programs::setting;

/// Files in `examples/objects`, the program that is taken, and its maps to look at.
const OBJECTS: &[(&str, Option<&str>, &[&str])] = &[
    ("context", None, &[]),
    ("kinds", None, &["by_kind", "queue", "stack", "perf"]),
    ("names", None, &[]),
    ("vectors", None, &[]),
    ("watch", None, &["writes", "totals", "events"]),
    ("whole", None, &[]),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, program, maps) in OBJECTS {
        let object = format!("objects/{name}.bpf.o");
        let program = program.map(str::to_owned);
        let program = ProgramDocument::Object { object, program, contents: BTreeMap::new() };
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
    cases
}
