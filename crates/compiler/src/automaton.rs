//! Patterns to automata.

use std::collections::BTreeSet;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};
use indexmap::IndexSet;
use knobgate_policy::{Piece, Scope};

use crate::determinise::{STEPS_MAX, determinise};
use crate::pattern_tree::PatternTree;
use crate::table::{Alphabet, Table, TooLarge};

/// Where the text of a subject ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TextEnd {
    /// At the first NUL.
    Nul,
    /// At the first NUL or newline.
    NulOrNewline,
}

/// An automaton that tells by all of a name which of some patterns match it, as far as these make a difference.
#[derive(Debug)]
pub(crate) struct NameAutomaton<T> {
    /// Its outputs index `outputs`.
    pub(crate) table: Table,
    /// What some name can lead to.
    pub(crate) outputs: IndexSet<T>,
}

/// The automaton for names of `patterns`; `output` makes an output of those that match, by index and in ascending order.
pub(crate) fn of_names<T: Eq + Hash>(
    patterns: &[&[Piece]],
    output: impl Fn(&[usize]) -> T,
) -> Result<NameAutomaton<T>, TooLarge> {
    let alphabet = Alphabet::telling_apart(ranges(patterns, Scope::Component));
    let dfa = determinise(&PatternTree::new(patterns, Scope::Component, &alphabet), &mut { STEPS_MAX })?;
    let mut outputs = IndexSet::new();
    let mut of_matches = HashMap::new();
    let of_state: Vec<u32> = dfa
        .ends
        .iter()
        .map(|ends| *of_matches.entry(ends).or_insert_with(|| outputs.insert_full(output(ends)).0 as u32))
        .collect();
    Ok(NameAutomaton { table: Table::minimised(&alphabet, &dfa.next, &of_state), outputs })
}

/// Whether one automaton can be made for `patterns`. Takes the steps that it needs to tell from `steps`.
pub(crate) fn can_be_made(patterns: &[&[Piece]], steps: &mut usize) -> bool {
    let alphabet = Alphabet::telling_apart(ranges(patterns, Scope::Component));
    determinise(&PatternTree::new(patterns, Scope::Component, &alphabet), steps).is_ok()
}

