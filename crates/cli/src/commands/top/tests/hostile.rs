//! Whatever a workload chooses for names and values: it is shown, and nothing else happens.

use knobgate_events::terminal::is_interpreted;
use knobgate_policy::KnobName;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::json;

use super::*;

/// Texts with what drives terminals, hides, reorders, joins or is wide, some of them as long as they may be.
fn hostile() -> BoxedStrategy<String> {
    let parts = select(vec![
        "a",
        "Z",
        " ",
        "/",
        "\"",
        "\\",
        "\n",
        "\r",
        "\t",
        "\0",
        "\u{7}",
        "\u{8}",
        "\u{1b}",
        "\u{1b}[2J",
        "\u{1b}]0;x\u{7}",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{9b}",
        "\u{9b}31m",
        "\u{9d}",
        "\u{ad}",
        "\u{61c}",
        "\u{200b}",
        "\u{200d}",
        "\u{200e}",
        "\u{202a}",
        "\u{202e}",
        "\u{2028}",
        "\u{2066}",
        "\u{2069}",
        "\u{feff}",
        "\u{fe0f}",
        "\u{e0041}",
        "\u{301}",
        "\u{301}\u{301}\u{301}\u{301}",
        "é",
        "名",
        "👩\u{200d}👧",
        "👍🏽",
        "🇩🇪",
        "क्ष",
        "\u{1100}\u{1161}",
        "\u{115f}",
        "\u{3000}",
        "→",
    ]);
    let short = vec(parts, 0..12).prop_map(|parts| parts.concat());
    prop_oneof![
        8 => short.clone(),
        1 => short.prop_map(|text| text.chars().cycle().take(if text.is_empty() { 0 } else { 4096 }).collect()),
    ]
    .boxed()
}

fn event() -> impl Strategy<Value = StreamItem> {
    let kind = select(vec!["event", "event", "suppressed", "lost"]);
    let which = (kind, 0..6u64, 0..200u64, select(vec!["deny", "allow", "rewrite"]), any::<bool>());
    (vec(hostile(), 11), which).prop_map(|(texts, (kind, id, second, verdict, is_audit))| {
        let text = |index: usize| texts[index].chars().take(200).collect::<String>();
        item(
            START + second,
            json!({
                "type": kind, "count": second + 1,
                "verdict": verdict, "mode": if is_audit { "audit" } else { "enforce" },
                "attachment": texts[0], "policy": texts[1], "knob": knob(&texts[2]),
                "old": {"text": text(3)}, "new": {"text": text(4)}, "stored": {"text": text(5)},
                "rule": {"index": id, "line": id + 1, "text": {"text": text(6)}},
                "task": {"pid": 1, "tid": 1, "uid": 0, "gid": 0, "comm": texts[7]},
                "cgroup": {"id": id, "path": texts[8]},
                "workload": {"engine": texts[9], "container": texts[10], "unit": texts[9]},
            }),
        )
    })
}

/// The name of a knob, as a stream has it. Network interfaces have names that somebody chose.
fn knob(name: &str) -> String {
    let path = format!("net/ipv4/conf/{}/forwarding", name.replace(['/', '\0'], "-"));
    KnobName::from_path(path.as_bytes()).map_or_else(|_| "net.x".to_owned(), |name| name.to_string())
}

fn keys() -> impl Strategy<Value = String> {
    let keys = select(vec![
        "\t", "\x1b[Z", "\r", "\x1b", "j", "k", "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F",
        "s", "p", " ", "?", "/", "\x7f", "uid == 0", "\u{9b}", "\u{301}", "名",
    ]);
    vec(keys, 0..6).prop_map(|keys| keys.concat())
}

fn size() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![(0..200u16, 0..60u16), (80..130u16, 24..50u16), Just((80, 24))]
}

/// Asserts that cells have nothing that a terminal interprets, and that all of a row is as wide as the row.
fn check(buffer: &Buffer) -> Result<(), TestCaseError> {
    let width = usize::from(buffer.area.width);
    for row in buffer.content.chunks(width.max(1)) {
        let symbols = visible(row);
        for symbol in &symbols {
            prop_assert!(!symbol.chars().any(is_interpreted), "{symbol:?}");
            prop_assert!(symbol.chars().count() <= 3 && (1..=2).contains(&symbol.width()), "{symbol:?}");
        }
        prop_assert_eq!(symbols.concat().width(), row.len(), "a wide character is cut");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_that_was_chosen_by_others_drives_the_terminal(
        earlier in vec(event(), 0..4),
        steps in vec((vec(event(), 0..6), keys(), size(), 0..90u64), 1..8),
        filter in prop_oneof![Just(None), Just(Some("verdict == deny"))],
    ) {
        let events = earlier.into_iter().filter(|item| item.event().is_some()).collect();
        let mut model = model_with(Earlier { events, ..last_night() }, filter);
        let mut second = START;
        for (items, keys, (width, height), passed) in steps {
            second += passed;
            items.into_iter().for_each(|item| model.item(item));
            model.tick(moment(second));
            let mut decoder = KeyDecoder::default();
            for key in decoder.keys(keys.as_bytes()).into_iter().chain(decoder.end()) {
                model.key(key);
            }
            model.gone(&[second % 7].into(), &[12].into());
            model.attached(attached(&["\u{1b}[2J", "名\u{301}\u{301}\u{301}"]));
            let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
            model.resize(buffer.area.as_size());
            draw(&model, &mut buffer, true);
            check(&buffer)?;
        }
    }
}
