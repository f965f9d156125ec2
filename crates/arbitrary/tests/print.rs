//! A printed policy parses to itself.

use knobgate_policy::{CheckOptions, ParseError, Policy, Severity, Source, parse, print};
use proptest::prelude::*;

fn parsed(text: &str) -> Result<Policy, ParseError> {
    parse(Source::new("x.knob", text), &CheckOptions::default()).map(knobgate_policy::PolicyFile::into_policy)
}

proptest! {
    #[test]
    fn a_printed_policy_parses_to_itself(policy in knobgate_arbitrary::policy()) {
        let text = print(&policy);
        let again = parsed(&text).map_err(|errors| {
            let errors: Vec<_> = errors.into_iter().filter(|error| error.severity == Severity::Error).collect();
            TestCaseError::fail(format!("{errors:#?}\n{text}"))
        })?;
        prop_assert_eq!(&again, &policy, "{}", text);
        prop_assert_eq!(print(&again), text);
    }
}
