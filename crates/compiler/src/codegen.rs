//! From the layout to instructions.
//!
//! A program does these things in this order, and its code only jumps forward. So the verifier follows each place about once,
//! however many rules lead there.
//!
//! 1. Fetch the name, and find the first step for it: [`matcher`], [`lookup`].
//! 2. Fetch the values that the chain of this step looks at: [`dispatch`], [`subprograms`].
//! 3. Evaluate the conditions that are data: [`interpreter`].
//! 4. Run the blocks of the chain: [`inline`] and [`compare`] emit conditions, [`action`] what a rule does then.
//!
//! R6 holds the context throughout. R9 is the row of the step whose block runs, if the block needs it. R7 is the length of the
//! name while that is matched, and the length of the new value while a replacement is made.

mod action;
mod code;
mod compare;
mod dispatch;
mod inline;
mod interpreter;
mod lookup;
mod matcher;
mod rule_code;
mod subject;
mod subprograms;
mod verifier;

use std::collections::BTreeMap;

use knobgate_bpf::Reg::{R1, R2, R6, R10};
use knobgate_bpf::uapi::bpf_sysctl as context;
use knobgate_bpf::{self as bpf, Cond, Features, Size};
use knobgate_events::record::flag;
use knobgate_policy::{Errno, Mode};

use crate::error::{CompileError, Degradation, INSTRUCTIONS_MAX};
use crate::events::{self, EventOptions};
use crate::ir::{Action, Graph, Ir, Operand, Reports, Rule, RuleId, Step, Subject, Test};
use crate::layout::{BlockId, Cost, Layout, ROW_CONSTANTS_MAX, TableFacts};
use crate::program;
use crate::rule_hits::Counted;
use crate::source::PolicySource;
use action::Commits;
use code::{Code, Exit};
use dispatch::{BlockEntrances, Starts};
use interpreter::Interpreter;
use rule_code::{RuleCode, RuleConstants};
pub(crate) use subprograms::long_values_map;
use subprograms::{EventFacts, Subprograms};

/// What was emitted.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub(crate) code: bpf::Code,
    pub(crate) degradations: Vec<Degradation>,
    /// About how many instructions the verifier processes.
    pub(crate) verifier_steps: usize,
}

/// Emits the program for this layout.
///
/// # Errors
/// The program is too much for the verifier, or cannot be assembled.
pub(crate) fn emit(
    source: &PolicySource<'_>,
    ir: &Ir,
    layout: &Layout<'_>,
    features: &Features,
    events: Option<&EventOptions>,
) -> Result<Emitted, CompileError> {
    let first_map = program::first_of_events(&layout.tables, layout.has_long_values(features));
    let facts = events.map(|options| event_facts(source, options, features, first_map));
    let subprograms = Subprograms::new(features, layout.facts, facts);
    let mut code = Code::new(features, ir.mode, ir.rule_count, subprograms);
    let mut starts = Starts::new(source, ir, layout);
    let mut interpreter = Interpreter::new(layout);
    let mut commits = Commits::default();

    code.set_line(source.header());
    code.asm.begin_function(program::MAIN_FUNCTION);
    code.asm.mov(R6, R1);
    let writes = code.asm.new_label();
    code.asm.load(Size::U32, R1, R6, context::WRITE);
    code.asm.jump_if(Cond::Ne, R1, 0, writes);
    let [read, write] = &layout.plans;
    matcher::emit(&mut code, &mut starts, read);
    code.asm.bind(writes);
    matcher::emit(&mut code, &mut starts, write);

    let (chains, mut blocks) = starts.finish();
    for (fetch, start) in chains {
        blocks.bind(&mut code, start.entrances);
        for value in fetch.values() {
            code.asm.mov(R1, R6);
            code.asm.mov(R2, R10);
            code.subprograms.call_fetch(&mut code.asm, value, fetch.width);
        }
        let steps = &start.steps;
        match steps.iter().map(|&step| layout.step(step).tests).max().unwrap_or(0) {
            0 => blocks.enter_by_row(&mut code, steps.iter().copied()),
            tests => interpreter.emit_loop(&mut code, &mut blocks, fetch, steps, tests),
        }
    }
    let check = |verifier_steps: usize, rule: usize| {
        if verifier_steps <= INSTRUCTIONS_MAX {
            Ok(())
        } else {
            Err(CompileError::TooMuchToVerify { rule, bpf_loop: features.bpf_loop })
        }
    };
    for block in 0..layout.blocks.len() {
        emit_block(&mut code, &mut blocks, &mut commits, BlockId(block));
        if let Step::Rule { rule, .. } = ir.steps.get(layout.blocks[block].steps[0]) {
            check(code.verifier_steps(), rule)?;
        }
    }
    // Code that many rules share belongs to no line of theirs.
    code.set_line(source.header());
    commits.emit(&mut code);
    code.emit_reported_ends();
    let looped = interpreter.emit_tests(&mut code);
    let verifier_steps = code.verifier_steps() + looped;
    check(verifier_steps, ir.rule_count.saturating_sub(1))?;
    let Code { mut asm, subprograms, lost_errnos, .. } = code;
    subprograms.emit(&mut asm);
    let lost = lost_errnos.into_iter().map(Degradation::ErrnoIsEperm);
    let long_values =
        (!features.long_values() && looks_at_long_values(ir)).then_some(Degradation::LongValuesAreDenied);
    let degradations = lost.chain(long_values).chain(degraded_rewrites(ir, features)).collect();
    Ok(Emitted { code: asm.finish(features.long_jump)?, degradations, verifier_steps })
}

