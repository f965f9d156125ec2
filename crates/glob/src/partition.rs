//! Names in classes: those of one class are matched by the same patterns.

use std::hash::Hash;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};
use indexmap::IndexSet;

use crate::alphabet::{Alphabet, ranges};
use crate::budget::{Budget, TooLarge};
use crate::determinise::determinise;
use crate::dfa::Dfa;
use crate::nfa::Nfa;
use crate::piece::{Piece, Scope};

/// All names, partitioned by which of some patterns match them.
///
/// Patterns that are one name each are not part of the automaton: they are in a list, so that thousands of them cost little.
#[derive(Debug, Clone)]
pub struct Partition<T> {
    dfa: Dfa,
    literals: Vec<Literal>,
    classes: IndexSet<T, RandomState>,
}

/// A name that is a pattern by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// The name.
    pub name: Vec<u8>,
    /// Its class.
    pub class: usize,
    /// The class in which the automaton alone puts it.
    pub class_otherwise: usize,
}

impl<T: Eq + Hash> Partition<T> {
    /// The partition by `patterns`, whose pieces have to be canonical (see [`Piece`]).
    ///
    /// `of_globs` makes the class of names that are no pattern by themselves, from the indices of the patterns that match,
    /// in ascending order. `of_literal` makes the class of a name that is one, from the name, the indices of the patterns that
    /// are this name, and the class that it would have otherwise. Equal classes become one.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn new(
        patterns: &[&[Piece]],
        budget: &mut Budget,
        of_globs: impl Fn(&[usize]) -> T,
        of_literal: impl Fn(&[u8], &[usize], &T) -> T,
    ) -> Result<Self, TooLarge> {
        let mut names: Vec<(&[u8], usize)> = Vec::new();
        let (mut globs, mut index_of) = (Vec::new(), Vec::new());
        for (index, &pattern) in patterns.iter().enumerate() {
            match pattern {
                [Piece::Literal(name)] => names.push((name, index)),
                _ => {
                    globs.push(pattern);
                    index_of.push(index);
                }
            }
        }
        let alphabet = Alphabet::separating(ranges(&globs, Scope::Component));
        let subsets = determinise(&Nfa::new(&globs, Scope::Component, &alphabet), budget)?;
        let mut classes = IndexSet::default();
        let mut class_of = HashMap::new();
        let outputs: Vec<u32> = subsets
            .ends
            .iter()
            .map(|ends| {
                *class_of.entry(ends).or_insert_with(|| {
                    let matching: Vec<usize> = ends.iter().map(|&glob| index_of[glob]).collect();
                    classes.insert_full(of_globs(&matching)).0 as u32
                })
            })
            .collect();
        let dfa = Dfa::minimal(alphabet, &subsets.next, &outputs);

        names.sort_unstable();
        let mut literals = Vec::new();
        for equal in names.chunk_by(|(one, _), (other, _)| one == other) {
            let name = equal[0].0;
            let class_otherwise = dfa.run(name) as usize;
            let indices: Vec<usize> = equal.iter().map(|(_, index)| *index).collect();
            let class = classes.insert_full(of_literal(name, &indices, &classes[class_otherwise])).0;
            literals.push(Literal { name: name.to_vec(), class, class_otherwise });
        }
        Ok(Self { dfa, literals, classes })
    }

    /// The class of `name`.
    pub fn class_of(&self, name: &[u8]) -> &T {
        let literal = self.literals.binary_search_by(|literal| literal.name.as_slice().cmp(name));
        &self.classes[match literal {
            Ok(found) => self.literals[found].class,
            Err(_) => self.dfa.run(name) as usize,
        }]
    }
}

impl<T> Partition<T> {
    /// Finds the class of a name that is not among [the literals](Self::literals): its outputs are numbers of classes.
    pub fn dfa(&self) -> &Dfa {
        &self.dfa
    }

    /// The names that are patterns by themselves, in order.
    pub fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// All classes, by number.
    pub fn classes(&self) -> impl ExactSizeIterator<Item = &T> {
        self.classes.iter()
    }

