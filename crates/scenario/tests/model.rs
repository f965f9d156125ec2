//! What is played on the model, line for line.

use knobgate_hook::Profile;
use knobgate_scenario::Scenario;

/// The lines of a document with two knobs, some programs, maps and cgroups, and these steps.
fn lines(steps: &str) -> Vec<String> {
    let text = format!(
        r#"{{
            "knobs": [
                {{"name": "net.core.somaxconn", "value": "4096", "handler": {{"kind": "int", "min": 0}}}},
                {{"name": "kernel/domainname", "value": "one", "handler": {{"kind": "string", "max_len": 65}}}},
                {{"name": "kernel/ostype", "value": "Linux", "mode": "0444", "handler": {{"kind": "string"}}}}
            ],
            "maps": [
                {{"name": "hash", "type": "hash", "key_size": 1, "value_size": 2, "max_entries": 4,
                  "entries": [["02", "bbbb"], ["01", "aaaa"]]}},
                {{"name": "percpu", "type": "percpu_array", "key_size": 4, "value_size": 2, "max_entries": 2,
                  "entries": [["01000000", "0102"]]}}
            ],
            "programs": {{
                "allow": {{"insns": "b700000001000000 9500000000000000"}},
                "deny": {{"insns": "b700000000000000 9500000000000000"}},
                "two": {{"insns": "b700000002000000 9500000000000000"}},
                "return 5": {{"insns": "b701000005000000 85000000bb000000 b700000001000000 9500000000000000"}},
                "return 5, loaded for nothing": {{
                    "insns": "b701000005000000 85000000bb000000 b700000001000000 9500000000000000",
                    "expected_attach_type": 0
                }}
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

#[test]
fn loads_say_why_they_are_rejected() {
    let lines = lines(
        r#"{"load": "allow"}, {"load": "two"}, {"load": "return 5, loaded for nothing"},
           {"attach": {"program": "two", "cgroup": "c", "mode": "link"}}"#,
    );
    let bad_return = "At program exit the register R0 should have been in [0, 1]";
    assert_eq!(lines[0], r#"{"step":0,"ok":true,"errno":null}"#);
    assert_eq!(lines[1], format!(r#"{{"step":1,"ok":false,"errno":"EINVAL","log":"{bad_return}"}}"#));
    assert_eq!(
        lines[2],
        r#"{"step":2,"ok":false,"errno":"EINVAL","log":"program of this type cannot use helper #187"}"#
    );
    assert_eq!(lines[3], format!(r#"{{"step":3,"ok":false,"errno":"EINVAL","log":"{bad_return}"}}"#));
}

#[test]
fn an_attachment_that_failed_cannot_be_detached() {
    let lines = lines(
        r#"{"attach": {"program": "allow", "cgroup": "a", "mode": "single"}},
           {"attach": {"program": "allow", "cgroup": "a/b", "mode": "multi", "as": "x"}},
           {"detach": "x"},
           {"effective": "a/b"}"#,
    );
    assert_eq!(lines[1], r#"{"step":1,"ok":false,"errno":"EPERM"}"#);
    assert_eq!(lines[2], r#"{"step":2,"ok":false,"errno":"EBADF"}"#);
    assert_eq!(lines[3], r#"{"step":3,"ok":true,"errno":null,"programs":["allow"]}"#);
}

#[test]
fn a_descriptor_is_shared_between_cgroups() {
    let lines = lines(
        r#"{"attach": {"program": "deny", "cgroup": "a", "mode": "link", "as": 1}},
           {"write": {"open": "f", "knob": "kernel.domainname", "cgroup": "c", "data": "two"}},
           {"write": {"open": "f", "knob": "kernel.domainname", "cgroup": "a/b", "data": "three"}},
           {"write": {"open": "f", "cgroup": "c", "data": {"hex": "ff"}}},
           {"read": {"open": "f", "cgroup": "c", "pos": 1, "count": 2}}"#,
    );
    assert_eq!(
        lines[1..],
        [
            r#"{"step":1,"ok":true,"errno":null,"ret":3,"data":null,"pos":3,"value":"two\n"}"#,
            r#"{"step":2,"ok":false,"errno":"EPERM","ret":-1,"data":null,"pos":3,"value":"two\n"}"#,
            r#"{"step":3,"ok":true,"errno":null,"ret":1,"data":null,"pos":4,"value":{"hex":"74776fff0a"}}"#,
            r#"{"step":4,"ok":true,"errno":null,"ret":2,"data":"wo","pos":3,"value":{"hex":"74776fff0a"}}"#,
        ]
    );
}

#[test]
fn an_access_that_fails_to_open_has_no_position() {
    let lines = lines(r#"{"write": {"knob": "kernel.ostype", "cgroup": "/", "data": "x"}}"#);
    assert_eq!(
        lines,
        [r#"{"step":0,"ok":false,"errno":"EACCES","ret":-13,"data":null,"pos":null,"value":"Linux\n"}"#]
    );
}

#[test]
fn a_program_can_make_a_read_return_a_length_without_data() {
    let lines = lines(
        r#"{"attach": {"program": "return 5", "cgroup": "c", "mode": "multi"}},
           {"read": {"knob": "kernel.ostype", "cgroup": "c", "count": 3}},
           {"read": {"knob": "kernel.ostype", "cgroup": "c"}}"#,
    );
    assert_eq!(
        lines[1..],
        [
            r#"{"step":1,"ok":true,"errno":null,"ret":5,"data":"\u0000\u0000\u0000","pos":0,"value":"Linux\n"}"#,
            r#"{"step":2,"ok":true,"errno":null,"ret":5,"data":"\u0000\u0000\u0000\u0000\u0000","pos":0,"value":"Linux\n"}"#,
        ]
    );
}

#[test]
fn maps_are_sorted_by_key_and_have_the_values_of_one_processor() {
    let lines = lines(r#"{"map": "hash"}, {"map": "percpu"}"#);
    assert_eq!(
        lines,
        [
            r#"{"step":0,"ok":true,"errno":null,"entries":[["01","aaaa"],["02","bbbb"]]}"#,
            r#"{"step":1,"ok":true,"errno":null,"entries":[["00000000","0000"],["01000000","0102"]]}"#,
        ]
    );
}

#[test]
fn what_a_kernel_cannot_do_is_a_remark() {
    let text = r#"{"profile": "6.8", "programs": {"p": {"policy": "p.knob"}}, "steps": [{"load": "p"}, {"load": "p"}]}"#;
    let policy = "policy p\nclamp write net.core.somaxconn to 1..9\n";
    let scenario = Scenario::parse(text, &mut |_| Ok(policy.into())).expect("it is right");
    let mut play = scenario.play_on_model().expect("it can be played");
    assert!(play.by_ref().all(|line| line.expect("it goes on").ok));
    assert_eq!(
        play.take_remarks(),
        [
            "step 0: p: the kernel cannot do all that the policy says: where `clamp write net.core.somaxconn to 1..9` would \
          rewrite, it denies with EPERM"
        ]
    );
}

#[test]
fn a_value_is_checked_for_the_kernel_that_is_asked_for() {
    let text = |profile: &str| {
        format!(
            r#"{{"profile": "{profile}", "steps": [],
                 "knobs": [{{"name": "kernel/shmmax", "value": "-7", "handler": {{"kind": "ulong"}}}}]}}"#
        )
    };
    let parse = |profile: &str| Scenario::parse(&text(profile), &mut |_| unreachable!("it names no files"));
    // Before 5.19, a negative number leaves an unsigned long as it is.
    let old = parse("5.15").expect("it is right there");
    assert!(parse("6.18").is_err());
    let error = old.with_profile(Profile::LINUX_6_18).play_on_model().map(drop).expect_err("no such value");
    assert!(error.to_string().contains("kernel/shmmax cannot start with its value on Linux 6.18"), "{error}");
}

#[test]
fn maps_that_grow_have_memory_for_all_together() {
    // Each hash map has a spare entry from the start, as the kernel's have.
    let played = |count: usize| {
        let map = |number: usize| {
            format!(
                r#"{{"name": "m{number}", "type": "hash", "key_size": 1, "value_size": {}, "max_entries": 9}}"#,
                3 << 20
            )
        };
        let maps: Vec<String> = (1..=count).map(map).collect();
        let text = format!(r#"{{"maps": [{}], "steps": []}}"#, maps.join(", "));
        let scenario = Scenario::parse(&text, &mut |_| Ok(Vec::new())).expect("it is right");
        scenario.play_on_model().map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(played(85), Ok(()));
    let error = played(86).expect_err("it is too much");
    assert_eq!(error, "cannot create the map m86: the maps take more than 256 MiB together");
}
