//! Whether every name that one pattern matches is matched by another: a walk through the product of two automata, with a
//! bound on the effort. What is not found out in time counts as no.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::glob::{Piece, Scope};
use crate::{glob, notation};

/// How much work all questions of one checker may take together, in steps of an automaton.
const EFFORT_MAX: usize = 200_000;

/// How much of that one question may take.
const EFFORT_PER_QUESTION: usize = 20_000;

/// Into how many patterns without alternatives one pattern is expanded.
const EXPANSIONS_MAX: usize = 64;

/// Answers questions until the effort is used up.
#[derive(Debug)]
pub(crate) struct Inclusion {
    left: usize,
}

impl Inclusion {
    pub(crate) fn new() -> Self {
        Self { left: EFFORT_MAX }
    }

    /// Whether there is no point in asking further.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Takes so many steps from the effort.
    pub(crate) fn charge(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
    }

    /// Whether every name that `narrow` matches is matched by `wide` too. `false` may also mean that it is not known.
    pub(crate) fn holds(&mut self, narrow: &[Piece], wide: &[Piece]) -> bool {
        if narrow == wide || *wide == [Piece::DoubleStar] {
            return true;
        }
        if self.is_exhausted() {
            return false;
        }
        self.left -= 1;
        match (narrow, wide) {
            ([Piece::Literal(name)], _) => {
                let cost = name.len() * wide.len();
                self.left = self.left.saturating_sub(cost);
                !self.is_exhausted() && glob::matches(wide, name, Scope::Component)
            }
            ([Piece::Literal(narrow), ..], [Piece::Literal(wide), Piece::DoubleStar]) => {
                narrow.starts_with(wide)
            }
            _ => {
                let question = EFFORT_PER_QUESTION.min(self.left);
                let mut left = question;
                let answer = product(&Automaton::new(narrow), &Automaton::new(wide), &mut left);
                self.left -= question - left;
                answer
            }
        }
    }

    /// Patterns that together match what `pieces` match, without alternatives if these are not too many.
    pub(crate) fn expand<'a>(&mut self, pieces: &'a [Piece]) -> Vec<Cow<'a, [Piece]>> {
        if pieces.iter().any(|piece| matches!(piece, Piece::Alternatives(_)))
            && let Some(expanded) = expanded(pieces, EXPANSIONS_MAX)
        {
            return expanded.into_iter().map(Cow::Owned).collect();
        }
        vec![Cow::Borrowed(pieces)]
    }
}

fn expanded(pieces: &[Piece], most: usize) -> Option<Vec<Vec<Piece>>> {
    let mut done: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in pieces {
        let Piece::Alternatives(branches) = piece else {
            done.iter_mut().for_each(|pieces| notation::push(pieces, piece.clone()));
            continue;
        };
        let mut choices = Vec::new();
        for branch in branches {
            choices.extend(expanded(branch, most)?);
            if choices.len() > most {
                return None;
            }
        }
        if done.len() * choices.len() > most {
            return None;
        }
        let joined = |start: &Vec<Piece>, choice: &Vec<Piece>| {
            let mut pieces = start.clone();
            choice.iter().for_each(|piece| notation::push(&mut pieces, piece.clone()));
            pieces
        };
        done =
            done.iter().flat_map(|start| choices.iter().map(move |choice| joined(start, choice))).collect();
    }
    Some(done)
}

/// A set of bytes.
type Bytes = [u64; 4];

