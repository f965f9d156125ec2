//! Filters mean what conditions of rules mean, and any text is handled.

use knobgate_policy::filter::{
    EventType, Fields, Filter, IntegerField, OutcomeKind, TextField, ValueField, VerdictKind,
};
use knobgate_policy::{
    Access, AccessKind, Diagnostic, Errno, EvalError, KnobPattern, Mode, Policy, Rule, Source, holds,
};
use proptest::prelude::*;

/// The event about an access.
struct Event(Access);

impl Fields for Event {
    fn event_type(&self) -> EventType {
        EventType::Event
    }
    fn knob(&self) -> Option<&[u8]> {
        Some(self.0.knob.as_bytes())
    }
    fn access(&self) -> Option<AccessKind> {
        Some(self.0.kind())
    }
    fn verdict(&self) -> Option<VerdictKind> {
        None
    }
    fn outcome(&self) -> Option<OutcomeKind> {
        None
    }
    fn errno(&self) -> Option<Errno> {
        None
    }
    fn mode(&self) -> Option<Mode> {
        None
    }
    fn value(&self, field: ValueField) -> Option<&[u8]> {
        match field {
            ValueField::New => self.0.new.as_deref(),
            ValueField::Old => self.0.old.as_deref(),
            ValueField::Stored => None,
        }
    }
    fn integer(&self, field: IntegerField) -> Option<u64> {
        match field {
            IntegerField::Pos => Some(self.0.pos & u64::from(u32::MAX)),
            IntegerField::Uid => Some(self.0.task.uid.into()),
            IntegerField::Gid => Some(self.0.task.gid.into()),
            _ => None,
        }
    }
    fn text(&self, field: TextField) -> Option<&[u8]> {
        (field == TextField::Comm).then_some(&self.0.task.comm)
    }
}

fn parse(text: &str) -> Filter {
    Filter::parse(Source::new("--filter", text)).unwrap_or_else(|error| panic!("{text}: {error:#?}"))
}

/// A policy, and accesses that are relevant to it.
fn policy_and_accesses() -> impl Strategy<Value = (Policy, Vec<Access>)> {
    knobgate_arbitrary::policy_with_rules(1..4).prop_flat_map(|policy| {
        let accesses = proptest::collection::vec(knobgate_arbitrary::access(&policy), 8);
        (Just(policy), accesses)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_means_what_the_condition_of_a_rule_means((policy, accesses) in policy_and_accesses()) {
        // An event does not have the network namespace that owns the knob.
        let conditions = policy.rules().iter().filter_map(Rule::condition);
        for condition in conditions.filter(|condition| !condition.looks_at_netns()) {
            let filter = parse(&condition.to_string());
            for access in &accesses {
                let by_filter = filter.matches(&Event(access.clone()));
                match holds(&policy, condition, access) {
                    Ok(by_rule) => prop_assert_eq!(by_filter, Some(by_rule), "{}: {}", condition, access),
                    // Rules ask what the knob will hold, and filters what was written.
                    Err(EvalError::Position | EvalError::Width { .. }) => {}
                    Err(_) if access.pos as u32 != 0 => {}
                    Err(error) => prop_assert_eq!(by_filter, None, "{}: {}: {}", condition, access, error),
                }
            }
        }
    }

    #[test]
    fn a_filter_takes_the_patterns_of_rules((policy, accesses) in policy_and_accesses()) {
        for pattern in policy.rules().iter().flat_map(Rule::patterns) {
            let filter = parse(&format!("(knob matches {pattern})"));
            for access in &accesses {
                let matches = pattern.matches(access.knob.as_bytes());
                prop_assert_eq!(filter.matches(&Event(access.clone())), Some(matches), "{} {}", pattern, access);
            }
        }
        for access in accesses.into_iter().filter(|access| KnobPattern::parse(access.knob.to_string()).is_ok()) {
            if access.knob.check_is_sysctl().is_ok() {
                let text = format!("knob == {0} and knob in {{{0}}} and knob in {{a.b,{0}, c.d}}", access.knob);
                prop_assert_eq!(parse(&text).matches(&Event(access)), Some(true), "{}", text);
            }
        }
    }
}

/// What is wrong with a filter: at least one error if it is not one.
fn diagnostics(text: &str) -> Vec<Diagnostic> {
    match Filter::parse(Source::new("--filter", text)) {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert!(!error.diagnostics().is_empty(), "{text}");
            error.into_iter().collect()
        }
    }
}

/// Parses. Checks that the places of all errors are inside the text.
fn check(text: &str) {
    for diagnostic in diagnostics(text) {
        let labels =
            std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary).map(|label| label.span);
        for span in labels.chain(diagnostic.suggestion.iter().map(|suggestion| suggestion.span)) {
            assert!(text.get(span.range()).is_some(), "{text}: {diagnostic:?}");
        }
    }
}

/// Checks that each fix removes its error.
fn check_fixes(text: &str) {
    for diagnostic in diagnostics(text) {
        let Some(fix) = &diagnostic.suggestion else { continue };
        let mut fixed = text.to_owned();
        fixed.replace_range(fix.span.range(), &fix.replacement);
        // The same error may follow after the fixed place.
        let count = |text: &str, most: usize| {
            let same =
                |other: &&Diagnostic| other.code == diagnostic.code && other.primary.span.start <= most;
            diagnostics(text).iter().filter(same).count()
        };
        let fewer = |most| count(&fixed, most) < count(text, most);
        let is_fixed = fewer(diagnostic.primary.span.start) || fewer(usize::MAX);
        assert!(is_fixed, "{text}\n{diagnostic:?}\n{fixed}");
    }
}

const WORDS: &[&str] = &[
    "if",
    "verdict",
    "access",
    "errno",
    "type",
    "knob",
    "uid",
    "netns",
    "new",
    "stored",
    "count",
    "comm",
    "pod",
    "deny",
    "read",
    "EPERM",
    "eperm",
    "lost",
    "rewrite",
    "kernel.panic",
    "net.**",
    "/proc/sys/vm/a",
    "{a,b",
    "'",
    "==",
    "!=",
    "<",
    "=",
    "=>",
    "in",
    "matches",
    "starts",
    "with",
    "contains",
    "is",
    "like",
    "not",
    "and",
    "or",
    "&&",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    "..",
    "1",
    "-1",
    "0x10",
    "13",
    "\"a\"",
    "\"deny\"",
    "\"",
    "\\",
    "\u{e9}",
    ";",
    "#",
    "\n",
    "\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_handled(text in "\\PC{0,80}|[ -~\n\r\t\0]{0,120}") {
        check(&text);
    }

    #[test]
    fn any_words_are_handled(
        words in proptest::collection::vec((proptest::sample::select(WORDS), any::<bool>()), 0..30)
    ) {
        let words = words.into_iter().map(|(word, space)| format!("{word}{}", if space { " " } else { "" }));
        check(&words.collect::<String>());
    }

    #[test]
    fn a_fix_removes_its_error(words in proptest::collection::vec(proptest::sample::select(WORDS), 1..12)) {
        check_fixes(&words.join(" "));
    }

    #[test]
    fn a_filter_with_a_character_changed_is_handled(
        at in any::<proptest::sample::Index>(),
        character in any::<char>(),
    ) {
        let filter = "not (verdict in {deny, rewrite} or knob in {vm.a, net.{a,b}}) and new[0] <= 5 and pod == \"x\"";
        let at = at.index(filter.len());
        check(&format!("{}{character}{}", &filter[..at], &filter[at + 1..]));
        check(&filter[..at]);
    }
}
