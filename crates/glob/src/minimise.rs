//! Which states of an automaton do the same.

use foldhash::{HashMap, HashMapExt};

/// The coarsest grouping of states in which those of one group have equal outputs and go to equal groups: for each state
/// the number of its group. Groups are numbered in the order of their first states. `next` has `classes` entries for each
/// state.
///
/// Groups are split until all states of each go to the same groups. When one is split, its largest part keeps the number, so that only
/// states that lead to the smaller ones are looked at again (as in Hopcroft's algorithm).
pub(crate) fn minimise(classes: usize, next: &[u32], outputs: &[u32]) -> Vec<u32> {
    let mut groups = Groups::by(outputs);
    let predecessors = Predecessors::of(classes, next, outputs.len());
    let mut open: Vec<usize> = (0..groups.spans.len()).collect();
    while let Some(group) = open.pop() {
        for moved in groups.split(group, |state| &next[state as usize * classes..][..classes]) {
            for &state in predecessors.of_state(moved) {
                if groups.look_at_again(state) {
                    open.push(groups.of[state as usize] as usize);
                }
            }
        }
    }
    in_order_of_first(&groups.of)
}

fn in_order_of_first(numbers: &[u32]) -> Vec<u32> {
    let mut renamed = HashMap::new();
    numbers
        .iter()
        .map(|number| {
            let fresh = renamed.len() as u32;
            *renamed.entry(number).or_insert(fresh)
        })
        .collect()
}

/// States in groups.
struct Groups {
    /// The group of each state.
    of: Vec<u32>,
    /// The states, those of one group next to each other.
    states: Vec<u32>,
    /// Where in `states` each state is.
    place: Vec<usize>,
    spans: Vec<Span>,
}

/// Where the states of a group are.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    /// From here on are those that may go elsewhere than the ones before, which go to the same groups.
    unsure: usize,
    end: usize,
}

impl Groups {
    /// Those with equal outputs, all unsure.
    fn by(outputs: &[u32]) -> Self {
        let of = in_order_of_first(outputs);
        let mut states: Vec<u32> = (0..of.len() as u32).collect();
        states.sort_by_key(|&state| of[state as usize]);
        let mut place = vec![0; of.len()];
        let mut spans: Vec<Span> = Vec::new();
        for (at, &state) in states.iter().enumerate() {
            place[state as usize] = at;
            match spans.get_mut(of[state as usize] as usize) {
                Some(span) => span.end = at + 1,
                None => spans.push(Span { start: at, unsure: at, end: at + 1 }),
            }
        }
        Self { of, states, place, spans }
    }

    /// Splits `group` into states that go to the same groups by `next`; returns those whose group is another one now.
    fn split<'n>(&mut self, group: usize, next: impl Fn(u32) -> &'n [u32]) -> Vec<u32> {
        let Span { start, unsure, end } = self.spans[group];
        self.spans[group].unsure = end;
        if end - start == 1 {
            return Vec::new();
        }
        // One of those that go to the same groups stands for all of them.
        let first = unsure.saturating_sub(1).max(start);
        let parts = self.parts(&self.states[first..end], next);
        let mut sizes = vec![0; parts.iter().max().map_or(0, |last| last + 1)];
        parts.iter().for_each(|&part| sizes[part] += 1);
        if sizes.len() == 1 {
            return Vec::new();
        }
        let mut examined: Vec<(usize, u32)> =
            parts.into_iter().zip(self.states[first..end].iter().copied()).collect();
        examined.sort_by_key(|(part, _)| *part);
        for (at, (_, state)) in (first..end).zip(examined) {
            self.states[at] = state;
            self.place[state as usize] = at;
        }
        sizes[0] += first - start;
        let largest = (0..sizes.len()).max_by_key(|&part| sizes[part]).unwrap_or(0);
        let mut moved = Vec::new();
        let mut at = start;
        for (part, size) in sizes.into_iter().enumerate() {
            let span = Span { start: at, unsure: at + size, end: at + size };
            at += size;
            if part == largest {
                self.spans[group] = span;
                continue;
            }
            for &state in &self.states[span.start..span.end] {
                self.of[state as usize] = self.spans.len() as u32;
                moved.push(state);
            }
            self.spans.push(span);
        }
        moved
    }

    /// Numbers for `states`, equal for those that go to equal groups.
    fn parts<'n>(&self, states: &[u32], next: impl Fn(u32) -> &'n [u32]) -> Vec<usize> {
        let goes: Vec<u32> =
            states.iter().flat_map(|&state| next(state)).map(|&next| self.of[next as usize]).collect();
        let mut numbers = HashMap::new();
        goes.chunks_exact(goes.len() / states.len())
            .map(|goes| {
                let fresh = numbers.len();
                *numbers.entry(goes).or_insert(fresh)
            })
            .collect()
    }

    /// Says that `state` may go to another group than before; whether its group had no such state yet.
    fn look_at_again(&mut self, state: u32) -> bool {
        let at = self.place[state as usize];
        let span = &mut self.spans[self.of[state as usize] as usize];
        if at >= span.unsure {
            return false;
        }
        let is_first = span.unsure == span.end;
        span.unsure -= 1;
        let other = self.states[span.unsure];
        self.states.swap(at, span.unsure);
        self.place[state as usize] = span.unsure;
        self.place[other as usize] = at;
        is_first
    }
}

