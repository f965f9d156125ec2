//! Which steps share their code.
//!
//! A step is told apart from others with the same body by a row of data: where it counts, which step is behind it, and its
//! constants. Steps share a block where their bodies are equal and equally many steps at most come behind them: then code
//! only ever goes on to blocks behind it, and the verifier's work is in proportion to the code.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};
use knobgate_bpf::Features;
use knobgate_policy::{FallbackAction, PolicyFile, Width};

use crate::body::{self, Body, Deed, Lifted, Needs};
use crate::chain::{Step, StepId, Steps};
use crate::error::CompileError;
use crate::nodes::Nodes;
use crate::program::Counter;
use crate::tables::Tables;

/// The most rounds of one loop: `BPF_MAX_LOOPS` in include/linux/bpf.h.
pub(crate) const LOOPS_MAX: usize = 8 << 20;

/// Rules with more constants have code of their own.
const ROW_CONSTANTS_MAX: usize = 512;

/// What becomes of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// They are in the code of the blocks.
    Code,
    /// They are [data](crate::nodes), which a [loop](crate::walk) goes through until it is known which step decides.
    /// Blocks are entered then.
    Table,
}

/// Code that is emitted once.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) body: Body,
    /// Those that it is for, in order.
    pub(crate) steps: Vec<StepId>,
    /// The constants, if it is for one step: they are in the code. Else they are in the rows.
    pub(crate) constants: Option<Vec<u64>>,
}

/// The index of a block in [`Blocks`]. A block goes on only to blocks with higher indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) usize);

/// All blocks of a program.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) form: Form,
    pub(crate) blocks: Vec<Block>,
    pub(crate) nodes: Nodes,
    placed: HashMap<StepId, PlacedStep>,
}

/// What is known of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedStep {
    pub(crate) block: BlockId,
    /// The offset of its row in the tables, not 0.
    pub(crate) row: u32,
    /// What has to be fetched before it begins: for itself and for all that may come behind.
    pub(crate) needs: Needs,
    /// How many tests are made at most from here on, where conditions are data.
    pub(crate) tests: usize,
}

/// A row: first these, 4 bytes each, then the constants, 8 bytes each.
pub(crate) mod row {
    /// Where the program goes when nothing is fetched yet: [`entry`](super::PlacedStep::entry).
    pub(crate) const ENTRY: i16 = 0;
    /// The offset of the two counters.
    pub(crate) const COUNTERS: i16 = 4;
    /// The row of the step behind it.
    pub(crate) const NEXT: i16 = 8;
    /// The number of the block.
    pub(crate) const BLOCK: i16 = 12;
    /// The constants.
    pub(crate) const CONSTANTS: i16 = 16;
    /// Where conditions are data, the first constant: where that of the step begins.
    pub(crate) const CONDITION: i16 = CONSTANTS;
    /// The longest row.
    pub(crate) const BYTES_MAX: usize = CONSTANTS as usize + 8 * super::ROW_CONSTANTS_MAX;
}

impl Block {
    /// Whether its code needs the row of its step in R9.
    pub(crate) fn has_row(&self) -> bool {
        // The ends of rules that rewrite are shared by all.
        self.constants.is_none() || self.body.deed.rewrites()
    }
}

impl PlacedStep {
    /// The number by which a program tells where a step begins: the values to fetch first, or else the block.
    pub(crate) fn entry(&self) -> u32 {
        const FETCHES: u32 = 4 * Width::ALL.len() as u32;
        match self.needs {
            _ if self.begins_with_its_block() => FETCHES + self.block.0 as u32,
            Needs { new, old, width } => u32::from(new) + 2 * u32::from(old) + 4 * width as u32,
        }
    }

    /// Whether nothing has to be done before.
    pub(crate) fn begins_with_its_block(&self) -> bool {
        self.needs == Needs::default() && self.tests == 0
    }
}

