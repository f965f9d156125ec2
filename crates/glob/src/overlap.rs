//! Whether two patterns for names match a name in common.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};

use crate::alphabet::{Alphabet, ranges};
use crate::budget::{Budget, TooLarge};
use crate::nfa::Nfa;
use crate::piece::{Piece, Scope};

/// A short name that both patterns match; `None` if there is none. The pieces have to be canonical (see [`Piece`]).
///
/// ```
/// use knobgate_glob::{Budget, Piece, common_name};
///
/// let literal = |text: &str| Piece::Literal(text.as_bytes().to_vec());
/// let of_interfaces = [literal("conf/"), Piece::Any, Piece::Star, literal("/rp_filter")];
/// let of_lxc = [literal("conf/lxc"), Piece::Star, literal("/"), Piece::Star];
/// let below_all = [literal("conf/all/"), Piece::Any];
/// let mut budget = Budget::steps(10_000);
///
/// assert_eq!(common_name(&of_interfaces, &of_lxc, &mut budget)?.unwrap(), b"conf/lxc/rp_filter");
/// assert_eq!(common_name(&of_interfaces, &below_all, &mut budget)?, None);
/// # Ok::<(), knobgate_glob::TooLarge>(())
/// ```
///
/// # Errors
/// Finding out takes more than the budget.
pub fn common_name(
    one: &[Piece],
    another: &[Piece],
    budget: &mut Budget,
) -> Result<Option<Vec<u8>>, TooLarge> {
    let patterns = [one, another];
    let alphabet = Alphabet::separating(ranges(&patterns, Scope::Component));
    let bytes = shown_bytes(&alphabet);
    let nfa = Nfa::new(&patterns, Scope::Component, &alphabet);
    // A pair of states that the same bytes lead to. For each, the pair before it, and the byte between them.
    type Pair = (u32, u32);
    let start: Pair = (Nfa::START, Nfa::START);
    let mut before: HashMap<Pair, Option<(Pair, Option<u8>)>> = HashMap::from([(start, None)]);
    let mut waiting = VecDeque::from([start]);
    while let Some(pair) = waiting.pop_front() {
        let (one, another) = (nfa.state(pair.0), nfa.state(pair.1));
        if one.ends.contains(&0) && another.ends.contains(&1) {
            let steps = std::iter::successors(before[&pair], |(pair, _)| before[pair]);
            let mut name: Vec<u8> = steps.filter_map(|(_, byte)| byte).collect();
            name.reverse();
            return Ok(Some(name));
        }
        let epsilons = one.epsilon.iter().map(|&next| (next, pair.1));
        for next in epsilons.chain(another.epsilon.iter().map(|&next| (pair.0, next))) {
            budget.spend(1)?;
            if let Entry::Vacant(entry) = before.entry(next) {
                entry.insert(Some((pair, None)));
                waiting.push_front(next);
            }
        }
        for &(class, byte) in &bytes {
            for next in one.after(class) {
                for next in another.after(class).map(|other| (next, other)) {
                    budget.spend(1)?;
                    if let Entry::Vacant(entry) = before.entry(next) {
                        entry.insert(Some((pair, Some(byte))));
                        waiting.push_back(next);
                    }
                }
            }
        }
        budget.spend(bytes.len())?;
    }
    Ok(None)
}

/// Each class with one of its bytes: a letter if there is one, or else one that can be printed. Letters come first.
fn shown_bytes(alphabet: &Alphabet) -> Vec<(usize, u8)> {
    let rank = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'0'..=b'9' => 1,
        b'!'..=b'~' => 2,
        _ => 3,
    };
    let mut bytes: Vec<(usize, u8)> = alphabet.representatives().iter().copied().enumerate().collect();
    for byte in 0..=u8::MAX {
        let (_, shown) = &mut bytes[usize::from(alphabet.class(byte))];
        if rank(byte) < rank(*shown) {
            *shown = byte;
        }
    }
    bytes.sort_by_key(|(_, byte)| rank(*byte));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matches;

    fn common(one: &[Piece], another: &[Piece]) -> Option<Vec<u8>> {
        common_name(one, another, &mut Budget::steps(1 << 20)).unwrap()
    }

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.as_bytes().to_vec())
    }

    #[test]
    fn alternatives_and_stars_meet() {
        let either = Piece::Alternatives(vec![vec![literal("ab")], vec![literal("a"), Piece::Star]]);
        assert_eq!(
            common(&[either.clone(), literal("c")], &[Piece::Star, literal("dc")]),
            Some(b"adc".into())
        );
        assert_eq!(common(&[either, literal("/c")], &[Piece::Star]), None);
        assert_eq!(
            common(&[Piece::DoubleStar, literal("b")], &[literal("a/"), Piece::Star]),
            Some(b"a/b".into())
        );
        assert_eq!(common(&[literal("a")], &[literal("a")]), Some(b"a".into()));
        assert_eq!(common(&[literal("a")], &[literal("ab")]), None);
    }

    #[test]
    fn what_takes_too_long_is_an_error() {
        let long: Vec<Piece> = std::iter::repeat_n([Piece::Star, literal("a")], 100).flatten().collect();
        assert_eq!(common_name(&long, &long, &mut Budget::steps(100)), Err(TooLarge));
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let simple = prop_oneof![
            "[ab/]{1,2}".prop_map(|text| literal(&text)),
            Just(Piece::Any),
            Just(Piece::Star),
            Just(Piece::DoubleStar),
            any::<bool>().prop_map(|negated| Piece::Class { negated, ranges: vec![(b'a', b'a')] }),
        ];
        let branches = proptest::collection::vec(proptest::collection::vec(simple.clone(), 0..2), 1..3);
        proptest::collection::vec(prop_oneof![4 => simple, 1 => branches.prop_map(Piece::Alternatives)], 0..5)
    }

    /// Every name of up to five of these bytes.
    fn short_names() -> Vec<Vec<u8>> {
        let mut names = vec![Vec::new()];
        let mut longest = names.clone();
        for _ in 0..5 {
            let longer =
                longest.iter().flat_map(|name| b"ab/".map(|byte| [name.as_slice(), &[byte]].concat()));
            longest = longer.collect();
            names.extend(longest.iter().cloned());
        }
        names
    }

    proptest! {
        /// The name is one that both match. If there is none, they have no short one in common.
        #[test]
        fn it_is_what_both_match(one in pieces(), another in pieces()) {
            let both = |name: &[u8]| {
                [&one, &another].iter().all(|pieces| matches(pieces, name, Scope::Component))
            };
            match common(&one, &another) {
                Some(name) => prop_assert!(both(&name), "{name:?}"),
                None => {
                    let found = short_names().into_iter().find(|name| both(name));
                    prop_assert_eq!(found, None);
                }
            }
        }
    }
}
