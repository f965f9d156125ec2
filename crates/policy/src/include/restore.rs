//! Which parts of a text are included ones, by the comments around them: all that is left of the files in a program.

use std::sync::Arc;

use super::expand::{CLOSING, LINES, OPENING};
use super::map::Inclusions;
use crate::{Source, Span};

/// A file whose text is put together again.
struct RestoredFile {
    name: String,
    text: String,
    included_by: Option<Span>,
}

/// What `text`, called `name`, consists of; `None` if nothing in it is included. A comment that only looks like one of those around
/// an included part belongs to the text.
pub(crate) fn restore(name: &str, text: &str) -> Option<Inclusions> {
    let pairs = pairs(text);
    if pairs.is_empty() {
        return None;
    }
    let mut files = vec![RestoredFile { name: name.to_owned(), text: String::new(), included_by: None }];
    let mut pieces = Vec::new();
    let mut open = vec![0];
    let mut ends: Vec<Pair<'_>> = Vec::new();
    let mut next = pairs.iter();
    let mut opening = next.next();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let file = open.last().copied().unwrap_or_default();
        if let Some(end) = ends.pop_if(|end| end.closing == start) {
            open.pop();
            let file = open.last().copied().unwrap_or_default();
            let statement = end.place_in_file;
            pieces.push((start, file, Span::new(statement, statement)));
        } else if let Some(pair) = opening.filter(|pair| pair.opening == start) {
            let line = &line[OPENING.len()..];
            let at = files[file].text.len();
            let blanks = line.len() - line.trim_start().len();
            pieces.push((start + OPENING.len(), file, Span::new(at, at + line.len())));
            files[file].text.push_str(line);
            let statement = start + OPENING.len() + blanks;
            let included_by = Some(Span::new(statement, statement + pair.statement.len()));
            open.push(files.len());
            files.push(RestoredFile { name: name_in(pair.statement), text: String::new(), included_by });
            ends.push(Pair { place_in_file: at + blanks, ..*pair });
            opening = next.next();
        } else {
            let at = files[file].text.len();
            pieces.push((start, file, Span::new(at, at + line.len())));
            files[file].text.push_str(line);
        }
        start += line.len();
    }
    let source = |file: &RestoredFile| Arc::new(Source::new(file.name.as_str(), file.text.as_str()));
    let mut inclusions = Inclusions::new(source(&files[0]));
    for file in &files[1..] {
        inclusions.add_file(source(file), file.included_by.unwrap_or_default(), false);
    }
    for (start, file, from) in pieces {
        inclusions.add_piece(start, file, from);
    }
    Some(inclusions)
}

/// The comments around a part.
#[derive(Clone, Copy)]
struct Pair<'a> {
    /// Where the line of the first one starts.
    opening: usize,
    /// Where the line of the other one starts.
    closing: usize,
    statement: &'a str,
    /// Where the statement is in its file.
    place_in_file: usize,
}

/// The pairs of comments, by their first one. The second one says how many lines are between them.
fn pairs(text: &str) -> Vec<Pair<'_>> {
    let mut starts = Vec::new();
    let mut start = 0;
    let mut pairs = Vec::new();
    for line in text.split_inclusive('\n') {
        starts.push(start);
        let pair = closing(line).and_then(|(statement, lines)| {
            let opening = *starts.get(starts.len().checked_sub(lines.checked_add(2)?)?)?;
            let first = text[opening..].lines().next().unwrap_or_default();
            let is_opening = first.strip_prefix(OPENING).and_then(self::statement) == Some(statement);
            is_opening.then_some(Pair { opening, closing: start, statement, place_in_file: 0 })
        });
        pairs.extend(pair);
        start += line.len();
    }
    pairs.sort_unstable_by_key(|pair| pair.opening);
    let mut open: Vec<usize> = Vec::new();
    pairs.retain(|pair| {
        open.truncate(open.iter().rposition(|&end| end > pair.opening).map_or(0, |last| last + 1));
        let is_inside = open.last().is_none_or(|&end| pair.closing < end);
        open.extend(is_inside.then_some(pair.closing));
        is_inside
    });
    pairs
}

/// The statement whose text ends with `line`, and how many lines it has.
fn closing(line: &str) -> Option<(&str, usize)> {
    let after = line.strip_prefix(CLOSING)?;
    let statement = statement(after)?;
    let lines = after[statement.len()..].strip_prefix(LINES)?.trim_end();
    Some((statement, lines.parse().ok()?))
}

/// The `include` statement at the start of `line`, after blanks.
fn statement(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '\t']);
    let after = line.strip_prefix("include")?;
    let name = after.find('"')? + 1;
    let before = after[..name - 1].trim();
    let mut is_escaped = false;
    let length = after[name..].find(|c| match c {
        '"' if !is_escaped => true,
        c => {
            is_escaped = c == '\\' && !is_escaped;
            false
        }
    })?;
    let end = line.len() - after.len() + name + length + 1;
    matches!(before, "" | "preset").then(|| &line[..end])
}

/// The name of what `statement` includes.
fn name_in(statement: &str) -> String {
    let (before, quoted) = statement.split_once('"').unwrap_or((statement, ""));
    let name = quoted.strip_suffix('"').unwrap_or(quoted);
    if before.contains("preset") { format!("preset {name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of the words that are not in comments.
    fn places(text: &str) -> Vec<String> {
        let source = Source::new("x.knob", text).with_restored_includes();
        let words = text.match_indices("allow").map(|(at, _)| at);
        words.map(|at| format!("{} {}", source.own_place(at), source.place(at))).collect()
    }

    #[test]
    fn parts_are_found_by_the_comments_around_them() {
        let text = "policy x\n#  include \"a.knob\"  # why\nallow 1\n# include preset \"b@1\"\n\nallow 2\n\
                    # end of include preset \"b@1\", lines: 2\nallow 3\n# end of include \"a.knob\", lines: 6\nallow 4\n";
        assert_eq!(
            places(text),
            ["x.knob:2 a.knob:1", "x.knob:2 preset b@1:2", "x.knob:2 a.knob:3", "x.knob:3 x.knob:3"]
        );
    }

    #[test]
    fn other_comments_belong_to_the_text() {
        for (text, expected) in [
            ("# include \"a\"\nallow 1\n", ["x.knob:2 x.knob:2"].as_slice()),
            ("# end of include \"a\"\nallow 1\n", &["x.knob:2 x.knob:2"]),
            ("# end of include \"a\", lines: 0\nallow 1\n", &["x.knob:2 x.knob:2"]),
            ("# include \"a\"\n# end of include \"a\", lines: 1\nallow 1\n", &["x.knob:3 x.knob:3"]),
            (
                "# include \"a\"\nallow 1\n# include \"a\"\n# include \"a\"\nallow 2\n\
                 # end of include \"a\", lines: 2\nallow 3\n",
                &["x.knob:2 x.knob:2", "x.knob:3 a:2", "x.knob:4 x.knob:4"],
            ),
            // The second pair would end after the first.
            (
                "# include \"a\"\n# include \"b\"\nallow 1\n# end of include \"a\", lines: 2\n\
                 # end of include \"b\", lines: 2\nallow 2\n",
                &["x.knob:1 a:2", "x.knob:3 x.knob:3"],
            ),
            ("# end of include \"\n# include \"\n# include\nallow 1", &["x.knob:4 x.knob:4"]),
            (
                "# include \"a\"\n# end of include \"a\", lines: 18446744073709551615\nallow 1",
                &["x.knob:3 x.knob:3"],
            ),
        ] {
            assert_eq!(places(text), expected, "{text}");
        }
    }
}
