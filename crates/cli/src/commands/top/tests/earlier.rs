//! What policies remember from before the start.

use serde_json::json;

use super::*;
use crate::commands::top::earlier::Counted;

#[test]
fn what_policies_remember_is_marked_as_earlier() {
    let mut model = model_with(last_night(), None);
    let rule = line(&mut model, "default write deny");
    assert!(rule.contains("docker/web-1") && rule.contains("earlier") && rule.ends_with(" 41"), "{rule}");
    assert!(line(&mut model, "earlier 01:46").contains("DENY EPERM"));
    assert!(line(&mut model, "DENIED").ends_with("last minute: 0 denied"));
    model.item(denied(START));
    model.item(suppressed(START, 2));
    let rule = line(&mut model, "default write deny");
    assert!(!rule.contains("earlier") && rule.ends_with(" 44"), "{rule}");
    press(&mut model, "\r");
    assert!(text(&mut model).contains("44: 1 sent and 2 suppressed since the start, 41 earlier"));
    // A filter is for these as well.
    press(&mut model, "\x1b|/verdict == allow and type == event\r");
    let screen = text(&mut model);
    assert!(
        screen.contains("RULES 1 ") && screen.contains("EVENTS 0\n") && screen.contains("SUPPRESSED"),
        "only what was suppressed: {screen}"
    );
}

#[test]
fn the_details_of_a_rule_have_its_first_earlier_event() {
    let write = |second: u64, new: &str, verdict: &str| {
        item(second, json!({"new": {"text": new}, "verdict": verdict}))
    };
    let events = vec![
        write(START - 9, "70000", "rewrite"),
        write(START - 8, "6", "deny"),
        write(START - 7, "7", "allow"),
    ];
    let mut earlier = Earlier { events, ..last_night() };
    earlier.rules[0].example = earlier.events.last().cloned();
    let mut model = model_with(earlier, None);
    for filter in ["", "/uid == 0\r"] {
        press(&mut model, filter);
        let row_ranks: Vec<u8> = model.activity().shown().rules.iter().map(|(_, row)| row.rank).collect();
        assert_eq!(row_ranks, [0], "it denied something");
        press(&mut model, "\r");
        let screen = text(&mut model);
        let (first, last) = screen.split_once("Last event").unwrap();
        assert!(first.contains("70000") && last.contains("\"7\""), "{screen}");
        press(&mut model, "\x1b");
    }
}

#[test]
fn what_the_memories_counted_is_left_out_of_what_the_reader_has() {
    let mut earlier = last_night();
    earlier.rules[0].sent = 7;
    let counted = Counted::new(&earlier, moment(START).boot_time);
    let sent = |second: u64, sent: u64| item(second, json!({"totals": {"sent": sent, "suppressed": 0}}));
    for (item, expected) in [
        (earlier.events[0].clone(), true),
        (sent(START - 1, 7), true),
        (sent(START - 1, 8), false),
        // What had to make room is counted from 1 again.
        (sent(START + 1, 3), false),
        (item(START - 1, json!({"origin": 5})), false),
        (clamped(START - 1), false),
        (suppressed(START - 1, 3), false),
    ] {
        assert_eq!(counted.has(&item), expected, "{item:?}");
    }
}

#[test]
fn what_is_not_known_of_earlier_events_is_said() {
    let earlier = Earlier { unknown: 300, undecodable: 2, attachments_left_out: 7, ..last_night() };
    let mut model = model_with(earlier, None);
    model.missing.insert("3 programs have eight readers already".to_owned());
    press(&mut model, "?\x1b[F");
    let help = text(&mut model);
    for note in [
        "3 programs have eight readers already",
        "300 earlier events were counted and not remembered",
        "left out: 2 earlier events that cannot be read",
        "left out: the earlier events of 7 attachments",
    ] {
        assert!(help.contains(note), "{note}: {help}");
    }
}
