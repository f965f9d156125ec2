//! From the plans of a policy to code.
//!
//! R6 holds the context throughout. R9 is the row of the step whose block runs, where blocks need one. R7 is the length of
//! the name while that is matched, and the length of the new value while a replacement is made.
//!
//! Code goes forward only: fetch the name, find the row, fetch the values that the chain of its rules looks at, go through
//! the blocks of the chain. So the verifier follows each place about once, however many rules lead there.
//!
//! Nothing here depends on the verifier telling constants apart: that of 6.1.170 takes a state for one that it has
//! seen although a register that decides on the way differs, and then removes the way as dead code. So the offset of a
//! row passes through memory that the verifier does not track, before anything is read through it.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::Reg::{R0, R1, R2, R6, R9, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Features, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::{AccessKind, Errno, Mode, PolicyFile};

use crate::blocks::{BlockId, Blocks, Form, counters, row};
use crate::body::{Bytes, Deed, Needs, Slot};
use crate::chain::{Step, StepId, Steps};
use crate::context;
use crate::error::{CompileError, Degradation};
use crate::frame;
use crate::matcher::Matcher;
use crate::program;
use crate::rewrite::Commits;
use crate::routines::Routines;
use crate::tables::Tables;
use crate::walk::Walk;

/// A program in the making.
pub(crate) struct Lowering<'a> {
    pub(crate) asm: Assembler,
    pub(crate) file: &'a PolicyFile,
    pub(crate) features: &'a Features,
    /// All of them are in place.
    pub(crate) tables: &'a Tables,
    pub(crate) blocks: &'a Blocks,
    pub(crate) routines: Routines,
    pub(crate) degradations: Vec<Degradation>,
    /// About how many instructions the verifier walks through.
    pub(crate) verifier_steps: usize,
    steps: &'a Steps,
    /// For each block, its places that something jumps to.
    entrances: Vec<Entrances>,
    /// The same for what fetches values, with the steps that come behind.
    fetches: BTreeMap<Needs, (Entrances, BTreeSet<StepId>)>,
    pub(crate) commits: Commits,
    /// The loops that go through conditions that are data.
    pub(crate) walks: Vec<Walk>,
    /// What the verifier walks through in them, other than once.
    pub(crate) steps_in_loops: usize,
    /// How much of the verifier's work the program may take.
    verifier_steps_max: usize,
    /// The block whose code is emitted.
    block: BlockId,
    /// Where its rule is unreadable, if it can be.
    pub(crate) unreadable: Option<Label>,
}

/// Where code begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Entrances {
    /// With the offset of the row in R0.
    by_offset: Option<Label>,
    /// With the row in R9, if it is needed.
    by_row: Option<Label>,
}

/// What becomes of an access when a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Allow,
    Deny(Errno),
}