/// What the code for events depends on.
fn event_facts(
    source: &PolicySource<'_>,
    options: &EventOptions,
    features: &Features,
    first_map: usize,
) -> EventFacts {
    let policy = source.policy();
    let audits = if policy.mode() == Mode::Audit { flag::AUDIT } else { 0 };
    let described: u32 = [
        (flag::PID, options.features.current_pid_tgid || options.features.task.is_some()),
        (flag::UID, features.current_uid_gid || options.features.task.is_some()),
        (flag::COMM, options.features.task.is_some()),
        (flag::NAMESPACES, options.features.task.is_some()),
        (flag::RETVAL, features.set_retval),
    ]
    .into_iter()
    .map(|(flag, is_there)| if is_there { flag } else { 0 })
    .sum();
    let widths = if policy.width_64().is_empty() { 0 } else { flag::WIDTHS };
    EventFacts {
        options: *options,
        features: *features,
        first_map,
        rules: policy.rules().len(),
        last_rule: events::last_rule(policy.rules().len()),
        last_text: events::last_text(source),
        policy_number: events::policy_number(&source.program_text()),
        policy_name: policy.name().len(),
        flags: audits | widths | if options.observer { flag::OBSERVER } else { 0 } | described,
    }
}

fn emit_block(code: &mut Code<'_>, blocks: &mut BlockEntrances<'_>, commits: &mut Commits, id: BlockId) {
    if !blocks.bind_block(code, id) {
        // The steps of this block ended where they would have started.
        return;
    }
    let block = &blocks.layout.blocks[id.0];
    let first = block.steps[0];
    code.set_line(blocks.place(first));
    let constants = match &block.constants {
        Some(words) => RuleConstants::InCode { words, counter: blocks.counter(first) },
        None => RuleConstants::InRow { at: blocks.layout.row_constants },
    };
    emit_rule(code, commits, (&block.graph, &block.action, block.reports), constants, block.graph_constants);
    // Without a condition, or after the interpreter has evaluated it, the action always ends the program.
    if !block.graph.nodes().is_empty() {
        blocks.enter_next(code, block);
    }
}

/// Emits a rule, whose first `graph_constants` constants are those of its condition. Falls through if that does not hold.
fn emit_rule(
    code: &mut Code<'_>,
    commits: &mut Commits,
    (graph, action, reports): (&Graph, &Action, Reports),
    constants: RuleConstants<'_>,
    graph_constants: usize,
) {
    let next = code.asm.new_label();
    let mut rule = RuleCode::new(constants, reports);
    inline::emit(code, &mut rule, graph, next);
    let mut rule = rule.continued(constants.skip(graph_constants));
    action::emit(code, &mut rule, commits, action);
    if rule.cannot_evaluate.bind(&mut code.asm) {
        code.decide(constants.counters(), Counted::EvalError, Exit::Deny(Errno::EINVAL), true);
    }
    code.asm.bind(next);
}

/// Estimates the cost of blocks. What is estimated is emitted, and the code thrown away.
pub(crate) struct CostModel<'a> {
    ir: &'a Ir,
    features: &'a Features,
    subprograms: Subprograms,
    /// What leads from a shared block to one next block, and to one of two.
    next: [usize; 2],
}

