//! Text for the cells of a terminal.

use std::borrow::Cow;

use anstyle::Style;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::printable::printable;
use crate::stream::line::Piece;

/// How many marks a character can have on it. More of them would be drawn over the lines above and below.
const MARKS_MAX: usize = 2;

/// `text` without anything that a terminal interprets, as [`printable()`] has it, and without anything of which terminals do not agree
/// how wide it is: that is escaped as well, like `\u{200d}`. So columns stay columns.
pub(super) fn cell_text(text: &str) -> Cow<'_, str> {
    let text = printable(text);
    if text.is_ascii() || text.graphemes(true).all(has_certain_width) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for grapheme in text.graphemes(true) {
        if has_certain_width(grapheme) {
            escaped.push_str(grapheme);
            continue;
        }
        for (index, c) in grapheme.chars().enumerate() {
            let stands_alone = index == 0 && matches!(c.width(), Some(1 | 2)) && !is_regional_indicator(c);
            match stands_alone {
                true => escaped.push(c),
                false => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            }
        }
    }
    escaped.into()
}

/// Whether all terminals give it the same width: a character that has a width, perhaps with marks on it.
fn has_certain_width(grapheme: &str) -> bool {
    let mut chars = grapheme.chars();
    let base = chars.next().and_then(UnicodeWidthChar::width);
    let are_marks = chars.clone().all(|c| c.width() == Some(0));
    matches!(base, Some(1 | 2))
        && are_marks
        && chars.count() <= MARKS_MAX
        && base == Some(grapheme.width())
        && !grapheme.chars().any(is_regional_indicator)
}

/// Two of these are a flag, where a terminal has flags.
fn is_regional_indicator(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// The number of cells of a text that went through [`cell_text`].
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in so many cells: cut, with `…` at the end, or filled with blanks.
pub(super) fn left(text: &str, cells: usize) -> String {
    let cut = cut(text, cells);
    format!("{cut}{}", " ".repeat(cells - width(&cut)))
}

/// The same with the blanks in front.
pub(super) fn right(text: &str, cells: usize) -> String {
    let cut = cut(text, cells);
    format!("{}{cut}", " ".repeat(cells - width(&cut)))
}

/// `text`, or as much of it as fits into so many cells, with `…` at the end.
pub(super) fn cut(text: &str, cells: usize) -> Cow<'_, str> {
    let text = cell_text(text);
    if width(&text) <= cells {
        return text;
    }
    let (mut end, mut used) = (0, 0);
    for (start, grapheme) in text.grapheme_indices(true) {
        used += width(grapheme);
        if used + 1 > cells {
            break;
        }
        end = start + grapheme.len();
    }
    let ellipsis = if cells > 0 { "…" } else { "" };
    format!("{}{ellipsis}", &text[..end]).into()
}

/// `text`, or as much of its end as fits into so many cells, with `…` in front.
pub(super) fn cut_front(text: &str, cells: usize) -> Cow<'_, str> {
    let text = cell_text(text);
    if width(&text) <= cells {
        return text;
    }
    let (mut start, mut used) = (text.len(), 0);
    for (at, grapheme) in text.grapheme_indices(true).rev() {
        used += width(grapheme);
        if used + 1 > cells {
            break;
        }
        start = at;
    }
    let ellipsis = if cells > 0 { "…" } else { "" };
    format!("{ellipsis}{}", &text[start..]).into()
}

/// The pieces of a line that fit into so many cells. What is cut has `…` at its end.
pub(super) fn cut_pieces(pieces: &[Piece], cells: usize) -> Vec<Piece> {
    let mut room = cells;
    let mut line: Vec<Piece> = Vec::new();
    for (index, Piece { style, text }) in pieces.iter().enumerate() {
        let text = cell_text(text);
        let needed = width(&text);
        let is_last = index + 1 == pieces.len();
        // What comes next needs at least one cell, be it for the ellipsis.
        if needed < room || (needed == room && is_last) {
            line.push(Piece { style: *style, text: text.into_owned() });
            room -= needed;
            continue;
        }
        let cut = cut(&format!("{text}…"), room).into_owned();
        line.push(Piece { style: *style, text: cut });
        break;
    }
    line
}

