//! From the plan of a decision to code.
//!
//! R6 holds the context throughout. R7 and R8 are 0 until the new and the current value have been fetched, and then
//! addresses: what has been fetched is a matter of types to the verifier. R9 is the kind of access until its rules begin,
//! and the length of the new value while a replacement is made.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R6, R7, R8, R9};
use knobgate_bpf::{Assembler, Cond, Features, Label, Size, helper_ids as helper};
use knobgate_policy::{AccessKind, Action, Errno, FallbackAction, Mode, PolicyFile};

use crate::block::Used;
use crate::chain::{Plan, Step, StepId, Steps};
use crate::context;
use crate::error::{CompileError, Degradation, INSTRUCTIONS_MAX};
use crate::matcher::Matcher;
use crate::program::{self, Counter};
use crate::rewrite::Commits;
use crate::routines::Routines;
use crate::tables::Tables;

/// A program in the making.
pub(crate) struct Lowering<'a> {
    pub(crate) asm: Assembler,
    pub(crate) file: &'a PolicyFile,
    pub(crate) features: &'a Features,
    pub(crate) tables: Tables,
    pub(crate) routines: Routines,
    pub(crate) degradations: Vec<Degradation>,
    steps: Steps,
    /// The labels of steps, once something leads to them.
    labels: Vec<Option<Label>>,
    /// The steps that something leads to and that have not been emitted, in the order of their rules: all that leads to
    /// a step is emitted before it.
    pending: BTreeSet<(usize, StepId)>,
    pub(crate) blocks: Vec<Used>,
    pub(crate) commits: Commits,
    /// The rule whose code is emitted.
    pub(crate) rule: usize,
    unreadable: Option<Label>,
}

