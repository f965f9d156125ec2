//! Names and globs: what is printed parses to what was printed.

use knobgate_policy::{KnobName, KnobPattern, TextGlob, limits};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_printed_name_parses_to_itself_and_matches_itself_as_a_pattern(
        name in knobgate_arbitrary::knob_pattern().prop_flat_map(knobgate_arbitrary::name_for)
    ) {
        let text = name.to_string();
        prop_assert_eq!(KnobName::parse(&text), Ok(name.clone()), "{}", text);
        if name.as_bytes().len() <= limits::PATTERN_MAX {
            let pattern = KnobPattern::parse(&text).unwrap();
            prop_assert_eq!(pattern.literal(), Some(name.as_bytes()));
            prop_assert!(pattern.matches(name.as_bytes()));
        }
    }

    #[test]
    fn a_printed_glob_parses_to_itself(glob in knobgate_arbitrary::text_glob()) {
        prop_assert_eq!(TextGlob::parse(glob.to_string()), Ok(glob));
    }
}
