//! Patterns to automata. Determinisation is `regex-automata`'s.

use std::collections::{BTreeSet, HashMap};

use knobgate_policy::{Piece, Scope};
use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Repetition};

use crate::table::{Alphabet, Table, TooLarge};

/// How much memory determinisation may take, in bytes.
const DETERMINISE_MEMORY_MAX: usize = 64 << 20;

/// Where the text of a subject ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextEnd {
    /// At the first NUL.
    Nul,
    /// At the first NUL or newline.
    NulOrNewline,
}

/// An automaton that tells which of some patterns match all of a name.
#[derive(Debug)]
pub(crate) struct NameAutomaton {
    /// Its outputs index `sets`.
    pub(crate) table: Table,
    /// The sets of patterns, by index and in ascending order, that some name can match together.
    pub(crate) sets: Vec<Vec<usize>>,
}

/// The automaton for names of `patterns`.
pub(crate) fn of_names(patterns: &[&[Piece]]) -> Result<NameAutomaton, TooLarge> {
    let dfa = determinise(patterns, Scope::Component)?;
    let matched = |state: StateID| -> Vec<usize> {
        let end = dfa.next_eoi_state(state);
        let count = if dfa.is_match_state(end) { dfa.match_len(end) } else { 0 };
        let mut set: Vec<usize> = (0..count).map(|i| dfa.match_pattern(end, i).as_usize()).collect();
        set.sort_unstable();
        set
    };
    let numbers = std::cell::RefCell::new(HashMap::new());
    let alphabet = Alphabet::telling_apart(ranges(patterns, Scope::Component));
    let table = Table::explore(
        &alphabet,
        start_of(&dfa)?,
        |state, byte| dfa.next_state(state, byte),
        |state| {
            let mut numbers = numbers.borrow_mut();
            let fresh = numbers.len();
            *numbers.entry(matched(state)).or_insert(fresh) as u32
        },
    )?;
    let mut sets: Vec<(usize, Vec<usize>)> =
        numbers.into_inner().into_iter().map(|(set, number)| (number, set)).collect();
    sets.sort_unstable();
    Ok(NameAutomaton { table, sets: sets.into_iter().map(|(_, set)| set).collect() })
}

/// An automaton whose output is 1 where the text of the subject matches `pattern`, else 0. The subject is what is
/// run over; its text ends where `end` says, or with the subject.
pub(crate) fn of_text(pattern: &[Piece], end: TextEnd) -> Result<Table, TooLarge> {
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum State {
        Inside(StateID),
        Ended(bool),
    }
    let dfa = determinise(&[pattern], Scope::Text)?;
    let ends = move |byte| byte == 0 || (byte == b'\n' && end == TextEnd::NulOrNewline);
    let matches = |state| dfa.is_match_state(dfa.next_eoi_state(state));
    let alphabet =
        Alphabet::telling_apart(ranges(&[pattern], Scope::Text).into_iter().chain([(0, 0), (b'\n', b'\n')]));
    Table::explore(
        &alphabet,
        State::Inside(start_of(&dfa)?),
        |state, byte| match state {
            State::Inside(inside) if ends(byte) => State::Ended(matches(inside)),
            State::Inside(inside) => State::Inside(dfa.next_state(inside, byte)),
            State::Ended(_) => state,
        },
        |state| match state {
            State::Inside(inside) => matches(inside).into(),
            State::Ended(matched) => matched.into(),
        },
    )
}

fn determinise(patterns: &[&[Piece]], scope: Scope) -> Result<dense::DFA<Vec<u32>>, TooLarge> {
    let patterns: Vec<Hir> = patterns.iter().map(|pieces| sequence(pieces, scope)).collect();
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(DETERMINISE_MEMORY_MAX)))
        .build_many_from_hir(&patterns)
        .map_err(|_| TooLarge)?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                // All patterns that match are wanted, not the leftmost-first one.
                .match_kind(regex_automata::MatchKind::All)
                .start_kind(regex_automata::dfa::StartKind::Anchored)
                .accelerate(false)
                .dfa_size_limit(Some(DETERMINISE_MEMORY_MAX))
                .determinize_size_limit(Some(DETERMINISE_MEMORY_MAX)),
        )
        .build_from_nfa(&nfa)
        .map_err(|_| TooLarge)
}

fn start_of(dfa: &dense::DFA<Vec<u32>>) -> Result<StateID, TooLarge> {
    // The one error is a byte that makes the automaton give up, and none was configured.
    dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).map_err(|_| TooLarge)
}

fn sequence(pieces: &[Piece], scope: Scope) -> Hir {
    Hir::concat(pieces.iter().map(|piece| hir(piece, scope)).collect())
}

fn hir(piece: &Piece, scope: Scope) -> Hir {
    match piece {
        Piece::Literal(bytes) => Hir::literal(bytes.clone()),
        Piece::Any | Piece::Class { .. } => one_byte(|byte| piece.takes(byte, scope)),
        Piece::Star => any_number_of(one_byte(|byte| Piece::Any.takes(byte, scope))),
        Piece::DoubleStar => any_number_of(one_byte(|_| true)),
        Piece::Alternatives(branches) => {
            Hir::alternation(branches.iter().map(|branch| sequence(branch, scope)).collect())
        }
    }
}

fn any_number_of(sub: Hir) -> Hir {
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(sub) })
}

fn one_byte(takes: impl Fn(u8) -> bool) -> Hir {
    let bytes = (0..=255).filter(|&byte| takes(byte)).map(|byte| ClassBytesRange::new(byte, byte));
    Hir::class(Class::Bytes(ClassBytes::new(bytes)))
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
    use knobgate_policy::{KnobPattern, TextGlob};
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
            let automaton = of_names(&pieces).unwrap();
            let found = &automaton.sets[automaton.table.run(name.as_bytes()) as usize];
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|&i| patterns[i].matches(name.as_bytes())).collect();
            prop_assert_eq!(found, &expected);
        }

        #[test]
        fn a_text_automaton_stops_where_the_text_ends(
            glob in prop_oneof![Just("*a?b*"), Just("[a-b]*"), Just("{a,bb}"), Just("*"), Just(""), Just("[!a]")],
            subject in "[ab\\nx\\x00]{0,8}",
        ) {
            let glob = TextGlob::parse(glob).unwrap();
            for (end, stops) in [(TextEnd::Nul, &b"\0"[..]), (TextEnd::NulOrNewline, b"\0\n")] {
                let text = subject.as_bytes().split(|byte| stops.contains(byte)).next().unwrap();
                let table = of_text(glob.pieces(), end).unwrap();
                prop_assert_eq!(table.run(subject.as_bytes()) == 1, glob.matches(text));
            }
        }
    }

    #[test]
    fn patterns_that_tell_all_bytes_apart_work() {
        let glob = TextGlob::parse("[\u{1}-\u{7f}]").unwrap();
        let mut pieces = glob.pieces().to_vec();
        pieces.push(Piece::Literal((0..=255).collect()));
        let table = of_text(&pieces, TextEnd::Nul).unwrap();
        assert_eq!(table.run(b"a"), 0);
    }
}