    /// Whether each class, by number, has a name in it. A name has no NUL and no empty component.
    pub fn inhabited(&self) -> Vec<bool> {
        let mut inhabited = vec![false; self.classes.len()];
        let mut literals = vec![0u64; self.classes.len()];
        for literal in self.literals.iter().filter(|literal| is_name(&literal.name)) {
            inhabited[literal.class] = true;
            literals[literal.class_otherwise] += 1;
        }
        // A class of the automaton counts if it has more names than those that are literals.
        for ((class, names), literals) in
            count_names(&self.dfa, self.classes.len()).into_iter().enumerate().zip(literals)
        {
            inhabited[class] |= names.is_none_or(|names| names > literals);
        }
        inhabited
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.contains(&0) && name.split(|&byte| byte == b'/').all(|component| !component.is_empty())
}

/// For each output below `outputs`, how many names return it; `None` if there is no end of them.
fn count_names(dfa: &Dfa, outputs: usize) -> Vec<Option<u64>> {
    // A node is a state of the DFA, twice: at the start of a component, and inside of one.
    let states: Vec<(u32, &[u32])> = dfa.states().collect();
    let inside = states.len();
    let mut bytes_of =
        vec![0u64; dfa.byte_classes().iter().map(|&class| usize::from(class) + 1).max().unwrap_or(0)];
    for byte in (1..=u8::MAX).filter(|&byte| byte != b'/') {
        bytes_of[usize::from(dfa.byte_classes()[usize::from(byte)])] += 1;
    }
    let slash = usize::from(dfa.byte_classes()[usize::from(b'/')]);
    let edges = |node: usize| {
        let next = states[node % inside].1;
        let to_component = next.iter().zip(&bytes_of).map(|(&next, &bytes)| (next as usize + inside, bytes));
        let to_next = (node >= inside).then(|| (next[slash] as usize, 1));
        to_component.filter(|(_, bytes)| *bytes > 0).chain(to_next)
    };

    // Depth first, to find an order in which nodes come before those that they lead to, if there is one.
    let mut order = Vec::new();
    let mut visited = vec![false; 2 * inside];
    let mut open = vec![(0, false)];
    while let Some((node, is_done)) = open.pop() {
        if is_done {
            order.push(node);
        } else if !std::mem::replace(&mut visited[node], true) {
            open.push((node, true));
            open.extend(edges(node).map(|(next, _)| (next, false)).filter(|(next, _)| !visited[*next]));
        }
    }
    order.reverse();
    let mut place = vec![0; 2 * inside];
    order.iter().enumerate().for_each(|(at, &node)| place[node] = at);

    // How many strings lead to each node: endlessly many where one leads back, and from there on.
    let mut counts: Vec<Option<u64>> = vec![Some(0); 2 * inside];
    counts[0] = Some(1);
    for &node in &order {
        if edges(node).any(|(next, _)| place[next] <= place[node]) {
            counts[node] = None;
        }
    }
    // A cycle is found at its last node; all of it has endlessly many.
    let mut endless: Vec<usize> = order.iter().copied().filter(|&node| counts[node].is_none()).collect();
    while let Some(node) = endless.pop() {
        for (next, _) in edges(node) {
            if counts[next].take().is_some() {
                endless.push(next);
            }
        }
    }
    for &node in &order {
        for (next, bytes) in edges(node) {
            let added = counts[node].map(|count| count.saturating_mul(bytes));
            counts[next] = counts[next].zip(added).map(|(count, added)| count.saturating_add(added));
        }
    }
    let mut names = vec![Some(0u64); outputs];
    for (state, (output, _)) in states.iter().enumerate().filter(|(state, _)| visited[inside + state]) {
        let of_output = &mut names[*output as usize];
        *of_output = of_output.zip(counts[inside + state]).map(|(one, other)| one.saturating_add(other));
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::piece::matches;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.as_bytes().to_vec())
    }

    fn class(low: u8, high: u8) -> Piece {
        Piece::Class { negated: false, ranges: vec![(low, high)] }
    }

    fn of(patterns: &[Vec<Piece>]) -> Partition<Vec<usize>> {
        let patterns: Vec<&[Piece]> = patterns.iter().map(Vec::as_slice).collect();
        Partition::new(&patterns, &mut Budget::steps(1 << 20), <[usize]>::to_vec, |_, equal, otherwise| {
            let mut all: Vec<usize> = equal.iter().chain(otherwise).copied().collect();
            all.sort_unstable();
            all
        })
        .unwrap()
    }

