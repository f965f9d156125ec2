//! Draws the model into the cells of a terminal.

use anstyle::{AnsiColor, Effects, Style};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style as tui;

use super::cells;
use super::detail;
use super::layout::{Layout, SMALLEST};
use super::model::{Model, Over};
use super::pane::Pane;
use super::rate::{MINUTE, rate, sparkline};
use super::rows;
use super::tallies::Column;
use crate::printable::printable;
use crate::stream::line::Piece;
use crate::style::{DENY, DIM, ERROR, HEADING, WARNING};
use crate::timestamp;

/// Draws the model. Without colours, texts still are bold, underlined or inverted.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, has_colours: bool) {
    let mut canvas = Canvas { buffer, has_colours };
    let area = canvas.buffer.area;
    let Some(layout) = Layout::new(area.as_size(), model.focus) else {
        return too_small(&mut canvas);
    };
    header(model, layout.header, &mut canvas);
    match &model.over {
        Some(Over::Detail { scrolled, .. } | Over::Help { scrolled }) => {
            in_front(model, *scrolled, layout.body, &mut canvas);
        }
        Some(Over::Filter { .. }) | None => {
            for pane in Pane::ALL {
                draw_pane(model, pane, layout.panes[pane as usize], &mut canvas);
            }
        }
    }
    footer(model, layout.footer, &mut canvas);
}

/// Where lines are drawn.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    has_colours: bool,
}

impl Canvas<'_> {
    /// Draws the pieces on a row of `area`, as far as they fit.
    fn line(&mut self, area: Rect, row: u16, pieces: &[Piece]) {
        if row >= area.height {
            return;
        }
        let mut x = area.x;
        for Piece { style, text } in cells::cut_pieces(pieces, area.width.into()) {
            let room = usize::from(area.right() - x);
            (x, _) = self.buffer.set_stringn(x, area.y + row, text, room, self.style(style));
        }
    }

    fn style(&self, style: Style) -> tui::Style {
        let mut converted = tui::Style::new();
        let effects = style.get_effects();
        for (effect, modifier) in [
            (Effects::BOLD, tui::Modifier::BOLD),
            (Effects::DIMMED, tui::Modifier::DIM),
            (Effects::UNDERLINE, tui::Modifier::UNDERLINED),
            (Effects::INVERT, tui::Modifier::REVERSED),
        ] {
            if effects.contains(effect) {
                converted = converted.add_modifier(modifier);
            }
        }
        match style.get_fg_color() {
            Some(anstyle::Color::Ansi(color)) if self.has_colours => converted.fg(convert(color)),
            _ => converted,
        }
    }
}

fn convert(color: AnsiColor) -> tui::Color {
    match color {
        AnsiColor::Black => tui::Color::Black,
        AnsiColor::Red => tui::Color::Red,
        AnsiColor::Green => tui::Color::Green,
        AnsiColor::Yellow => tui::Color::Yellow,
        AnsiColor::Blue => tui::Color::Blue,
        AnsiColor::Magenta => tui::Color::Magenta,
        AnsiColor::Cyan => tui::Color::Cyan,
        AnsiColor::White => tui::Color::Gray,
        AnsiColor::BrightBlack => tui::Color::DarkGray,
        AnsiColor::BrightRed => tui::Color::LightRed,
        AnsiColor::BrightGreen => tui::Color::LightGreen,
        AnsiColor::BrightYellow => tui::Color::LightYellow,
        AnsiColor::BrightBlue => tui::Color::LightBlue,
        AnsiColor::BrightMagenta => tui::Color::LightMagenta,
        AnsiColor::BrightCyan => tui::Color::LightCyan,
        AnsiColor::BrightWhite => tui::Color::White,
    }
}

fn plain(text: impl Into<String>) -> Piece {
    Piece { style: Style::new(), text: text.into() }
}

fn too_small(canvas: &mut Canvas<'_>) {
    let area = canvas.buffer.area;
    let text = format!(
        "The terminal is too small: knobgate top needs {} columns and {} lines, and has {} and {}. q quits.",
        SMALLEST.width, SMALLEST.height, area.width, area.height
    );
    if area.width > 0 {
        let lines = cells::wrap(&[plain(text)], area.width.into(), 0);
        for (row, line) in (0..area.height).zip(&lines) {
            canvas.line(area, row, line);
        }
    }
}

fn header(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let (shown, now, width) = (model.activity().shown(), model.second(), usize::from(area.width));
    const NAME: &str = "knobgate top: ";
    let time = timestamp::time_of_day(model.now.wall);
    let time = format!("{} UTC", time.get(..8).unwrap_or_default());
    let paused = match model.is_paused() {
        true => format!(" PAUSED, {} since then ", model.since_paused),
        false => String::new(),
    };
    let rest = width.saturating_sub(paused.len() + time.len() + 2);
    canvas.line(
        area,
        0,
        &[
            Piece { style: HEADING, text: NAME.to_owned() },
            plain(cells::left(&printable(&model.whose), rest.saturating_sub(NAME.len()))),
            plain(" "),
            Piece { style: WARNING.invert(), text: paused },
            plain(format!(" {time}")),
        ],
    );
    let denied = &shown.rates[Column::Denied as usize];
    // Denials may be among these.
    let suppressed = match shown.suppressed_rate.last(now, MINUTE) {
        0 => String::new(),
        suppressed => format!(", {suppressed} suppressed"),
    };
    canvas.line(
        area,
        1,
        &[
            Piece { style: DENY, text: format!("DENIED {:>6}/s ", rate(denied.per_second(now))) },
            Piece { style: DENY, text: sparkline(&denied.bars(now, MINUTE as usize / 3)) },
            plain(format!(" last minute: {} denied{suppressed}", denied.last(now, MINUTE))),
        ],
    );
    let outcome = |column: Column| rate(shown.rates[column as usize].per_second(now));
    let (suppressed, lost) = (rate(shown.suppressed_rate.per_second(now)), model.lost());
    canvas.line(
        area,
        2,
        &[
            // First, so that large numbers never push it off the screen.
            Piece { style: warn_if(lost), text: format!("lost {lost}") },
            plain("  "),
            Piece {
                style: warn_if(shown.suppressed),
                text: format!("suppressed {} ({suppressed}/s)", shown.suppressed),
            },
            plain(format!(
                "  would {}/s  rewritten {}/s  allowed {}/s",
                outcome(Column::Would),
                outcome(Column::Rewritten),
                outcome(Column::Allowed)
            )),
        ],
    );
    let error = match &model.over {
        Some(Over::Filter { error: Some(error), .. }) => Some(error),
        _ => None,
    };
    let notes = match error {
        Some(error) => vec![Piece { style: ERROR, text: format!("error: {}", printable(error)) }],
        None => {
            let mut line = Vec::new();
            for note in rows::notes(model) {
                line.extend((!line.is_empty()).then(|| plain("; ")));
                line.push(note);
            }
            line
        }
    };
    canvas.line(area, 3, &notes);
}

