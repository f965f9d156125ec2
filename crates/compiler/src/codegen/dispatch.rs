//! How code gets to the block of a step.
//!
//! A step is entered through its block, with its row in R9 where the block needs it. Before that, the values that its
//! chain looks at are fetched, once for all chains that look at the same ones, and the conditions that are data are
//! interpreted.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::Reg::{R0, R1, R9, R10};
use knobgate_bpf::{Label, Size};
use knobgate_policy::PolicyFile;

use super::code::{Code, Counted, Exit};
use super::verifier;
use crate::ir::{Action, FetchSet, Ir, StepId};
use crate::layout::{Block, BlockId, Layout, frame, row};
use crate::program::{Counter, Place};

/// The places that something jumps to, and what they are for.
pub(super) struct Dispatch<'a> {
    pub(super) file: &'a PolicyFile,
    pub(super) ir: &'a Ir,
    pub(super) layout: &'a Layout<'a>,
    blocks: Vec<Entrances>,
    /// Where values are fetched, with the steps that follow.
    fetches: BTreeMap<FetchSet, (Entrances, BTreeSet<StepId>)>,
}

/// Where code starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entrances {
    /// With the offset of the row in R0.
    by_offset: Option<Label>,
    /// With the row in R9, if it is needed.
    by_row: Option<Label>,
}

impl<'a> Dispatch<'a> {
    pub(super) fn new(file: &'a PolicyFile, ir: &'a Ir, layout: &'a Layout<'a>) -> Self {
        let blocks = vec![Entrances::default(); layout.blocks.len()];
        Self { file, ir, layout, blocks, fetches: BTreeMap::new() }
    }

    /// Goes to a step when nothing is fetched yet.
    pub(super) fn start(&mut self, code: &mut Code<'_>, step: StepId) {
        let placed = self.layout.step(step);
        if placed.starts_with_its_block() {
            let exit = exit(self.layout.block_of(step));
            return match exit {
                Some(exit) => self.end_here(code, step, exit),
                None => self.enter(code, step),
            };
        }
        let (entrances, steps) = self.fetches.entry(placed.fetch).or_default();
        steps.insert(step);
        let label = *entrances.by_offset.get_or_insert_with(|| code.asm.new_label());
        code.asm.mov(R0, placed.row as i32);
        code.asm.jump(label);
    }

    /// Ends the program with a step that does nothing else, which takes less code than to go there.
    fn end_here(&self, code: &mut Code<'_>, step: StepId, exit: Exit) {
        code.set_line(self.place(step));
        code.count(self.counter(step), Counted::Decided);
        code.exit(exit);
        code.set_line(Place::header(self.file));
    }

    /// Goes to the step, one of `candidates`, whose row is in R0, when nothing is fetched yet. The verifier knows nothing
    /// of R0.
    pub(super) fn start_by_row(&mut self, code: &mut Code<'_>, candidates: &BTreeSet<StepId>) {
        self.load_row(code);
        let mut targets = BTreeMap::new();
        for &step in candidates {
            let placed = self.layout.step(step);
            let entrances = if placed.starts_with_its_block() {
                &mut self.blocks[placed.block.0]
            } else {
                let (entrances, steps) = self.fetches.entry(placed.fetch).or_default();
                steps.insert(step);
                entrances
            };
            let label = *entrances.by_row.get_or_insert_with(|| code.asm.new_label());
            targets.insert(placed.entry(), label);
        }
        switch_by_row(code, row::ENTRY, targets);
    }

    /// Goes to a step whose values are fetched.
    fn enter(&mut self, code: &mut Code<'_>, step: StepId) {
        let placed = self.layout.step(step);
        let entrances = &mut self.blocks[placed.block.0];
        if self.layout.block_of(step).has_row() {
            let label = *entrances.by_offset.get_or_insert_with(|| code.asm.new_label());
            code.asm.mov(R0, placed.row as i32);
            code.asm.jump(label);
        } else {
            let label = *entrances.by_row.get_or_insert_with(|| code.asm.new_label());
            code.asm.jump(label);
        }
    }

    /// Goes to the step, one of `candidates`, whose row is in R9 and whose values are fetched.
    pub(super) fn enter_by_row(&mut self, code: &mut Code<'_>, candidates: impl IntoIterator<Item = StepId>) {
        let mut targets = BTreeMap::new();
        for step in candidates {
            let block = self.layout.step(step).block;
            let label = *self.blocks[block.0].by_row.get_or_insert_with(|| code.asm.new_label());
            targets.insert(block.0 as u32, label);
        }
        switch_by_row(code, row::BLOCK, targets);
    }

    /// Goes to the step after the one whose block this is, if there is one; its row is in R9 if the block is shared.
    pub(super) fn enter_next(&mut self, code: &mut Code<'_>, block: &Block) {
        let next: Vec<StepId> =
            block.steps.iter().filter_map(|&step| self.ir.steps.get(step).next()).collect();
        match next[..] {
            [] => {}
            [only] => self.enter(code, only),
            _ => {
                code.asm.load(Size::U32, R0, R9, row::NEXT);
                self.load_row(code);
                self.enter_by_row(code, next);
            }
        }
    }

    /// Makes R9 the row whose offset is in R0.
    pub(super) fn load_row(&self, code: &mut Code<'_>) {
        code.table_at_offset(R9, self.layout.facts.offset_mask);
        if !self.layout.tests.is_empty() {
            code.asm.store(Size::U32, R10, frame::ROW, R0);
        }
    }

    /// The places where values are fetched, each with the steps that follow.
    pub(super) fn take_fetches(&mut self) -> BTreeMap<FetchSet, (Entrances, BTreeSet<StepId>)> {
        std::mem::take(&mut self.fetches)
    }

    /// Binds the entrances of a block; says whether something goes there.
    pub(super) fn bind_block(&self, code: &mut Code<'_>, block: BlockId) -> bool {
        let entrances = self.blocks[block.0];
        self.bind(code, entrances);
        entrances != Entrances::default()
    }

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
        Counter::of(self.ir.steps.get(step)).offset(self.ir.rule_count)
    }

    /// Where the policy says what a step does.
    pub(super) fn place(&self, step: StepId) -> Place<'a> {
        Place::of(self.file, self.ir.steps.get(step))
    }
}

/// How a block ends the program, if that is all that it does.
fn exit(block: &Block) -> Option<Exit> {
    match &block.action {
        _ if !block.graph.nodes.is_empty() => None,
        Action::Allow => Some(Exit::Allow),
        Action::Deny(errno) => Some(Exit::Deny(*errno)),
        _ => None,
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