    fn pattern() -> impl Strategy<Value = Vec<Piece>> {
        let piece = prop_oneof![
            4 => "[ab/]{1,3}".prop_map(|text| literal(&text)),
            1 => Just(Piece::Any),
            1 => Just(Piece::Star),
            1 => Just(Piece::DoubleStar),
            1 => Just(class(b'a', b'b')),
            1 => Just(Piece::Class { negated: true, ranges: vec![(b'a', b'a')] }),
            1 => vec(prop_oneof![Just(vec![]), "[ab/]{1,2}".prop_map(|text| vec![literal(&text)])], 1..4)
                .prop_map(Piece::Alternatives),
        ];
        vec(piece, 1..5)
    }

    proptest! {
        #[test]
        fn a_name_is_in_the_class_of_the_patterns_that_match_it(
            patterns in vec(pattern(), 0..6),
            names in vec("[abc/]{0,8}", 8),
        ) {
            let partition = of(&patterns);
            for name in names {
                let expected: Vec<usize> = (0..patterns.len())
                    .filter(|&index| matches(&patterns[index], name.as_bytes(), Scope::Component))
                    .collect();
                prop_assert_eq!(partition.class_of(name.as_bytes()), &expected, "{}", name);
            }
        }

        #[test]
        fn a_class_is_inhabited_where_a_name_is_in_it(
            patterns in vec(pattern(), 0..6),
            names in vec("[abc]{1,3}(/[abc]{1,2}){0,3}", 16),
        ) {
            let partition = of(&patterns);
            let inhabited = partition.inhabited();
            for name in names {
                let class = partition.class_of(name.as_bytes());
                let number = partition.classes().position(|other| other == class).unwrap();
                prop_assert!(inhabited[number], "{}", name);
            }
        }
    }

    #[test]
    fn a_class_of_literals_alone_is_not_inhabited() {
        let inhabited = |patterns: &[Vec<Piece>]| {
            let partition = of(patterns);
            let inhabited = partition.inhabited();
            let classes = partition.classes().cloned().zip(inhabited);
            classes.filter_map(|(class, is_inhabited)| is_inhabited.then_some(class)).collect::<Vec<_>>()
        };
        let either = Piece::Alternatives(vec![vec![literal("b")], vec![literal("c")]]);
        let both = vec![vec![literal("a/b")], vec![literal("a/c")], vec![literal("a/"), either.clone()]];
        assert_eq!(inhabited(&both), [vec![], vec![0, 2], vec![1, 2]]);
        assert_eq!(inhabited(&[both[0].clone(), both[2].clone()]), [vec![], vec![1], vec![0, 1]]);
        // `a//b` and the empty name are none.
        let doubled = [
            vec![literal("a/"), Piece::Star, literal("/b")],
            vec![literal("a/"), Piece::Any, Piece::Star, literal("/b")],
        ];
        assert_eq!(inhabited(&doubled), [vec![], vec![0, 1]]);
    }
    #[test]
    fn every_inhabited_class_has_a_name() {
        let pieces = [
            literal("a"),
            literal("b/"),
            literal("/a"),
            Piece::Any,
            Piece::Star,
            Piece::DoubleStar,
            class(b'a', b'b'),
            Piece::Class { negated: true, ranges: vec![(b'a', b'a')] },
            Piece::Alternatives(vec![vec![], vec![literal("b")], vec![literal("/c")]]),
        ];
        let mut names: Vec<String> = vec![String::new()];
        let mut last = names.clone();
        for _ in 0..5 {
            last = last.iter().flat_map(|name| "abc/".chars().map(move |c| format!("{name}{c}"))).collect();
            names.extend(last.iter().cloned());
        }
        names.retain(|name| name.split('/').all(|component| !component.is_empty()));
        for one in &pieces {
            for other in &pieces {
                let patterns =
                    [vec![one.clone(), other.clone()], vec![other.clone(), literal("a")], vec![one.clone()]];
                let partition = of(&patterns);
                let found: std::collections::HashSet<&Vec<usize>> =
                    names.iter().map(|name| partition.class_of(name.as_bytes())).collect();
                for (class, is_inhabited) in partition.classes().zip(partition.inhabited()) {
                    assert_eq!(found.contains(class), is_inhabited, "{class:?} of {patterns:?}");
                }
            }
        }
    }
}
