//! Patterns as one automaton that may be in many places at once.
//!
//! Its places form a tree (but that alternatives meet again): patterns that begin alike share their beginnings, so that one
//! is in few places at once, however many patterns there are.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};
use knobgate_policy::{Piece, Scope};

use crate::table::Alphabet;

/// The tree of some patterns.
pub(crate) struct PatternTree<'a> {
    nodes: Vec<Node>,
    /// The nodes behind alternatives, by these and the node before them.
    behind_alternatives: HashMap<(u32, &'a [Vec<Piece>]), u32>,
    scope: Scope,
    alphabet: &'a Alphabet,
}

/// A place in the patterns. What is matched up to there is the same for all that share it.
#[derive(Default)]
pub(crate) struct Node {
    /// Nodes behind one byte of this class.
    pub(crate) by_class: Vec<(u8, u32)>,
    /// Nodes behind one byte of several classes.
    pub(crate) by_classes: Vec<(Classes, u32)>,
    /// Nodes where one is as well when one is here.
    pub(crate) also: Vec<u32>,
    /// The patterns that end here, by index.
    pub(crate) ends: Vec<usize>,
}

/// A set of classes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Classes([u64; 4]);

impl Node {
    /// Whether it makes a difference to be here: it ends a pattern, or leads on by a byte.
    pub(crate) fn matters(&self) -> bool {
        !(self.ends.is_empty() && self.by_class.is_empty() && self.by_classes.is_empty())
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

impl<'a> PatternTree<'a> {
    /// The node in which a run begins.
    pub(crate) const ROOT: u32 = 0;

    /// That of `patterns`, which `alphabet` tells apart.
    pub(crate) fn new(patterns: &[&'a [Piece]], scope: Scope, alphabet: &'a Alphabet) -> Self {
        let mut tree =
            Self { nodes: vec![Node::default()], behind_alternatives: HashMap::new(), scope, alphabet };
        for (index, pieces) in patterns.iter().enumerate() {
            let end = tree.behind(Self::ROOT, pieces);
            tree.nodes[end as usize].ends.push(index);
        }
        tree
    }

    /// The node of this number.
    pub(crate) fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The sets of classes that nodes take one byte of.
    pub(crate) fn sets_of_classes(&self) -> impl Iterator<Item = Classes> {
        self.nodes.iter().flat_map(|node| &node.by_classes).map(|(classes, _)| *classes)
    }

    /// The bytes that it tells apart.
    pub(crate) fn alphabet(&self) -> &Alphabet {
        self.alphabet
    }

    /// The node behind `pieces` from `node` on.
    fn behind(&mut self, mut node: u32, pieces: &'a [Piece]) -> u32 {
        for piece in pieces {
            node = match piece {
                Piece::Literal(bytes) => {
                    bytes.iter().fold(node, |node, &byte| self.behind_class(node, self.alphabet.class(byte)))
                }
                Piece::Any | Piece::Class { .. } => {
                    let classes = self.classes(|byte| piece.takes(byte, self.scope));
                    match classes.only() {
                        Some(class) => self.behind_class(node, class),
                        None => self.behind_classes(node, classes),
                    }
                }
                Piece::Star => {
                    self.behind_any_number(node, self.classes(|byte| Piece::Any.takes(byte, self.scope)))
                }
                Piece::DoubleStar => self.behind_any_number(node, self.classes(|_| true)),
                Piece::Alternatives(branches) => self.behind_alternatives(node, branches),
            };
        }
        node
    }

    fn behind_class(&mut self, node: u32, class: u8) -> u32 {
        let is_known = |(other, _): &&(u8, u32)| *other == class;
        if let Some(&(_, next)) = self.node(node).by_class.iter().find(is_known) {
            return next;
        }
        let next = self.add();
        self.nodes[node as usize].by_class.push((class, next));
        next
    }

    fn behind_classes(&mut self, node: u32, classes: Classes) -> u32 {
        // What leads back to the node itself is a star.
        let is_known = |(other, next): &&(Classes, u32)| *other == classes && *next != node;
        if let Some(&(_, next)) = self.node(node).by_classes.iter().find(is_known) {
            return next;
        }
        let next = self.add();
        self.nodes[node as usize].by_classes.push((classes, next));
        next
    }

    fn behind_any_number(&mut self, node: u32, classes: Classes) -> u32 {
        let goes_round = |next: &&u32| self.node(**next).by_classes.contains(&(classes, **next));
        if let Some(&round) = self.node(node).also.iter().find(goes_round) {
            return round;
        }
        let round = self.add();
        self.nodes[round as usize].by_classes.push((classes, round));
        self.nodes[node as usize].also.push(round);
        round
    }

    fn behind_alternatives(&mut self, node: u32, branches: &'a [Vec<Piece>]) -> u32 {
        if let Some(&known) = self.behind_alternatives.get(&(node, branches)) {
            return known;
        }
        let ends: BTreeSet<u32> = branches.iter().map(|branch| self.behind(node, branch)).collect();
        let next = self.add();
        for end in ends {
            self.nodes[end as usize].also.push(next);
        }
        self.behind_alternatives.insert((node, branches), next);
        next
    }

    fn add(&mut self) -> u32 {
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as u32
    }

    fn classes(&self, takes: impl Fn(u8) -> bool) -> Classes {
        let mut classes = Classes([0; 4]);
        for (class, &byte) in self.alphabet.representatives().iter().enumerate() {
            classes.0[class / 64] |= u64::from(takes(byte)) << (class % 64);
        }
        classes
    }
}
