//! Which steps share their code.
//!
//! Steps that differ only in a row of data share a block: in where they count, which step comes next, and their constants. All
//! steps of a block have the same height, the number of steps that follow. So code only continues in later blocks, and the
//! verifier's work is in proportion to the code.

use foldhash::{HashMap, HashMapExt};
use knobgate_bpf::Features;
use knobgate_policy::Width;

use super::inlining::Inlining;
use super::nodes::{Nodes, PlacedGraph, end};
use super::tables::Tables;
use crate::error::{CompileError, LOOPS_MAX};
use crate::ir::{Action, FetchSet, Graph, Ir, Reports, Rule, Step, StepId};
use crate::rule_hits;

/// Rules with more constants have code of their own.
pub(crate) const ROW_CONSTANTS_MAX: usize = 512;

/// Code that is emitted once.
#[derive(Debug)]
pub(crate) struct Block {
    /// The condition. Empty if the interpreter has evaluated it before.
    pub(crate) graph: Graph,
    pub(crate) action: Action,
    pub(crate) reports: Reports,
    /// The steps that share it, in order.
    pub(crate) steps: Vec<StepId>,
    /// The constants of the graph and then of the action, if they are in the code, because the block has one step. Else they
    /// are in the rows.
    pub(crate) constants: Option<Vec<u64>>,
    /// How many constants the graph has.
    pub(crate) graph_constants: usize,
}

/// The index of a block. The blocks that follow a block have higher indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) usize);

/// The place of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedStep {
    pub(crate) block: BlockId,
    /// The offset of its row in the tables, not 0.
    pub(crate) row: u32,
    /// The values to fetch before it starts: its own, and those of all steps that may follow.
    pub(crate) fetch: FetchSet,
    /// How many tests the interpreter makes at most from here on. 0 if all conditions from here on are inlined.
    pub(crate) tests: usize,
    /// Whether its condition is data.
    pub(crate) is_interpreted: bool,
}

/// A row: first these, 4 bytes each, then the constants, 8 bytes each.
pub(crate) mod row {
    /// Where the step starts if nothing is fetched yet: [`entry`](super::PlacedStep::entry).
    pub(crate) const ENTRY: i16 = 0;
    /// The offset of the two counters.
    pub(crate) const COUNTERS: i16 = 4;
    /// The row of the next step.
    pub(crate) const NEXT: i16 = 8;
    /// The number of the block.
    pub(crate) const BLOCK: i16 = 12;
    /// In programs with an interpreter, 8 bytes: the first record of the condition, or [`ENTER`](super::end::ENTER) if it is
    /// inlined.
    pub(crate) const CONDITION: i16 = 16;
    /// The longest row.
    pub(crate) const BYTES_MAX: usize = CONDITION as usize + 8 + 8 * super::ROW_CONSTANTS_MAX;
}

impl Block {
    /// Whether its code needs the row of the step.
    pub(crate) fn has_row(&self) -> bool {
        // All rules that rewrite share their end, which counts by the row.
        self.constants.is_none() || self.action.rewrites()
    }
}

impl PlacedStep {
    /// The number of the place where a step starts: where its values are fetched, or else its block.
    pub(crate) fn entry(&self) -> u32 {
        const FETCHES: u32 = 4 * Width::ALL.len() as u32;
        match self.fetch {
            _ if self.starts_with_its_block() => FETCHES + self.block.0 as u32,
            FetchSet { new, old, width } => u32::from(new) + 2 * u32::from(old) + 4 * width as u32,
        }
    }

    /// Whether nothing has to be fetched or interpreted before.
    pub(crate) fn starts_with_its_block(&self) -> bool {
        self.fetch == FetchSet::default() && self.tests == 0
    }
}

/// All blocks of a program.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) blocks: Vec<Block>,
    pub(crate) nodes: Nodes,
    pub(crate) steps: HashMap<StepId, PlacedStep>,
    /// The offset of the constants in a row.
    pub(crate) row_constants: i16,
}

/// A step, and how it differs from others in its block.
struct Member {
    id: StepId,
    constants: Vec<u64>,
    /// The first record of the condition, if the interpreter evaluates it; else [`end::ENTER`].
    condition: u32,
}

/// What steps have in common that share a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GroupKey<'a> {
    /// How many steps follow each of them; 0 if the block has no condition, since no block comes after it.
    pub(super) height: usize,
    /// The condition that is inlined.
    pub(super) graph: &'a Graph,
    pub(super) action: &'a Action,
    pub(super) reports: Reports,
    /// A step that has too many constants to share its code.
    pub(super) alone: Option<StepId>,
    /// Which values are fetched, if that matters. The verifier takes the steps of a block for one: it follows each of them to
    /// the successors of all. If stack must be stored to before it is read, they must have the same fetched values.
    pub(super) fetched: Option<(bool, bool)>,
}

/// The steps that share a block.
struct Group<'a> {
    key: GroupKey<'a>,
    graph_constants: usize,
    members: Vec<Member>,
}

static NO_CONDITION: Graph = Graph::EMPTY;

