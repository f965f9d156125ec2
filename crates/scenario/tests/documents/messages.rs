//! Where an error is, and what is wrong.

use knobgate_scenario::Scenario;

use crate::{document, errors, step};

#[test]
fn errors_say_where_and_what() {
    for (json, expected) in [
        ("".to_owned(), "line 1, column 1: EOF while parsing a value\n"),
        (
            "[]".to_owned(),
            "line 1, column 1: invalid type: sequence, expected a scenario: an object with `steps`",
        ),
        (
            "[null,null,{},null,[],[],{},[],{},[]]".to_owned(),
            "invalid type: sequence, expected a scenario: an object with `steps`",
        ),
        (
            step(r#"["p",null,null,null,null,null,null,null,null,null]"#),
            "steps[0]: invalid type: sequence, expected a step: an object with its action",
        ),
        ("{\n \"steps\": [],\n \"step\": []}".to_owned(), "line 3, column 7: step: unknown field"),
        (document("") + "x", "trailing characters"),
        (document(r#""profile": "3.0""#), "profile: there is no profile \"3.0\"; the profiles are 5.4"),
        (document(r#""sysctl_writes_strict": 2"#), "sysctl_writes_strict: 2 is not a value of this knob"),
        (document(r#""programs": {"p": {"policy": "good.knob"}}"#), "none\n"),
        (
            document(r#""programs": {"p": {"policy": "none.knob"}}"#),
            "programs.p.policy: cannot read none.knob: No such file",
        ),
        (
            document(r#""programs": {"p": {"policy": "bad.knob"}}"#),
            "programs.p.policy: the policy has errors: bad.knob:2:7: ",
        ),
        (
            document(r#""programs": {"p": {"policy": "good.knob"}, "p": {"policy": "good.knob"}}"#),
            "`p` occurs twice",
        ),
        (
            document(r#""programs": {"p": {"expected_attach_type": 18}}"#),
            "a program has exactly one of the fields",
        ),
        (
            document(r#""programs": {"p": {"policy": "good.knob", "program": "x"}}"#),
            "these fields do not go together",
        ),
        (document(r#""programs": {"p": {"insns": "b7"}}"#), "programs.p.insns: "),
        (
            document(r#""programs": {"p": {"insns": "18110000 01000000 00000000 00000000"}}"#),
            "programs.p.insns: instruction 0 loads map 1, and there are 1 maps, counted from 0",
        ),
        (
            document(
                r#""maps": [{"name": "m", "type": "arry", "key_size": 4, "value_size": 8, "max_entries": 1}]"#,
            ),
            "maps[0].type: no kind of map is called `arry`; there are hash, array",
        ),
        (
            document(
                r#""maps": [{"name": "m", "type": "array_of_maps", "key_size": 4, "value_size": 4, "max_entries": 1}]"#,
            ),
            "maps[0].type: a scenario's own maps cannot be of the type `array_of_maps`: only those of objects can; there are",
        ),
        (
            document(
                r#""maps": [{"name": "m", "type": "hash", "key_size": 1, "value_size": 1, "max_entries": 1, "entries": [["00", "0000"]]}]"#,
            ),
            "maps[0].entries[0][1]: a value of this map has 1 bytes, and this one has 2",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "a", "handler": {"kind": "int"}}]"#),
            "knobs[0]: the handler rejects this value with EINVAL",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "9", "handler": {"kind": "int", "max": 8}}]"#),
            "knobs[0]: the handler rejects this value with EINVAL",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "1 2", "handler": {"kind": "int", "len": 1}}]"#),
            "knobs[0]: the handler takes only the first 2 bytes of this value",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "", "handler": {"kind": "u8"}}]"#),
            "knobs[0]: the value of a knob of this kind is a number",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "1", "handler": {"kind": "u8", "max": 256}}]"#),
            "knobs[0]: `max` is out of range for this kind: 256",
        ),
        (
            document(r#""knobs": [{"name": "vm.x", "value": "1", "handler": {"kind": "string", "min": 1}}]"#),
            "knobs[0]: a handler of this kind has no `min`",
        ),
        (
            document(
                r#""knobs": [{"name": "vm.x", "value": "1", "mode": "644x", "handler": {"kind": "string"}}]"#,
            ),
            "knobs[0].mode: `644x` is not a mode",
        ),
        (
            document(r#""knobs": [{"name": "vm/../x", "value": "1", "handler": {"kind": "string"}}]"#),
            "knobs[0].name: `vm/../x` is not the name of a knob",
        ),
        (
            document(
                r#""knobs": [{"name": "fs.binfmt_misc.register", "value": "1", "handler": {"kind": "string"}}]"#,
            ),
            "knobs[0].name: `fs.binfmt_misc.register` is not a sysctl",
        ),
        (
            document(
                r#""maps": [{"name": "m", "type": "array", "key_size": 4, "value_size": 8, "max_entries": 33554433}]"#,
            ),
            "maps: the maps of a scenario take at most 256 MiB together, and these take 257 MiB",
        ),
        (
            document(
                r#""maps": [{"name": "m", "type": "percpu_array", "key_size": 4, "value_size": 1, "max_entries": 65537}], "steps": [{"map": "m"}]"#,
            ),
            "steps[0].map: this array has 65537 entries, and of one with more than 65536 they cannot be listed",
        ),
        (" ".repeat(Scenario::TEXT_MAX + 1), "a scenario has at most 16 MiB"),
        (
            step(r#"{"write": {"knob": "fs/binfmt_misc/status", "cgroup": "a", "data": "1"}}"#),
            "steps[0].write.knob: `fs.binfmt_misc.status` is not a sysctl",
        ),
        (
            document(
                r#""knobs": [{"name": "vm.x", "value": "1", "handler": {"kind": "int"}}, {"name": "vm/x", "value": "1", "handler": {"kind": "int"}}]"#,
            ),
            "knobs[1].name: the knob vm/x is defined twice",
        ),
        (document(r#""cgroups": ["a", "/a"]"#), "cgroups[1]: the cgroup /a is defined twice"),
        (document(r#""cgroups": ["a/../b"]"#), "cgroups[0]: `a/../b` is not the path of a cgroup"),
        (step(r#"{"lode": "p"}"#), "steps[0].lode: unknown field `lode`, expected one of `load`, `attach`"),
        (step(r#"{"load": "q"}"#), "steps[0].load: there is no program `q`; there are p"),
        (step(r#"{"effective": "c"}"#), "steps[0].effective: there is no cgroup `c`; there are /, /a, /a/b"),
        (step(r#"{"map": "n"}"#), "steps[0].map: there is no map `n`; there are m"),
        (
            step(r#"{"detach": "x"}"#),
            "steps[0].detach: no step before this one attaches anything `\"as\": \"x\"`",
        ),
        (step(r#"{"detach": 1.5}"#), "expected an id: a string or a whole number"),
        (step(r#"{"read": {"cgroup": "/"}}"#), "steps[0].read: the `knob` is missing"),
        (
            step(r#"{"read": {"knob": "vm.y", "cgroup": "/"}}"#),
            "steps[0].read.knob: there is no knob `vm.y`; there are vm/x",
        ),
        (
            step(r#"{"read": {"knob": "vm.x", "cgroup": "/", "pos": -1}}"#),
            "invalid value: integer `-1`, expected u64",
        ),
        (
            step(r#"{"read": {"knob": "vm.x", "cgroup": "/", "pos": 9223372036854775808}}"#),
            "steps[0].read.pos: 9223372036854775808 is not a file position",
        ),
        (
            step(r#"{"read": {"knob": "vm.x", "cgroup": "/", "count": 8388609}}"#),
            "steps[0].read.count: 8388609 bytes are too many",
        ),
        (
            step(r#"{"write": {"knob": "vm.x", "cgroup": "/", "data": 5}}"#),
            "steps[0].write.data: invalid type: integer `5`, expected a string, or {\"hex\": …}",
        ),
        (
            step(r#"{"read": {"knob": "vm.x"}}"#),
            "steps[0].read: an access has either a `cgroup` or a `process`",
        ),
        (
            document(
                r#""processes": {"p": {}}, "steps": [{"read": {"knob": "vm.x", "cgroup": "/", "process": "p"}}]"#,
            ),
            "steps[0].read: an access has either a `cgroup` or a `process`",
        ),
        (
            step(r#"{"write": {"knob": "vm.x", "process": "p", "data": "1"}}"#),
            "steps[0].write.process: there is no process `p`, nor any other",
        ),
        (
            document(r#""processes": {"p": {}}, "steps": [{"move": {"process": "q", "cgroup": "c"}}]"#),
            "steps[0].move.process: there is no process `q`; there are p",
        ),
        (
            document(r#""processes": {"p": {"cgroup": "c"}}"#),
            "processes.p.cgroup: there is no cgroup `c`; there are /",
        ),
        (
            document(r#""processes": {"p": {"uid": 4294967295}}"#),
            "processes.p.uid: no process can have the id 4294967295",
        ),
        (
            document(r#""processes": {"p": {"comm": "0123456789abcdef"}}"#),
            "processes.p.comm: the name of a process has at most 15 bytes, and no NUL",
        ),
        (document(r#""processes": {"p": {"pid": 0}}"#), "processes.p.pid: 0 is not the id of a process"),
        (
            document(r#""processes": {"p": {"pid": 7}, "q": {"pid": 7}}"#),
            "processes.q.pid: there are two processes with the id 7",
        ),
        (document(r#""processes": {"p": {}, "p": {}}"#), "`p` occurs twice"),
        (
            step(r#"{"attach": {"program": "p", "cgroup": "a", "mode": "multi", "flags": ["replace"]}}"#),
            "steps[0].attach.flags: `replace` needs `relative_to`",
        ),
        (
            step(
                r#"{"attach": {"program": "p", "cgroup": "a", "mode": "multi", "flags": ["before", "before"]}}"#,
            ),
            "steps[0].attach.flags[1]: this flag occurs twice",
        ),
        (
            step(
                r#"{"attach": {"program": "p", "cgroup": "a", "mode": "multi", "as": "x"}}, {"update": {"link": "x", "program": "p"}}"#,
            ),
            "steps[1].update.link: `x` is attached without a link",
        ),
        (
            step(
                r#"{"attach": {"program": "p", "cgroup": "a", "mode": "multi", "as": 1}}, {"attach": {"program": "p", "cgroup": "a", "mode": "multi", "as": "1"}}"#,
            ),
            "steps[1].attach.as: there is an attachment `1` already",
        ),
    ] {
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let json = step("{\"load\": \"q\"},\n{\"map\": \"n\"}");
    let errors = errors(&json);
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(
        lines[0].starts_with("line 1, column ") && lines[1].starts_with("line 2, column 9: steps[1].map: ")
    );
}
