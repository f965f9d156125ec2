//! What somebody who misspelled a word may have meant.

/// The candidate that is so near to `word` that it was probably meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = match word.chars().count() {
        0 | 1 => return None,
        2 => 1,
        length => (length / 3).max(1),
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        // A distance is never less than the difference of the lengths.
        if candidate.len().abs_diff(word.len()) > allowed {
            continue;
        }
        let distance = strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_word_is_not() {
        for (word, expected) in [
            ("alow", Some("allow")),
            ("ALLOW", Some("allow")),
            ("dney", Some("deny")),
            ("dent", Some("deny")),
            ("banana", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, ["allow", "deny", "ignore"]), expected, "{word}");
        }
    }
}
