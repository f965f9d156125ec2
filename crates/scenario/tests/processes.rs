//! Processes with ids and names of their own.

use knobgate_scenario::{Outcome, Scenario};

#[test]
fn programs_see_the_process_and_its_ids_decide_what_it_may_do() {
    // Stores the uid and gid, the pid and tgid, and the name.
    let report = "bfa6000000000000 \
                  850000000f000000 7b0ae0ff00000000 850000000e000000 7b0ae8ff00000000 \
                  bfa1000000000000 07010000f0ffffff b702000010000000 8500000010000000 \
                  620adcff00000000 1811000000000000 0000000000000000 bfa2000000000000 07020000dcffffff \
                  bfa3000000000000 07030000e0ffffff b704000000000000 8500000002000000 \
                  b700000001000000 9500000000000000";
    let text = format!(
        r#"{{
            "knobs": [
                {{"name": "vm.x", "value": "1", "handler": {{"kind": "int"}}}},
                {{"name": "vm.group", "value": "1", "mode": "0460", "handler": {{"kind": "int"}}}}
            ],
            "maps": [{{"name": "seen", "type": "array", "key_size": 4, "value_size": 32, "max_entries": 1}}],
            "programs": {{"report": {{"insns": "{report}"}}}},
            "cgroups": ["web", "db"],
            "processes": {{
                "alice": {{"cgroup": "web", "uid": 1000, "gid": 1001, "comm": "nginx", "pid": 4242}},
                "wheel": {{"uid": 1002}}
            }},
            "steps": [
                {{"attach": {{"program": "report", "cgroup": "web", "mode": "link"}}}},
                {{"read": {{"knob": "vm.x", "process": "alice"}}, "expect": {{"data": "1\n"}}}},
                {{"map": "seen", "expect": {{"entries": [["00000000",
                    "e8030000e9030000 9210000092100000 6e67696e78000000 0000000000000000"]]}}}},
                {{"write": {{"knob": "vm.x", "process": "alice", "data": "2"}}, "expect": {{"errno": "EACCES", "pos": null, "value": "1\n"}}}},
                {{"write": {{"knob": "vm.group", "process": "wheel", "data": "2"}}, "expect": {{"ret": 1, "value": "2\n"}}}},
                {{"write": {{"knob": "vm.group", "process": "alice", "data": "3"}}, "expect": {{"errno": "EACCES"}}}},
                {{"write": {{"open": "f", "knob": "vm.x", "cgroup": "/", "data": "4"}}, "expect": {{"ret": 1}}}},
                {{"write": {{"open": "f", "process": "alice", "data": "5"}}, "expect": {{"errno": "EPERM", "value": "4\n"}}}},
                {{"move": {{"process": "wheel", "cgroup": "web"}}, "expect": {{"ok": true}}}},
                {{"read": {{"knob": "vm.x", "process": "wheel"}}}},
                {{"map": "seen"}},
                {{"move": {{"process": "alice", "cgroup": "db"}}}},
                {{"read": {{"knob": "vm.x", "process": "alice"}}}},
                {{"map": "seen"}}
            ]
        }}"#
    );
    let scenario = match Scenario::parse(&text, &mut |_| Err(std::io::ErrorKind::NotFound.into())) {
        Ok(scenario) => scenario,
        Err(errors) => panic!("{errors:#?}"),
    };
    let mut play = scenario.play_on_model().expect("it can be played");
    let mut lines = Vec::new();
    while let Some(line) = play.next() {
        let line = line.expect("the model does not fail");
        let outcome = play.outcome(&line);
        assert!(matches!(outcome, Outcome::Passed | Outcome::Unchecked), "{}: {outcome:?}", line.to_json());
        lines.push(line.to_json());
    }
    assert!(lines[10].contains(r#""ea030000"#), "the process that was moved there: {}", lines[10]);
    let [before, after] =
        [&lines[10], &lines[13]].map(|line| line.split_once("entries").map(|(_, rest)| rest));
    assert_eq!(before, after, "a process that was moved away is not seen");
}