impl<'a> GroupKey<'a> {
    /// That of a step whose condition is inlined. `rule` is the one that it tries, if it tries one.
    pub(super) fn of_inlined(ir: &'a Ir, features: &Features, id: StepId, rule: Option<&'a Rule>) -> Self {
        let graph = rule.map_or(&NO_CONDITION, |rule| &rule.graph);
        let constants = rule.map_or(0, |rule| rule.graph_constants.len() + rule.action_constants.len());
        let fetch = ir.fetch(id);
        Self {
            height: if graph.nodes().is_empty() { 0 } else { ir.steps.height(id) },
            graph,
            fetched: (!features.uninit_stack).then_some((fetch.new, fetch.old)),
            ..Self::with_constants(ir, id, rule, constants)
        }
    }

    /// That of a step whose condition is data.
    pub(super) fn of_interpreted(ir: &'a Ir, id: StepId, rule: Option<&'a Rule>) -> Self {
        Self::with_constants(ir, id, rule, rule.map_or(0, |rule| rule.action_constants.len()))
    }

    fn with_constants(ir: &'a Ir, id: StepId, rule: Option<&'a Rule>, constants: usize) -> Self {
        Self {
            height: 0,
            graph: &NO_CONDITION,
            action: rule.map_or_else(|| ir.action(ir.steps.get(id)), |rule| &rule.action),
            reports: ir.reports(ir.steps.get(id)),
            alone: (constants > ROW_CONSTANTS_MAX).then_some(id),
            fetched: None,
        }
    }
}

impl Blocks {
    /// The blocks of all steps that a plan leads to. `constants_of` resolves constants to words.
    ///
    /// # Errors
    /// Too many tests follow each other.
    pub(crate) fn new(
        ir: &Ir,
        features: &Features,
        inlining: Inlining,
        constants_of: impl Fn(&[crate::ir::Constant]) -> Vec<u64>,
        tables: &mut Tables,
    ) -> Result<Self, CompileError> {
        let mut nodes = Nodes::default();
        let mut tests: HashMap<StepId, usize> = HashMap::new();
        let mut numbers = HashMap::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (id, step) in ir.reached_steps() {
            let rule = ir.rule(step);
            let graph = rule.map_or(&NO_CONDITION, |rule| &rule.graph);
            let mut constants = rule.map_or_else(Vec::new, |rule| constants_of(&rule.graph_constants));
            let (mut condition, mut own_tests) = (end::ENTER, 0);
            let key = if graph.nodes().is_empty() || inlining.includes(ir.steps.height(id)) {
                GroupKey::of_inlined(ir, features, id, rule)
            } else {
                PlacedGraph { start: condition, tests: own_tests } = nodes.place(graph, &constants, tables);
                constants.clear();
                GroupKey::of_interpreted(ir, id, rule)
            };
            let all_tests = own_tests + step.next().map_or(0, |next| tests[&next]);
            match step {
                Step::Rule { rule, .. } if all_tests > LOOPS_MAX => {
                    return Err(CompileError::TooManyTests { rule });
                }
                _ => {}
            }
            tests.insert(id, all_tests);
            let graph_constants = constants.len();
            constants.extend(rule.map_or_else(Vec::new, |rule| constants_of(&rule.action_constants)));
            let number = *numbers.entry(key).or_insert_with(|| {
                groups.push(Group { key, graph_constants, members: Vec::new() });
                groups.len() - 1
            });
            groups[number].members.push(Member { id, constants, condition });
        }
        groups.sort_by_key(|group| (std::cmp::Reverse(group.key.height), group.members[0].id));

        let has_interpreter = tests.values().any(|tests| *tests > 0);
        let row_constants = row::CONDITION + if has_interpreter { 8 } else { 0 };
        let mut members: Vec<(BlockId, bool, &Member)> = groups
            .iter()
            .enumerate()
            .flat_map(|(number, Group { members, .. })| {
                members.iter().map(move |member| (BlockId(number), members.len() > 1, member))
            })
            .collect();
        members.sort_by_key(|(.., member)| member.id);
        let mut placed: HashMap<StepId, PlacedStep> = HashMap::new();
        for (block, is_shared, member) in members {
            let step = ir.steps.get(member.id);
            let mut step_placed = PlacedStep {
                block,
                row: 0,
                fetch: ir.fetch(member.id),
                tests: tests[&member.id],
                is_interpreted: member.condition != end::ENTER,
            };
            let header = [
                step_placed.entry(),
                rule_hits::offset(step, ir.rule_count),
                step.next().map_or(0, |next| placed[&next].row),
                block.0 as u32,
            ];
            let mut row: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
            if has_interpreter {
                row.extend(u64::from(member.condition).to_le_bytes());
            }
            if is_shared {
                row.extend(member.constants.iter().flat_map(|constant| constant.to_le_bytes()));
            }
            step_placed.row = tables.place_bytes(&row);
            placed.insert(member.id, step_placed);
        }

        let blocks = groups.into_iter().map(|mut group| Block {
            graph: group.key.graph.clone(),
            action: group.key.action.clone(),
            reports: group.key.reports,
            steps: group.members.iter().map(|member| member.id).collect(),
            constants: if group.members.len() == 1 {
                group.members.pop().map(|only| only.constants)
            } else {
                None
            },
            graph_constants: group.graph_constants,
        });
        Ok(Self { blocks: blocks.collect(), nodes, steps: placed, row_constants })
    }
}
