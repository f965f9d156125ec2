//! The model and its drawings, without a terminal.

mod drawing;
mod earlier;
mod gone;
mod hostile;
mod model;

use std::time::{Duration, UNIX_EPOCH};

use knobgate_events::StreamItem;
use knobgate_events::json::StreamReader;
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::layout::Size;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::draw::draw;
use super::earlier::{Earlier, EarlierRule};
use super::keys::{Key, KeyDecoder};
use super::model::{Model, Moment};
use super::tallies::Attached;

/// The second since the boot at which the models of these tests start.
const START: u64 = 10_000;

fn moment(second: u64) -> Moment {
    let time = Duration::from_secs(second);
    Moment { boot_time: time.as_nanos() as u64, wall: UNIX_EPOCH + Duration::from_secs(1_795_910_400) + time }
}

/// A line of a stream, with these members on top of those of a denial: `sh` in the container `web-1` writes `kernel.core_pattern`.
fn item(second: u64, members: Value) -> StreamItem {
    let mut line = json!({
        "schema": "knobgate.events", "version": 1, "type": "event", "sequence": 1,
        "time": format!("2026-11-29T{:02}:{:02}:{:02}.250Z", second / 3600 % 24, second / 60 % 60, second % 60),
        "boot_time": second * 1_000_000_000, "attachment": "web", "policy": "tour", "mode": "enforce",
        "verdict": "deny", "errno": "EPERM", "access": "write", "knob": "kernel.core_pattern", "position": 0,
        "old": {"text": "core\n"}, "new": {"text": "|/tmp/x\n"},
        "rule": {"default": "write", "line": 5, "text": {"text": "default write deny"}},
        "task": {"pid": 4121, "tid": 4121, "uid": 0, "gid": 0, "comm": "sh"},
        "cgroup": {"id": 4711, "path": "/sys/fs/cgroup/demo"},
        "workload": {"engine": "docker", "container": "web-1"},
        "totals": {"sent": 1, "suppressed": 0}, "origin": 12,
    });
    let (Value::Object(line), Value::Object(members)) = (&mut line, members) else { panic!("objects") };
    line.extend(members);
    if line["verdict"] != "deny" {
        line.remove("errno");
    }
    let line = serde_json::to_string(line).unwrap();
    StreamReader::new(line.as_bytes()).next().unwrap().unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn denied(second: u64) -> StreamItem {
    item(second, json!({}))
}

fn clamped(second: u64) -> StreamItem {
    item(
        second,
        json!({
            "verdict": "rewrite", "knob": "net.core.somaxconn", "old": {"text": "4096\n"},
            "new": {"text": "9999999\n"}, "stored": {"text": "65535\n\n\n"},
            "rule": {"index": 1, "line": 8, "text": {"text": "clamp write net.core.somaxconn to 128..65535"}},
            "cgroup": {"id": 4712, "path": "/sys/fs/cgroup/system.slice/nginx.service"},
            "workload": {"engine": "systemd", "unit": "nginx.service"},
        }),
    )
}

fn allowed(second: u64, value: &str) -> StreamItem {
    item(
        second,
        json!({
            "verdict": "allow", "knob": "net.ipv4.ip_default_ttl", "old": {"text": "64\n"},
            "new": {"text": value}, "attachment": null, "policy": "job",
            "rule": {"index": 0, "line": 7, "text": {"text": "allow write net.ipv4.ip_default_ttl log(all)"}},
            "cgroup": {"id": 4713, "path": "/sys/fs/cgroup/knobgate-run"}, "workload": null,
        }),
    )
}

fn suppressed(second: u64, count: u64) -> StreamItem {
    item(second, json!({"type": "suppressed", "count": count}))
}

fn lost(second: u64, count: u64) -> StreamItem {
    item(second, json!({"type": "lost", "count": count}))
}

fn attached(names: &[&str]) -> Vec<Attached> {
    let attached = |name: &&str| Attached {
        name: (*name).to_owned(),
        policy: None,
        mode: None,
        cgroups: Some(1),
        long_rules: Default::default(),
    };
    names.iter().map(attached).collect()
}

/// What the policy `web` remembers: a denial of an hour before the start, and forty that were suppressed.
fn last_night() -> Earlier {
    let event = denied(START - 3600);
    let rule = EarlierRule {
        context: event.context.clone(),
        example: Some(event.clone()),
        cgroup_id: 4711,
        sent: 1,
        events: 41,
        last: event.boot_time(),
    };
    Earlier { rules: vec![rule], events: vec![event], ..Earlier::default() }
}

fn model_with(earlier: Earlier, filter: Option<&str>) -> Model {
    let parse =
        |text: &str| (text.to_owned(), Filter::parse(Source::new("filter", text.to_owned())).unwrap());
    let mut model =
        Model::new("events of all attachments".to_owned(), filter.map(parse), earlier, moment(START));
    model.resize(Size { width: 80, height: 24 });
    model
}

fn model() -> Model {
    model_with(Earlier::default(), None)
}

/// Presses keys, as a terminal sends them. Before `|`, there is a pause.
fn press(model: &mut Model, keys: &str) {
    for keys in keys.split('|') {
        let mut decoder = KeyDecoder::default();
        let keys: Vec<Key> = decoder.keys(keys.as_bytes()).into_iter().chain(decoder.end()).collect();
        keys.into_iter().for_each(|key| assert_eq!(model.key(key), None));
    }
}

/// The lines of the screen, without colours.
fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    model.resize(Size { width, height });
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, frame.buffer_mut(), false)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width.max(1)));
    rows.map(|row| visible(row).concat().trim_end().to_owned()).collect()
}

/// What is seen of a row of cells: what a wide character covers is not.
fn visible(row: &[Cell]) -> Vec<&str> {
    let mut x = 0;
    let next = || {
        let symbol = row.get(x)?.symbol();
        x += symbol.width().max(1);
        Some(symbol)
    };
    std::iter::from_fn(next).collect()
}

/// The same as one text, on the smallest screen.
fn text(model: &mut Model) -> String {
    screen(model, 80, 24).join("\n")
}

/// The first line of the screen that starts with this, after the mark of the chosen row.
#[track_caller]
fn line(model: &mut Model, start: &str) -> String {
    let screen = screen(model, 80, 24);
    let found = screen.iter().find(|line| line.trim_start_matches(['>', '▶', ' ']).starts_with(start));
    found.unwrap_or_else(|| panic!("{start}: {screen:#?}")).clone()
}
