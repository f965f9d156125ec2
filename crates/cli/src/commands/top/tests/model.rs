//! What keys and events do.

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::commands::top::activity::ITEMS_MAX;
use crate::commands::top::model::Request;
use crate::commands::top::pane::Pane;
use crate::commands::top::shown::{ATTACHMENTS_MAX, HISTORY_MAX, KNOBS_MAX, RULES_MAX};

#[test]
fn the_headline_is_the_denials_of_the_last_ten_seconds() {
    let mut model = model();
    (0..25).for_each(|_| model.item(denied(START)));
    assert!(text(&mut model).contains("DENIED    2.5/s"));
    model.tick(moment(START + 9));
    assert!(text(&mut model).contains("DENIED    2.5/s"));
    model.tick(moment(START + 10));
    let headline = line(&mut model, "DENIED");
    assert!(
        headline.starts_with("DENIED      0/s") && headline.ends_with("last minute: 25 denied"),
        "{headline}"
    );
    model.tick(moment(START + 60));
    assert!(line(&mut model, "DENIED").ends_with("last minute: 0 denied"));
}

#[test]
fn attachments_have_their_rates_by_outcome() {
    let mut model = model();
    model.attached(attached(&["db", "web"]));
    model.item(denied(START));
    (0..40).for_each(|_| model.item(clamped(START)));
    model.item(suppressed(START, 100));
    model.item(item(START, json!({"mode": "audit", "attachment": "audited"})));
    model.item(allowed(START, "65\n"));
    for (name, expected) in [
        ("web", "web                   enforce      0.1       0    4.0       0      10      141"),
        ("audited", "audited                 audit        0     0.1      0       0       0        1"),
        ("policy job", "policy job            enforce        0       0      0     0.1       0        1"),
        ("db", "db                                   0       0      0       0       0        0"),
    ] {
        press(&mut model, "\x1b[Z");
        assert_eq!(line(&mut model, name).trim_start_matches(['>', ' ']), expected);
        press(&mut model, "\t");
    }
}

#[test]
fn what_was_suppressed_or_lost_is_on_the_screen() {
    let mut model = model_with(Earlier::default(), Some("type == event and verdict == deny"));
    model.item(suppressed(START, 30));
    model.item(lost(START, 7));
    assert!(text(&mut model).contains("lost 7  suppressed 0 (0/s)"), "no filter hides what was lost");
    press(&mut model, "/\x15\r");
    let screen = text(&mut model);
    assert!(screen.contains("lost 7  suppressed 30 (3.0/s)"), "{screen}");
    assert!(screen.contains("last minute: 0 denied, 30 suppressed\n"), "{screen}");
    assert!(
        screen.contains("SUPPRESSED    30 events") && screen.contains("LOST          7 events"),
        "{screen}"
    );
    // Also while it is paused.
    press(&mut model, "p");
    model.item(lost(START, 1));
    assert!(text(&mut model).contains("lost 8"));
}

#[test]
fn a_filter_shows_what_watch_would() {
    let items = [denied(START), clamped(START), allowed(START, "65\n"), suppressed(START, 3), lost(START, 1)];
    for filter in
        ["verdict == deny", "type == event", "uid == 0 and new == 65", "not comm == \"sh\"", "pid == 0"]
    {
        let parsed = Filter::parse(Source::new("filter", filter.to_owned())).unwrap();
        let expected: Vec<_> = items.iter().filter(|item| parsed.matches(*item) != Some(false)).collect();
        let events = expected.iter().filter(|item| item.event().is_some()).count();
        let mut given = model_with(Earlier::default(), Some(filter));
        let mut typed = model();
        press(&mut typed, &format!("/{filter}\r"));
        let mut late = model();
        for item in &items {
            for model in [&mut given, &mut typed, &mut late] {
                model.item(item.clone());
            }
        }
        press(&mut late, &format!("/{filter}\r"));
        for mut model in [given, typed, late] {
            let screen = text(&mut model);
            assert!(screen.contains(&format!("EVENTS {events}\n")), "{filter}: {screen}");
            assert_eq!(model.activity().shown().items.len(), expected.len(), "{filter}");
            assert!(screen.contains(&format!("filter: {filter}\n")), "{screen}");
        }
    }
}

