//! From the NFA to a DFA: the subset construction.
//!
//! Few patterns tell most bytes apart, so the next state is computed once for all bytes that no state of the set tells apart.

use foldhash::HashMap;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::budget::{Budget, ENTRIES_MAX, TooLarge};
use crate::nfa::{Classes, Nfa};

/// How many states of the NFA all states of the DFA may consist of together: more would take too much memory.
const SUBSETS_MAX: usize = 1 << 24;

/// A DFA that is not minimal. It starts in state 0.
#[derive(Debug)]
pub(crate) struct Subsets {
    /// For each state, the next one for every class of the alphabet.
    pub(crate) next: Vec<u32>,
    /// For each state, the patterns that end there, by index and in ascending order.
    pub(crate) ends: Vec<Vec<usize>>,
}

/// The DFA of `nfa`. Its states are in the order in which they are found from the first one on.
///
/// # Errors
/// It needs too much memory, or more than is left of the budget.
pub(crate) fn determinise(nfa: &Nfa<'_>, budget: &mut Budget) -> Result<Subsets, TooLarge> {
    let groups = ClassGroups::of(nfa);
    let classes = groups.group_of.len();
    let mut states = States::new(nfa);
    states.number_of([Nfa::START]);
    let mut next = Vec::new();
    // Where a set leads: by each class, and by all classes of each group.
    let mut by_class = vec![Vec::new(); classes];
    let mut by_group = vec![Vec::new(); groups.count];
    for state in 0.. {
        let Some(set) = states.sets.get_index(state) else { break };
        for state in set.iter().map(|&state| nfa.state(state)) {
            state.by_class.iter().for_each(|&(class, next)| by_class[usize::from(class)].push(next));
            for (classes, next) in &state.by_classes {
                groups.groups_of[classes].iter().for_each(|&group| by_group[group].push(*next));
            }
        }
        let mut of_group = vec![None; groups.count];
        let before = states.steps;
        for (by_class, &group) in by_class.iter_mut().zip(&groups.group_of) {
            let mut number = || states.number_of(by_group[group].iter().chain(&*by_class).copied());
            next.push(if by_class.is_empty() {
                *of_group[group].get_or_insert_with(number)
            } else {
                number()
            });
            by_class.clear();
        }
        by_group.iter_mut().for_each(Vec::clear);
        budget.spend(classes + states.steps - before)?;
        let count = states.sets.len();
        if count > budget.states_max() || count * (classes + 1) > ENTRIES_MAX || states.members > SUBSETS_MAX
        {
            return Err(TooLarge);
        }
    }
    let ends = states.sets.iter().map(|set| {
        let mut ends: Vec<usize> = set.iter().flat_map(|&state| &nfa.state(state).ends).copied().collect();
        ends.sort_unstable();
        ends
    });
    Ok(Subsets { next, ends: ends.collect() })
}

/// The sets of NFA states that were found.
struct States<'a> {
    nfa: &'a Nfa<'a>,
    sets: IndexSet<Box<[u32]>, RandomState>,
    /// How many members the sets have together.
    members: usize,
    /// How many states of the NFA were looked at.
    steps: usize,
    /// For each state of the NFA, the search that reached it last.
    seen_in: Vec<u32>,
    search: u32,
    found: Vec<u32>,
}

impl<'a> States<'a> {
    fn new(nfa: &'a Nfa<'a>) -> Self {
        let seen_in = vec![0; nfa.len()];
        Self { nfa, sets: IndexSet::default(), members: 0, steps: 0, seen_in, search: 0, found: Vec::new() }
    }

