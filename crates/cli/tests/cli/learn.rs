use crate::{knobgate, snapshot};

#[test]
fn wrong_arguments_are_usage_errors() {
    snapshot(
        "learn-usage",
        [
            knobgate(["learn"]),
            knobgate(["learn", "--cgroup", "/", "--", "true"]),
            knobgate(["learn", "--for", "1m", "--", "true"]),
            knobgate(["learn", "--cgroup", "/", "--for", "10"]),
            knobgate(["learn", "--cgroup", "/", "--runs", "2"]),
            knobgate(["learn", "--runs", "0", "--", "true"]),
            knobgate(["learn", "--slack", "-1", "--", "true"]),
            knobgate(["learn", "--name", "a b", "--", "true"]),
            knobgate(["learn", "--name", "a", "--merge", "web.knob", "--", "true"]),
            knobgate(["learn", "--merge", "nowhere.knob", "--", "true"]),
            knobgate(["learn", "--out", "no/such/directory/web.knob", "--", "true"]),
            knobgate(["learn", "--out", ".", "--", "true"]),
            knobgate(["learn", "--out", "web.json", "--", "true"]),
        ],
    );
}

#[test]
fn recorded_events_become_comments() {
    snapshot(
        "learn-from",
        [
            knobgate(["learn", "--from", "events.jsonl"]),
            knobgate(["learn", "--from", "events.jsonl", "--reads", "--accept-loss"]),
            knobgate(["learn", "--from", "hostile-events.jsonl", "--accept-loss"]),
            knobgate(["learn", "--from", "-"]).stdin("{}\n"),
            knobgate(["learn", "--from", "nowhere.jsonl"]),
            knobgate(["learn", "--from", "events.jsonl", "--", "true"]),
        ],
    );
}