impl Blocks {
    /// Those of the steps that something leads to from `entries`. Their rows, and the tables that they need, are added to
    /// `tables`.
    ///
    /// # Errors
    /// A rule asks for what the kernel does not tell, a text pattern makes too large an automaton, or too many tests
    /// follow on each other.
    pub(crate) fn new(
        form: Form,
        file: &PolicyFile,
        features: &Features,
        steps: &Steps,
        entries: &BTreeSet<StepId>,
        tables: &mut Tables,
    ) -> Result<Self, CompileError> {
        let mut is_reached: BTreeSet<StepId> = entries.clone();
        let mut rules = BTreeSet::new();
        for (id, step) in steps.iter().collect::<Vec<_>>().into_iter().rev() {
            if is_reached.contains(&id) {
                is_reached.extend(step.next());
                rules.extend(match step {
                    Step::Rule { rule, width, .. } => Some((rule, width)),
                    Step::Default(_) | Step::NameTooLong { .. } => None,
                });
            }
        }
        let policy = file.policy();
        let mut nodes = Nodes::default();
        let mut lifted: HashMap<(usize, Option<Width>), Lifted> = HashMap::new();
        for rule in rules {
            let of_rule = match form {
                Form::Code => body::lift(&policy.rules()[rule.0], rule, features, tables),
                Form::Table => body::lift_apart(&policy.rules()[rule.0], rule, features, tables, &mut nodes),
            };
            lifted.insert(rule, of_rule?);
        }
        let of_step = |step: Step| match step {
            Step::Rule { rule, width, .. } => lifted[&(rule, width)].clone(),
            Step::NameTooLong { .. } => Lifted::of(Deed::Unreadable, form),
            Step::Default(kind) => {
                let deed = match policy.defaults().of(kind).action {
                    FallbackAction::Allow => Deed::Allow,
                    FallbackAction::Deny(errno) => Deed::Deny(errno),
                };
                Lifted::of(deed, form)
            }
        };

        let mut behind: HashMap<StepId, Behind> = HashMap::new();
        let mut numbers = HashMap::new();
        let mut groups: Vec<(usize, Vec<(StepId, Lifted)>)> = Vec::new();
        for (id, step) in steps.iter().filter(|(id, _)| is_reached.contains(id)) {
            let step_lifted = of_step(step);
            let Behind { steps: below, needs, tests } =
                step.next().map_or(Behind::default(), |next| behind[&next]);
            let tests = tests + step_lifted.tests;
            match step {
                Step::Rule { rule, .. } if tests > LOOPS_MAX => {
                    return Err(CompileError::TooManyTests { rule });
                }
                _ => {}
            }
            let needs = needs.and(step_lifted.needs);
            behind.insert(id, Behind { steps: below + 1, needs, tests });
            // Where conditions are data, no block goes on to another.
            let height = if form == Form::Code { below } else { 0 };
            let alone = (step_lifted.constants.len() > ROW_CONSTANTS_MAX).then_some(id);
            // To the verifier, steps that share a block are one step: it follows each of them to whatever comes after any of
            // them. Where stack must be stored to before it is read, only steps with the same fetched values may share one.
            let fetched = (form == Form::Code && !features.uninit_stack).then_some((needs.new, needs.old));
            let key = (height, step_lifted.body.clone(), alone, fetched);
            let number = *numbers.entry(key).or_insert_with(|| {
                groups.push((height, Vec::new()));
                groups.len() - 1
            });
            groups[number].1.push((id, step_lifted));
        }
        groups.sort_by_key(|(height, steps)| (std::cmp::Reverse(*height), steps[0].0));

        let mut block_of = HashMap::new();
        for (number, (_, members)) in groups.iter().enumerate() {
            block_of.extend(members.iter().map(|(id, _)| (*id, BlockId(number))));
        }
        let mut members: Vec<(StepId, &Lifted, bool)> = groups
            .iter()
            .flat_map(|(_, members)| {
                members.iter().map(|(id, lifted)| (*id, lifted, members.len() > 1 || form == Form::Table))
            })
            .collect();
        members.sort_by_key(|(id, ..)| *id);
        let mut placed: HashMap<StepId, PlacedStep> = HashMap::new();
        for (id, lifted, is_shared) in members {
            let step = steps.get(id);
            let Behind { needs, tests, .. } = behind[&id];
            let mut step_placed = PlacedStep { block: block_of[&id], row: 0, needs, tests };
            let header = [
                step_placed.entry(),
                counters(step).offset(policy.rules().len()),
                step.next().map_or(0, |next| placed[&next].row),
                step_placed.block.0 as u32,
            ];
            step_placed.row = tables.place_row(header, if is_shared { &lifted.constants } else { &[] });
            placed.insert(id, step_placed);
        }

        let blocks = groups.into_iter().map(|(_, members)| {
            let (ids, mut lifted): (Vec<StepId>, Vec<Lifted>) = members.into_iter().unzip();
            let body = lifted[0].body.clone();
            let in_code = ids.len() == 1 && form == Form::Code;
            let constants = if in_code { lifted.pop().map(|only| only.constants) } else { None };
            Block { body, steps: ids, constants }
        });
        Ok(Self { form, blocks: blocks.collect(), nodes, placed })
    }

    /// What is known of a step that something leads to.
    pub(crate) fn of(&self, step: StepId) -> PlacedStep {
        self.placed[&step]
    }

    /// The block.
    pub(crate) fn get(&self, id: BlockId) -> &Block {
        &self.blocks[id.0]
    }

    /// What all steps need together.
    pub(crate) fn needs(&self) -> Needs {
        self.placed.values().fold(Needs::default(), |all, step| all.and(step.needs))
    }
}

/// What there is from a step on to the end of its chain.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    /// How many steps.
    steps: usize,
    /// What they need together.
    needs: Needs,
    /// How many tests they make together at most, where conditions are data.
    tests: usize,
}

/// Where a step counts: the first of its two counters.
pub(crate) fn counters(step: Step) -> Counter {
    match step {
        Step::Rule { rule, .. } | Step::NameTooLong { rule } => Counter::Decided(rule),
        Step::Default(kind) => Counter::Default(kind),
    }
}
