//! Sets of numbers as text, such as `8080,9000-9100`, and whether they are inside some ranges. `knobgate_policy` says how
//! values are taken as sets. The unit tests here compare the automaton with it.

use std::cmp::Ordering;

use knobgate_glob::{Dfa, TooLarge};
use knobgate_policy::{Integer, Range};

/// More members would take long to compile.
const MEMBERS_MAX: usize = 256;

/// The output for a set that is empty, or not inside.
pub(crate) const OUTSIDE: u32 = 0;
/// The output for a set that is inside.
pub(crate) const INSIDE: u32 = 1;
/// The output for a value that is no set.
pub(crate) const NOT_RANGES: u32 = 2;

/// Where a run of the automaton is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Start,
    /// After a comma; whether all is inside so far.
    Comma(bool),
    /// After the `-` of a range.
    Dash(Scope),
    Number {
        scope: Scope,
        is_second: bool,
        digits: Digits,
    },
    /// After the newline that ends the set; whether all of it is inside.
    Ended(bool),
    NotRanges,
}

/// With what the digits of a number are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    /// With nothing: the set is not inside, and may still be no set.
    Outside,
    /// With all ends.
    All,
    /// With the ends of the range that begins with the end before this one: the first number is in it.
    Range(usize),
}

/// The digits of a number so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Digits {
    /// `0`, after which there may be an `x`.
    Zero,
    /// `0x`
    Prefix,
    /// After leading zeros, so many digits, and how they compare with as many digits of each end.
    More { base: u32, count: usize, order: Vec<Ordering> },
}

/// The ends of the ranges in ascending order, by their digits in three bases: at even indices a range begins, and the
/// number at the next one is the first after it.
struct Ends {
    octal: Vec<Vec<u32>>,
    decimal: Vec<Vec<u32>>,
    hexadecimal: Vec<Vec<u32>>,
}

/// The automaton for `members`, which are merged.
///
/// # Errors
/// It is too large.
pub(crate) fn dfa(members: &[Range]) -> Result<Dfa, TooLarge> {
    if members.len() > MEMBERS_MAX {
        return Err(TooLarge);
    }
    let ends = Ends::new(members);
    let others = [0, b'\n', b',', b'-', b'X', b'x'];
    let digits = [b'0'..=b'9', b'A'..=b'F', b'a'..=b'f'].into_iter().flatten();
    Dfa::explore(
        digits.chain(others).map(|byte| (byte, byte)),
        State::Start,
        |state, byte| ends.step(state, byte),
        |state| match ends.step(state, b'\n') {
            State::Ended(true) => INSIDE,
            State::Ended(false) => OUTSIDE,
            _ => NOT_RANGES,
        },
    )
}

impl Ends {
    fn new(members: &[Range]) -> Self {
        let of_member = |member: &Range| {
            let low = member.low().unwrap_or(Integer::MIN).get().max(0);
            // No handler of sets has numbers of more bits.
            let high = member.high().unwrap_or(Integer::MAX).get().min(u32::MAX.into());
            (high >= low).then_some([low, high + 1])
        };
        let ends: Vec<i128> = members.iter().filter_map(of_member).flatten().collect();
        let in_base = |base| ends.iter().map(|&end| digits_of(end, base)).collect();
        Self { octal: in_base(8), decimal: in_base(10), hexadecimal: in_base(16) }
    }

    fn of(&self, scope: Scope, base: u32) -> &[Vec<u32>] {
        let ends = match base {
            8 => &self.octal,
            10 => &self.decimal,
            _ => &self.hexadecimal,
        };
        match scope {
            Scope::Outside => &[],
            Scope::All => ends,
            Scope::Range(above) => &ends[above - 1..=above],
        }
    }