/// For each state those that lead to it.
struct Predecessors {
    states: Vec<u32>,
    /// Where those of each state begin, and where the last end.
    starts: Vec<usize>,
}

impl Predecessors {
    fn of(classes: usize, next: &[u32], count: usize) -> Self {
        // Each pair once: a state leads to few others, to most of them by many classes.
        let mut led_by = vec![u32::MAX; count];
        let mut pairs = Vec::new();
        for (state, row) in (0..).zip(next.chunks_exact(classes)) {
            for &next in row {
                if std::mem::replace(&mut led_by[next as usize], state) != state {
                    pairs.push((next, state));
                }
            }
        }
        let mut starts = vec![0; count + 1];
        pairs.iter().for_each(|&(next, _)| starts[next as usize + 1] += 1);
        (0..count).for_each(|state| starts[state + 1] += starts[state]);
        let mut free = starts.clone();
        let mut states = vec![0; pairs.len()];
        for (next, state) in pairs {
            states[free[next as usize]] = state;
            free[next as usize] += 1;
        }
        Self { states, starts }
    }

    fn of_state(&self, state: u32) -> &[u32] {
        &self.states[self.starts[state as usize]..self.starts[state as usize + 1]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// By Moore's algorithm: all states are looked at, until nothing changes.
    fn naive(classes: usize, next: &[u32], outputs: &[u32]) -> Vec<u32> {
        let mut groups = in_order_of_first(outputs);
        loop {
            let goes: Vec<(u32, Vec<u32>)> = (0..outputs.len())
                .map(|state| {
                    let row = &next[state * classes..][..classes];
                    (groups[state], row.iter().map(|&next| groups[next as usize]).collect())
                })
                .collect();
            let mut finer: Vec<(u32, Vec<u32>)> = Vec::new();
            let numbers = goes.into_iter().map(|one| {
                let known = finer.iter().position(|other| *other == one);
                known.unwrap_or_else(|| {
                    finer.push(one);
                    finer.len() - 1
                }) as u32
            });
            let numbers: Vec<u32> = numbers.collect();
            if numbers == groups {
                return groups;
            }
            groups = numbers;
        }
    }

    fn automaton() -> impl Strategy<Value = (usize, Vec<u32>, Vec<u32>)> {
        (1..4usize, 1..30usize).prop_flat_map(|(classes, states)| {
            (Just(classes), vec(0..states as u32, classes * states), vec(0..3u32, states))
        })
    }

    /// One whose states lead on to the next ones, so that only long runs distinguish most of them.
    fn long_automaton() -> impl Strategy<Value = (usize, Vec<u32>, Vec<u32>)> {
        (2..60u32).prop_flat_map(|states| {
            let next = (0..states).flat_map(move |state| [(state + 1).min(states - 1), state / 2]);
            (Just(2), Just(next.collect()), vec(prop_oneof![9 => Just(0), 1 => Just(1)], states as usize))
        })
    }

    proptest! {
        #[test]
        fn states_are_in_one_group_if_they_do_the_same(
            (classes, next, outputs) in prop_oneof![automaton(), long_automaton()],
        ) {
            prop_assert_eq!(minimise(classes, &next, &outputs), naive(classes, &next, &outputs));
        }
    }
}