impl<'a> CostModel<'a> {
    pub(crate) fn new(
        source: &PolicySource<'_>,
        ir: &'a Ir,
        features: &'a Features,
        events: Option<&EventOptions>,
    ) -> Self {
        let facts = events.map(|options| event_facts(source, options, features, 0));
        let mut subprograms = Subprograms::new(features, TableFacts::without_tables(ir), facts);
        // What this takes, it takes once in a program.
        subprograms.will_pad_constants();
        let mut model = Self { ir, features, subprograms, next: [0; 2] };
        model.next = [1, 2].map(|blocks: u32| {
            model.steps(|code| {
                let targets = (0..blocks).map(|block| (block, code.asm.new_label())).collect();
                dispatch::enter_next_by_row(code, 0, false, targets);
            })
        });
        model
    }

    /// The cost of the block of a rule.
    pub(crate) fn of_block(&self, rule: &Rule) -> Cost {
        let words = vec![0; rule.graph_constants.len() + rule.action_constants.len()];
        let own = RuleConstants::InCode { words: &words, counter: 0 };
        let (constants, action, reports) = (rule.graph_constants.len(), &rule.action, rule.reports);
        let of_rule = |graph: &Graph, constants, graph_constants| {
            self.steps(|code| {
                let rule = (graph, action, reports);
                emit_rule(code, &mut Commits::default(), rule, constants, graph_constants);
            })
        };
        let whole = of_rule(&rule.graph, own, constants);
        let action = of_rule(&Graph::EMPTY, own.skip(constants), 0);
        let shared = if words.len() > ROW_CONSTANTS_MAX {
            whole
        } else {
            of_rule(&rule.graph, RuleConstants::InRow { at: 0 }, constants)
        };
        let [next, next_of_two] = self.next;
        Cost {
            condition: whole.saturating_sub(action),
            action,
            row: shared.saturating_sub(whole),
            next,
            other_next: next_of_two - next,
        }
    }

    fn steps(&self, emit: impl FnOnce(&mut Code<'_>)) -> usize {
        let mut code = Code::new(self.features, self.ir.mode, self.ir.rule_count, self.subprograms.clone());
        let before = code.verifier_steps();
        emit(&mut code);
        code.verifier_steps() - before
    }
}

/// Whether some rule takes values that are longer than a few numbers.
fn looks_at_long_values(ir: &Ir) -> bool {
    let is_long = |test: &Test| match test {
        Test::Ranges { .. } => true,
        Test::Text { subject, .. } => subject.value().is_some(),
        Test::Compare { .. } | Test::Member { .. } => false,
    };
    ir.rules.values().any(|rule| {
        let replaces = matches!(rule.action, Action::Set(_) | Action::SetLong(_) | Action::Ignore);
        replaces || rule.graph.nodes().iter().any(|node| is_long(&node.test))
    })
}

/// The rules that would rewrite, but cannot on this kernel.
fn degraded_rewrites(ir: &Ir, features: &Features) -> Vec<Degradation> {
    let rewriting = ir.rules.iter().filter(|(_, rule)| rule.action.rewrites());
    let degraded = rewriting.filter_map(|(&RuleId { rule, .. }, Rule { action, .. })| match action {
        Action::ClampEach(_) if !features.variable_stack => {
            Some((rule, Degradation::VectorClampIsDenied { rule }))
        }
        _ => (!features.set_new_value).then_some((rule, Degradation::RewriteIsDenied { rule })),
    });
    degraded.collect::<BTreeMap<usize, Degradation>>().into_values().collect()
}

/// Checks that programs on this kernel have all operands of the rules.
///
/// # Errors
/// The first rule with an operand that they lack.
pub(crate) fn check_operands(ir: &Ir, features: &Features) -> Result<(), CompileError> {
    let missing = |test: &Test| {
        let operand = test.operands().find_map(|operand| match operand {
            Operand::Uid if !features.current_uid_gid => Some("uid"),
            Operand::Gid if !features.current_uid_gid => Some("gid"),
            Operand::KnobNetns if features.knob_owner.is_none() => Some("netns"),
            _ => None,
        });
        let looks_at_comm = matches!(test, Test::Text { subject: Subject::Comm, .. });
        operand.or((looks_at_comm && !features.current_comm).then_some("comm"))
    };
    let rules = ir.rules.iter().filter_map(|(&RuleId { rule, .. }, Rule { graph, .. })| {
        let operand = graph.nodes().iter().find_map(|node| missing(&node.test))?;
        Some(CompileError::NotOnThisKernel { rule, operand })
    });
    rules.min_by_key(CompileError::rule).map_or(Ok(()), Err)
}