/// The pieces of a line on as many lines as they need, all but the first with some blanks in front. Words are broken only if they are
/// long.
pub(super) fn wrap(pieces: &[Piece], cells: usize, indent: usize) -> Vec<Vec<Piece>> {
    let indent = if indent + 2 > cells { 0 } else { indent };
    let (mut lines, mut line, mut used) = (Vec::new(), Vec::new(), 0);
    for Piece { style, text } in pieces {
        let mut part = String::new();
        for grapheme in cell_text(text).graphemes(true) {
            let needed = width(grapheme);
            if used + needed > cells && used > 0 {
                let is_start = line.last().is_some_and(|before: &Piece| before.text.ends_with(' '));
                let word = last_word(&mut part, is_start, (cells - indent) / 3);
                line.push(Piece { style: *style, text: std::mem::take(&mut part) });
                let blanks = Piece { style: Style::new(), text: " ".repeat(indent) };
                lines.push(std::mem::replace(&mut line, vec![blanks]));
                used = indent + width(&word);
                part = word;
            }
            part.push_str(grapheme);
            used += needed;
        }
        line.push(Piece { style: *style, text: part });
    }
    lines.push(line);
    lines
}

/// Takes the last word of a text off, if it is not longer than this. `is_start` says whether a word starts with the text.
fn last_word(text: &mut String, is_start: bool, longest: usize) -> String {
    let start = text.rfind(' ').map(|blank| blank + 1).or(is_start.then_some(0));
    match start {
        Some(start) if width(&text[start..]) <= longest => text.split_off(start),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_certain_width_is_escaped() {
        for (text, expected) in [
            ("sh", "sh"),
            ("naïve 名前 ", "naïve 名前 "),
            ("e\u{301}a\u{300}\u{301}", "e\u{301}a\u{300}\u{301}"),
            ("e\u{301}\u{301}\u{301}", "e\\u{301}\\u{301}\\u{301}"),
            ("\u{301}x", "\\u{301}x"),
            ("👩\u{200d}👧", "👩\\u{200d}👧"),
            ("👍🏽", "👍\\u{1f3fd}"),
            ("🇩🇪", "\\u{1f1e9}\\u{1f1ea}"),
            ("☺\u{fe0f}", "☺\\u{fe0f}"),
            ("a\u{202e}\u{1b}[2J", "a\\u{202e}\\x1b[2J"),
        ] {
            assert_eq!(cell_text(text), expected, "{text:?}");
            assert_eq!(cell_text(expected), expected, "it is idempotent");
        }
    }

    #[test]
    fn texts_have_as_many_cells_as_their_column() {
        for (text, cells, expected) in [
            ("abc", 5, "abc  "),
            ("abcdef", 5, "abcd…"),
            ("名前名前", 5, "名前…"),
            ("名前名前", 4, "名… "),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(left(text, cells), expected);
            assert_eq!(width(&right(text, cells)), cells);
        }
    }

    #[test]
    fn lines_are_cut_or_wrapped_between_pieces_too() {
        let piece = |text: &str| Piece { style: Style::new(), text: text.to_owned() };
        let texts = |pieces: &[Piece]| pieces.iter().map(|piece| &*piece.text).collect::<String>();
        let pieces = [piece("ab"), piece("名c"), piece("def")];
        for (cells, expected) in
            [(8, "ab名cdef"), (7, "ab名cd…"), (5, "ab名…"), (4, "ab… "), (2, "a…"), (0, "")]
        {
            assert_eq!(texts(&cut_pieces(&pieces, cells)).trim_end(), expected.trim_end(), "{cells}");
        }
        let wrapped: Vec<String> = wrap(&pieces, 4, 1).iter().map(|line| texts(line)).collect();
        assert_eq!(wrapped, ["ab名", " cde", " f"]);
        let words: Vec<String> =
            wrap(&[piece("to be or not")], 7, 1).iter().map(|line| texts(line)).collect();
        assert_eq!(words, ["to be ", " or not"]);
        let words: Vec<String> = wrap(&[piece("to be "), piece("or"), piece(" not")], 7, 1)
            .iter()
            .map(|line| texts(line))
            .collect();
        assert_eq!(words, ["to be ", " or not"]);
    }
}
