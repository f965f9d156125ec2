//! The shape of a value, found in one pass: a list of numbers and how many, only text, or neither. `knobgate_policy` says how
//! values are read. The unit tests here compare the automaton with it.

use std::sync::LazyLock;

use knobgate_glob::Dfa;
use knobgate_policy::limits::{ELEMENTS_MAX, NUMBER_CHARS_MAX};

/// The output for a value that is text but no list of numbers. Lists of numbers output how many they hold.
pub(crate) const TEXT: u32 = 0xff;
/// The output for a value with more bytes after its text, or whose NUL might cut off the last number of a list.
pub(crate) const GOES_ON: u32 = 0xfe;
/// The shape if there is no value. Not an output.
pub(crate) const UNAVAILABLE: u32 = 0xfd;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// Before, between or after numbers, `count` of which are complete.
    Gap { count: u8 },
    /// After the `-` of a number.
    Sign { count: u8 },
    /// After the `0` that starts a number.
    Zero { count: u8, chars: u8 },
    /// After `0x`.
    Prefix { count: u8, chars: u8 },
    /// Inside the digits.
    Digits { base: u32, count: u8, chars: u8 },
    /// After the newline that ends the numbers.
    AfterNumbers { count: u8 },
    /// After white space at the start that is not allowed before numbers.
    OddSpace,
    /// In text that is no list of numbers.
    Text(Start),
    /// After the newline that ends it, or after a NUL.
    AfterText,
    /// In more text, after the newline or NUL that ends it.
    GoesOn,
}

/// How a text that is no list of numbers starts: whether handlers of lists could take a number from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Start {
    /// Not as a number does.
    Word,
    /// As a number does.
    Number,
    /// As a number does, and there was a blank after it.
    List,
}

/// The DFA. Its outputs are [`TEXT`], [`GOES_ON`] or the count of numbers.
pub(crate) static DFA: LazyLock<Dfa> = LazyLock::new(|| {
    let ranges = [
        (0, 0),
        (b'\t', b'\t'),
        (b'\n', b'\n'),
        (0x0b, 0x0d),
        (b' ', b' '),
        (b'-', b'-'),
        (b'0', b'0'),
        (b'1', b'7'),
        (b'8', b'9'),
        (b'A', b'F'),
        (b'X', b'X'),
        (b'a', b'f'),
        (b'x', b'x'),
        (0xa0, 0xa0),
    ];
    Dfa::explore(ranges, Shape::Gap { count: 0 }, step, output).expect("a constant of a few hundred states")
});

fn step(shape: Shape, byte: u8) -> Shape {
    use Shape::{AfterNumbers, AfterText, Digits, Gap, GoesOn, OddSpace, Prefix, Sign, Text, Zero};
    let digit = |base: u32| char::from(byte).is_digit(base);
    match (shape, byte) {
        (GoesOn, _) => shape,
        (_, 0) if is_list(shape) => GoesOn,
        (_, 0) => AfterText,
        (AfterNumbers { .. } | AfterText, b' ' | b'\t' | b'\n') => shape,
        (AfterNumbers { .. } | AfterText, _) => GoesOn,
        (Text(_) | OddSpace | Sign { .. } | Prefix { .. }, b'\n') => AfterText,
        (Gap { count } | Zero { count, .. } | Digits { count, .. }, b'\n') => AfterNumbers { count },
        (Gap { count } | Zero { count, .. } | Digits { count, .. }, b' ' | b'\t') => Gap { count },
        (Gap { count: 0 } | OddSpace, 0x0b..=0x0d | 0xa0) | (OddSpace, b' ' | b'\t') => OddSpace,
        (OddSpace, b'-' | b'0'..=b'9') => Text(Start::Number),
        (Text(Start::Number), b' ' | b'\t') => Text(Start::List),
        (Text(_), _) => shape,
        (Gap { count }, _) if usize::from(count) == ELEMENTS_MAX => Text(Start::List),
        (Gap { count }, b'-') => Sign { count: count + 1 },
        (Gap { count }, b'0') => Zero { count: count + 1, chars: 1 },
        (Gap { count }, _) if digit(10) => Digits { base: 10, count: count + 1, chars: 1 },
        (Sign { count }, b'0') => Zero { count, chars: 2 },
        (Sign { count }, _) if digit(10) => Digits { base: 10, count, chars: 2 },
        (Zero { count, chars }, b'x' | b'X') => Prefix { count, chars: chars + 1 },
        (Zero { count, chars }, _) if digit(8) => Digits { base: 8, count, chars: chars + 1 },
        (Prefix { count, chars }, _) if digit(16) => Digits { base: 16, count, chars: chars + 1 },
        (Digits { base, count, chars }, _) if digit(base) && usize::from(chars) < NUMBER_CHARS_MAX => {
            Digits { base, count, chars: chars + 1 }
        }
        (Gap { count: 0 } | OddSpace, _) => Text(Start::Word),
        (Sign { count: 1 } | Prefix { count: 1, .. }, b' ' | b'\t') => Text(Start::List),
        _ if is_list(shape) => Text(Start::List),
        _ => Text(Start::Number),
    }
}

