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
    let before = text.get(..offset(text, value)?)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
}

/// The start of each element of the array `key`.
pub(crate) fn elements(text: &str, key: &str) -> Vec<(usize, usize)> {
    let array = serde_json::from_str(text).ok().and_then(|document| member(document, key));
    let elements: Vec<&RawValue> =
        array.and_then(|array| serde_json::from_str(array.get()).ok()).unwrap_or_default();
    let (mut line, mut line_start, mut seen) = (1, 0, 0);
    let mut places = Vec::new();
    for start in elements.into_iter().filter_map(|element| offset(text, element)) {
        for (newline, _) in text[seen..start].match_indices('\n') {
            (line, line_start) = (line + 1, seen + newline + 1);
        }
        seen = start;
        places.push((line, text[line_start..start].chars().count() + 1));
    }
    places
}

/// Where a value is in the text that it was borrowed from.
fn offset(text: &str, value: &RawValue) -> Option<usize> {
    (value.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)
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

    #[test]
    fn the_elements_of_an_array_are_where_their_paths_lead() {
        let text = "{\n \"é\": [1],\n \"steps\": [{},\n  \"ä\", {\n}, 5,\n\n[]]}";
        let places = elements(text, "steps");
        assert_eq!(places, [(3, 12), (4, 3), (4, 8), (5, 4), (7, 1)]);
        for (index, place) in places.into_iter().enumerate() {
            assert_eq!(line_column(text, &Path::of("steps").index(index)), Some(place));
        }
        assert_eq!(elements(text, "none"), []);
    }
}
