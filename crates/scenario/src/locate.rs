//! Finds the line and column of a path in a document.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::path::{Path, Segment};

/// The start of the value at `path`. If the path does not exist, it is the start of the last value on the way.
pub(crate) fn line_column(text: &str, path: &Path) -> Option<(usize, usize)> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for segment in &path.0 {
        let inner = match segment {
            Segment::Key(key) => member(value, key),
            Segment::Index(index) => element(value, *index),
        };
        match inner {
            Some(inner) => value = inner,
            None => break,
        }
    }
    // The value is a part of the text, borrowed.
    let offset = (value.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let before = text.get(..offset)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
}

fn member<'t>(value: &'t RawValue, key: &str) -> Option<&'t RawValue> {
    let members: HashMap<Cow<'_, str>, &'t RawValue> = serde_json::from_str(value.get()).ok()?;
    members.get(key).copied()
}

fn element(value: &RawValue, index: usize) -> Option<&RawValue> {
    let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    elements.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_value() {
        let text = "{\n  \"é\\n\": [1,\n    { \"x\": \"ä\", \"y\": [] }]\n}";
        let path = |segments: &[Segment]| Path(segments.to_vec());
        let key = |key: &str| Segment::Key(key.to_owned());
        for (segments, expected) in [
            (vec![], (1, 1)),
            (vec![key("é\n")], (2, 10)),
            (vec![key("é\n"), Segment::Index(1)], (3, 5)),
            (vec![key("é\n"), Segment::Index(1), key("y")], (3, 22)),
            (vec![key("é\n"), Segment::Index(1), key("z")], (3, 5)),
        ] {
            assert_eq!(line_column(text, &path(&segments)), Some(expected), "{segments:?}");
        }
        assert_eq!(line_column("{", &path(&[])), None);
    }
}
