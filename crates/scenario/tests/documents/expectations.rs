//! What a document may say that maps and knobs hold, at first and after a step.

use crate::{document, errors, step};

#[test]
fn an_expectation_that_cannot_be_met_or_compares_nothing_is_an_error() {
    let read =
        |expect: &str| step(&format!(r#"{{"read": {{"knob": "vm.x", "cgroup": "/"}}, "expect": {expect}}}"#));
    for (json, expected) in [
        (read(r#"{"errno": null, "ret": 2, "data": "1\n", "pos": 2, "value": {"hex": "310a"}}"#), "none\n"),
        (read(r#"[{"kernels": "<5.18", "errno": "EPERM"}, {"ok": true}]"#), "none\n"),
        (read(r#"[{"kernels": "<5.18"}, {"ok": true}]"#), "none\n"),
        (read("{}"), "steps[0].expect: this expects nothing"),
        (read(r#"{"kernels": "<5.18"}"#), "steps[0].expect: this expects nothing"),
        (read("[]"), "steps[0].expect: invalid length 0, expected an expectation, or an array of them"),
        (
            read("5"),
            "steps[0].expect: invalid type: integer `5`, expected an expectation, or an array of them",
        ),
        (read(r#"{"errno": "EPREM"}"#), "steps[0].expect.errno: there is no error `EPREM`"),
        (
            read(r#"{"entries": []}"#),
            "steps[0].expect.entries: the line of a `read` has no such member; it has `ok`",
        ),
        (
            read(r#"[{"kernels": "<5.18", "ret": 1}, {"log": "x"}]"#),
            "steps[0].expect[1].log: the line of a `read`",
        ),
        (
            read(r#"[{"ret": 1}, {"kernels": "<5.18", "ret": 2}]"#),
            "steps[0].expect[0]: this one is for all kernels",
        ),
        (read(r#"{"kernels": "5.18", "ret": 1}"#), "steps[0].expect.kernels: `5.18` is not a comparison"),
        (read(r#"{"ret": null}"#), "steps[0].expect.ret: invalid type: null, expected i64"),
        (read("null"), "steps[0].expect: invalid type: null, expected an expectation, or an array of them"),
        (read(r#"{"result": 1}"#), "steps[0].expect.result: unknown field `result`"),
        (read(r#"{"errno": "22"}"#), "steps[0].expect.errno: this error is written `EINVAL`"),
        (read(r#"{"errno": "0524"}"#), "steps[0].expect.errno: this error is written `524`"),
        (read(r#"{"errno": "524"}"#), "none\n"),
        (read(r#"{"errno": "4096"}"#), "steps[0].expect.errno: there is no error `4096`"),
        (read(r#"{"errno": 22}"#), "steps[0].expect.errno: invalid type: integer `22`, expected a string"),
        (
            read(r#"{"ok": true, "errno": "EIO"}"#),
            "errno: `ok` is that of a step that succeeds, and `errno` of one that fails",
        ),
        (
            read(r#"{"ok": false, "ret": 2}"#),
            "steps[0].expect.ret: `ret` is that of a step that succeeds, and `ok` of one",
        ),
        (
            read(r#"{"errno": "EIO", "data": "1\n"}"#),
            "steps[0].expect.data: `data` is that of a step that succeeds",
        ),
        (read(r#"{"ret": 1, "data": null}"#), "steps[0].expect.data: `ret` is that of a step that succeeds"),
        (read(r#"{"pos": null, "ok": true}"#), "steps[0].expect.pos: `ok` is that of a step that succeeds"),
        (read(r#"{"errno": "EIO", "ret": -1}"#), "steps[0].expect.errno: with the `ret` -1 it is `EPERM`"),
        (read(r#"{"errno": null, "ret": -1}"#), "steps[0].expect.errno: with the `ret` -1 it is `EPERM`"),
        (read(r#"{"errno": "EIO", "ret": -5000}"#), "steps[0].expect.errno: with the `ret` -5000 it is null"),
        (read(r#"{"ok": false, "errno": null, "ret": -5000}"#), "none\n"),
        (read(r#"{"ok": false, "errno": null, "data": null}"#), "none\n"),
        (
            read(r#"{"ret": 2, "data": "1"}"#),
            "steps[0].expect.data: with the `ret` 2 it has 2 bytes, and these are 1",
        ),
        // A program can set it.
        (read(r#"{"pos": -1}"#), "none\n"),
        (read(r#"{"value": null}"#), "steps[0].expect.value: vm/x can be read: this is not null"),
        (
            step(r#"{"read": {"knob": "vm.x", "cgroup": "/", "count": 1}, "expect": {"data": "1\n"}}"#),
            "steps[0].expect.data: 2 bytes, and at most 1 are read",
        ),
        (
            step(r#"{"write": {"knob": "vm.x", "cgroup": "/", "data": "1"}, "expect": {"data": "1"}}"#),
            "steps[0].expect.data: a write has none: this is null",
        ),
        (
            step(
                r#"{"write": {"knob": "vm.x", "cgroup": "/", "data": "1"}, "expect": {"errno": "EPERM", "data": null, "value": "0\n"}}"#,
            ),
            "none\n",
        ),
        (
            document(
                r#""programs": {"p": {"insns": "b700000001000000 9500000000000000"}}, "steps": [{"effective": "/", "expect": {"programs": ["p", "q"]}}]"#,
            ),
            "expect.programs[1]: there is no program `q`; there are p",
        ),
        (
            step(r#"{"effective": "/", "expect": {"ok": false, "errno": null}}"#),
            "errno: `errno` is that of a step that succeeds",
        ),
        (
            step(r#"{"load": "p", "expect": {"ok": true, "log": "x"}}"#),
            "log: `ok` is that of a step that succeeds, and `log` of one",
        ),
        (step(r#"{"load": "p", "expect": {"ok": false, "errno": null, "log": "x"}}"#), "none\n"),
        (
            read(r#"[{"kernels": ">6.1 <6.1", "ret": 1}, {"ret": 2}]"#),
            "expect[0].kernels: no kernel is in this range",
        ),
        (
            read(r#"[{"kernels": ">=5.18", "ret": 1}, {"kernels": ">=6.1", "ret": 2}]"#),
            "expect[1].kernels: this one never counts: those before it are for all these kernels",
        ),
        (
            read(r#"[{"kernels": ">=5.18", "ret": 1}, {"kernels": "<5.18", "ret": 3}, {"ret": 2}]"#),
            "expect[2]: this one never counts: those before it are for all kernels",
        ),
        (step(r#"{"load": "p", "expect": {"log": ""}}"#), "steps[0].expect.log: every `log` contains this"),
        (step(r#"{"expect": {"ok": true}}"#), "steps[0]: a step has exactly one of the members `load`"),
        (step(r#"{"load": "p", "map": "m"}"#), "steps[0]: a step has exactly one of the members `load`"),
    ] {
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}

#[test]
fn initial_entries_are_those_that_the_map_can_have() {
    let map = |kind: &str, key_size: u32, entries: &str| {
        document(&format!(
            r#""maps": [{{"name": "m", "type": "{kind}", "key_size": {key_size}, "value_size": 1, "max_entries": 2, "entries": {entries}}}]"#
        ))
    };
    let three = r#"[["01", "00"], ["02", "00"], ["03", "00"]]"#;
    for (json, expected) in [
        (map("array", 4, r#"[["01000000", "00"]]"#), "none\n"),
        (
            map("array", 4, r#"[["02000000", "00"]]"#),
            "maps[0].entries[0][0]: this array has 2 entries, and this is the index 2",
        ),
        (map("hash", 1, three), "maps[0].entries[2]: this map has at most 2 entries"),
        (map("hash", 1, r#"[["01", "00"], ["01", "01"]]"#), "maps[0].entries[1][0]: this key occurs twice"),
        (map("lpm_trie", 5, r#"[["0800000001", "00"]]"#), "none\n"),
        (
            map("lpm_trie", 5, r#"[["07000000fe", "00"], ["08000000ff", "00"], ["08000000fe", "00"]]"#),
            "maps[0].entries[2]: this map has at most 2 entries",
        ),
        (
            map("lpm_trie", 5, r#"[["04000000ff", "00"], ["04000000f0", "00"]]"#),
            "maps[0].entries[1][0]: this key occurs twice",
        ),
        (
            map("lpm_trie", 5, r#"[["0900000001", "00"]]"#),
            "maps[0].entries[0][0]: the prefix has 9 bits, of 8",
        ),
        (map("queue", 0, r#"[["", "00"]]"#), "maps[0].entries: a map of type queue starts without entries"),
    ] {
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}

#[test]
fn expected_entries_are_those_that_the_map_can_have() {
    let map = |kind: &str, entries: &str| {
        document(&format!(
            r#""maps": [{{"name": "m", "type": "{kind}", "key_size": {}, "value_size": 1, "max_entries": 2}}],
               "steps": [{{"map": "m", "expect": {{"entries": {entries}}}}}]"#,
            match kind {
                "array" => 4,
                "queue" => 0,
                _ => 1,
            }
        ))
    };
    for (kind, entries, expected) in [
        ("hash", "[]", "none\n"),
        ("hash", r#"[["01", "00"], ["02", "00"]]"#, "none\n"),
        ("hash", r#"[["02", "00"], ["01", "00"]]"#, "steps[0].expect.entries[1]: entries are sorted by key"),
        ("hash", r#"[["01", "00"], ["01", "00"]]"#, "steps[0].expect.entries[1]: this key occurs twice"),
        (
            "hash",
            r#"[["0001", "00"]]"#,
            "expect.entries[0][0]: a key of this map has 1 bytes, and this one has 2",
        ),
        (
            "hash",
            r#"[["01", ""]]"#,
            "expect.entries[0][1]: a value of this map has 1 bytes, and this one has 0",
        ),
        (
            "hash",
            r#"[["01", "00"], ["02", "00"], ["03", "00"]]"#,
            "steps[0].expect.entries: this map has at most 2 entries, and here are 3",
        ),
        ("array", r#"[["00000000", "00"], ["01000000", "00"]]"#, "none\n"),
        (
            "array",
            r#"[["00000000", "00"]]"#,
            "expect.entries: this array always has 2 entries, and here are 1",
        ),
        ("queue", r#"[["", "01"]]"#, "none\n"),
        (
            "queue",
            r#"[["00", "01"]]"#,
            "expect.entries[0][0]: a key of this map has 0 bytes, and this one has 1",
        ),
    ] {
        let json = map(kind, entries);
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}

#[test]
fn nobody_expects_the_value_of_a_knob_that_cannot_be_read() {
    let write = |knob: &str, value: &str| {
        document(&format!(
            r#""knobs": [{{"name": "vm.x", {knob}}}],
               "steps": [{{"write": {{"knob": "vm.x", "cgroup": "/", "data": "1"}}, "expect": {{"value": {value}}}}}]"#
        ))
    };
    let fails = r#""handler": {"kind": "int", "read_error": "EINVAL"}"#;
    let write_only = r#""value": "1", "mode": "0200", "handler": {"kind": "int"}"#;
    let secret = r#""handler": {"kind": "stable_secret"}"#;
    for (knob, value, expected) in [
        (fails, r#""1\n""#, "steps[0].expect.value: nobody can read vm/x: this is null"),
        (write_only, r#""1\n""#, "steps[0].expect.value: nobody can read vm/x: this is null"),
        (fails, "null", "none\n"),
        (write_only, "null", "none\n"),
        (secret, "null", "none\n"),
        (secret, r#""::1""#, "none\n"),
    ] {
        let json = write(knob, value);
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}

#[test]
fn only_a_knob_that_cannot_be_read_has_no_value() {
    let knob = |members: &str, handler: &str| {
        document(&format!(r#""knobs": [{{"name": "vm.x", {members} "handler": {{{handler}}}}}]"#))
    };
    for (json, expected) in [
        (knob("", r#""kind": "int", "read_error": "EINVAL""#), "none\n"),
        (knob("", r#""kind": "stable_secret""#), "none\n"),
        (knob(r#""value": "2001:db8::1\n","#, r#""kind": "stable_secret""#), "none\n"),
        (
            knob("", r#""kind": "int""#),
            "knobs[0]: the `value` is missing: only a knob that cannot be read has none",
        ),
        (
            knob(r#""value": "1","#, r#""kind": "int", "read_error": "EIO""#),
            "knobs[0]: a knob with `read_error` has no `value`",
        ),
        (knob("", r#""kind": "int", "read_error": "EOI""#), "knobs[0]: there is no error `EOI`"),
        (
            knob(r#""value": "secret","#, r#""kind": "stable_secret""#),
            "knobs[0]: the handler rejects this value with EIO",
        ),
        (
            knob("", r#""kind": "stable_secret", "max_len": 9"#),
            "knobs[0]: a handler of this kind has no `max_len`",
        ),
    ] {
        let errors = errors(&json);
        assert!(errors.contains(expected), "{json}\n  {errors}  {expected}");
    }
}
