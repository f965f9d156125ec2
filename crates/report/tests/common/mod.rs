//! Streams of events, as lines of JSON.
#![allow(dead_code, missing_docs)]

use knobgate_events::StreamItem;
use knobgate_events::json::StreamReader;
use knobgate_report::{Aggregator, Head, Report, write_page};
use serde_json::{Value, json};

/// Names that try to be something else.
pub(crate) const HOSTILE: [&str; 8] = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "]]>&lt;{{data}}{{script}}",
    "\u{202e}gnp.exe\u{2066}",
    "\u{1b}[31m\u{9b}2J\0\r\n",
    "\u{2028}\u{2029}\\\"'`${1}",
    "__proto__",
];

/// A denied write at a second since 2026-11-29.
pub(crate) fn event(second: u64) -> Value {
    json!({
        "schema": "knobgate.events", "version": 1, "type": "event", "sequence": second + 1,
        "time": time(second), "boot_time": second * 1_000_000_000, "boot_id": "one",
        "attachment": "web", "policy": "tour", "mode": "enforce", "verdict": "deny", "errno": "EPERM",
        "access": "write", "knob": { "text": "kernel/core_pattern" }, "position": 0,
        "old": { "text": "core\n" }, "new": { "text": "|/tmp/x\n" },
        "rule": { "default": "write", "line": 5, "text": { "text": "default write deny" } },
        "task": { "pid": 7, "uid": 0, "comm": "sh" }, "cgroup": { "id": 1, "path": "/sys/fs/cgroup/web" },
    })
}

/// A moment so many seconds after 2026-11-29.
pub(crate) fn time(second: u64) -> String {
    let (day, second) = (second / 86_400, second % 86_400);
    let day = if day == 0 { "2026-11-29" } else { "2026-11-30" };
    format!("{day}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

pub(crate) fn suppressed(second: u64, count: u64) -> Value {
    let Value::Object(mut line) = event(second) else { unreachable!("it is an object") };
    line.retain(|name, _| {
        [
            "schema",
            "version",
            "sequence",
            "time",
            "boot_time",
            "boot_id",
            "attachment",
            "policy",
            "rule",
            "cgroup",
        ]
        .contains(&name.as_str())
    });
    line.insert("type".to_owned(), "suppressed".into());
    line.insert("count".to_owned(), count.into());
    line.into()
}

pub(crate) fn lost(second: u64, count: u64) -> Value {
    json!({
        "schema": "knobgate.events", "version": 1, "type": "lost", "sequence": second + 1, "time": time(second),
        "boot_time": second * 1_000_000_000, "boot_id": "one", "count": count,
    })
}

/// An event in which everything that somebody else chooses is `text`.
pub(crate) fn hostile(second: u64, text: &str) -> Value {
    let mut event = event(second);
    for pointer in ["/knob/text", "/old/text", "/new/text", "/rule/text/text", "/task/comm", "/cgroup/path"] {
        *event.pointer_mut(pointer).expect("a member") = text.into();
    }
    for member in ["attachment", "policy", "boot_id"] {
        event[member] = text.into();
    }
    event["rule"]["eval_error"] = true.into();
    event["rule"]["reason"] = text.into();
    event
}

pub(crate) fn item(line: &Value) -> StreamItem {
    let line = line.to_string();
    let item = StreamReader::new(line.as_bytes()).next().expect("an item");
    item.unwrap_or_else(|error| panic!("{line}: {error}"))
}

pub(crate) fn report<'a>(lines: impl IntoIterator<Item = &'a Value>) -> Report {
    let mut aggregator = Aggregator::new();
    lines.into_iter().for_each(|line| aggregator.add(&item(line)));
    aggregator.finish()
}

pub(crate) fn page(report: &Report, head: &Head) -> String {
    let mut page = Vec::new();
    write_page(report, head, &mut page).expect("a page");
    String::from_utf8(page).expect("UTF-8")
}
