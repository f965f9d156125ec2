//! Objects in scenarios: variables that are set, and options of the kernel's configuration.

use knobgate_scenario::Scenario;

/// The lines of a scenario with these members and steps, in the directory of the examples.
fn lines(members: &str, steps: &str) -> Result<Vec<String>, Vec<String>> {
    let text = format!(
        r#"{{
            "knobs": [{{"name": "kernel/domainname", "value": "one", "handler": {{"kind": "string"}}}}],
            {members},
            "cgroups": ["web"],
            "steps": [{steps}]
        }}"#
    );
    let mut read = |file: &str| std::fs::read(format!("../../examples/objects/{file}"));
    let scenario = Scenario::parse(&text, &mut read)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let play = scenario.play_on_model().expect("it can be played");
    Ok(play.map(|line| line.expect("the model does not fail").to_json()).collect())
}

const WRITE: &str = r#"{"attach": {"program": "p", "cgroup": "web", "mode": "link"}},
    {"write": {"knob": "kernel/domainname", "data": "two", "cgroup": "web"}}"#;

#[test]
fn variables_are_set_for_each_program() {
    let settings =
        |set: &str| format!(r#""programs": {{"p": {{"object": "settings.bpf.o", "set": {set}}}}}"#);
    let cases = [
        ("{}", r#""errno":null"#),
        (r#"{"enabled": true, "mode": "ENFORCE"}"#, r#""errno":"EPERM""#),
        (r#"{"enabled": 1, "mode": 7, "knob": "kernel/domainname"}"#, r#""errno":"EPERM""#),
        (r#"{"enabled": true, "mode": 7, "knob": "kernel/ostype"}"#, r#""errno":null"#),
        (
            r#"{"enabled": true, "high": 18446744073709551615, "list": [1, 2], "digit": "'a'"}"#,
            r#""errno":null"#,
        ),
    ];
    for (set, expected) in cases {
        let lines = lines(&settings(set), WRITE).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(lines[1].contains(expected), "{set}: {}", lines[1]);
    }
}

#[test]
fn programs_share_maps_if_they_set_the_same() {
    let programs = r#""programs": {
        "p": {"object": "settings.bpf.o", "set": {"enabled": true, "low": 5}},
        "same": {"object": "settings.bpf.o", "set": {"low": 5, "enabled": true}},
        "other": {"object": "settings.bpf.o", "set": {"enabled": false}}
    }"#;
    let steps = format!(r#"{WRITE}, {{"map": "p/.bss"}}, {{"map": "same/.bss"}}, {{"map": "other/.bss"}}"#);
    let lines = lines(programs, &steps).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(lines.iter().all(|line| line.contains(r#""ok":true"#)), "{lines:?}");
    let entries = |step: usize| lines[step].split_once(r#""entries":"#).expect("entries").1;
    assert!(entries(2).contains("4300000000000000"), "the sum is 67: {}", entries(2));
    assert_eq!(entries(3), entries(2));
    assert!(!entries(4).contains("43"), "its own: {}", entries(4));
}

#[test]
fn options_are_those_of_the_scenario() {
    let members = |options: &str| {
        format!(
            r#""kconfig": {{{options}}}, "programs": {{"p": {{"object": "options.bpf.o", "program": "options"}}}}"#
        )
    };
    let all = r#""CONFIG_HZ": "250", "CONFIG_CGROUP_BPF": "y", "CONFIG_SYSCTL": "y", "CONFIG_BPF_SYSCALL": "y",
        "CONFIG_DEFAULT_HOSTNAME": "\"(none)\"""#;
    let played = lines(&members(all), WRITE).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(played[0].contains(r#""ok":true"#), "{played:?}");

    let errors = lines(&members(r#""CONFIG_HZ": "many""#), WRITE).expect_err("an error");
    let expected = "the option CONFIG_HZ (kconfig): it is many, which does not fit an integer of 2 bytes";
    assert!(errors.iter().any(|error| error.contains(expected)), "{errors:?}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let settings =
        |set: &str| format!(r#""programs": {{"p": {{"object": "settings.bpf.o", "set": {set}}}}}"#);
    let options = r#""kconfig": {"HZ": "250"}, "programs": {"p": {"object": "settings.bpf.o"}}"#;
    let cases = [
        (
            settings(r#"{"enable": true}"#),
            "programs.p.set.enable: settings.bpf.o: the object has no variable \"enable\"",
        ),
        (
            settings(r#"{"small": 70000}"#),
            "programs.p.set.small: settings.bpf.o: the variable \"small\" (short, 2 bytes)",
        ),
        (
            settings(r#"{"low": 1.5}"#),
            "programs.p.set.low: invalid type: floating point `1.5`, expected an integer, true or false, a string, or an array of these",
        ),
        (
            settings(r#"{"low": null}"#),
            "programs.p.set.low: invalid type: null, expected an integer, true or false",
        ),
        (
            settings(r#"{"list": ["1,2"]}"#),
            "programs.p.set.list: `1,2` is not one element of an array: there is a comma in it",
        ),
        (
            settings(r#"{"list": [[1], [2]]}"#),
            "programs.p.set.list: an element of an array cannot be an array",
        ),
        (
            r#""programs": {"p": {"policy": "x.knob", "set": {"a": 1}}}"#.to_owned(),
            "these fields do not go together",
        ),
        (options.to_owned(), "kconfig.HZ: `HZ` is not the name of an option, such as CONFIG_HZ"),
    ];
    for (members, expected) in cases {
        let errors = lines(&members, WRITE).expect_err("an error");
        assert!(errors.iter().any(|error| error.contains(expected)), "{errors:?}");
    }
}

#[test]
fn programs_find_the_same_with_the_types_of_a_kernel() {
    let members = |btf: &str| {
        format!(
            r#"{btf} "programs": {{"p": {{"object": "monitor.bpf.o", "set": {{"only_comm": "scenario"}}}}}}"#
        )
    };
    let steps = format!(r#"{WRITE}, {{"map": "p/events"}}"#);
    let own = lines(&members(""), &steps).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(own[2].contains("7363656e6172696f"), "the name of the process: {}", own[2]);
    // The types that an object declares are enough for its own programs.
    let given = lines(&members(r#""btf": "monitor.bpf.o","#), &steps);
    assert_eq!(given, Ok(own));
    for (file, expected) in [
        ("none", "btf: cannot read none: "),
        (
            "kernel.h",
            "btf: kernel.h: it is neither BTF, as in /sys/kernel/btf/vmlinux, nor a 64-bit ELF file",
        ),
        ("legacy.bpf.o", "btf: legacy.bpf.o: its BTF cannot be used: it has no struct task_struct"),
    ] {
        let errors = lines(&members(&format!(r#""btf": "{file}","#)), WRITE).expect_err("an error");
        assert!(errors[0].contains(expected), "{errors:?}");
    }
}
