//! Suggestions for misspelled words.

/// The candidate that is close enough to `word` to be what was meant; none without the feature `suggest`, unless two letters
/// are swapped in a word of two.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    match word.chars().count() {
        0 | 1 => None,
        // For short words, only two swapped letters are a typo: any other difference makes another word.
        2 => {
            let letters = |word: &str| {
                let mut letters = word.to_ascii_lowercase().into_bytes();
                letters.sort_unstable();
                letters
            };
            candidates.into_iter().find(|candidate| letters(candidate) == letters(word))
        }
        length => within((length / 3).max(1), word, candidates),
    }
}

/// The same for the name of a knob. Names are long and share prefixes, so a difference of more than two characters
/// means another knob. So does another number: `net.ipv4` is not a typo for `net.ipv6`, nor `eth1` for `eth0`.
pub(crate) fn did_you_mean_knob<'a>(name: &str, knobs: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let digits = |name: &'a str| name.bytes().filter(u8::is_ascii_digit);
    let same_numbers = |knob: &&'a str| digits(knob).eq(name.bytes().filter(u8::is_ascii_digit));
    within(2, name, knobs.into_iter().filter(same_numbers))
}

/// The closest candidate within `allowed` edits; none without the feature `suggest`.
#[cfg(not(feature = "suggest"))]
fn within<'a>(_: usize, _: &str, _: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    None
}

/// The closest candidate within `allowed` edits.
#[cfg(feature = "suggest")]
fn within<'a>(allowed: usize, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        // The distance is at least the difference of the lengths.
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

#[cfg(all(test, feature = "suggest"))]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_close_and_another_word_is_not() {
        for (word, expected) in [
            ("alow", Some("allow")),
            ("ALLOW", Some("allow")),
            ("dney", Some("deny")),
            ("dent", Some("deny")),
            ("banana", None),
            ("fi", Some("if")),
            ("is", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, ["allow", "deny", "ignore", "if"]), expected, "{word}");
        }
    }

    #[test]
    fn another_knob_in_the_same_directory_is_not_a_typo() {
        let knobs = ["kernel.sem", "net.ipv4.tcp_rmem"];
        assert_eq!(did_you_mean_knob("kernel.sysrq", knobs), None);
        assert_eq!(did_you_mean_knob("net.ipv4.tcp_rmen", knobs), Some("net.ipv4.tcp_rmem"));
        assert_eq!(did_you_mean_knob("net.ipv6.tcp_rmem", knobs), None);
    }
}
