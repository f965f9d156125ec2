//! Which conditions are inlined in their blocks, and which are data for the interpreter.

use foldhash::{HashMap, HashSet};
use knobgate_bpf::Features;

use super::blocks::GroupKey;
use crate::error::INSTRUCTIONS_MAX;
use crate::ir::{Action, Graph, Ir, Rule, StepId};

/// Which conditions are inlined: those of the last rules of each chain. So short chains are inlined, and long ones start as
/// data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inlining {
    /// The condition of a step is inlined if fewer steps follow in its chain.
    below: usize,
}

/// About how many instructions the verifier processes in the code of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    /// The condition.
    pub(crate) condition: usize,
    /// The action, with what a rule does that cannot be evaluated.
    pub(crate) action: usize,
    /// How much more that is if several steps share the block, and so their constants and counters are in rows.
    pub(crate) row: usize,
    /// If it is shared and has a condition, what leads to the block of the next step.
    pub(crate) next: usize,
    /// What each further block takes that may be the next.
    pub(crate) other_next: usize,
}

/// How much work the code of all blocks may be for the verifier.
struct Limits {
    /// The most that a kernel does.
    possible: usize,
    /// If it is no more than this, all conditions are inlined.
    all: usize,
    /// Else those are that take no more than this together, with the actions of their rules.
    part: usize,
}

/// Half of the verifier's limit, since estimates are right within a factor of two; and what takes it little time.
const LIMITS: Limits =
    Limits { possible: INSTRUCTIONS_MAX, all: INSTRUCTIONS_MAX / 2, part: INSTRUCTIONS_MAX / 50 };

impl Inlining {
    /// Every condition is inlined.
    pub(crate) const ALL: Self = Self { below: usize::MAX };

    /// Every condition is data.
    pub(crate) const NONE: Self = Self { below: 0 };

    /// Those of the last `count` steps of each chain are inlined.
    pub(crate) fn of_last(count: usize) -> Self {
        Self { below: count }
    }

    /// As much as a kernel with these features verifies in little time. `cost` is that of the block of a rule.
    pub(crate) fn choose(ir: &Ir, features: &Features, cost: impl Fn(&Rule) -> Cost) -> Self {
        if features.bpf_loop { Self::within(ir, features, cost, &LIMITS) } else { Self::ALL }
    }

    fn within(ir: &Ir, features: &Features, cost: impl Fn(&Rule) -> Cost, limits: &Limits) -> Self {
        let Estimate { by_height, shared_actions } = Estimate::new(ir, features, cost);
        let whole: usize = by_height.iter().sum();
        // If the actions are most of it anyway, data saves too little.
        let saves_little = shared_actions > limits.all && 2 * whole <= 3 * shared_actions;
        if whole <= limits.all || (saves_little && whole <= limits.possible) {
            return Self::ALL;
        }
        let mut total = 0;
        let too_much = by_height.iter().enumerate().position(|(height, cost)| {
            // Blocks without a condition have this height, whether others are data or not.
            total += if height == 0 { 0 } else { *cost };
            total > limits.part
        });
        Self { below: too_much.unwrap_or(by_height.len()) }
    }

    /// Whether the condition of a step is inlined that so many steps follow.
    pub(super) fn includes(self, height: usize) -> bool {
        height < self.below
    }
}

/// What the blocks of a program cost.
#[derive(Debug)]
pub(crate) struct Estimate {
    /// If all conditions are inlined: the cost of the blocks, by the number of steps that follow.
    pub(crate) by_height: Vec<usize>,
    /// If all are data: that of the actions, when more rules share a block.
    shared_actions: usize,
}

impl Estimate {
    /// `cost` is that of the block of a rule.
    pub(crate) fn new(ir: &Ir, features: &Features, cost: impl Fn(&Rule) -> Cost) -> Self {
        // Conditions and actions are large. Each pair of them, and each action, is hashed once for a step.
        let mut costs: HashMap<(&Graph, &Action), (usize, Cost)> = HashMap::default();
        let mut actions: HashMap<&Action, usize> = HashMap::default();
        let mut interpreted = HashSet::default();
        let mut numbers = HashMap::default();
        let mut blocks: Vec<SharedBlock> = Vec::new();
        let mut block_of: HashMap<StepId, usize> = HashMap::default();
        let (mut by_height, mut shared_actions) = (Vec::new(), 0);
        for (id, step) in ir.reached_steps() {
            let Some(rule) = ir.rule(step) else { continue };
            let next = costs.len();
            let (pair, cost) =
                *costs.entry((&rule.graph, &rule.action)).or_insert_with(|| (next, cost(rule)));
            let GroupKey { height, alone, fetched, .. } = GroupKey::of_inlined(ir, features, id, Some(rule));
            let number = *numbers.entry((pair, height, alone, fetched)).or_insert_with(|| {
                blocks.push(SharedBlock::default());
                blocks.len() - 1
            });
            by_height.resize(by_height.len().max(height + 1), 0);
            let next = step.next().map(|next| block_of.get(&next).copied());
            by_height[height] += blocks[number].add(next.filter(|_| height > 0), cost);
            block_of.insert(id, number);

            let next = actions.len();
            let action = *actions.entry(&rule.action).or_insert(next);
            if interpreted.insert((action, GroupKey::of_interpreted(ir, id, Some(rule)).alone)) {
                shared_actions += cost.action;
            }
        }
        Self { by_height, shared_actions }
    }
}

