//! From patterns to an automaton that is in one state at a time: the subset construction.
//!
//! A state is a set of nodes of the [tree](crate::pattern_tree). Most bytes are told apart by few patterns, so that the
//! state behind them is found once for all of them.

use foldhash::HashMap;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::pattern_tree::{Classes, PatternTree};
use crate::table::{ENTRIES_MAX, TooLarge};

/// How many nodes all states may consist of together: what is beyond would take too much memory.
const NODES_MAX: usize = 1 << 24;

/// How many steps from a node to another one may be looked at for one automaton, which takes about a second. A policy that
/// fits into a program takes a small part of it.
pub(crate) const STEPS_MAX: usize = 1 << 26;

/// The same for all automata for texts of a policy together.
pub(crate) const TEXT_STEPS_MAX: usize = 1 << 28;

/// An automaton in one state at a time. It starts in state 0.
#[derive(Debug)]
pub(crate) struct Dfa {
    /// For each state, the next one for every class of the alphabet.
    pub(crate) next: Vec<u32>,
    /// For each state, the patterns that end there, by index and in ascending order.
    pub(crate) ends: Vec<Vec<usize>>,
}

/// That of `tree`. The states are in the order in which they are found from the first one on.
///
/// Takes the steps that it needs from `steps`.
///
/// # Errors
/// Too much memory would be needed for it, or for the [table](crate::table) of its states; or there are no steps left.
pub(crate) fn determinise(tree: &PatternTree<'_>, steps: &mut usize) -> Result<Dfa, TooLarge> {
    let alike = Alike::of(tree);
    let classes = alike.group_of.len();
    let mut states = States::new(tree);
    states.number_of([PatternTree::ROOT]);
    let mut next = Vec::new();
    // The nodes behind a state: by each class, and by all classes of each group.
    let mut by_class = vec![Vec::new(); classes];
    let mut by_group = vec![Vec::new(); alike.groups];
    for state in 0.. {
        let Some(nodes) = states.sets.get_index(state) else { break };
        for node in nodes.iter().map(|&node| tree.node(node)) {
            node.by_class.iter().for_each(|&(class, next)| by_class[usize::from(class)].push(next));
            for (classes, next) in &node.by_classes {
                alike.groups_of[classes].iter().for_each(|&group| by_group[group].push(*next));
            }
        }
        let mut of_group = vec![None; alike.groups];
        let before = states.steps;
        for (by_class, &group) in by_class.iter_mut().zip(&alike.group_of) {
            let mut number = || states.number_of(by_group[group].iter().chain(&*by_class).copied());
            next.push(if by_class.is_empty() {
                *of_group[group].get_or_insert_with(number)
            } else {
                number()
            });
            by_class.clear();
        }
        by_group.iter_mut().for_each(Vec::clear);
        *steps = steps.saturating_sub(classes + states.steps - before);
        if *steps == 0 {
            return Err(TooLarge);
        }
        if states.sets.len() * (classes + 1) > ENTRIES_MAX || states.nodes > NODES_MAX {
            return Err(TooLarge);
        }
    }
    let ends = states.sets.iter().map(|nodes| {
        let mut ends: Vec<usize> = nodes.iter().flat_map(|&node| &tree.node(node).ends).copied().collect();
        ends.sort_unstable();
        ends
    });
    Ok(Dfa { next, ends: ends.collect() })
}

/// The sets of nodes that were found.
struct States<'a> {
    tree: &'a PatternTree<'a>,
    sets: IndexSet<Box<[u32]>, RandomState>,
    /// How many nodes they have together.
    nodes: usize,
    /// How many nodes were looked at.
    steps: usize,
    /// For each node the search that came to it last.
    seen_in: Vec<u32>,
    search: u32,
    found: Vec<u32>,
}

impl<'a> States<'a> {
    fn new(tree: &'a PatternTree<'a>) -> Self {
        let seen_in = vec![0; tree.len()];
        Self { tree, sets: IndexSet::default(), nodes: 0, steps: 0, seen_in, search: 0, found: Vec::new() }
    }

    /// The state of being in `nodes`, and where one is then as well.
    fn number_of(&mut self, nodes: impl IntoIterator<Item = u32>) -> u32 {
        let Self { tree, sets, seen_in, found, .. } = self;
        self.search += 1;
        let mut is_new =
            |node: &u32| std::mem::replace(&mut seen_in[*node as usize], self.search) != self.search;
        found.clear();
        let mut steps = 0;
        found.extend(nodes.into_iter().inspect(|_| steps += 1).filter(&mut is_new));
        let mut open = 0;
        while let Some(&node) = found.get(open) {
            let also = &tree.node(node).also;
            steps += 1 + also.len();
            found.extend(also.iter().copied().filter(&mut is_new));
            open += 1;
        }
        self.steps += steps;
        found.retain(|&node| tree.node(node).matters());
        found.sort_unstable();
        if let Some(number) = sets.get_index_of(found.as_slice()) {
            return number as u32;
        }
        self.nodes += found.len();
        sets.insert_full(found.as_slice().into()).0 as u32
    }
}

/// Which classes of bytes are alike for all nodes that take bytes of several classes.
struct Alike {
    /// How many groups of such classes there are.
    groups: usize,
    /// The group of each class.
    group_of: Vec<usize>,
    /// The groups in each set of classes that a node takes.
    groups_of: HashMap<Classes, Vec<usize>>,
}

impl Alike {
    fn of(tree: &PatternTree<'_>) -> Self {
        let sets: IndexSet<Classes> = tree.sets_of_classes().collect();
        // A group is told by which of the sets it is in.
        let mut groups: IndexSet<Vec<bool>> = IndexSet::new();
        let group_of = (0..tree.alphabet().len())
            .map(|class| groups.insert_full(sets.iter().map(|set| set.contains(class)).collect()).0)
            .collect();
        let groups_of = sets
            .iter()
            .enumerate()
            .map(|(number, set)| (*set, (0..groups.len()).filter(|&group| groups[group][number]).collect()));
        Self { groups: groups.len(), group_of, groups_of: groups_of.collect() }
    }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{KnobPattern, Piece, Scope};

    use super::*;
    use crate::table::Alphabet;

    /// How many steps the automaton of `patterns` takes, if it takes less than [`STEPS_MAX`].
    fn steps(patterns: &[String]) -> Option<usize> {
        let patterns: Vec<KnobPattern> =
            patterns.iter().map(|text| KnobPattern::parse(text).unwrap()).collect();
        let pieces: Vec<&[Piece]> = patterns.iter().map(KnobPattern::pieces).collect();
        let alphabet = Alphabet::telling_apart((b'/'..=b'z').map(|byte| (byte, byte)));
        let mut left = STEPS_MAX;
        let made = determinise(&PatternTree::new(&pieces, Scope::Component, &alphabet), &mut left);
        made.is_ok().then_some(STEPS_MAX - left)
    }

    #[test]
    fn steps_grow_with_the_patterns_and_have_a_limit() {
        let plain = |count| (0..count).map(|i| format!("net.a{i}.*")).collect::<Vec<_>>();
        let (few, many) = (steps(&plain(1000)).unwrap(), steps(&plain(4000)).unwrap());
        assert!(many < 5 * few, "{few} {many}");
        // Stars whose order is another one in each pattern: few states each, made of many nodes.
        let letter = |i: usize, k: usize| char::from(b'a' + ((i * 7 + k) % 10) as u8);
        let starred =
            |i| (0..20).map(|k| format!("*{}", letter(i, k))).collect::<String>() + &format!("{i}*");
        assert_eq!(steps(&(0..50).map(starred).collect::<Vec<_>>()), None);
    }
}