/// Whether it starts as a number does and has a blank after it.
fn is_list(shape: Shape) -> bool {
    match shape {
        Shape::Gap { count } => count > 0,
        Shape::Sign { count }
        | Shape::Zero { count, .. }
        | Shape::Prefix { count, .. }
        | Shape::Digits { count, .. } => count > 1,
        Shape::Text(start) => start == Start::List,
        Shape::OddSpace | Shape::AfterNumbers { .. } | Shape::AfterText | Shape::GoesOn => false,
    }
}

fn output(shape: Shape) -> u32 {
    match shape {
        Shape::Gap { count }
        | Shape::Zero { count, .. }
        | Shape::Digits { count, .. }
        | Shape::AfterNumbers { count } => count.into(),
        Shape::Sign { .. } | Shape::Prefix { .. } | Shape::OddSpace | Shape::Text(_) | Shape::AfterText => {
            TEXT
        }
        Shape::GoesOn => GOES_ON,
    }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{
        Access, Action, Condition, DecidedBy, EvalError, Kinds, KnobName, KnobPattern, Operand, Policy,
        Range, Rule, TextOperand, TextTest, Value, ValueText, evaluate,
    };
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The shape of a value by the language.
    fn specified(value: &[u8]) -> Option<u32> {
        let decide = |condition| {
            let rule = Rule::new(Action::Allow, Kinds::Write, ["**"]).unwrap();
            let policy = Policy::new("p")
                .unwrap()
                .with_rules([rule.with_condition(condition).unwrap()])
                .with_width_64([KnobPattern::parse("**").unwrap()]);
            evaluate(&policy, &Access::write(KnobName::parse("a.b").unwrap(), value)).by
        };
        for count in 0..=ELEMENTS_MAX as u32 {
            let is_count =
                Condition::in_set(Operand::Count(Value::New), [Range::only(count.into())]).unwrap();
            match decide(is_count) {
                DecidedBy::Rule(_) => return Some(count),
                // Found by the program when it parses them.
                DecidedBy::EvalError {
                    error: EvalError::Overflow(_) | EvalError::NumbersTooLong(_), ..
                } => {
                    return None;
                }
                _ => {}
            }
        }
        let any_text = TextTest::StartsWith(ValueText::new("").unwrap());
        Some(match decide(Condition::Text(TextOperand::Value(Value::New), any_text)) {
            DecidedBy::Rule(_) => TEXT,
            _ => GOES_ON,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]
        #[test]
        fn the_shape_is_what_the_language_says(
            value in prop_oneof![
                "[-0178axF \\t\\n\\x00\\x0b+]{1,12}".prop_map(String::into_bytes),
                "[\\x0b\\x0d ]?[-1x \\t]{1,4}[\\x00\\n]{1,2}[ 1]?".prop_map(String::into_bytes),
                proptest::collection::vec(select(b"\xa0 \t-1x\0".to_vec()), 1..7),
                "( ?-?(0x[0-9a-f]{1,3}|0[0-7]{0,3}|[1-9][0-9]{0,3})){1,10}[ \\n\\x00]{0,3}"
                    .prop_map(String::into_bytes),
                "-?[0-9]{18,23}\n?".prop_map(String::into_bytes),
            ],
        ) {
            if let Some(expected) = specified(&value) {
                prop_assert_eq!(DFA.run(&value), expected);
            }
        }
    }
}
