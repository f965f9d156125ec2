//! How code gets to the block of a step.
//!
//! A step is entered through its block, with its row in R9 where the block needs it. Before that, the values that its
//! chain looks at are fetched, once for all chains that look at the same ones, and the conditions that are data are
//! interpreted. So code is emitted in two stages, each a type: [`Starts`] collects where chains start, and
//! [`BlockEntrances`] leads from block to block.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::Reg::{R0, R1, R9, R10};
use knobgate_bpf::{Label, Size};

use super::code::{Code, CounterSource, Exit};
use super::verifier;
use crate::ir::{Action, FetchSet, Ir, StepId};
use crate::layout::{Block, BlockId, Layout, frame, row};
use crate::rule_hits::{self, Counted};
use crate::source::{Place, PolicySource};

/// The first stage: code that finds the first step of a chain. No value is fetched yet.
pub(super) struct Starts<'a> {
    blocks: BlockEntrances<'a>,
    /// The places where values are fetched.
    chains: BTreeMap<FetchSet, ChainStart>,
}

/// A place where values are fetched, and the steps that continue there.
#[derive(Debug, Default)]
pub(super) struct ChainStart {
    pub(super) entrances: Entrances,
    pub(super) steps: BTreeSet<StepId>,
}

/// The second stage: code that enters blocks. Their values are fetched.
pub(super) struct BlockEntrances<'a> {
    source: &'a PolicySource<'a>,
    pub(super) ir: &'a Ir,
    pub(super) layout: &'a Layout<'a>,
    entrances: Vec<Entrances>,
}

/// The labels of a place that other code jumps to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entrances {
    /// With the offset of the row in R0.
    by_offset: Option<Label>,
    /// With the row in R9, if it is needed.
    by_row: Option<Label>,
}

impl<'a> Starts<'a> {
    pub(super) fn new(source: &'a PolicySource<'a>, ir: &'a Ir, layout: &'a Layout<'a>) -> Self {
        let entrances = vec![Entrances::default(); layout.blocks.len()];
        Self { blocks: BlockEntrances { source, ir, layout, entrances }, chains: BTreeMap::new() }
    }

    pub(super) fn layout(&self) -> &'a Layout<'a> {
        self.blocks.layout
    }

    /// Ends the stage: all starts are known. Returns the places where values are fetched, and the next stage.
    pub(super) fn finish(self) -> (BTreeMap<FetchSet, ChainStart>, BlockEntrances<'a>) {
        (self.chains, self.blocks)
    }

    /// Goes to a step.
    pub(super) fn start(&mut self, code: &mut Code<'_>, step: StepId) {
        let layout = self.blocks.layout;
        let placed = layout.step(step);
        if placed.starts_with_its_block() {
            return match exit(layout.block_of(step)) {
                Some(exit) => self.end_here(code, step, exit),
                None => self.blocks.enter(code, step),
            };
        }
        let ChainStart { entrances, steps } = self.chains.entry(placed.fetch).or_default();
        steps.insert(step);
        entrances.jump_by_offset(code, placed.row);
    }

    /// Goes to the step, one of `candidates`, whose row is in R0. The verifier knows nothing of R0.
    pub(super) fn start_by_row(&mut self, code: &mut Code<'_>, candidates: &BTreeSet<StepId>) {
        self.blocks.load_row(code);
        let mut targets = BTreeMap::new();
        for &step in candidates {
            let placed = self.blocks.layout.step(step);
            let entrances = if placed.starts_with_its_block() {
                &mut self.blocks.entrances[placed.block.0]
            } else {
                let ChainStart { entrances, steps } = self.chains.entry(placed.fetch).or_default();
                steps.insert(step);
                entrances
            };
            targets.insert(placed.entry(), entrances.by_row(code));
        }
        switch_by_row(code, row::ENTRY, targets);
    }

    /// Ends the program with a step that does nothing else, which takes less code than to go there.
    fn end_here(&self, code: &mut Code<'_>, step: StepId, exit: Exit) {
        code.set_line(self.blocks.place(step));
        let reports = self.blocks.ir.reports(self.blocks.ir.steps.get(step));
        // A block that only ends sends an event for its one verdict or does not.
        let reports = if exit == Exit::Allow { reports.allow } else { reports.other };
        code.decide(CounterSource::Constant(self.blocks.counter(step)), Counted::Decided, exit, reports);
        code.set_line(self.blocks.source.header());
    }
}

impl<'a> BlockEntrances<'a> {
    /// Goes to a step.
    fn enter(&mut self, code: &mut Code<'_>, step: StepId) {
        let placed = self.layout.step(step);
        let entrances = &mut self.entrances[placed.block.0];
        if self.layout.block_of(step).has_row() {
            entrances.jump_by_offset(code, placed.row);
        } else {
            let label = entrances.by_row(code);
            code.asm.jump(label);
        }
    }