#[test]
fn a_filter_that_is_wrong_says_why_and_changes_nothing() {
    let mut model = model();
    model.item(denied(START));
    press(&mut model, "/verdict == dny\r");
    let screen = screen(&mut model, 80, 24);
    assert!(screen[3].starts_with("error: at character 12: expected `allow`, `deny`"), "{screen:#?}");
    assert!(screen[23].starts_with("filter: verdict == dny"), "{screen:#?}");
    assert!(text(&mut model).contains("EVENTS 1\n"));
    press(&mut model, "\x7f");
    assert!(!text(&mut model).contains("error:"));
    press(&mut model, "\x1b");
    assert!(model.over.is_none() && model.filter_text.is_empty());
    // What ends the command elsewhere is text here.
    press(&mut model, "/q?p s");
    assert!(text(&mut model).contains("filter: q?p s"));
    assert_eq!(model.key(Key::Ctrl('c')), Some(Request::Quit));
}

#[test]
fn a_long_filter_keeps_its_cursor_on_the_screen() {
    let mut model = model();
    press(&mut model, &format!("/comm == \"{}\"", "名".repeat(100)));
    let screen = screen(&mut model, 80, 24);
    assert!(screen[23].ends_with('"') && screen[23].starts_with("filter: 名"), "{}", screen[23]);
}

#[test]
fn a_paused_screen_does_not_change_and_misses_nothing() {
    let mut model = model();
    model.item(denied(START));
    press(&mut model, " ");
    let before = screen(&mut model, 80, 24);
    for _ in 0..3 {
        model.item(clamped(START + 30));
    }
    model.tick(moment(START + 30));
    let after = screen(&mut model, 80, 24);
    assert!(after[0].contains("PAUSED, 3 since then") && after[1..] == before[1..], "{after:#?}");
    // One can look around meanwhile.
    press(&mut model, "\r");
    assert!(text(&mut model).contains("First known event"));
    press(&mut model, "\x1b|p");
    let after = text(&mut model);
    assert!(after.contains("EVENTS 4\n") && !after.contains("PAUSED"), "{after}");
}

#[test]
fn the_end_of_a_path_is_what_is_left_of_it() {
    let mut model = model();
    for (id, name) in [(1, "shop-frontend"), (2, "shop-backend")] {
        let cgroup = json!({"id": id, "path": format!("/sys/fs/cgroup/unified/apps/{name}")});
        model.item(item(START, json!({"workload": null, "cgroup": cgroup})));
    }
    let shown = text(&mut model);
    assert!(shown.contains(" …/apps/shop-frontend ") && shown.contains(" …d/apps/shop-backend "), "{shown}");
    model.gone(&HashSet::from([2]), &HashSet::new());
    let shown = text(&mut model);
    assert!(shown.contains(" (gone) …shop-backend "), "{shown}");
}

