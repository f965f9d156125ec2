//! From patterns to an automaton that is in one state at a time: the subset construction.
//!
//! A state is a set of nodes of the [tree](crate::pattern_tree). Most bytes are told apart by few patterns, so that the
//! state behind them is found once for all of them.

use foldhash::HashMap;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::pattern_tree::{Classes, PatternTree};
use crate::table::{ENTRIES_MAX, TooLarge};

/// How many nodes all states may consist of together: what is beyond would take too much memory and time.
const NODES_MAX: usize = 1 << 24;

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
/// # Errors
/// Too much memory would be needed for it, or for the [table](crate::table) of its states.
pub(crate) fn determinise(tree: &PatternTree<'_>) -> Result<Dfa, TooLarge> {
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
    /// For each node the search that came to it last.
    seen_in: Vec<u32>,
    search: u32,
    found: Vec<u32>,
}

impl<'a> States<'a> {
    fn new(tree: &'a PatternTree<'a>) -> Self {
        let seen_in = vec![0; tree.len()];
        Self { tree, sets: IndexSet::default(), nodes: 0, seen_in, search: 0, found: Vec::new() }
    }

    /// The state of being in `nodes`, and where one is then as well.
    fn number_of(&mut self, nodes: impl IntoIterator<Item = u32>) -> u32 {
        let Self { tree, sets, seen_in, found, .. } = self;
        self.search += 1;
        let mut is_new =
            |node: &u32| std::mem::replace(&mut seen_in[*node as usize], self.search) != self.search;
        found.clear();
        found.extend(nodes.into_iter().filter(&mut is_new));
        let mut open = 0;
        while let Some(&node) = found.get(open) {
            found.extend(tree.node(node).also.iter().copied().filter(&mut is_new));
            open += 1;
        }
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