    fn step(&self, state: State, byte: u8) -> State {
        use State::{Comma, Dash, Ended, NotRanges, Number, Start};
        let begin = |scope, is_second| match byte {
            b'0' => Number { scope, is_second, digits: Digits::Zero },
            b'1'..=b'9' => {
                let digits = self.digit(scope, self.zeros(scope, 10), byte);
                digits.map_or(NotRanges, |digits| Number { scope, is_second, digits })
            }
            _ => NotRanges,
        };
        let after = |is_inside| if is_inside { Scope::All } else { Scope::Outside };
        match state {
            // The handler goes on after a NUL.
            NotRanges => NotRanges,
            _ if byte == 0 => NotRanges,
            Ended(_) => state,
            Start if byte == b'\n' => Ended(false),
            Start => begin(Scope::All, false),
            Comma(is_inside) if byte == b'\n' => Ended(is_inside),
            Comma(is_inside) => begin(after(is_inside), false),
            Dash(scope) => begin(scope, true),
            Number { scope, is_second, digits } => match byte {
                b'\n' | b',' | b'-' => {
                    let Some(above) = self.ends_above(scope, &digits) else { return NotRanges };
                    // The ends are low ones and high ones by turns.
                    let is_inside = above % 2 == 1;
                    match byte {
                        b'\n' => Ended(is_inside),
                        b',' => Comma(is_inside),
                        _ if is_second => NotRanges,
                        _ if is_inside => Dash(Scope::Range(above)),
                        _ => Dash(Scope::Outside),
                    }
                }
                _ => {
                    let digits = self.digit(scope, digits, byte);
                    digits.map_or(NotRanges, |digits| Number { scope, is_second, digits })
                }
            },
        }
    }

    /// No digits, or only zeros.
    fn zeros(&self, scope: Scope, base: u32) -> Digits {
        Digits::More { base, count: 0, order: vec![Ordering::Equal; self.of(scope, base).len()] }
    }

    /// The number with another digit, or its prefix; `None` if that is no number.
    fn digit(&self, scope: Scope, digits: Digits, byte: u8) -> Option<Digits> {
        let (base, count, order) = match digits {
            Digits::Zero if matches!(byte, b'x' | b'X') => return Some(Digits::Prefix),
            Digits::Zero => return self.digit(scope, self.zeros(scope, 8), byte),
            Digits::Prefix => return self.digit(scope, self.zeros(scope, 16), byte),
            Digits::More { base, count, order } => (base, count, order),
        };
        let digit = char::from(byte).to_digit(base)?;
        if count == 0 && digit == 0 {
            return Some(Digits::More { base, count, order });
        }
        let ends = self.of(scope, base);
        // With more digits than any end, a number is greater than all.
        let count = (count + 1).min(1 + ends.iter().map(Vec::len).max().unwrap_or(0));
        let order = order.into_iter().zip(ends).map(|(order, end)| match end.get(count - 1) {
            Some(of_end) => order.then(digit.cmp(of_end)),
            None => Ordering::Greater,
        });
        Some(Digits::More { base, count, order: order.collect() })
    }

    /// How many ends the number is not below; `None` if it is no number yet.
    fn ends_above(&self, scope: Scope, digits: &Digits) -> Option<usize> {
        match digits {
            Digits::Prefix => None,
            Digits::Zero => self.ends_above(scope, &self.zeros(scope, 8)),
            Digits::More { base, count, order } => {
                let ends = order.iter().zip(self.of(scope, *base));
                let is_below = |(order, end): &(&Ordering, &Vec<u32>)| *count < end.len() || order.is_lt();
                Some(ends.filter(|end| !is_below(end)).count())
            }
        }
    }
}