#[test]
fn the_history_of_a_knob_says_who_wrote_what() {
    let mut model = model();
    for second in 0..HISTORY_MAX as u64 + 5 {
        model.item(clamped(START + second));
    }
    model.item(item(START + 50, json!({"knob": "net.core.somaxconn", "new": {"text": "7\n"}})));
    press(&mut model, "\t\t\r");
    let lines = screen(&mut model, 80, 24);
    assert_eq!(lines[4], "net.core.somaxconn, the last access first");
    assert!(
        lines[5].contains(r#"DENY EPERM    "core\n" → "7\n"  docker/web-1  sh[4121] uid=0"#),
        "{lines:#?}"
    );
    assert!(lines[7].contains(r#"REWRITE       "4096\n" → "9999999\n", stored "65535\n\n\n""#), "{lines:#?}");
    press(&mut model, "\x1b[F");
    assert!(text(&mut model).contains("6 older events are left out: 32 are kept of each knob"));
    // The same from an event.
    press(&mut model, "\x1b|\x1b[Z");
    press(&mut model, "\r");
    press(&mut model, "\x1b[6~");
    assert!(text(&mut model).contains("net.core.somaxconn, the last access first"));
}

#[test]
fn a_rule_that_events_cut_is_whole_in_its_details_or_marked() {
    let whole = "deny write kernel.hostname kernel.domainname";
    let rule = json!({"index": 2, "line": 9, "text": {"text": &whole[..26], "length": whole.len()}});
    let mut model = model();
    model.item(item(START, json!({"rule": rule})));
    assert!(screen(&mut model, 170, 24).concat().contains("> deny write kernel.hostname… "));
    press(&mut model, "\r");
    for (attached_rule, expected) in [
        (None, "deny write kernel.hostname…\n"),
        (Some("deny write net.**"), "deny write kernel.hostname…\n"),
        (Some(whole), "deny write kernel.hostname kernel.domainname\n"),
    ] {
        let mut attached = attached(&["web"]);
        attached[0].long_rules =
            Rc::new(attached_rule.map(|text| (2, text.to_owned())).into_iter().collect());
        model.attached(attached);
        assert!(text(&mut model).contains(expected), "{}", text(&mut model));
    }
}

#[test]
fn a_flood_of_names_needs_no_more_memory_and_is_said() {
    let mut model = model();
    let all = 3 * ITEMS_MAX as u64;
    for number in 0..all {
        model.item(item(
            START,
            json!({
                "knob": format!("net.{number}"), "attachment": format!("a{number}"),
                "cgroup": {"id": number, "path": format!("/sys/fs/cgroup/{number}")},
            }),
        ));
    }
    let shown = model.activity().shown();
    assert!(shown.attachments.iter().count() <= ATTACHMENTS_MAX && shown.items.len() <= ITEMS_MAX);
    assert!(shown.rules.iter().count() <= RULES_MAX && shown.knobs.iter().count() <= KNOBS_MAX);
    for ((what, left_out), rows) in shown.left_out().into_iter().zip([
        shown.attachments.iter().count(),
        shown.rules.iter().count(),
        shown.knobs.iter().count(),
    ]) {
        assert_eq!((left_out.rows, left_out.events), (all - rows as u64, all - rows as u64), "{what}");
    }
    assert!(screen(&mut model, 80, 24)[3].starts_with("left out: "));
    let heading = format!("EVENTS {ITEMS_MAX}  ({} older ones are left out)", all - ITEMS_MAX as u64);
    assert_eq!(line(&mut model, "EVENTS").trim(), heading);
    press(&mut model, "?\x1b[F");
    let help = text(&mut model);
    for what in ["attachments (", "rules (", "knobs ("] {
        assert!(help.contains(what), "{what}: {help}");
    }
    // Another filter begins with what is still there, and says so.
    press(&mut model, "\x1b|/uid == 0\r");
    let note = format!("filter: uid == 0 (without {} events before 02:46:40)", all - ITEMS_MAX as u64);
    assert!(text(&mut model).contains(&note), "{note}: {}", text(&mut model));
}

#[test]
fn no_event_is_forgotten_when_a_filter_is_cleared() {
    let mut model = model();
    for second in 0..5 {
        (0..2000).for_each(|_| model.item(denied(START + second)));
        model.item(suppressed(START + second, 1000));
    }
    model.tick(moment(START + 4));
    let before = text(&mut model);
    assert!(before.contains("last minute: 10000 denied, 5000 suppressed"), "{before}");

    press(&mut model, "/uid == 0\r");
    let filtered = text(&mut model);
    // 4096 items are there, of which two are about suppressed events.
    assert!(filtered.contains("(without 7907 events before 02:46:42)"), "{filtered}");
    assert!(line(&mut model, "default write deny").ends_with(&format!(" {}", 15_000 - 7907)), "{filtered}");
    assert!(filtered.contains("DENIED   2000/s"), "{filtered}");
    model.item(denied(START + 4));
    // The same one changes nothing.
    press(&mut model, "/\r");
    assert!(line(&mut model, "default write deny").ends_with(&format!(" {}", 15_001 - 7907)));
    press(&mut model, "/\x15\r");
    assert!(text(&mut model).contains("last minute: 10001 denied, 5000 suppressed"));
    assert!(!text(&mut model).contains("without"));
}

#[test]
fn a_pause_counts_events_and_keeps_what_is_chosen() {
    let mut model = model();
    model.item(clamped(START));
    model.item(denied(START));
    press(&mut model, "p");
    (0..10).for_each(|_| model.item(denied(START)));
    model.item(suppressed(START, 90));
    assert!(text(&mut model).contains("PAUSED, 100 since then"), "{}", text(&mut model));
    // Rows are the same after a filter, whatever came first.
    press(&mut model, "/uid == 0 and access == write\r");
    press(&mut model, "j\r");
    assert!(text(&mut model).contains("clamp write net.core.somaxconn to 128..65535\n"));
    model.item(allowed(START, "65\n"));
    press(&mut model, "p");
    assert!(text(&mut model).contains("clamp write net.core.somaxconn to 128..65535\n"));
    press(&mut model, "\x1b");
    assert!(line(&mut model, "clamp write").starts_with('>'));
    assert!(line(&mut model, "EVENTS").ends_with("EVENTS 13"), "{}", text(&mut model));
}

#[test]
fn a_chosen_row_stays_chosen_when_others_come() {
    let mut model = model();
    let chosen = |model: &mut Model| {
        let lines = screen(model, 80, 24);
        lines.into_iter().find(|line| line.starts_with('>')).unwrap_or_default()
    };
    press(&mut model, "\t");
    model.item(denied(START));
    model.item(clamped(START));
    assert!(chosen(&mut model).contains("REWRITE"), "the latest one");
    press(&mut model, "j");
    assert!(chosen(&mut model).contains("DENY"));
    (0..100).for_each(|_| model.item(clamped(START)));
    assert!(chosen(&mut model).contains("DENY"));
    for (keys, expected) in [
        ("\x1b[H", "REWRITE"),
        ("\x1b[F", "DENY"),
        ("k", "REWRITE"),
        ("\x1b[B", "DENY"),
        ("\x1b[5~", "REWRITE"),
        ("\x1b[6~\x1b[6~", "DENY"),
        ("s", "DENY"),
        ("\x1b[F", "REWRITE"),
    ] {
        press(&mut model, keys);
        assert!(chosen(&mut model).contains(expected), "{keys:?}: {}", text(&mut model));
    }
}

#[test]
fn rows_have_several_orders() {
    let mut model = model();
    (0..3).for_each(|_| model.item(allowed(START, "65\n")));
    model.item(denied(START));
    model.item(clamped(START + 1));
    let first = |model: &mut Model| {
        let lines = screen(model, 80, 24);
        lines.into_iter().find(|line| line.starts_with('>')).unwrap_or_default()
    };
    for (order, expected) in
        [("denials first", "default"), ("by total", "allow"), ("latest first", "clamp"), ("by name", "allow")]
    {
        assert!(text(&mut model).contains(&format!("s sort: {order}")), "{order}");
        assert!(first(&mut model).starts_with(&format!("> {expected}")), "{order}: {}", text(&mut model));
        press(&mut model, "s");
    }
    assert!(text(&mut model).contains("s sort: denials first"));
}

#[test]
fn tab_goes_through_the_panes_and_escape_goes_back() {
    let mut model = model();
    let mut panes = Vec::new();
    for key in ["\t", "\t", "\t", "\t", "\x1b[Z", "\x1b[Z"] {
        press(&mut model, key);
        panes.push(model.focus);
    }
    use Pane::{Attachments, Events, Knobs, Rules};
    assert_eq!(panes, [Events, Knobs, Attachments, Rules, Attachments, Knobs]);
    // There is nothing to choose.
    press(&mut model, "\rj\x1b[F\x1b[6~");
    assert!(model.over.is_none());
    for open in ["?", "/"] {
        press(&mut model, open);
        assert!(model.over.is_some());
        press(&mut model, "\x1b");
        assert!(model.over.is_none());
    }
    press(&mut model, "??");
    assert!(model.over.is_none());
    for key in [Key::Escape, Key::Char('q'), Key::Ctrl('c')] {
        assert_eq!(model.key(key), Some(Request::Quit));
    }
    assert_eq!(model.key(Key::Ctrl('z')), Some(Request::Suspend));
}
