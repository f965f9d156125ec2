//! Patterns as one NFA.
//!
//! Its states form a tree, except that alternatives meet again: patterns with a common prefix share its states,
//! so that a run is in few states at once, however many patterns there are.

use std::collections::BTreeSet;

use crate::alphabet::Alphabet;
use crate::piece::{Piece, Scope};
use foldhash::{HashMap, HashMapExt};

/// The NFA of some patterns.
pub(crate) struct Nfa<'a> {
    states: Vec<State>,
    /// The states after alternatives, by these and the state before them.
    after_alternatives: HashMap<(u32, &'a [Vec<Piece>]), u32>,
    scope: Scope,
    alphabet: &'a Alphabet,
}

/// A state. What is matched before it is the same for all patterns that share it.
#[derive(Default)]
pub(crate) struct State {
    /// Transitions by one byte of a class.
    pub(crate) by_class: Vec<(u8, u32)>,
    /// Transitions by one byte of several classes.
    pub(crate) by_classes: Vec<(Classes, u32)>,
    /// Transitions without a byte.
    pub(crate) epsilon: Vec<u32>,
    /// The patterns that end here, by index.
    pub(crate) ends: Vec<usize>,
}

/// A set of classes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Classes([u64; 4]);

impl State {
    /// Whether it matters to be here: a pattern ends, or a byte leads on.
    pub(crate) fn matters(&self) -> bool {
        !(self.ends.is_empty() && self.by_class.is_empty() && self.by_classes.is_empty())
    }

    /// The next states after one byte of `class`.
    pub(crate) fn after(&self, class: usize) -> impl Iterator<Item = u32> {
        let by_class = self.by_class.iter().filter(move |(only, _)| usize::from(*only) == class);
        let by_classes = self.by_classes.iter().filter(move |(classes, _)| classes.contains(class));
        by_class.map(|(_, next)| *next).chain(by_classes.map(|(_, next)| *next))
    }
}

impl Classes {
    /// Whether `class` is one of them.
    pub(crate) fn contains(&self, class: usize) -> bool {
        self.0[class / 64] >> (class % 64) & 1 == 1
    }

    /// It, if there is one alone.
    fn only(&self) -> Option<u8> {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        (0..=u8::MAX).find(|&class| self.contains(class.into())).filter(|_| count == 1)
    }
}

impl<'a> Nfa<'a> {
    /// The state in which a run starts.
    pub(crate) const START: u32 = 0;

    /// The NFA of `patterns`, whose pieces are canonical and whose bytes `alphabet` separates.
    pub(crate) fn new(patterns: &[&'a [Piece]], scope: Scope, alphabet: &'a Alphabet) -> Self {
        let mut nfa =
            Self { states: vec![State::default()], after_alternatives: HashMap::new(), scope, alphabet };
        for (index, pieces) in patterns.iter().enumerate() {
            debug_assert!(pieces.iter().all(|piece| piece.is_canonical(scope)), "{pieces:?}");
            let end = nfa.after(Self::START, pieces);
            nfa.states[end as usize].ends.push(index);
        }
        nfa
    }

    /// The state with this number.
    pub(crate) fn state(&self, number: u32) -> &State {
        &self.states[number as usize]
    }

    /// How many states there are.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The sets of classes of its transitions by several classes.
    pub(crate) fn sets_of_classes(&self) -> impl Iterator<Item = Classes> {
        self.states.iter().flat_map(|state| &state.by_classes).map(|(classes, _)| *classes)
    }

    /// Its byte classes.
    pub(crate) fn alphabet(&self) -> &Alphabet {
        self.alphabet
    }

    /// The state after `pieces`, from `state` on.
    fn after(&mut self, mut state: u32, pieces: &'a [Piece]) -> u32 {
        for piece in pieces {
            state = match piece {
                Piece::Literal(bytes) => bytes
                    .iter()
                    .fold(state, |state, &byte| self.after_class(state, self.alphabet.class(byte))),
                Piece::Any | Piece::Class { .. } => {
                    let classes = self.classes(|byte| piece.takes(byte, self.scope));
                    match classes.only() {
                        Some(class) => self.after_class(state, class),
                        None => self.after_classes(state, classes),
                    }
                }
                Piece::Star => {
                    self.after_star(state, self.classes(|byte| Piece::Any.takes(byte, self.scope)))
                }
                Piece::DoubleStar => self.after_star(state, self.classes(|_| true)),
                Piece::Alternatives(branches) => self.after_alternatives(state, branches),
            };
        }
        state
    }

    fn after_class(&mut self, state: u32, class: u8) -> u32 {
        let is_equal = |(other, _): &&(u8, u32)| *other == class;
        if let Some(&(_, next)) = self.state(state).by_class.iter().find(is_equal) {
            return next;
        }
        let next = self.add();
        self.states[state as usize].by_class.push((class, next));
        next
    }

    fn after_classes(&mut self, state: u32, classes: Classes) -> u32 {
        // A transition to the state itself is a star.
        let is_equal = |(other, next): &&(Classes, u32)| *other == classes && *next != state;
        if let Some(&(_, next)) = self.state(state).by_classes.iter().find(is_equal) {
            return next;
        }
        let next = self.add();
        self.states[state as usize].by_classes.push((classes, next));
        next
    }

    fn after_star(&mut self, state: u32, classes: Classes) -> u32 {
        let is_loop = |next: &&u32| self.state(**next).by_classes.contains(&(classes, **next));
        if let Some(&looping) = self.state(state).epsilon.iter().find(is_loop) {
            return looping;
        }
        let looping = self.add();
        self.states[looping as usize].by_classes.push((classes, looping));
        self.states[state as usize].epsilon.push(looping);
        looping
    }

    fn after_alternatives(&mut self, state: u32, branches: &'a [Vec<Piece>]) -> u32 {
        if let Some(&known) = self.after_alternatives.get(&(state, branches)) {
            return known;
        }
        let ends: BTreeSet<u32> = branches.iter().map(|branch| self.after(state, branch)).collect();
        let next = self.add();
        for end in ends {
            self.states[end as usize].epsilon.push(next);
        }
        self.after_alternatives.insert((state, branches), next);
        next
    }

    fn add(&mut self) -> u32 {
        self.states.push(State::default());
        (self.states.len() - 1) as u32
    }

    fn classes(&self, takes: impl Fn(u8) -> bool) -> Classes {
        let mut classes = Classes([0; 4]);
        for (class, &byte) in self.alphabet.representatives().iter().enumerate() {
            classes.0[class / 64] |= u64::from(takes(byte)) << (class % 64);
        }
        classes
    }
}
