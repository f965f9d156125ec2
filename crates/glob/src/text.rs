//! Automata for texts that end before the buffer that holds them does.

use crate::alphabet::{Alphabet, ranges};
use crate::budget::{Budget, TooLarge};
use crate::determinise::determinise;
use crate::dfa::Dfa;
use crate::nfa::Nfa;
use crate::piece::{Piece, Scope};

/// Where the text of a subject ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextEnd {
    /// At the first NUL.
    Nul,
    /// At the first NUL or newline.
    NulOrNewline,
}

/// The DFA whose output is 1 where the text of the subject matches `pattern`, else 0. The text ends where `end` says, or
/// with the subject. The pieces have to be canonical (see [`Piece`]).
///
/// # Errors
/// It is too large.
pub fn text_dfa(pattern: &[Piece], end: TextEnd, budget: &mut Budget) -> Result<Dfa, TooLarge> {
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum State {
        Inside(u32),
        Ended(bool),
    }
    let ranges: Vec<(u8, u8)> =
        ranges(&[pattern], Scope::Text).into_iter().chain([(0, 0), (b'\n', b'\n')]).collect();
    let alphabet = Alphabet::separating(ranges.iter().copied());
    let subsets = determinise(&Nfa::new(&[pattern], Scope::Text, &alphabet), budget)?;
    let ends = move |byte| byte == 0 || (byte == b'\n' && end == TextEnd::NulOrNewline);
    let matches = |state: u32| !subsets.ends[state as usize].is_empty();
    let next =
        |state, byte| subsets.next[state as usize * alphabet.len() + usize::from(alphabet.class(byte))];
    Dfa::explore(
        ranges,
        State::Inside(0),
        |state, byte| match state {
            State::Inside(inside) if ends(byte) => State::Ended(matches(inside)),
            State::Inside(inside) => State::Inside(next(inside, byte)),
            State::Ended(_) => state,
        },
        |state| match state {
            State::Inside(inside) => matches(inside).into(),
            State::Ended(matched) => matched.into(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stops_where_it_ends() {
        let pattern = [Piece::Star, Piece::Literal(b"a".to_vec()), Piece::Any];
        for (end, subject, matches) in [
            (TextEnd::Nul, &b"xab"[..], true),
            (TextEnd::Nul, b"xab\0cd", true),
            (TextEnd::Nul, b"xab\ncd", false),
            (TextEnd::NulOrNewline, b"xab\ncd", true),
            (TextEnd::NulOrNewline, b"xa\nb", false),
            (TextEnd::Nul, b"xa\nb", false),
        ] {
            let dfa = text_dfa(&pattern, end, &mut Budget::steps(1 << 20)).unwrap();
            assert_eq!(dfa.run(subject) == 1, matches, "{end:?} {subject:?}");
        }
    }

    #[test]
    fn patterns_that_tell_all_bytes_apart_work() {
        let pattern =
            [Piece::Class { negated: false, ranges: vec![(1, 0x7f)] }, Piece::Literal((0..=255).collect())];
        let dfa = text_dfa(&pattern, TextEnd::Nul, &mut Budget::steps(1 << 20)).unwrap();
        assert_eq!(dfa.run(b"a"), 0);
    }
}
