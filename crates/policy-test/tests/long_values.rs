//! Values around the limits on their length: programs decide as the language says, on kernels where they can loop over a value
//! and on one where they cannot.
#![allow(missing_docs)]

use knobgate_policy::limits::{REPLACED_MAX, SHORT_VALUE_MAX, VALUE_MAX};
use knobgate_policy::{Access, CheckOptions, DecidedBy, EvalError, KnobName, Source, Value, Verdict, parse};
use knobgate_policy_test::{PolicyTest, Profile};

/// Texts of these lengths are compared, set, and are in a value or end it.
const TEXTS: [usize; 6] = [1, SHORT_VALUE_MAX - 1, SHORT_VALUE_MAX, SHORT_VALUE_MAX + 1, 300, REPLACED_MAX];

/// Values of these lengths are written, and are the current one.
const VALUES: [usize; 9] = [
    2,
    SHORT_VALUE_MAX - 1,
    SHORT_VALUE_MAX,
    SHORT_VALUE_MAX + 1,
    SHORT_VALUE_MAX + 2,
    301,
    REPLACED_MAX,
    VALUE_MAX,
    VALUE_MAX + 1,
];

/// A text of this length whose last byte is another one than those before it.
fn text(length: usize) -> String {
    "a".repeat(length - 1) + "b"
}

/// A policy with a knob for each kind of rule.
fn policy() -> String {
    let mut policy = String::from("policy long\n");
    for length in TEXTS {
        let text = text(length);
        policy += &format!(
            "allow write equals.t{length} if new == \"{text}\"\n\
             allow write old.t{length} if old == \"{text}\"\n\
             allow write starts.t{length} if new starts with \"{text}\"\n\
             allow write contains.t{length} if new contains \"{text}\"\n\
             set write set.t{length} to \"{text}\"\n"
        );
    }
    let huge = ["1000000000000000000.."; 8].join(", ");
    policy
        + "ignore write ignore.t0\n\
              allow write matches.t0 if new matches \"a*b\"\n\
              allow write ranges.t0 if ranges(new) in 1..7\n\
              allow write number.t0 if new == 1\n\
              clamp write clamp.t0 to 5..9\n\
              allow write nothing.t0\n"
        + &format!("width 64 list.t0\nclamp write list.t0 to [{huge}]\n")
}

/// Values of this length.
fn values(length: usize) -> Vec<Vec<u8>> {
    let padded = |start: &str, fill: u8| {
        let mut value = start.as_bytes().to_vec();
        value.resize(length, fill);
        value
    };
    let mut values = vec![
        text(length).into_bytes(),
        [text(length - 1).as_bytes(), b"\n"].concat(),
        padded("1 1 1 1 1 1 1 1\n", b'\n'),
        padded("1", b' '),
        padded("7", b'\n'),
        padded("1,2-5,", b'1'),
        padded("3,4", b'\n'),
        padded("ab", 0),
        padded("ab\nc", b'\n'),
        padded("a", b'a'),
    ];
    // Texts that end before the value does.
    for end in TEXTS.into_iter().filter(|&end| end < length) {
        values.push(padded(&text(end), b'\n'));
        values.push(padded(&(text(end) + "\n"), b'x'));
    }
    values
}

fn decide_all(kernel: &str) -> Vec<(String, usize, Result<Verdict, EvalError>)> {
    let policy = policy();
    let file = parse(Source::new("long.knob", &*policy), &CheckOptions::default()).expect("a policy");
    let profile: Profile = kernel.parse().expect("a profile");
    let mut test = PolicyTest::new(&file, &profile).expect("a program");
    let knobs: Vec<String> =
        file.policy().rules().iter().map(|rule| rule.patterns()[0].to_string()).collect();
    let mut decided = Vec::new();
    for knob in &knobs {
        let name = KnobName::parse(knob).expect("a name");
        let looks_at_old = knob.starts_with("old") || knob.starts_with("ignore");
        for length in VALUES {
            // Each with each would be too many.
            let (olds, news): (Vec<Vec<u8>>, usize) = if looks_at_old {
                (VALUES.into_iter().flat_map(|length| values(length).into_iter().take(2)).collect(), 3)
            } else {
                (vec![b"1\n".to_vec()], usize::MAX)
            };
            for new in values(length).into_iter().take(news) {
                for old in olds.clone() {
                    let access = Access { old: Some(old), ..Access::write(name.clone(), new.clone()) };
                    // It is an error if the program decides something else than the language.
                    let found =
                        test.decide(&access).unwrap_or_else(|error| panic!("{kernel}: {knob}: {error}"));
                    let outcome = match found.decision.by {
                        DecidedBy::EvalError { error, .. } => Err(error),
                        _ => Ok(found.effect.verdict),
                    };
                    decided.push((knob.clone(), length, outcome));
                }
            }
        }
    }
    decided
}

#[test]
fn long_values_are_decided_as_the_language_says_where_programs_can_loop() {
    let kernel = "7.2";
    let decided = decide_all(kernel);
    let has = |prefix: &str, length: usize, wanted: &dyn Fn(&Result<Verdict, EvalError>) -> bool| {
        decided.iter().any(|(knob, of, outcome)| knob.starts_with(prefix) && *of == length && wanted(outcome))
    };
    for rule in ["equals", "starts", "contains", "matches", "ranges", "number", "old"] {
        assert!(has(rule, VALUE_MAX, &|outcome| *outcome == Ok(Verdict::Allow)), "{kernel}: {rule}");
    }
    for rule in ["set", "ignore", "clamp", "list"] {
        let rewrites = |outcome: &Result<Verdict, EvalError>| matches!(outcome, Ok(Verdict::Rewrite(_)));
        assert!(has(rule, REPLACED_MAX, &rewrites), "{kernel}: {rule}");
        assert!(
            has(rule, VALUE_MAX, &|outcome| *outcome == Err(EvalError::TooLongToReplace)),
            "{kernel}: {rule}"
        );
    }
    assert!(has("equals", VALUE_MAX + 1, &|outcome| *outcome == Err(EvalError::TooLong(Value::New))));
    assert!(has("nothing", VALUE_MAX + 1, &|outcome| *outcome == Ok(Verdict::Allow)));
}

/// One kernel drops replaced values; the verifier of the other has to know that stack was stored.
#[test]
fn so_are_they_on_kernels_that_can_do_less() {
    for kernel in ["6.8", "6.1.170"] {
        assert!(!decide_all(kernel).is_empty());
    }
}

#[test]
fn long_values_cannot_be_evaluated_where_programs_cannot_loop() {
    for (knob, length, outcome) in decide_all("5.10") {
        if length > SHORT_VALUE_MAX && !knob.starts_with("nothing") && !knob.starts_with("old") {
            assert!(matches!(outcome, Err(EvalError::TooLong(_))), "{knob}: {outcome:?}");
        }
    }
}