/// What is counted of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Decided,
    Unreadable,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        file: &'a PolicyFile,
        features: &'a Features,
        steps: &'a Steps,
        blocks: &'a Blocks,
        tables: &'a Tables,
        routines: Routines,
        verifier_steps_max: usize,
    ) -> Self {
        Self {
            asm: Assembler::new(),
            file,
            features,
            tables,
            blocks,
            routines,
            degradations: Vec::new(),
            verifier_steps: 0,
            steps,
            entrances: vec![Entrances::default(); blocks.blocks.len()],
            fetches: BTreeMap::new(),
            commits: Commits::default(),
            walks: Vec::new(),
            steps_in_loops: 0,
            verifier_steps_max,
            block: BlockId(0),
            unreadable: None,
        }
    }

    /// Emits everything, for reads and for writes.
    pub(crate) fn program(&mut self, [read, write]: [&Matcher<'_>; 2]) -> Result<(), CompileError> {
        self.set_line(program::Place::header(self.file));
        self.asm.begin_function(program::MAIN_FUNCTION);
        self.asm.mov(R6, R1);
        let writes = self.asm.new_label();
        self.asm.load(Size::U32, R1, R6, context::WRITE);
        self.asm.jump_if(Cond::Ne, R1, 0, writes);
        read.emit(self);
        self.asm.bind(writes);
        write.emit(self);
        self.emit_fetches();
        for block in 0..self.entrances.len() {
            self.emit_block(BlockId(block))?;
        }
        // What many rules share is of none of them.
        self.set_line(program::Place::header(self.file));
        self.emit_commits();
        self.emit_walks();
        self.check_size(self.file.policy().rules().len().saturating_sub(1))?;
        self.verifier_steps = self.verifier_steps_so_far();
        std::mem::take(&mut self.routines).emit(&mut self.asm, self.tables, self.features);
        self.degrade_rewrites();
        Ok(())
    }

    /// Goes to a step when nothing is fetched yet.
    pub(crate) fn begin(&mut self, step: StepId) {
        let placed = self.blocks.of(step);
        if placed.begins_with_its_block() {
            return match self.blocks.get(placed.block).body.exit() {
                Some(exit) => self.end_here(step, exit),
                None => self.enter(step),
            };
        }
        let (entrances, steps) = self.fetches.entry(placed.needs).or_default();
        steps.insert(step);
        let label = *entrances.by_offset.get_or_insert_with(|| self.asm.new_label());
        self.asm.mov(R0, placed.row as i32);
        self.asm.jump(label);
    }

    /// Ends the program with a step that does nothing else, which takes less code than to go there.
    fn end_here(&mut self, step: StepId, exit: Exit) {
        self.set_line(self.place(step));
        self.count_of(step, Outcome::Decided);
        self.exit(exit);
        self.set_line(program::Place::header(self.file));
    }

    /// Goes to the step, one of `candidates`, whose row is in R0, when nothing is fetched yet. The verifier knows nothing
    /// of R0.
    pub(crate) fn begin_by_row(&mut self, candidates: &BTreeSet<StepId>) {
        self.row_from_offset();
        let mut targets = BTreeMap::new();
        for &step in candidates {
            let placed = self.blocks.of(step);
            let entrances = if placed.begins_with_its_block() {
                &mut self.entrances[placed.block.0]
            } else {
                let (entrances, steps) = self.fetches.entry(placed.needs).or_default();
                steps.insert(step);
                entrances
            };
            let label = *entrances.by_row.get_or_insert_with(|| self.asm.new_label());
            targets.insert(placed.entry(), label);
        }
        self.switch(row::ENTRY, targets);
    }

    /// Goes to a step whose values are fetched.
    fn enter(&mut self, step: StepId) {
        let placed = self.blocks.of(step);
        let entrances = &mut self.entrances[placed.block.0];
        if self.blocks.get(placed.block).has_row() {
            let label = *entrances.by_offset.get_or_insert_with(|| self.asm.new_label());
            self.asm.mov(R0, placed.row as i32);
            self.asm.jump(label);
        } else {
            let label = *entrances.by_row.get_or_insert_with(|| self.asm.new_label());
            self.asm.jump(label);
        }
    }

    /// Goes to the step, one of `candidates`, whose row is in R9 and whose values are fetched.
    pub(crate) fn enter_by_row(&mut self, candidates: impl IntoIterator<Item = StepId>) {
        let mut targets = BTreeMap::new();
        for step in candidates {
            let block = self.blocks.of(step).block;
            let label = *self.entrances[block.0].by_row.get_or_insert_with(|| self.asm.new_label());
            targets.insert(block.0 as u32, label);
        }
        self.switch(row::BLOCK, targets);
    }

    /// Makes R9 the row whose offset is in R0.
    pub(crate) fn row_from_offset(&mut self) {
        self.asm.alu(AluOp::And, R0, self.tables.row_mask() as i32);
        self.asm.load_map_value(R9, program::TABLES, 0);
        self.asm.alu(AluOp::Add, R9, R0);
        if self.blocks.form == Form::Table {
            self.asm.store(Size::U32, R10, frame::ROW, R0);
        }
    }

    /// The same where the verifier knows what is in R0.
    fn row_from_known_offset(&mut self) {
        self.asm.store(Size::U32, R10, frame::FORGET_ROW, R0);
        self.asm.load(Size::U32, R0, R10, frame::FORGET_ROW);
        self.row_from_offset();
    }

    /// Goes where the number says that is at `field` of the row.
    fn switch(&mut self, field: i16, targets: BTreeMap<u32, Label>) {
        let targets: Vec<(u32, Label)> = targets.into_iter().collect();
        if targets.len() > 1 {
            self.asm.load(Size::U32, R1, R9, field);
        }
        self.switch_among(&targets);
    }

    /// Goes where the number says that is in R1: it is that of a target.
    pub(crate) fn switch_among(&mut self, targets: &[(u32, Label)]) {
        if let [(_, only)] = targets {
            return self.asm.jump(*only);
        }
        let (low, high) = targets.split_at(targets.len() / 2);
        let upper = self.asm.new_label();
        self.asm.jump_if(Cond::Ge, R1, high[0].0 as i32, upper);
        self.switch_among(low);
        self.asm.bind(upper);
        self.switch_among(high);
    }

    fn emit_fetches(&mut self) {
        for (needs, (entrances, steps)) in std::mem::take(&mut self.fetches) {
            self.bind(entrances);
            for value in needs.values() {
                self.asm.mov(R1, R6);
                self.asm.mov(R2, R10);
                self.routines.call_fetch(&mut self.asm, value, needs.width);
            }
            match self.blocks.form {
                Form::Code => self.enter_by_row(steps),
                Form::Table => self.walk(needs, steps),
            }
        }
    }

    /// These steps and all that may come behind.
    pub(crate) fn chains(&self, mut steps: BTreeSet<StepId>) -> BTreeSet<StepId> {
        let mut rest: Vec<StepId> = steps.iter().copied().collect();
        while let Some(step) = rest.pop() {
            rest.extend(self.steps.get(step).next().filter(|&next| steps.insert(next)));
        }
        steps
    }

    fn bind(&mut self, entrances: Entrances) {
        if let Some(label) = entrances.by_offset {
            self.asm.bind(label);
            self.row_from_known_offset();
        }
        if let Some(label) = entrances.by_row {
            self.asm.bind(label);
        }
    }

    fn emit_block(&mut self, id: BlockId) -> Result<(), CompileError> {
        let block = self.blocks.get(id);
        let entrances = self.entrances[id.0];
        if entrances == Entrances::default() {
            // All that come here have ended before.
            return Ok(());
        }
        self.block = id;
        self.set_line(self.place(block.steps[0]));
        self.bind(entrances);
        let next = self.asm.new_label();
        if let Some(condition) = &block.body.condition {
            self.branch(condition, next, false);
        }
        match &block.body.deed {
            Deed::Allow => self.decide(Exit::Allow),
            Deed::Deny(errno) => self.decide(Exit::Deny(*errno)),
            Deed::Unreadable => self.unreadable_here(),
            Deed::Set(text) => self.set(*text),
            Deed::Ignore => self.ignore(),
            Deed::ClampOne(bounds) => self.clamp_one(bounds),
            Deed::ClampEach(bounds) => self.clamp_each(bounds),
        }
        if let Some(unreadable) = self.unreadable.take() {
            self.asm.bind(unreadable);
            self.unreadable_here();
        }
        self.asm.bind(next);
        let behind: Vec<StepId> = match block.body.condition {
            Some(_) => block.steps.iter().filter_map(|&step| self.steps.get(step).next()).collect(),
            None => Vec::new(),
        };
        match behind[..] {
            [] => {}
            [only] => self.enter(only),
            _ => {
                self.asm.load(Size::U32, R0, R9, row::NEXT);
                self.row_from_offset();
                self.enter_by_row(behind);
            }
        }
        match self.steps.get(block.steps[0]) {
            Step::Rule { rule, .. } => self.check_size(rule),
            Step::Default(_) | Step::NameTooLong { .. } => Ok(()),
        }
    }

    /// About how many instructions the verifier walks through in what is emitted: it follows the main function about once,
    /// what that calls again for every call, and loops as often as [`emit_walks`](Self::emit_walks) says.
    fn verifier_steps_so_far(&self) -> usize {
        self.asm.position() + self.routines.verifier_steps() + self.steps_in_loops
    }

    /// Refuses to go on where the program is too much for the verifier, with this rule.
    fn check_size(&self, rule: usize) -> Result<(), CompileError> {
        if self.verifier_steps_so_far() <= self.verifier_steps_max {
            return Ok(());
        }
        Err(CompileError::TooMuchToVerify { rule, bpf_loop: self.features.bpf_loop })
    }

    fn place(&self, step: StepId) -> program::Place<'a> {
        match self.steps.get(step) {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => program::Place::rule(self.file, rule),
            Step::Default(kind) => program::Place::default(self.file, kind),
        }
    }

    /// Loads a constant of the rule.
    pub(crate) fn constant(&mut self, into: Reg, slot: Slot) {
        match &self.blocks.get(self.block).constants {
            Some(constants) => self.asm.load_imm64(into, constants[slot.0]),
            None => self.asm.load(Size::U64, into, R9, row::CONSTANTS + 8 * slot.0 as i16),
        }
    }

    /// Loads bytes of the rule from `at` on.
    pub(crate) fn constant_bytes(&mut self, into: Reg, bytes: Bytes, at: usize, size: Size) {
        match &self.blocks.get(self.block).constants {
            Some(constants) => {
                let shifted = constants[bytes.first.0 + at / 8] >> (8 * (at % 8));
                let unused = 64 - 8 * u32::from(size.bytes() as u8);
                self.asm.load_imm64(into, shifted << unused >> unused);
            }
            None => {
                let offset = row::CONSTANTS + (8 * bytes.first.0 + at) as i16;
                self.asm.load(size, into, R9, offset);
            }
        }
    }

    /// Where the code of this block goes when its rule cannot be evaluated.
    pub(crate) fn unreadable(&mut self) -> Label {
        let asm = &mut self.asm;
        *self.unreadable.get_or_insert_with(|| asm.new_label())
    }

    fn unreadable_here(&mut self) {
        self.count(Outcome::Unreadable);
        self.exit(Exit::Deny(Errno::EINVAL));
    }

    /// Ends the program: this rule has decided.
    pub(crate) fn decide(&mut self, exit: Exit) {
        self.count(Outcome::Decided);
        self.exit(exit);
    }

    fn count(&mut self, outcome: Outcome) {
        let block = self.blocks.get(self.block);
        if block.constants.is_none() {
            return self.count_by_row(outcome);
        }
        self.count_of(block.steps[0], outcome);
    }

    /// Counts for this step.
    fn count_of(&mut self, step: StepId, outcome: Outcome) {
        let rules = self.file.policy().rules().len();
        let offset = counters(self.steps.get(step)).offset(rules) + outcome.offset() as u32;
        self.asm.load_map_value(R1, program::RULE_HITS, offset);
        self.asm.mov(R2, 1);
        self.asm.atomic_add(Size::U64, R1, 0, R2);
    }

    /// Counts for the step whose row is in R9.
    pub(crate) fn count_by_row(&mut self, outcome: Outcome) {
        let counted = self.asm.new_label();
        let last = program::Counter::Default(AccessKind::Write).offset(self.file.policy().rules().len());
        self.asm.load(Size::U32, R1, R9, row::COUNTERS);
        self.asm.alu(AluOp::And, R1, (i32::MAX as u32 & !7) as i32);
        // Known, but not to the verifier.
        self.asm.jump_if(Cond::Gt, R1, last as i32, counted);
        self.asm.load_map_value(R2, program::RULE_HITS, 0);
        self.asm.alu(AluOp::Add, R2, R1);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(Size::U64, R2, outcome.offset(), R1);
        self.asm.bind(counted);
    }

    /// Ends the program. In audit mode everything passes.
    pub(crate) fn exit(&mut self, exit: Exit) {
        match exit {
            Exit::Deny(errno) if !self.audits() => {
                if errno != Errno::EPERM && self.features.set_retval {
                    self.asm.mov(R1, -(errno.number() as i32));
                    self.asm.call_helper(helper::SET_RETVAL);
                } else if errno != Errno::EPERM {
                    self.degrade(Degradation::ErrnoIsEperm(errno));
                }
                self.asm.mov(R0, 0);
            }
            _ => self.asm.mov(R0, 1),
        }
        self.asm.exit();
    }

    /// Whether decisions are reported and not enforced.
    pub(crate) fn audits(&self) -> bool {
        self.file.policy().mode() == Mode::Audit
    }

    /// Notes that the program is stricter than the policy.
    fn degrade(&mut self, degradation: Degradation) {
        if !self.degradations.contains(&degradation) {
            self.degradations.push(degradation);
        }
    }

    /// Notes the rules that would rewrite and cannot.
    fn degrade_rewrites(&mut self) {
        let mut by_rule = BTreeMap::new();
        for block in &self.blocks.blocks {
            let spells = matches!(block.body.deed, Deed::ClampEach(_)) && !self.features.variable_stack;
            if !block.body.deed.rewrites() || !spells && self.features.set_new_value {
                continue;
            }
            for &step in &block.steps {
                if let Step::Rule { rule, .. } = self.steps.get(step) {
                    by_rule.insert(
                        rule,
                        if spells {
                            Degradation::VectorClampIsDenied { rule }
                        } else {
                            Degradation::RewriteIsDenied { rule }
                        },
                    );
                }
            }
        }
        self.degradations.extend(by_rule.into_values());
    }

    /// What follows is of this place in the policy.
    fn set_line(&mut self, place: program::Place<'_>) {
        self.asm.set_line(place.line, place.column, place.text);
    }
}

impl Outcome {
    /// Which of the two counters of a step, in bytes.
    fn offset(self) -> i16 {
        match self {
            Outcome::Decided => 0,
            Outcome::Unreadable => 8,
        }
    }
}
