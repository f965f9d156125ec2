//! How much a document may have, and documents that have very much.

use knobgate_bpf::{Insn, MapDef, Program, Reg, Width, write_object};
use knobgate_scenario::Scenario;

use crate::{document, errors, files, step};

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