fn has(bytes: &Bytes, byte: u8) -> bool {
    bytes[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
}

fn bytes_where(mut wanted: impl FnMut(u8) -> bool) -> Bytes {
    let mut bytes = [0; 4];
    for byte in 0..=u8::MAX {
        bytes[usize::from(byte >> 6)] |= u64::from(wanted(byte)) << (byte & 63);
    }
    bytes
}

#[derive(Debug)]
enum State {
    /// Takes one byte of these.
    Take(Bytes, usize),
    /// Goes on in any of these without taking anything.
    Split(Vec<usize>),
    Accept,
}

/// A non-deterministic automaton; it starts in its last state.
struct Automaton {
    states: Vec<State>,
}

impl Automaton {
    fn new(pieces: &[Piece]) -> Self {
        let mut automaton = Self { states: vec![State::Accept] };
        let start = automaton.add(pieces, 0);
        automaton.states.push(State::Split(vec![start]));
        automaton
    }

    /// Adds states that match `pieces` and go on in `next`; returns the first.
    fn add(&mut self, pieces: &[Piece], mut next: usize) -> usize {
        for piece in pieces.iter().rev() {
            next = match piece {
                Piece::Literal(bytes) => bytes.iter().rev().fold(next, |next, &byte| {
                    self.push(State::Take(bytes_where(|other| other == byte), next))
                }),
                Piece::Any | Piece::Class { .. } => {
                    self.push(State::Take(bytes_where(|byte| piece.takes(byte, Scope::Component)), next))
                }
                Piece::Star | Piece::DoubleStar => {
                    let bytes = bytes_where(|byte| *piece == Piece::DoubleStar || byte != b'/');
                    let split = self.push(State::Split(Vec::new()));
                    let take = self.push(State::Take(bytes, split));
                    self.states[split] = State::Split(vec![take, next]);
                    split
                }
                Piece::Alternatives(branches) => {
                    let starts = branches.iter().map(|branch| self.add(branch, next)).collect();
                    self.push(State::Split(starts))
                }
            };
        }
        next
    }

    fn push(&mut self, state: State) -> usize {
        self.states.push(state);
        self.states.len() - 1
    }

    fn start(&self) -> BTreeSet<usize> {
        self.reached(&[self.states.len() - 1])
    }

    /// The states that take a byte or accept, and are reached from these without taking anything.
    fn reached(&self, from: &[usize]) -> BTreeSet<usize> {
        let mut open = from.to_vec();
        let mut splits = HashSet::new();
        let mut reached = BTreeSet::new();
        while let Some(state) = open.pop() {
            match &self.states[state] {
                State::Split(next) if splits.insert(state) => open.extend(next),
                State::Split(_) => {}
                _ => {
                    reached.insert(state);
                }
            }
        }
        reached
    }

    /// The states behind `states` when `byte` is taken.
    fn step(&self, states: &BTreeSet<usize>, byte: u8) -> BTreeSet<usize> {
        let next: Vec<usize> = states
            .iter()
            .filter_map(|&state| match &self.states[state] {
                State::Take(bytes, next) if has(bytes, byte) => Some(*next),
                _ => None,
            })
            .collect();
        self.reached(&next)
    }

    fn sets(&self) -> impl Iterator<Item = &Bytes> {
        self.states
            .iter()
            .filter_map(|state| if let State::Take(bytes, _) = state { Some(bytes) } else { None })
    }
}

/// One byte of each set of bytes that neither automaton tells apart.
fn representatives(narrow: &Automaton, wide: &Automaton) -> Vec<u8> {
    let is_single = |set: &&Bytes| set.iter().map(|word| word.count_ones()).sum::<u32>() == 1;
    let mut singles: Bytes = [0; 4];
    let mut sets: HashSet<&Bytes> = HashSet::new();
    for set in narrow.sets().chain(wide.sets()) {
        if is_single(&set) {
            singles.iter_mut().zip(set).for_each(|(all, word)| *all |= word);
        } else {
            sets.insert(set);
        }
    }
    // Bytes that are in the same sets, and not by themselves in any, need not be told apart.
    let mut seen = HashSet::new();
    let wanted = |byte: &u8| {
        has(&singles, *byte) || seen.insert(sets.iter().map(|set| has(set, *byte)).collect::<Vec<bool>>())
    };
    (0..=u8::MAX).filter(wanted).collect()
}

/// Whether `wide` accepts all that `narrow` does; `false` too once nothing is left of the effort.
fn product(narrow: &Automaton, wide: &Automaton, left: &mut usize) -> bool {
    let bytes = representatives(narrow, wide);
    // What it took to come this far.
    *left = left.saturating_sub(256 + 2 * (narrow.states.len() + wide.states.len()));
    let mut open: Vec<(usize, BTreeSet<usize>)> =
        narrow.start().into_iter().map(|state| (state, wide.start())).collect();
    let mut seen: HashSet<(usize, BTreeSet<usize>)> = open.iter().cloned().collect();
    while let Some((state, others)) = open.pop() {
        let State::Take(taken, next) = &narrow.states[state] else {
            if !others.iter().any(|&other| matches!(wide.states[other], State::Accept)) {
                return false;
            }
            continue;
        };
        for &byte in bytes.iter().filter(|&&byte| has(taken, byte)) {
            let others = wide.step(&others, byte);
            let cost = 1 + others.len();
            if *left < cost || others.is_empty() {
                return false;
            }
            *left -= cost;
            for state in narrow.reached(&[*next]) {
                let pair = (state, others.clone());
                if seen.insert(pair.clone()) {
                    open.push(pair);
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KnobPattern;

    fn holds(narrow: &str, wide: &str) -> bool {
        let pattern = |text: &str| KnobPattern::parse(text).unwrap();
        Inclusion::new().holds(pattern(narrow).pieces(), pattern(wide).pieces())
    }

    #[test]
    fn a_pattern_includes_what_it_is_wider_than() {
        for (narrow, wide) in [
            ("net.core.somaxconn", "net.**"),
            ("net.core.*", "net.**"),
            ("net.**", "**"),
            ("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.**"),
            ("net.ipv4.conf.*.rp_filter", "**.rp_filter"),
            ("net.ipv4.tcp_{rmem,wmem}", "net.ipv4.tcp_?mem"),
            ("a.[b-d]", "a.[a-z]"),
            ("a.[!b-d]", "a.*"),
            ("a.b*c", "a.*c"),
            ("a.*.*", "a.**"),
        ] {
            assert!(holds(narrow, wide), "{narrow} is inside {wide}");
            assert!(!holds(wide, narrow), "{wide} is not inside {narrow}");
        }
    }

    #[test]
    fn two_notations_of_one_language_include_each_other() {
        assert!(holds("{a,b}.c", "[ab].c"));
        assert!(holds("[ab].c", "{a,b}.c"));
    }

    #[test]
    fn a_star_that_stays_inside_one_component_does_not_include_more_of_them() {
        for (narrow, wide) in
            [("net.core.x", "net.*"), ("net.**", "net.*"), ("a?b", "a.b"), ("a.b.*", "a.*.b")]
        {
            assert!(!holds(narrow, wide), "{narrow} is not inside {wide}");
        }
    }

    #[test]
    fn what_takes_too_long_counts_as_no() {
        let narrow = KnobPattern::parse("*a".repeat(60)).unwrap();
        let wide = KnobPattern::parse("*{a,b}???????????????".to_owned() + &"*{b,a}".repeat(20)).unwrap();
        let mut inclusion = Inclusion::new();
        assert!(!inclusion.holds(narrow.pieces(), wide.pieces()));
        assert!(inclusion.left < EFFORT_MAX);
    }
}