fn warn_if(count: u64) -> Style {
    if count > 0 { WARNING } else { Style::new() }
}

fn draw_pane(model: &Model, pane: Pane, area: Rect, canvas: &mut Canvas<'_>) {
    let (width, has_focus) = (usize::from(area.width), model.focus == pane);
    let rows = rows::rows(model, pane);
    let left_out = model.activity().shown().items_left_out;
    // What was suppressed or lost has a line as well.
    let is_counted = |row: &&rows::PaneRow<'_>| match row {
        rows::PaneRow::Event(entry) => entry.item.event().is_some(),
        _ => true,
    };
    let count = rows.iter().filter(is_counted).count();
    canvas.line(area, 0, &rows::heading(pane, count, left_out, has_focus, width));
    let ids: Vec<u64> = rows.iter().map(rows::PaneRow::id).collect();
    let (chosen, page) = (model.chosen(pane, &ids), usize::from(area.height) - 1);
    // The chosen row is in the middle, if there is something on both sides.
    let first = chosen.saturating_sub(page / 2).min(rows.len().saturating_sub(page));
    for (line, (index, row)) in (1..area.height).zip(rows.iter().enumerate().skip(first)) {
        let is_chosen = has_focus && index == chosen;
        let mut pieces = row.line(model.second(), width, is_chosen);
        if is_chosen {
            pieces.iter_mut().for_each(|piece| piece.style = piece.style.invert());
        }
        canvas.line(area, line, &pieces);
    }
    if rows.is_empty() {
        let text = match (pane, model.filter_text.is_empty()) {
            (Pane::Attachments, _) => "  nothing is attached",
            (Pane::Rules, _) if !model.activity().shown().items.is_empty() => {
                "  no rules of cgroups that are there"
            }
            (_, true) => "  no events yet",
            (_, false) => "  no events for this filter",
        };
        canvas.line(area, 1, &[Piece { style: DIM, text: text.to_owned() }]);
    }
}

fn in_front(model: &Model, scrolled: usize, area: Rect, canvas: &mut Canvas<'_>) {
    let lines = detail::lines(model, area.width.into());
    let page = usize::from(area.height) - 1;
    // What is shown may have become shorter.
    let first = scrolled.min(lines.len().saturating_sub(page));
    for (row, line) in (0..area.height - 1).zip(&lines[first..]) {
        canvas.line(area, row, line);
    }
    let below = lines.len().saturating_sub(first + page);
    let more = match (first, below) {
        (0, 0) => return,
        (_, 0) => "the end".to_owned(),
        (_, below) => format!("{below} more lines: ↓, PgDn"),
    };
    canvas.line(area, area.height - 1, &[Piece { style: DIM, text: format!("── {more} ──") }]);
}

fn footer(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    if let Some(Over::Filter { line, .. }) = &model.over {
        return filter_line(&line.around_cursor(), area, canvas);
    }
    let keys: &[(&str, &str)] = match model.over {
        Some(_) => &[("Esc", "back"), ("↑↓ PgUp PgDn", "scroll"), ("p", "pause"), ("q", "quit")],
        None => &[
            ("Tab", "pane"),
            ("Enter", "detail"),
            ("/", "filter"),
            ("p", "pause"),
            ("s", "sort: "),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let mut line = Vec::new();
    for (key, does) in keys {
        let order = if does.ends_with(' ') { model.order(model.focus).name() } else { "" };
        line.extend((!line.is_empty()).then(|| plain("  ")));
        line.push(Piece { style: HEADING, text: (*key).to_owned() });
        line.push(plain(format!(" {does}{order}")));
    }
    canvas.line(area, 0, &line);
}

fn filter_line((before, after): &(String, String), area: Rect, canvas: &mut Canvas<'_>) {
    const NAME: &str = "filter: ";
    let (before, after) = (cells::cell_text(before), cells::cell_text(after));
    // The cursor is always on the screen.
    let room = usize::from(area.width) - NAME.len() - 2;
    let mut start = before.char_indices().map(|(at, _)| at);
    let visible = loop {
        let at = start.next().unwrap_or(before.len());
        if cells::width(&before[at..]) <= room {
            break &before[at..];
        }
    };
    let mut rest = after.chars();
    let under = rest.next().unwrap_or(' ');
    canvas.line(
        area,
        0,
        &[
            Piece { style: HEADING, text: NAME.to_owned() },
            plain(visible),
            Piece { style: Style::new().invert(), text: under.to_string() },
            plain(rest.as_str()),
        ],
    );
}