/// The digits of a number, without leading zeros.
fn digits_of(mut number: i128, base: u32) -> Vec<u32> {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push((number % i128::from(base)) as u32);
        number /= i128::from(base);
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{
        Access, Action, Condition, DecidedBy, EvalError, Kinds, KnobName, Policy, Rule, Value, evaluate,
    };
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What the language says of a value; `None` if there is no text.
    fn specified(members: &[Range], value: &str) -> Option<u32> {
        let condition = Condition::in_ranges(Value::New, members).unwrap();
        let rule = Rule::new(Action::Allow, Kinds::Write, ["**"]).unwrap();
        let policy = Policy::new("p").unwrap().with_rules([rule.with_condition(condition).unwrap()]);
        match evaluate(&policy, &Access::write(KnobName::parse("a.b").unwrap(), value)).by {
            DecidedBy::Rule(_) => Some(INSIDE),
            DecidedBy::Default(_) => Some(OUTSIDE),
            DecidedBy::EvalError { error: EvalError::NotRanges(_), .. } => Some(NOT_RANGES),
            DecidedBy::EvalError { .. } => None,
        }
    }

    fn range(low: u32, high: u32) -> Range {
        Range::new(Some(low.into()), Some(high.into())).unwrap()
    }

    fn output(members: &[Range], value: &str) -> u32 {
        dfa(&Range::merged(members)).unwrap().run(value.as_bytes())
    }

    #[test]
    fn a_set_is_inside_or_not_or_no_set() {
        let ports = [range(30000, 32767), range(8080, 8080)];
        for (value, expected) in [
            ("30000", INSIDE),
            ("32767\n", INSIDE),
            ("29999", OUTSIDE),
            ("32768", OUTSIDE),
            ("8080,30000-32767,31000", INSIDE),
            ("8080,30000-32768", OUTSIDE),
            ("8080-30000", OUTSIDE),
            ("8080,", INSIDE),
            ("8080,\n", INSIDE),
            ("", OUTSIDE),
            ("\n", OUTSIDE),
            ("0", OUTSIDE),
            // 8080 in other bases, and a number that is 8080 only in base 10.
            ("0x1f90,017620", INSIDE),
            ("0X001F90", INSIDE),
            ("08080", NOT_RANGES),
            ("0x8080", OUTSIDE),
            (",8080", NOT_RANGES),
            ("8080,,8080", NOT_RANGES),
            ("8080-", NOT_RANGES),
            ("8080-8080-8080", NOT_RANGES),
            ("-8080", NOT_RANGES),
            ("8080--8080", NOT_RANGES),
            (" 8080", NOT_RANGES),
            ("8080 ", NOT_RANGES),
            ("8080,0x", NOT_RANGES),
            ("8080,0xg", NOT_RANGES),
            ("x", NOT_RANGES),
            ("000000000000000000000000000017620", INSIDE),
            ("18446744073709551615", OUTSIDE),
            ("18446744073709551616", OUTSIDE),
            ("99999999999999999999999999999999999999999999", OUTSIDE),
            // What comes later is still looked at.
            ("1,2,x", NOT_RANGES),
        ] {
            assert_eq!(output(&ports, value), expected, "{value:?}");
            // The hook shows no new value if it is empty.
            assert_eq!(specified(&ports, value), Some(expected).filter(|_| !value.is_empty()), "{value:?}");
        }
        let large = Range::new(Some(5.into()), None).unwrap();
        for (value, expected) in [
            ("5-4294967295", INSIDE),
            ("5-4294967296", OUTSIDE),
            ("4", OUTSIDE),
            ("18446744073709551616", OUTSIDE),
        ] {
            assert_eq!(output(&[large], value), expected, "{value:?}");
            assert_eq!(specified(&[large], value), Some(expected), "{value:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn the_automaton_is_what_the_language_says(
            members in vec((0..300u32, 0..300u32).prop_map(|(a, b)| range(a.min(b), a.max(b))), 1..5),
            values in vec(
                prop_oneof![
                    "(0|0x|0X)?[0-9a-f]{1,3}(-(0|0x)?[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?){0,3},?\n?",
                    "[0-9x,\n-]{0,8}",
                ],
                1..40,
            ),
        ) {
            let dfa = dfa(&Range::merged(&members)).unwrap();
            for value in values {
                // The hook shows no new value if it is empty.
                if let Some(expected) = specified(&members, &value).filter(|_| !value.is_empty()) {
                    prop_assert_eq!(dfa.run(value.as_bytes()), expected, "{:?} in {:?}", value, members);
                }
            }
        }
    }
}
