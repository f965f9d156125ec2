//! What is on the screen, cell by cell. `SNAPSHOTS=overwrite` writes the files again.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use serde_json::json;
use snapbox::data::DataFormat;
use snapbox::{Assert, Data};

use super::*;

#[track_caller]
fn snapshot(name: &str, model: &mut Model, width: u16, height: u16) {
    let path = format!("{}/tests/snapshots/top-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = Data::read_from(path.as_ref(), Some(DataFormat::Text)).raw();
    let printed = screen(model, width, height).join("\n") + "\n";
    Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV).eq(printed, expected);
}

/// An evening in which somebody tries things out.
fn busy() -> Model {
    let mut model = model_with(last_night(), None);
    model.attached(attached(&["db", "web"]));
    for second in 0..40 {
        for _ in 0..second / 4 {
            model.item(denied(START + second));
        }
        if second % 10 == 0 {
            model.item(clamped(START + second));
            model.item(allowed(START + second, &format!("{}\n", 60 + second)));
        }
    }
    model.item(suppressed(START + 40, 320));
    model.item(item(
        START + 41,
        json!({
            "knob": "kernel.hostname", "new": {"text": "名前-\u{1b}[2J\n"},
            "task": {"pid": 7, "tid": 7, "uid": 1000, "gid": 1000, "comm": "e\u{301}\u{202e}x"},
            "workload": {"engine": "podman", "container": "データベース"}, "cgroup": {"id": 4714},
        }),
    ));
    model.item(lost(START + 42, 12));
    model.tick(moment(START + 42));
    model
}

#[test]
fn everything_fits_on_the_smallest_screen() {
    let mut model = busy();
    snapshot("80x24", &mut model, 80, 24);
    press(&mut model, "\t");
    snapshot("80x24-events", &mut model, 80, 24);
    press(&mut model, "j\r");
    snapshot("80x24-event", &mut model, 80, 24);
    press(&mut model, "\x1b|?");
    snapshot("80x24-help", &mut model, 80, 24);
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    snapshot("40x10", &mut busy(), 40, 10);
    for (width, height) in [(0, 0), (1, 1), (79, 24), (80, 23), (3, 200)] {
        let printed = screen(&mut busy(), width, height).concat();
        assert!(printed.is_empty() || printed.starts_with('T'), "{width}×{height}: {printed}");
    }
}

#[test]
fn a_large_screen_has_all_columns_of_an_event() {
    snapshot("170x30", &mut busy(), 170, 30);
}

#[test]
fn without_colours_the_same_is_said() {
    let mut model = busy();
    let area = Rect { x: 0, y: 0, width: 80, height: 24 };
    model.resize(area.as_size());
    let drawn = |has_colours: bool| {
        let mut buffer = Buffer::empty(area);
        draw(&model, &mut buffer, has_colours);
        buffer
    };
    let (coloured, plain) = (drawn(true), drawn(false));
    assert!(coloured.content.iter().any(|cell| cell.fg == Color::Red));
    assert!(plain.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    let symbols =
        |buffer: &Buffer| buffer.content.iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>();
    assert_eq!(symbols(&coloured), symbols(&plain));
    // The chosen row is marked, and inverted.
    let chosen: Vec<_> = plain.content.iter().filter(|cell| cell.symbol() == ">").collect();
    assert!(chosen.len() == 1 && chosen[0].modifier.contains(Modifier::REVERSED), "{chosen:?}");
}