/// What becomes of an access when a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Allow,
    Deny(Errno),
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(file: &'a PolicyFile, features: &'a Features, tables: Tables) -> Self {
        Self {
            asm: Assembler::new(),
            file,
            features,
            tables,
            routines: Routines::default(),
            degradations: Vec::new(),
            steps: Steps::default(),
            labels: Vec::new(),
            pending: BTreeSet::new(),
            blocks: Vec::new(),
            commits: Commits::default(),
            rule: 0,
            unreadable: None,
        }
    }

    /// Emits everything. `matcher` is that of the policy.
    pub(crate) fn program(&mut self, matcher: &Matcher) -> Result<(), CompileError> {
        let policy = self.file.policy();
        let read = self.steps.plan(policy, AccessKind::Read, matcher.classes());
        let write = self.steps.plan(policy, AccessKind::Write, matcher.classes());
        self.labels = vec![None; self.steps.len()];

        self.set_line(program::Place::header(self.file));
        self.asm.begin_function(program::MAIN_FUNCTION);
        self.asm.mov(R6, R1);
        self.asm.load(Size::U32, R9, R6, context::WRITE);
        self.asm.mov(R7, 0);
        self.asm.mov(R8, 0);
        self.choose_chain(matcher, [(AccessKind::Read, &read), (AccessKind::Write, &write)]);
        while let Some((_, step)) = self.pending.pop_first() {
            self.step(step)?;
        }
        // What many rules share is of none of them.
        self.set_line(program::Place::header(self.file));
        self.emit_commits();
        self.emit_blocks();
        std::mem::take(&mut self.routines).emit(&mut self.asm, &mut self.tables, self.features);
        Ok(())
    }

    /// Jumps to the first step for this access. The name is fetched only for kinds of access that it matters to.
    fn choose_chain(&mut self, matcher: &Matcher, plans: [(AccessKind, &Plan); 2]) {
        let (mut alike, mut by_name) = (Vec::new(), Vec::new());
        for (kind, plan) in plans {
            match plan {
                Plan::AnyName(step) => alike.push((kind, *step)),
                Plan::ByName { of_class, too_long } => by_name.push((kind, of_class, *too_long)),
            }
        }
        let Some((&(_, of_class, _), others)) = by_name.split_last() else {
            return self.choose_by_kind(&alike);
        };
        for (kind, step) in alike {
            let label = self.label(step);
            self.jump_if_kind(kind, label);
        }
        let too_long = self.asm.new_label();
        matcher.emit(self, too_long);
        let dispatches: Vec<_> =
            others.iter().map(|(kind, of_class, _)| (*kind, *of_class, self.asm.new_label())).collect();
        for &(kind, _, dispatch) in &dispatches {
            self.jump_if_kind(kind, dispatch);
        }
        self.dispatch(of_class);
        for (_, of_class, dispatch) in dispatches {
            self.asm.bind(dispatch);
            self.dispatch(of_class);
        }
        self.asm.bind(too_long);
        let too_long: Vec<_> = by_name.iter().map(|(kind, _, step)| (*kind, *step)).collect();
        self.choose_by_kind(&too_long);
    }

    /// Jumps to the step for this kind of access, which is one of these.
    fn choose_by_kind(&mut self, steps: &[(AccessKind, StepId)]) {
        let Some((&(_, last), others)) = steps.split_last() else { return };
        for &(kind, step) in others {
            let label = self.label(step);
            self.jump_if_kind(kind, label);
        }
        let label = self.label(last);
        self.asm.jump(label);
    }

    fn jump_if_kind(&mut self, kind: AccessKind, label: Label) {
        let is = match kind {
            AccessKind::Read => Cond::Eq,
            AccessKind::Write => Cond::Ne,
        };
        self.asm.jump_if(is, R9, 0, label);
    }

    /// Jumps to the step for the class in R0.
    fn dispatch(&mut self, of_class: &[StepId]) {
        self.dispatch_from(of_class, 0);
    }

    /// The same, where the class is known to be at least `first` and `of_class` begins there.
    fn dispatch_from(&mut self, of_class: &[StepId], first: usize) {
        if of_class.iter().all(|step| *step == of_class[0]) {
            let label = self.label(of_class[0]);
            return self.asm.jump(label);
        }
        let (low, high) = of_class.split_at(of_class.len() / 2);
        let (upper, middle) = (self.asm.new_label(), first + low.len());
        self.asm.jump_if(Cond::Ge, R0, middle as i32, upper);
        self.dispatch_from(low, first);
        self.asm.bind(upper);
        self.dispatch_from(high, middle);
    }

    /// The label of a step, which will be emitted.
    fn label(&mut self, step: StepId) -> Label {
        if let Some(label) = self.labels[step.0] {
            return label;
        }
        let label = self.asm.new_label();
        self.labels[step.0] = Some(label);
        let place = match self.steps.get(step) {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => rule,
            Step::Default(_) => usize::MAX,
        };
        self.pending.insert((place, step));
        label
    }

    /// Emits a step; one behind it follows, or is jumped to.
    fn step(&mut self, step: StepId) -> Result<(), CompileError> {
        let label = self.label(step);
        self.asm.bind(label);
        match self.steps.get(step) {
            Step::Rule { rule, next } => {
                self.rule(rule)?;
                if let Some(next) = next {
                    let label = self.label(next);
                    if self.pending.first().is_none_or(|&(_, follows)| follows != next) {
                        self.asm.jump(label);
                    }
                }
            }
            Step::Default(kind) => {
                self.set_line(program::Place::default(self.file, kind));
                self.count(Counter::Default(kind));
                self.exit(match self.file.policy().defaults.of(kind).action {
                    FallbackAction::Allow => Exit::Allow,
                    FallbackAction::Deny(errno) => Exit::Deny(errno),
                });
            }
            Step::NameTooLong { rule } => {
                self.set_line(program::Place::rule(self.file, rule));
                self.count(Counter::Unreadable(rule));
                self.exit(Exit::Deny(Errno::EINVAL));
            }
        }
        Ok(())
    }

    /// Emits a rule whose kind and name match; where its condition does not hold, falls through.
    fn rule(&mut self, index: usize) -> Result<(), CompileError> {
        let rule = &self.file.policy().rules[index];
        self.set_line(program::Place::rule(self.file, index));
        self.rule = index;
        let next = self.asm.new_label();
        if let Some(condition) = &rule.condition {
            self.branch(condition, next, false)?;
        }
        match &rule.action {
            Action::Allow => self.decide(Exit::Allow),
            Action::Deny(errno) => self.decide(Exit::Deny(*errno)),
            Action::Set(text) => self.set(text.as_bytes()),
            Action::Ignore => self.ignore(),
            Action::Clamp(ranges) => self.clamp(ranges),
        }
        if let Some(unreadable) = self.unreadable.take() {
            self.asm.bind(unreadable);
            self.count(Counter::Unreadable(index));
            self.exit(Exit::Deny(Errno::EINVAL));
        }
        self.asm.bind(next);
        if self.asm.position() > INSTRUCTIONS_MAX {
            return Err(CompileError::TooManyInstructions { rule: index });
        }
        Ok(())
    }

    /// Where the code of this rule goes when it cannot be evaluated.
    pub(crate) fn unreadable(&mut self) -> Label {
        let asm = &mut self.asm;
        *self.unreadable.get_or_insert_with(|| asm.new_label())
    }

    /// Ends the program: this rule has decided.
    pub(crate) fn decide(&mut self, exit: Exit) {
        self.count(Counter::Decided(self.rule));
        self.exit(exit);
    }

    /// Counts a decision.
    pub(crate) fn count(&mut self, counter: Counter) {
        let offset = counter.offset(self.file.policy().rules.len());
        self.asm.load_map_value(R1, program::RULE_HITS, offset);
        self.asm.mov(R2, 1);
        self.asm.atomic_add(Size::U64, R1, 0, R2);
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
        self.file.policy().mode == Mode::Audit
    }

    /// Notes that the program is stricter than the policy.
    pub(crate) fn degrade(&mut self, degradation: Degradation) {
        if !self.degradations.contains(&degradation) {
            self.degradations.push(degradation);
        }
    }

    /// What follows is of this place in the policy.
    fn set_line(&mut self, place: program::Place<'_>) {
        self.asm.set_line(place.line, place.column, place.text);
    }
}
