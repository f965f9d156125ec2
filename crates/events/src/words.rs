//! The parts of an event, as people read them. All of them are [escaped](crate::terminal): whoever is watched chose most of them.
//!
//! ```
//! use knobgate_events::words::{Length, quoted};
//!
//! assert_eq!(quoted("4096\n\u{202e}".as_bytes(), Length::Full), r#""4096\n\u{202e}""#);
//! ```

use std::borrow::Cow;

use knobgate_policy::{AccessKind, Errno, KnobName, Text};

use crate::event::{EventRule, EventText, RuleRef};
use crate::record::VALUE_SEEN_MAX;
use crate::stream::{StreamContext, StreamItem};
use crate::terminal::escape;

/// How much of texts is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As much as is there.
    Full,
    /// So much that several fit on a line of a terminal.
    Short,
}

/// The most bytes of a value, and the most characters of a path, that are shown on a terminal.
const SHORT: usize = 40;

/// The name of a knob: `net.core.somaxconn`.
pub fn knob(knob: &EventText) -> String {
    let ellipsis = if knob.cut_from.is_some() { "…" } else { "" };
    let name = KnobName::from_path(&*knob.bytes)
        .map_or_else(|_| Text::from(&*knob.bytes).to_string(), |name| name.to_string());
    format!("{}{ellipsis}", escape(&name))
}

/// A value: `"4096\n"`.
pub fn value(value: &EventText, length: Length) -> String {
    let EventText { bytes, cut_from, .. } = value;
    let text = quoted(bytes, length);
    match cut_from {
        None => text,
        Some(_) if text.ends_with('…') => text,
        Some(_) if length == Length::Short => format!("{text}…"),
        Some(whole) if *whole as usize >= VALUE_SEEN_MAX => format!("{text}… of {whole} bytes or more"),
        Some(whole) => format!("{text}… of {whole} bytes"),
    }
}

/// Bytes between quotes.
pub fn quoted(bytes: &[u8], length: Length) -> String {
    let quoted = |bytes: &[u8]| escape(&Text::from(bytes).to_string()).into_owned();
    if length == Length::Full || bytes.len() <= SHORT {
        return quoted(bytes);
    }
    // Not in the middle of a character.
    let is_inside = |&at: &usize| bytes[at] & 0xc0 == 0x80;
    let end = (SHORT - 3..=SHORT).rev().find(|at| !is_inside(at)).unwrap_or(SHORT);
    format!("{}…", quoted(&bytes[..end]))
}

/// A name that somebody chose: as it is, or between quotes if it could be taken for something else.
pub fn name(name: &[u8]) -> Cow<'_, str> {
    match escape(name) {
        Cow::Borrowed(plain) if !plain.is_empty() && !plain.contains(misleads) => plain.into(),
        _ => escape(&Text::from(name).to_string()).into_owned().into(),
    }
}

/// Whether a character in a name could be taken for the end of the name, or is not seen at all.
fn misleads(c: char) -> bool {
    match c {
        '"' | '[' | ']' | '(' | ')' | '→' | '…' => true,
        // Braille without dots.
        '\u{2800}' => true,
        // Default_Ignorable_Code_Point (DerivedCoreProperties.txt, Unicode 16), without what is escaped anyway.
        '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0080}'..='\u{e0fff}' => true,
        c => c.is_whitespace(),
    }
}

/// An errno: its name, or its number.
pub fn errno(number: u16) -> String {
    Errno::from_number(number.into()).map_or_else(|| format!("errno {number}"), |errno| errno.to_string())
}

/// What runs in the cgroup, or at least which one it is: `docker/web-1`, `unit nginx.service`, `/sys/fs/cgroup/demo`.
pub fn workload(item: &StreamItem, length: Length) -> Option<String> {
    workload_of(&item.context, item.cgroup_id(), length)
}

/// What runs in a cgroup of which this is known, as [`workload()`] has it.
pub fn workload_of(context: &StreamContext, cgroup_id: Option<u64>, length: Length) -> Option<String> {
    // A slash would look like the end of one name.
    let quoted = |part: &[u8]| match part.contains(&b'/') {
        true => self::quoted(part, Length::Full).into_bytes(),
        false => name(part).into_owned().into_bytes(),
    };
    if let Some(label) = context.workload.as_ref().and_then(|workload| workload.label(quoted)) {
        return Some(label);
    }
    let Some(path) = context.cgroup_path.as_deref() else {
        return cgroup_id.map(|id| format!("cgroup {id}"));
    };
    let path = name(path);
    let characters = path.chars().count();
    Some(match length {
        // The end says most.
        Length::Short if characters > SHORT => {
            format!("…{}", path.chars().skip(characters - SHORT + 1).collect::<String>())
        }
        _ => path.into_owned(),
    })
}

/// Where the verdict comes from: `tour:7`, or `web/tour:7` if the attachment has another name than the policy.
pub fn rule(item: &StreamItem) -> Option<String> {
    let policy = item.policy();
    let attachment = item.context.attachment.as_deref().filter(|&attachment| policy != Some(attachment));
    let owner: Vec<Cow<'_, str>> =
        [attachment, policy].into_iter().flatten().map(|part| name(part.as_bytes())).collect();
    let place = item.rule().map(place);
    match (owner.is_empty(), place) {
        (true, None) => None,
        (true, Some(place)) => Some(place),
        (false, None) => Some(owner.join("/")),
        (false, Some(place)) => Some(format!("{}:{place}", owner.join("/"))),
    }
}

/// The line of a rule, or what stands for it.
fn place(rule: &EventRule) -> String {
    match (rule.line, rule.rule) {
        (Some(line), _) => line.to_string(),
        (None, RuleRef::Rule(index)) => format!("rule {}", u64::from(index) + 1),
        (None, RuleRef::Default(_)) => "default".to_owned(),
    }
}

/// `read` or `write`.
pub fn access(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = format!("{}é{}", "x".repeat(39), "y".repeat(100));
        let expected = format!("\"{}\"…", "x".repeat(39));
        assert_eq!(quoted(long.as_bytes(), Length::Short), expected);
        assert_eq!(quoted(long.as_bytes(), Length::Full), format!("\"{long}\""));
        assert_eq!(quoted(&[0x80; 41], Length::Short), format!("\"{}\"…", "\\x80".repeat(40)));
        assert_eq!(quoted(&[b'x'; 40], Length::Short), format!("\"{}\"", "x".repeat(40)));
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_quoted() {
        for (text, expected) in [
            (&b"sh"[..], "sh"),
            (b"kworker/0:1", "kworker/0:1"),
            ("naïve".as_bytes(), "naïve"),
            (b"", "\"\""),
            (b"x] uid=0", "\"x] uid=0\""),
            (b"a\xff", "\"a\\xff\""),
            (b"a\"", "\"a\\\"\""),
            ("a\u{202e}".as_bytes(), "\"a\\u{202e}\""),
            ("sh\u{3000}uid=0".as_bytes(), "\"sh\u{3000}uid=0\""),
            ("a\u{a0}b".as_bytes(), "\"a\u{a0}b\""),
            ("a\u{2003}b".as_bytes(), "\"a\u{2003}b\""),
            ("a\u{3164}b".as_bytes(), "\"a\u{3164}b\""),
            ("a\u{2800}b".as_bytes(), "\"a\u{2800}b\""),
            ("a\u{ad}b".as_bytes(), "\"a\\u{ad}b\""),
        ] {
            assert_eq!(name(text), expected);
        }
    }
}
