//! Finds the lines and columns of paths in a document.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use crate::path::{Path, Segment};

/// The starts of the values at these paths. If a path does not exist, it is the start of the last value on the way. The text is read
/// once for all of them.
pub(crate) fn line_columns(text: &str, paths: &[&Path]) -> Vec<Option<(usize, usize)>> {
    let Ok(document) = serde_json::from_str::<&RawValue>(text) else { return vec![None; paths.len()] };
    let mut starts = vec![0; paths.len()];
    find(text, document, paths.iter().map(|path| &path.0[..]).enumerate().collect(), &mut starts);
    positions(text, &starts).into_iter().map(Some).collect()
}

/// Sets the start of each path, of which the rest is below `value`, by its number.
fn find<'p>(text: &str, value: &RawValue, paths: Vec<(usize, &'p [Segment])>, starts: &mut [usize]) {
    let mut keys: BTreeMap<&'p str, Vec<_>> = BTreeMap::new();
    let mut indexes: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (number, path) in paths {
        starts[number] = offset(text, value).unwrap_or_default();
        match path {
            [Segment::Key(key), rest @ ..] => keys.entry(key).or_default().push((number, rest)),
            [Segment::Index(index), rest @ ..] => indexes.entry(*index).or_default().push((number, rest)),
            [] => {}
        }
    }
    if !keys.is_empty() {
        let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        for (key, paths) in keys {
            if let Some(value) = members.get(key) {
                find(text, value, paths, starts);
            }
        }
    }
    if !indexes.is_empty() {
        let elements: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        for (index, paths) in indexes {
            if let Some(value) = elements.get(index) {
                find(text, value, paths, starts);
            }
        }
    }
}

/// Line and column of each of these offsets.
fn positions(text: &str, starts: &[usize]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..starts.len()).collect();
    order.sort_by_key(|&number| starts[number]);
    let mut positions = vec![(1, 1); starts.len()];
    let (mut line, mut column, mut seen) = (1, 1, 0);
    for number in order {
        let between = &text[seen..starts[number]];
        match between.rfind('\n') {
            Some(newline) => {
                line += between.matches('\n').count();
                column = between[newline + 1..].chars().count() + 1;
            }
            None => column += between.chars().count(),
        }
        seen = starts[number];
        positions[number] = (line, column);
    }
    positions
}

/// The start of each element of the array `key`.
pub(crate) fn elements(text: &str, key: &str) -> Vec<(usize, usize)> {
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let array = members.get(key).and_then(|array| serde_json::from_str(array.get()).ok());
    let elements: Vec<&RawValue> = array.unwrap_or_default();
    let starts: Vec<usize> = elements.into_iter().filter_map(|element| offset(text, element)).collect();
    positions(text, &starts)
}

/// Where a value is in the text that it was borrowed from.
fn offset(text: &str, value: &RawValue) -> Option<usize> {
    (value.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_value() {
        let text = "{\n  \"é\\n\": [1,\n    { \"x\": \"ä\", \"y\": [] }]\n}";
        let path = |segments: &[Segment]| Path(segments.to_vec());
        let key = |key: &str| Segment::Key(key.to_owned());
        let cases = [
            (vec![], (1, 1)),
            (vec![key("é\n")], (2, 10)),
            (vec![key("é\n"), Segment::Index(1)], (3, 5)),
            (vec![key("é\n"), Segment::Index(1), key("y")], (3, 22)),
            (vec![key("é\n"), Segment::Index(1), key("z")], (3, 5)),
            (vec![key("é\n"), Segment::Index(0)], (2, 11)),
        ];
        let paths: Vec<Path> = cases.iter().map(|(segments, _)| path(segments)).collect();
        let paths: Vec<&Path> = paths.iter().collect();
        assert_eq!(line_columns(text, &paths), cases.map(|(_, expected)| Some(expected)));
        assert_eq!(line_columns("{", &[&path(&[])]), [None]);
    }

    #[test]
    fn the_elements_of_an_array_are_where_their_paths_lead() {
        let text = "{\n \"é\": [1],\n \"steps\": [{},\n  \"ä\", {\n}, 5,\n\n[]]}";
        let places = elements(text, "steps");
        assert_eq!(places, [(3, 12), (4, 3), (4, 8), (5, 4), (7, 1)]);
        for (index, place) in places.into_iter().enumerate() {
            assert_eq!(line_columns(text, &[&Path::of("steps").index(index)]), [Some(place)]);
        }
        assert_eq!(elements(text, "none"), []);
    }
}