    /// The number of the set of these states and of those that they lead to without a byte.
    fn number_of(&mut self, states: impl IntoIterator<Item = u32>) -> u32 {
        let Self { nfa, sets, seen_in, found, .. } = self;
        self.search += 1;
        let mut is_new =
            |state: &u32| std::mem::replace(&mut seen_in[*state as usize], self.search) != self.search;
        found.clear();
        let mut steps = 0;
        found.extend(states.into_iter().inspect(|_| steps += 1).filter(&mut is_new));
        let mut open = 0;
        while let Some(&state) = found.get(open) {
            let epsilon = &nfa.state(state).epsilon;
            steps += 1 + epsilon.len();
            found.extend(epsilon.iter().copied().filter(&mut is_new));
            open += 1;
        }
        self.steps += steps;
        found.retain(|&state| nfa.state(state).matters());
        found.sort_unstable();
        if let Some(number) = sets.get_index_of(found.as_slice()) {
            return number as u32;
        }
        self.members += found.len();
        sets.insert_full(found.as_slice().into()).0 as u32
    }
}

/// Byte classes grouped by which transitions of several classes take them.
struct ClassGroups {
    /// How many groups there are.
    count: usize,
    /// The group of each class.
    group_of: Vec<usize>,
    /// The groups in each set of classes.
    groups_of: HashMap<Classes, Vec<usize>>,
}

impl ClassGroups {
    fn of(nfa: &Nfa<'_>) -> Self {
        let sets: IndexSet<Classes> = nfa.sets_of_classes().collect();
        // Which of the sets a class is in identifies its group.
        let mut groups: IndexSet<Vec<bool>> = IndexSet::new();
        let group_of = (0..nfa.alphabet().len())
            .map(|class| groups.insert_full(sets.iter().map(|set| set.contains(class)).collect()).0)
            .collect();
        let groups_of = sets
            .iter()
            .enumerate()
            .map(|(number, set)| (*set, (0..groups.len()).filter(|&group| groups[group][number]).collect()));
        Self { count: groups.len(), group_of, groups_of: groups_of.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alphabet::Alphabet;
    use crate::piece::{Piece, Scope};

    const STEPS: usize = 1 << 26;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.as_bytes().to_vec())
    }

    /// How many steps the DFA of `patterns` takes, if it takes less than [`STEPS`].
    fn steps(patterns: &[Vec<Piece>]) -> Option<usize> {
        let patterns: Vec<&[Piece]> = patterns.iter().map(Vec::as_slice).collect();
        let alphabet = Alphabet::separating((b'/'..=b'z').map(|byte| (byte, byte)));
        let mut budget = Budget::steps(STEPS);
        let made = determinise(&Nfa::new(&patterns, Scope::Component, &alphabet), &mut budget);
        made.is_ok().then_some(STEPS - budget.steps_left())
    }

    #[test]
    fn steps_grow_with_the_patterns_and_have_a_limit() {
        let plain =
            |count| (0..count).map(|i| vec![literal(&format!("net/a{i}/")), Piece::Star]).collect::<Vec<_>>();
        let (few, many) = (steps(&plain(1000)).unwrap(), steps(&plain(4000)).unwrap());
        assert!(many < 5 * few, "{few} {many}");

        // Stars whose order is another one in each pattern.
        let letter = |i: usize, k: usize| char::from(b'a' + ((i * 7 + k) % 10) as u8).to_string();
        let starred = |i| {
            let stars = (0..20).flat_map(|k| [Piece::Star, literal(&letter(i, k))]);
            stars.chain([literal(&i.to_string()), Piece::Star]).collect()
        };
        assert_eq!(steps(&(0..50).map(starred).collect::<Vec<_>>()), None);
    }

    #[test]
    fn the_number_of_states_has_a_limit() {
        let patterns: [&[Piece]; 1] = [&[literal("abcdefgh")]];
        let alphabet = Alphabet::separating((b'a'..=b'h').map(|byte| (byte, byte)));
        let nfa = Nfa::new(&patterns, Scope::Component, &alphabet);
        // One for each letter that was read, one for none, one where nothing matches.
        assert!(determinise(&nfa, &mut Budget::steps(STEPS).states(10)).is_ok());
        assert_eq!(determinise(&nfa, &mut Budget::steps(STEPS).states(9)).err(), Some(TooLarge));
    }
}