/// A block, while the steps that share it are counted.
#[derive(Debug, Default)]
struct SharedBlock {
    steps: usize,
    /// The blocks of the steps that follow; `None` is a step without a rule.
    next: HashSet<Option<usize>>,
}

impl SharedBlock {
    /// Adds a step, which `next` follows if its condition does not hold. Returns how much the cost of the block grows.
    fn add(&mut self, next: Option<Option<usize>>, cost: Cost) -> usize {
        self.steps += 1;
        let is_other = next.is_some_and(|next| self.next.insert(next)) && self.steps > 1;
        let of_other = if is_other { cost.other_next } else { 0 };
        of_other
            + match self.steps {
                1 => cost.condition + cost.action,
                2 => cost.row + if next.is_some() { cost.next } else { 0 },
                _ => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;
    use crate::analyse::analyse;

    /// What is chosen if a test costs 1 and an action `action`.
    fn chosen(rules: &[String], action: usize, features: &Features, limits: &Limits) -> Inlining {
        let text = format!("policy p\n{}\n", rules.join("\n"));
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let ir = analyse(file.policy(), false).expect("few patterns");
        let cost = |rule: &Rule| Cost { condition: rule.graph.nodes().len(), action, ..Cost::default() };
        Inlining::within(&ir, features, cost, limits)
    }

    fn least_for_all(rules: &[String], features: &Features) -> usize {
        let is_enough = |&all: &usize| {
            chosen(rules, 0, features, &Limits { possible: all, all, part: 0 }) == Inlining::ALL
        };
        (0..1_000).find(is_enough).expect("few tests")
    }

    #[test]
    fn the_last_rules_of_a_chain_are_inlined_up_to_the_limit() {
        let conditions = ["uid == 1", "uid == 1 or gid == 2", "uid == 1 or gid == 2 or pos == 3"];
        let chain = conditions.map(|condition| format!("allow write vm.x if {condition}"));
        // The default comes after the last rule, which has three tests.
        let expected = [(0, 1), (2, 1), (3, 2), (4, 2), (5, 3)];
        for (part, below) in expected {
            let limits = Limits { possible: 5, all: 5, part };
            assert_eq!(chosen(&chain, 0, &Features::ALL, &limits), Inlining::of_last(below), "{part}");
        }
        assert_eq!(least_for_all(&chain, &Features::ALL), 6);
    }

    #[test]
    fn rules_that_share_a_block_count_once() {
        let rules: Vec<String> = (0..100).map(|i| format!("allow write vm.x{i} if uid == {i}")).collect();
        assert_eq!(least_for_all(&rules, &Features::ALL), 1);
    }

    #[test]
    fn rules_that_cannot_share_a_block_count_each() {
        // If stack has to be stored before it is read, rules for `a` and for `b` share no blocks.
        let rules = [
            "deny write a.x, b.x if uid == 7".to_owned(),
            "allow write a.* if gid == 1".to_owned(),
            "allow write b.* if old == 1".to_owned(),
        ];
        let stored = Features { uninit_stack: false, ..Features::ALL };
        assert_eq!(least_for_all(&rules, &stored), least_for_all(&rules, &Features::ALL) + 1);
    }

    #[test]
    fn conditions_are_data_only_if_that_saves_enough() {
        // 1 + 2 + 3 + 4 tests.
        let rules = |action: &dyn Fn(usize) -> String| -> Vec<String> {
            let rule =
                |i: usize| format!("{} write vm.x{i} if uid == {i}{}", action(i), " or gid == 1".repeat(i));
            (0..4).map(rule).collect()
        };
        let errnos = ["EPERM", "EACCES", "EIO", "EROFS"];
        let (same, different) = (rules(&|_| "allow".to_owned()), rules(&|i| format!("deny({})", errnos[i])));
        let limits = Limits { possible: 50, all: 22, part: 3 };
        let data = Inlining::of_last(1);
        for (action, of_same, of_different) in [
            (3, Inlining::ALL, Inlining::ALL),
            (4, data, data),
            // As data, different actions are 24 and equal ones are 6.
            (6, data, Inlining::ALL),
            (10, data, Inlining::ALL),
            (11, data, data),
        ] {
            let chosen = |rules: &[String]| chosen(rules, action, &Features::ALL, &limits);
            assert_eq!((chosen(&same), chosen(&different)), (of_same, of_different), "{action}");
        }
    }
}