/// An automaton whose output is 1 where the text of the subject matches `pattern`, else 0. The subject is what is
/// run over; its text ends where `end` says, or with the subject. Takes the steps that it needs from `steps`.
pub(crate) fn of_text(pattern: &[Piece], end: TextEnd, steps: &mut usize) -> Result<Table, TooLarge> {
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum State {
        Inside(u32),
        Ended(bool),
    }
    let alphabet =
        Alphabet::telling_apart(ranges(&[pattern], Scope::Text).into_iter().chain([(0, 0), (b'\n', b'\n')]));
    let dfa = determinise(&PatternTree::new(&[pattern], Scope::Text, &alphabet), steps)?;
    let ends = move |byte| byte == 0 || (byte == b'\n' && end == TextEnd::NulOrNewline);
    let matches = |state: u32| !dfa.ends[state as usize].is_empty();
    let next = |state, byte| dfa.next[state as usize * alphabet.len() + usize::from(alphabet.class(byte))];
    Table::explore(
        &alphabet,
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

/// The ranges of bytes that the patterns tell apart.
fn ranges(patterns: &[&[Piece]], scope: Scope) -> BTreeSet<(u8, u8)> {
    fn add(pieces: &[Piece], into: &mut BTreeSet<(u8, u8)>) {
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => into.extend(bytes.iter().map(|&byte| (byte, byte))),
                Piece::Class { ranges, .. } => into.extend(ranges),
                Piece::Alternatives(branches) => branches.iter().for_each(|branch| add(branch, into)),
                Piece::Any | Piece::Star | Piece::DoubleStar => {}
            }
        }
    }
    let mut all = BTreeSet::new();
    patterns.iter().for_each(|pieces| add(pieces, &mut all));
    if scope == Scope::Component {
        all.insert((b'/', b'/'));
    }
    all
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{KnobPattern, TextGlob, arbitrary};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PATTERNS: &[&str] = &[
        "net.**",
        "net.ipv4.tcp_{rmem,wmem}",
        "net.ipv4.conf.*.rp_filter",
        "**.rp_filter",
        "kernel.[a-m]*",
        "kernel.core_pattern",
        "vm.??x",
        "net/ipv4/conf/eno2.100/[!a]*",
        "{net,vm}.*",
        "net.{ipv4,core}.{tcp_{r,w}mem,x}*",
        "net.{ipv4,core}.{,tcp_rm}em",
        "net.*{,a}*?",
        "net.??*.*x",
        "**.conf.**",
        "**",
    ];

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c/.x]{0,12}",
            "(net|vm|kernel)(/(ipv4|conf|core|tcp_[rw]mem|eno2\\.100|all|rp_filter|core_pattern|abx)){0,5}",
        ]
    }

    proptest! {
        #[test]
        fn the_automaton_finds_exactly_the_patterns_that_match(
            chosen in proptest::sample::subsequence(PATTERNS, 0..=PATTERNS.len()),
            name in names(),
        ) {
            let patterns: Vec<KnobPattern> = chosen.iter().map(|text| KnobPattern::parse(text).unwrap()).collect();
            let pieces: Vec<&[Piece]> = patterns.iter().map(KnobPattern::pieces).collect();
            let automaton = of_names(&pieces, <[usize]>::to_vec).unwrap();
            let found = &automaton.outputs[automaton.table.run(name.as_bytes()) as usize];
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|&i| patterns[i].matches(name.as_bytes())).collect();
            prop_assert_eq!(found, &expected);
        }

        #[test]
        fn any_patterns_share_an_automaton(
            (patterns, names) in vec(arbitrary::knob_pattern(), 1..6).prop_flat_map(|patterns| {
                let near: Vec<_> = patterns.iter().cloned().map(arbitrary::name_for).collect();
                (Just(patterns), near)
            }),
        ) {
            let pieces: Vec<&[Piece]> = patterns.iter().map(KnobPattern::pieces).collect();
            let automaton = of_names(&pieces, <[usize]>::to_vec).unwrap();
            for name in names {
                let found = &automaton.outputs[automaton.table.run(name.as_bytes()) as usize];
                let expected: Vec<usize> =
                    (0..patterns.len()).filter(|&i| patterns[i].matches(name.as_bytes())).collect();
                prop_assert_eq!(found, &expected);
            }
        }

        #[test]
        fn a_text_automaton_stops_where_the_text_ends(
            glob in prop_oneof![Just("*a?b*"), Just("[a-b]*"), Just("{a,bb}"), Just("*"), Just(""), Just("[!a]")],
            subject in "[ab\\nx\\x00]{0,8}",
        ) {
            let glob = TextGlob::parse(glob).unwrap();
            for (end, stops) in [(TextEnd::Nul, &b"\0"[..]), (TextEnd::NulOrNewline, b"\0\n")] {
                let text = subject.as_bytes().split(|byte| stops.contains(byte)).next().unwrap();
                let table = of_text(glob.pieces(), end, &mut { STEPS_MAX }).unwrap();
                prop_assert_eq!(table.run(subject.as_bytes()) == 1, glob.matches(text));
            }
        }
    }

    #[test]
    fn patterns_that_tell_all_bytes_apart_work() {
        let glob = TextGlob::parse("[\u{1}-\u{7f}]").unwrap();
        let mut pieces = glob.pieces().to_vec();
        pieces.push(Piece::Literal((0..=255).collect()));
        let table = of_text(&pieces, TextEnd::Nul, &mut { STEPS_MAX }).unwrap();
        assert_eq!(table.run(b"a"), 0);
    }
}