    /// Goes to the step, one of `candidates`, whose row is in R9.
    pub(super) fn enter_by_row(&mut self, code: &mut Code<'_>, candidates: impl IntoIterator<Item = StepId>) {
        let targets = self.by_row(code, candidates);
        switch_by_row(code, row::BLOCK, targets);
    }

    /// The blocks of the steps, and where those go that have the row in R9.
    fn by_row(
        &mut self,
        code: &mut Code<'_>,
        steps: impl IntoIterator<Item = StepId>,
    ) -> BTreeMap<u32, Label> {
        let blocks = steps.into_iter().map(|step| self.layout.step(step).block.0);
        blocks.map(|block| (block as u32, self.entrances[block].by_row(code))).collect()
    }

    /// Goes to the step after the one whose block this is, if there is one; its row is in R9 if the block is shared.
    pub(super) fn enter_next(&mut self, code: &mut Code<'_>, block: &Block) {
        let next: Vec<StepId> =
            block.steps.iter().filter_map(|&step| self.ir.steps.get(step).next()).collect();
        match next[..] {
            [] => {}
            [only] => self.enter(code, only),
            _ => {
                let targets = self.by_row(code, next);
                enter_next_by_row(code, self.layout.facts.offset_mask, self.interprets(), targets);
            }
        }
    }

    /// Makes R9 the row whose offset is in R0.
    pub(super) fn load_row(&self, code: &mut Code<'_>) {
        load_row(code, self.layout.facts.offset_mask, self.interprets());
    }

    fn interprets(&self) -> bool {
        !self.layout.tests.is_empty()
    }

    /// Binds the entrances of a block. Returns whether something goes there.
    pub(super) fn bind_block(&self, code: &mut Code<'_>, block: BlockId) -> bool {
        let entrances = self.entrances[block.0];
        self.bind(code, entrances);
        entrances != Entrances::default()
    }

    /// Binds the entrances of a place.
    pub(super) fn bind(&self, code: &mut Code<'_>, entrances: Entrances) {
        if let Some(label) = entrances.by_offset {
            code.asm.bind(label);
            verifier::launder_row(&mut code.asm, R0);
            self.load_row(code);
        }
        if let Some(label) = entrances.by_row {
            code.asm.bind(label);
        }
    }

    /// The offset of the counters of a step.
    pub(super) fn counter(&self, step: StepId) -> u32 {
        rule_hits::offset(self.ir.steps.get(step), self.ir.rule_count)
    }

    /// Where the policy says what a step does.
    pub(super) fn place(&self, step: StepId) -> Place<'a> {
        self.source.place(self.ir.steps.get(step))
    }
}

impl Entrances {
    /// Goes there with the offset of a row.
    fn jump_by_offset(&mut self, code: &mut Code<'_>, row: u32) {
        let label = *self.by_offset.get_or_insert_with(|| code.asm.new_label());
        code.asm.mov(R0, row as i32);
        code.asm.jump(label);
    }

    /// The label for those that have the row in R9.
    fn by_row(&mut self, code: &mut Code<'_>) -> Label {
        *self.by_row.get_or_insert_with(|| code.asm.new_label())
    }
}

/// How a block ends the program, if that is all that it does.
fn exit(block: &Block) -> Option<Exit> {
    match &block.action {
        _ if !block.graph.nodes().is_empty() => None,
        Action::Allow => Some(Exit::Allow),
        Action::Deny(errno) => Some(Exit::Deny(*errno)),
        _ => None,
    }
}

/// Goes from the step whose row is in R9 to the next one, which is in one of these blocks.
pub(super) fn enter_next_by_row(
    code: &mut Code<'_>,
    mask: u32,
    interprets: bool,
    targets: BTreeMap<u32, Label>,
) {
    code.asm.load(Size::U32, R0, R9, row::NEXT);
    load_row(code, mask, interprets);
    switch_by_row(code, row::BLOCK, targets);
}

/// Makes R9 the row whose offset is in R0. An interpreter finds it on the stack.
fn load_row(code: &mut Code<'_>, mask: u32, interprets: bool) {
    code.table_at_offset(R9, mask);
    if interprets {
        code.asm.store(Size::U32, R10, frame::ROW, R0);
    }
}

/// Goes where the number says that is at `field` of the row.
fn switch_by_row(code: &mut Code<'_>, field: i16, targets: BTreeMap<u32, Label>) {
    let targets: Vec<(u32, Label)> = targets.into_iter().collect();
    if targets.len() > 1 {
        code.asm.load(Size::U32, R1, R9, field);
    }
    code.switch(&targets);
}
