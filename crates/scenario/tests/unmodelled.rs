//! Programs and accesses that are not modelled: what depends on them is not played.

use knobgate_scenario::Scenario;

/// The lines of these steps. `stack` calls bpf_get_task_stack, which is not modelled, and has the map `m`.
fn lines(steps: &str) -> Vec<String> {
    let text = format!(
        r#"{{
            "knobs": [
                {{"name": "vm.x", "value": "1", "handler": {{"kind": "int"}}}},
                {{"name": "vm.y", "value": "2", "handler": {{"kind": "int"}}}}
            ],
            "maps": [{{"name": "m", "type": "array", "key_size": 4, "value_size": 8, "max_entries": 1}}],
            "programs": {{
                "allow": {{"insns": "b700000001000000 9500000000000000"}},
                "keeps an address": {{"insns": "1821000000000000 0000000000000000 b702000007000000 7b21000000000000 7b11000000000000 b700000001000000 9500000000000000"}},
                "has the map": {{"insns": "1811000000000000 0000000000000000 b700000001000000 9500000000000000"}},
                "stack": {{"insns": "1811000000000000 0000000000000000 b701000000000000 b702000000000000 b703000000000000 b704000000000000 850000008d000000 b700000001000000 9500000000000000"}}
            }},
            "cgroups": ["a/b", "c"],
            "steps": [{steps}]
        }}"#
    );
    let scenario = match Scenario::parse(&text, &mut |_| Err(std::io::ErrorKind::NotFound.into())) {
        Ok(scenario) => scenario,
        Err(errors) => panic!("{errors:#?}"),
    };
    let play = scenario.play_on_model().expect("it can be played");
    play.map(|line| line.expect("the model does not fail").to_json()).collect()
}

const SKIPPED: &str = r#""ok":false,"errno":null,"skipped":"it depends on stack, which is not modelled"}"#;

#[test]
fn what_depends_on_a_program_that_is_not_modelled_is_skipped() {
    let lines = lines(
        r#"{"attach": {"program": "stack", "cgroup": "a", "mode": "link", "as": "s"}},
           {"effective": "a/b"},
           {"effective": "c"},
           {"write": {"knob": "vm.x", "cgroup": "c", "data": "5"}},
           {"write": {"knob": "vm.x", "cgroup": "a/b", "data": "6"}},
           {"write": {"knob": "vm.x", "cgroup": "c", "data": "7"}},
           {"read": {"knob": "vm.y", "cgroup": "c"}},
           {"detach": "s"},
           {"attach": {"program": "allow", "cgroup": "a/b", "mode": "single"}},
           {"load": "stack"}"#,
    );
    for step in [1, 4, 5, 7, 8] {
        assert_eq!(lines[step], format!(r#"{{"step":{step},{SKIPPED}"#));
    }
    for (step, not_modelled) in [(0, true), (2, false), (3, false), (6, false), (9, true)] {
        let part = r#""ok":false,"errno":null,"not_modelled":"helper bpf_get_task_stack#141"}"#;
        assert_eq!(lines[step].contains(part), not_modelled, "{}", lines[step]);
        assert!(not_modelled || lines[step].contains(r#""ok":true"#), "{}", lines[step]);
    }
}

#[test]
fn an_object_that_needs_what_is_not_modelled_is_not_taken_for_a_rejected_one() {
    let cases = [
        ("core_missing_field_reached", "struct task_struct___invented.does_not_exist"),
        (
            "kconfig_option",
            r#"the option CONFIG_CGROUP_BPF (kconfig), which has no value as in \"kconfig\": {\"CONFIG_CGROUP_BPF\": \"y\"}"#,
        ),
        ("kfunc", "kernel function bpf_rcu_read_lock"),
        ("ksym", "the variable schedule (ksym)"),
        ("loop_iterator", "kernel function bpf_iter_num_new"),
        ("map_bloom_filter", "maps of type bloom_filter"),
        ("storage_of_cgroup", "maps of type cgrp_storage"),
        ("storage_of_task", "maps of type task_storage"),
        ("timer", "values with a bpf_timer"),
    ];
    for (object, what) in cases {
        let text = format!(
            r#"{{
                "knobs": [{{"name": "vm.x", "value": "1", "handler": {{"kind": "int"}}}}],
                "programs": {{"{object}": {{"object": "{object}.bpf.o"}}}},
                "cgroups": ["a", "b"],
                "steps": [
                    {{"attach": {{"program": "{object}", "cgroup": "a", "mode": "link"}}}},
                    {{"write": {{"knob": "vm.x", "cgroup": "a", "data": "2"}}}},
                    {{"effective": "b"}}
                ]
            }}"#
        );
        let mut read = |file: &str| std::fs::read(format!("../testing/corpus/{file}"));
        let scenario = Scenario::parse(&text, &mut read).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let play = scenario.play_on_model().unwrap_or_else(|error| panic!("{object}: {error}"));
        let lines: Vec<_> = play.map(|line| line.expect("the model does not fail").to_json()).collect();
        let skipped = format!("it depends on {object}, which is not modelled");
        assert_eq!(
            lines,
            [
                format!(r#"{{"step":0,"ok":false,"errno":null,"not_modelled":"{what}"}}"#),
                format!(r#"{{"step":1,"ok":false,"errno":null,"skipped":"{skipped}"}}"#),
                r#"{"step":2,"ok":true,"errno":null,"programs":[]}"#.to_owned(),
            ]
        );
    }
}

#[test]
fn maps_that_such_a_program_may_have_changed_are_not_known() {
    let lines = lines(
        r#"{"attach": {"program": "has the map", "cgroup": "c", "mode": "link"}},
           {"read": {"knob": "vm.x", "cgroup": "c"}},
           {"map": "m"},
           {"attach": {"program": "stack", "cgroup": "a", "mode": "link"}},
           {"read": {"knob": "vm.x", "cgroup": "c"}},
           {"map": "m"},
           {"read": {"knob": "vm.x", "cgroup": "/"}}"#,
    );
    for step in [0, 1, 2, 6] {
        assert!(lines[step].contains(r#""ok":true"#), "{}", lines[step]);
    }
    for step in [4, 5] {
        assert_eq!(lines[step], format!(r#"{{"step":{step},{SKIPPED}"#));
    }
}

#[test]
fn what_a_program_may_have_done_after_it_was_stopped_is_not_known() {
    // It stores a number into the map, and then the map's address, which the model does not have.
    let lines = lines(
        r#"{"attach": {"program": "keeps an address", "cgroup": "a", "mode": "link"}},
           {"write": {"knob": "vm.x", "cgroup": "a", "data": "5"}},
           {"map": "m"},
           {"read": {"knob": "vm.x", "cgroup": "c"}},
           {"read": {"knob": "vm.y", "cgroup": "a"}},
           {"read": {"knob": "vm.y", "cgroup": "c"}},
           {"effective": "a"}"#,
    );
    let stopped = "keeps an address, instruction 4: *(u64 *)(r1 +0) = r1: a pointer is stored to a map \
                   value, where programs keep numbers";
    assert_eq!(lines[1], format!(r#"{{"step":1,"ok":false,"errno":null,"not_modelled":"{stopped}"}}"#));
    for step in [2, 3, 4] {
        let skipped = r#""skipped":"it depends on step 1, which is not modelled"}"#;
        assert_eq!(lines[step], format!(r#"{{"step":{step},"ok":false,"errno":null,{skipped}"#));
    }
    for step in [0, 5, 6] {
        assert!(lines[step].contains(r#""ok":true"#), "{}", lines[step]);
    }
}
