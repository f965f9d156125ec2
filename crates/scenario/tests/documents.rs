//! Scenarios as JSON: the checker finds errors, and the schema is that of the types.

use std::fs;
use std::io;

use knobgate_bpf::{Insn, MapDef, Program, Reg, Width, write_object};
use knobgate_scenario::{Document, Scenario, json_schema};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/scenario.schema.json");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

const ALLOW: &str = "b700000001000000 9500000000000000";

/// The files that the documents here name.
fn files(name: &str) -> io::Result<Vec<u8>> {
    match name {
        "good.knob" => Ok(b"policy good\nallow read **\n".to_vec()),
        "bad.knob" => Ok(b"policy bad\nallow reed **\nallow write vm.x if new <= \"9\"\n".to_vec()),
        _ => Err(io::Error::from_raw_os_error(2)),
    }
}

/// Every error, one a line.
fn errors(json: &str) -> String {
    match Scenario::parse(json, &mut files) {
        Ok(_) => "none\n".to_owned(),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

/// A document with one knob, map, program and cgroup, and these members besides or instead.
fn document(members: &str) -> String {
    let own = |name: &str| members.contains(&format!("\"{name}\":"));
    let mut text = format!("{{{members}");
    for (name, value) in [
        ("knobs", r#"[{"name": "vm.x", "value": "1", "handler": {"kind": "int"}}]"#.to_owned()),
        (
            "maps",
            r#"[{"name": "m", "type": "array", "key_size": 4, "value_size": 8, "max_entries": 1}]"#
                .to_owned(),
        ),
        ("programs", format!(r#"{{"p": {{"insns": "{ALLOW}"}}}}"#)),
        ("cgroups", r#"["a/b"]"#.to_owned()),
        ("steps", "[]".to_owned()),
    ] {
        if !own(name) {
            text.push_str(&format!("{}\"{name}\": {value}", if text.len() > 1 { ", " } else { "" }));
        }
    }
    text + "}"
}

fn step(step: &str) -> String {
    document(&format!(r#""steps": [{step}]"#))
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
        fs::write(SCHEMA, &schema).unwrap();
    }
    let published = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema,
        "schemas/scenario.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
    );
}

/// The names of the examples, with their texts.
fn examples() -> Vec<(String, String)> {
    let entries = fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let scenarios = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    scenarios.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_examples_are_right_and_fit_the_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let examples = examples();
    assert!(!examples.is_empty());
    for (name, text) in examples {
        let errors: Vec<String> = validator
            .iter_errors(&serde_json::from_str(&text).unwrap())
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let checked = Scenario::parse(&text, &mut |file| fs::read(format!("{EXAMPLES}/{file}")));
        assert!(checked.is_ok(), "{name}: {checked:#?}");
    }
}

#[test]
fn the_schema_rejects_what_is_not_a_scenario() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let fits = |text: &str| validator.is_valid(&serde_json::from_str(text).unwrap());
    assert!(fits(&document("")));
    for wrong in [
        document(r#""unknown": 1"#),
        document(r#""programs": {"p": {}}"#),
        document(r#""programs": {"p": {"policy": "x", "object": "y"}}"#),
        document(r#""programs": {"p": {"insns": "0"}}"#),
        step(r#"{"load": "p", "map": "m"}"#),
        step(r#"{"effective": "/", "wrte": 1}"#),
        step(r#"{"effective": "/", "exepct": {"ok": true}}"#),
        step(r#"{"write": {"knob": "vm.x", "cgroup": "/", "data": {"hex": "0"}}}"#),
    ] {
        assert!(!fits(&wrong), "{wrong}");
        assert_ne!(errors(&wrong), "none\n", "{wrong}");
    }
}

#[test]
fn a_document_survives_being_written() {
    for (name, text) in examples() {
        let document = Document::parse(&text).unwrap();
        let written = serde_json::to_string(&document).unwrap();
        assert_eq!(Document::parse(&written).unwrap(), document, "{name}");
    }
}

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

#[test]
fn of_a_map_with_too_many_entries_none_are_listed() {
    let entries: Vec<String> =
        (0..=Scenario::LISTED_MAX).map(|key| format!(r#"["{key:08x}", "00"]"#)).collect();
    for (count, expected) in [(entries.len(), Some("E2BIG")), (entries.len() - 1, None)] {
        let json = document(&format!(
            r#""maps": [{{"name": "m", "type": "hash", "key_size": 4, "value_size": 1, "max_entries": 1000000, "entries": [{}]}}], "steps": [{{"map": "m"}}]"#,
            entries[..count].join(", ")
        ));
        let scenario = Scenario::parse(&json, &mut files).unwrap();
        let line = scenario.play_on_model().unwrap().next().unwrap().unwrap();
        assert_eq!((line.ok, line.errno.as_deref()), (expected.is_none(), expected));
    }
}

#[test]
fn programs_of_objects_have_a_limit_for_all_together() {
    // A megabyte of read-only data, which each program has.
    let data = MapDef::frozen_value(".rodata", vec![7; 1 << 20]);
    let program = Program {
        name: "one".to_owned(),
        insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
        maps: vec![data],
        ..Program::default()
    };
    let object = write_object(&program).expect("an object");
    let checked = |count: usize| {
        let programs: Vec<String> =
            (0..count).map(|number| format!(r#""p{number:03}": {{"object": "one.o"}}"#)).collect();
        let text = format!(r#"{{"programs": {{{}}}, "steps": []}}"#, programs.join(", "));
        let mut reads = 0;
        let checked = Scenario::parse(&text, &mut |_| {
            reads += 1;
            Ok(object.clone())
        });
        assert_eq!(reads, 1, "an object is read once");
        checked.map(|_| ()).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(checked(255), Ok(()));
    let errors = checked(300).expect_err("it is too much");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("programs.p255"), "{errors:?}");
    assert!(errors[0].contains("the programs of objects have at most 256 MiB together"), "{errors:?}");
}

#[test]
fn files_have_a_limit_for_all_together() {
    let programs: Vec<String> =
        (0..40).map(|number| format!(r#""p{number:02}": {{"object": "{number}.o"}}"#)).collect();
    let text = format!(r#"{{"programs": {{{}}}, "steps": []}}"#, programs.join(", "));
    let mut reads = 0;
    let errors = Scenario::parse(&text, &mut |_| {
        reads += 1;
        Ok(vec![0; 8 << 20])
    });
    let errors: Vec<String> = errors.expect_err("it is too much").iter().map(ToString::to_string).collect();
    // 32 that are no objects, and one too much.
    assert_eq!((reads, errors.len()), (33, 33), "{errors:?}");
    let last = &errors[32];
    assert!(last.contains("programs.p32.object"), "{last}");
    assert!(last.contains("the files of policies and objects have at most 256 MiB together"), "{last}");
}

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

#[test]
fn a_hundred_thousand_wrong_steps_are_all_reported() {
    let wrong = vec![r#"{"load": "none"}"#; 100_000].join(", ");
    let errors = Scenario::parse(&step(&wrong), &mut files).expect_err("errors");
    assert_eq!(errors.len(), 100_000);
    let last = &errors[99_999];
    assert_eq!(last.path, "steps[99999].load");
    let (line, column) = last.place.expect("the document is a text");
    assert_eq!(line, 1);
    assert!(column > 99_999 * r#"{"load": "none"}, "#.len(), "{column}");
}

#[test]
fn a_hundred_thousand_descriptors_are_told_apart() {
    let access = |index| format!(r#"{{"read": {{"open": {index}, "knob": "vm.x", "cgroup": "/"}}}}"#);
    let steps: Vec<String> = (0..100_000).map(access).collect();
    assert_eq!(errors(&step(&steps.join(", "))), "none\n");
}
