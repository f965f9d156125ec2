//! The interpreter of conditions that are [data](crate::layout).
//!
//! `bpf_loop` calls a function once for every test, and the verifier follows the function once, whatever the number of rules.
//! Its argument is the frame of the main function, with the fetched values. It stores the next node there. There is one
//! function for each combination of fetched values, because it must not look at others.
//!
//! On Linux 6.18 a comparison of numbers takes about 8 ns more than inlined code, a comparison of texts 27 ns more, and a match
//! the same time. That was a chain of 100 rules on reads, with conditions on `pos`, `old ==` and `comm matches`, and the best
//! of 9 times 5,000 reads.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::{Errno, Value, Width};

use super::code::{Code, CounterSource, Exit, LazyLabel};
use super::dispatch::BlockEntrances;
use super::{context, subject, subprograms};
use crate::ir::{FetchSet, Ir, Number, StepId, Subject};
use crate::layout::frame::{self, Numbers};
use crate::layout::{Layout, OperandSource, TestKind, end, node, operand, ordering, ranges, row};
use crate::rule_hits::Counted;

/// The functions that make tests, one for each combination of fetched values.
pub(super) struct Interpreter<'a> {
    layout: &'a Layout<'a>,
    /// The fetched values, with the default width, and the function for them.
    functions: Vec<(FetchSet, Label)>,
}

/// Where a test branches to. Its node is in R7.
#[derive(Debug, Clone, Copy)]
struct Ends {
    holds: Label,
    fails: Label,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(layout: &'a Layout<'a>) -> Self {
        Self { layout, functions: Vec::new() }
    }

    /// Continues with the step, one of `candidates`, whose row is in R9 and whose values are fetched: interprets the
    /// conditions of its chain that are data, `most` tests, and enters the block of the step where that ends.
    pub(super) fn emit_loop(
        &mut self,
        code: &mut Code<'_>,
        blocks: &mut BlockEntrances<'_>,
        fetch: FetchSet,
        candidates: &BTreeSet<StepId>,
        most: usize,
    ) {
        let (entered, cannot_evaluate) = (code.asm.new_label(), code.asm.new_label());
        let fetched = FetchSet { width: Width::default(), ..fetch };
        let function = self.functions.iter().find(|(other, _)| *other == fetched).map(|(_, label)| *label);
        let function = function.unwrap_or_else(|| {
            let label = code.asm.new_label();
            self.functions.push((fetched, label));
            label
        });

        code.asm.load(Size::U64, R0, R9, row::CONDITION);
        code.asm.jump_if(Cond::Eq, R0, end::ENTER as i32, entered);
        code.asm.store(Size::U32, R10, frame::NODE, R0);
        code.asm.load(Size::U32, R1, R6, context::FILE_POS);
        code.asm.store(Size::U32, R10, frame::POSITION, R1);
        if code.features.long_values() {
            code.asm.store(Size::U64, R10, frame::CONTEXT, R6);
        }
        if self.layout.sources.values().any(|source| *source == OperandSource::KnobNetns) {
            // The function that makes the tests has no context.
            code.asm.mov(R1, R6);
            code.subprograms.call_knob_netns(&mut code.asm);
            code.asm.store(Size::U32, R10, frame::KNOB_NETNS, R0);
        }
        code.asm.mov(R1, most as i32);
        code.asm.load_function(R2, function);
        code.asm.mov(R3, R10);
        code.asm.mov(R4, 0);
        code.asm.call_helper(helper::LOOP);
        code.asm.load(Size::U32, R0, R10, frame::ROW);
        blocks.load_row(code);
        code.asm.load(Size::U32, R0, R10, frame::NODE);
        code.asm.jump_if(Cond::Ne, R0, end::ENTER as i32, cannot_evaluate);
        code.asm.bind(entered);
        let entered = candidates.iter().flat_map(|&first| self.interpreted(blocks.ir, first));
        blocks.enter_by_row(code, entered.collect::<BTreeSet<StepId>>());
        code.asm.bind(cannot_evaluate);
        code.decide(CounterSource::Row, Counted::EvalError, Exit::Deny(Errno::EINVAL), true);
    }

    /// The steps of the chain from `first` on at which the interpreter may end.
    fn interpreted(&self, ir: &Ir, first: StepId) -> Vec<StepId> {
        let mut ends = Vec::new();
        for step in ir.steps.chain(first) {
            ends.push(step);
            if !self.layout.step(step).is_interpreted {
                break;
            }
        }
        ends
    }

    /// Emits the functions that loops call. Returns about how many instructions the verifier processes in them beyond the
    /// first time.
    pub(super) fn emit_tests(self, code: &mut Code<'_>) -> usize {
        let mut looped = 0;
        for (fetched, label) in self.functions {
            let names = fetched.values().map(|value| match value {
                Value::New => "_new",
                Value::Old => "_old",
            });
            let before = code.asm.position();
            let before_calls = code.subprograms.verifier_steps();
            code.asm.begin_function(&std::iter::once("test").chain(names).collect::<String>());
            code.asm.bind(label);
            Tester { layout: self.layout, cannot_evaluate: LazyLabel::default() }.emit(code, fetched);
            // As the verifier counts: most of the function three times, and the functions that it calls twice.
            looped += 2 * (code.asm.position() - before) + (code.subprograms.verifier_steps() - before_calls);
        }
        looped
    }
}

/// Emits one function that makes a test. R6 is the frame pointer of the main function.
struct Tester<'a> {
    layout: &'a Layout<'a>,
    cannot_evaluate: LazyLabel,
}

impl Tester<'_> {
    /// The function: R2 the frame pointer of the main function. Returns whether the loop is over.
    fn emit(mut self, code: &mut Code<'_>, fetched: FetchSet) {
        let ends = Ends { holds: code.asm.new_label(), fails: code.asm.new_label() };
        code.asm.mov(R6, R2);
        code.asm.load(Size::U32, R0, R6, frame::NODE);
        code.table_at_offset(R7, self.layout.facts.offset_mask);

        let is_there = |value: Option<Value>| value.is_none_or(|value| fetched.has(value));
        let sources = self.layout.sources.values().copied().filter(|source| is_there(source.value()));
        let sources: Vec<OperandSource> = sources.collect();
        let takes_operands = |test| matches!(test, TestKind::Compare | TestKind::Search);
        let has_operands = |test: TestKind| !takes_operands(test) || !sources.is_empty();
        let tests = self.layout.tests.values().copied();
        let tests = tests.filter(|&test| is_there(test.value()) && has_operands(test));
        let tests: Vec<(TestKind, Label)> = tests.map(|test| (test, code.asm.new_label())).collect();
        code.asm.load(Size::U8, R1, R7, node::TEST);
        code.switch(&tests.iter().map(|(test, label)| (test.number().into(), *label)).collect::<Vec<_>>());
        for (test, label) in tests {
            code.asm.bind(label);
            match test {
                TestKind::Compare => self.compare(code, &sources, ends),
                TestKind::Search => self.search(code, &sources, ends),
                TestKind::Bytes(at) => self.bytes(code, at, ends),
                TestKind::Match(at) => {
                    self.run_automaton(code, at);
                    code.asm.jump_if(Cond::Ne, R0, 0, ends.holds);
                    code.asm.jump(ends.fails);
                }
                TestKind::Ranges(value) => {
                    self.run_automaton(code, Subject::Value(value));
                    let cannot_evaluate = self.cannot_evaluate.get(&mut code.asm);
                    code.asm.jump_if(Cond::Eq, R0, ranges::NOT_RANGES as i32, cannot_evaluate);
                    code.asm.jump_if(Cond::Eq, R0, ranges::INSIDE as i32, ends.holds);
                    code.asm.jump(ends.fails);
                }
            }
        }

        let (go_on, over) = (code.asm.new_label(), code.asm.new_label());
        code.asm.bind(ends.holds);
        code.asm.load(Size::U32, R8, R7, node::HOLDS);
        code.asm.jump(go_on);
        code.asm.bind(ends.fails);
        code.asm.load(Size::U32, R8, R7, node::FAILS);
        code.asm.bind(go_on);
        let goes_on = code.asm.new_label();
        code.asm.jump_if(Cond::Ne, R8, end::NEXT_STEP as i32, goes_on);
        code.asm.load(Size::U32, R0, R6, frame::ROW);
        code.table_at_offset(R7, self.layout.facts.offset_mask);
        code.asm.load(Size::U32, R0, R7, row::NEXT);
        code.asm.store(Size::U32, R6, frame::ROW, R0);
        code.table_at_offset(R7, self.layout.facts.offset_mask);
        code.asm.load(Size::U64, R8, R7, row::CONDITION);
        code.asm.bind(goes_on);
        code.asm.store(Size::U32, R6, frame::NODE, R8);
        code.asm.jump_if(Cond::Eq, R8, end::ENTER as i32, over);
        code.asm.mov(R0, 0);
        code.asm.exit();
        if self.cannot_evaluate.bind(&mut code.asm) {
            code.asm.store_imm(Size::U32, R6, frame::NODE, end::CANNOT_EVALUATE as i32);
        }
        code.asm.bind(over);
        code.asm.mov(R0, 1);
        code.asm.exit();
    }

    fn compare(&mut self, code: &mut Code<'_>, sources: &[OperandSource], ends: Ends) {
        self.operand(code, sources, node::LEFT, node::LEFT_CONSTANT, (R8, R9));
        self.operand(code, sources, node::RIGHT, node::RIGHT_CONSTANT, (R3, R4));
        let (compared, signs_differ, greater) =
            (code.asm.new_label(), code.asm.new_label(), code.asm.new_label());
        code.asm.mov(R1, i32::from(ordering::LESS));
        code.asm.jump_if(Cond::Ne, R9, R4, signs_differ);
        // As in `compare`: if the signs are equal, the order of the bits is that of the numbers.
        code.asm.jump_if(Cond::Lt, R8, R3, compared);
        code.asm.jump_if(Cond::Gt, R8, R3, greater);
        code.asm.mov(R1, i32::from(ordering::EQUAL));
        code.asm.jump(compared);
        code.asm.bind(signs_differ);
        code.asm.jump_if(Cond::Ne, R9, 0, compared);
        code.asm.bind(greater);
        code.asm.mov(R1, i32::from(ordering::GREATER));
        code.asm.bind(compared);
        code.asm.load(Size::U8, R2, R7, node::ORDERINGS);
        code.asm.alu(AluOp::And, R2, R1);
        code.asm.jump_if(Cond::Ne, R2, 0, ends.holds);
        code.asm.jump(ends.fails);
    }

    fn search(&mut self, code: &mut Code<'_>, sources: &[OperandSource], ends: Ends) {
        self.operand(code, sources, node::LEFT, node::LEFT_CONSTANT, (R8, R9));
        let (negative, search) = (code.asm.new_label(), code.asm.new_label());
        let [at_nonnegative, at_negative] = node::SORTED;
        code.asm.jump_if(Cond::Ne, R9, 0, negative);
        for (at, label) in [(at_nonnegative, None), (at_negative, Some(negative))] {
            if let Some(label) = label {
                code.asm.bind(label);
            }
            code.asm.load(Size::U32, R2, R7, at);
            code.asm.load(Size::U32, R3, R7, at + 4);
            code.asm.jump(search);
        }
        code.asm.bind(search);
        code.asm.jump_if(Cond::Eq, R3, node::NO_NUMBERS as i32, ends.fails);
        code.asm.mov(R1, R8);
        code.subprograms.call_search(&mut code.asm);
        code.asm.jump_if(Cond::Ne, R0, 0, ends.holds);
        code.asm.jump(ends.fails);
    }

    /// Loads the operand at this offset of the node: its low 64 bits, and 1 if it is negative, else 0. Clobbers R0 to R2.
    fn operand(
        &mut self,
        code: &mut Code<'_>,
        sources: &[OperandSource],
        at: i16,
        constant_at: i16,
        (bits, sign): (Reg, Reg),
    ) {
        let loaded = code.asm.new_label();
        let labels: Vec<Label> = sources.iter().map(|_| code.asm.new_label()).collect();
        let numbers = sources.iter().map(|source| source.number().into());
        code.asm.load(Size::U8, R1, R7, at + operand::SOURCE);
        code.switch(&numbers.zip(labels.iter().copied()).collect::<Vec<_>>());
        for (&source, label) in sources.iter().zip(labels) {
            code.asm.bind(label);
            if let Some(value) = source.value() {
                code.asm.load(Size::U8, R0, R6, Numbers::of(value).shape());
                let cannot_evaluate = self.cannot_evaluate.get(&mut code.asm);
                for (limit, outside) in [(operand::LEAST, Cond::Lt), (operand::MOST, Cond::Gt)] {
                    code.asm.load(Size::U8, R1, R7, at + limit);
                    code.asm.jump_if(outside, R0, R1, cannot_evaluate);
                }
            }
            match source {
                OperandSource::Constant => code.asm.load(Size::U64, bits, R7, constant_at),
                OperandSource::Position => code.asm.load(Size::U32, bits, R6, frame::POSITION),
                OperandSource::Uid | OperandSource::Gid => {
                    code.asm.call_helper(helper::GET_CURRENT_UID_GID);
                    if source == OperandSource::Uid {
                        code.asm.alu(AluOp::Lsh, R0, 32);
                    }
                    code.asm.alu(AluOp::Rsh, R0, 32);
                    code.asm.mov(bits, R0);
                }
                OperandSource::KnobNetns => {
                    let cannot_evaluate = self.cannot_evaluate.get(&mut code.asm);
                    code.asm.load(Size::U32, bits, R6, frame::KNOB_NETNS);
                    code.asm.jump_if(Cond::Eq, bits, subprograms::NETNS_UNKNOWN, cannot_evaluate);
                }
                OperandSource::Count(_) => code.asm.mov(bits, R0),
                OperandSource::Element(value, index) => {
                    code.asm.load(Size::U64, bits, R6, Numbers::of(value).element(index.into()));
                    subject::load_sign(code, R6, Number::at(value, index), sign);
                    code.asm.jump(loaded);
                    continue;
                }
                OperandSource::Masked(value, index) => {
                    let cannot_evaluate = self.cannot_evaluate.get(&mut code.asm);
                    subject::load_sign(code, R6, Number::at(value, index), sign);
                    code.asm.jump_if(Cond::Ne, sign, 0, cannot_evaluate);
                    code.asm.load(Size::U64, bits, R6, Numbers::of(value).element(index.into()));
                    code.asm.load(Size::U64, R0, R7, constant_at);
                    code.asm.alu(AluOp::And, bits, R0);
                    code.asm.jump(loaded);
                    continue;
                }
            }
            code.asm.load(Size::U8, sign, R7, at + operand::NEGATIVE);
            code.asm.jump(loaded);
        }
        code.asm.bind(loaded);
    }

    /// Makes sure that there is a text.
    fn require_text(&mut self, code: &mut Code<'_>, subject: Subject) {
        match subject {
            Subject::Value(value) => {
                subject::require_text(code, (R6, R0), value, &mut self.cannot_evaluate);
            }
            Subject::Comm => subject::fetch_comm(code, R6, &mut self.cannot_evaluate),
        }
    }

    fn bytes(&mut self, code: &mut Code<'_>, subject: Subject, ends: Ends) {
        self.require_text(code, subject);
        let last = code.asm.new_label();
        let words = frame::subject_bytes(subject) as i16 / 8;
        code.asm.load(Size::U8, R2, R7, node::WORDS);
        for word in 0..words {
            code.asm.load(Size::U64, R1, R6, frame::subject_buffer(subject) + 8 * word);
            code.asm.jump_if(Cond::Eq, R2, i32::from(word), last);
            code.asm.load(Size::U64, R3, R7, node::WHOLE + 8 * word);
            code.asm.jump_if(Cond::Ne, R1, R3, ends.fails);
        }
        code.asm.jump(ends.fails);
        code.asm.bind(last);
        code.asm.load(Size::U64, R3, R7, node::MASK);
        code.asm.alu(AluOp::And, R1, R3);
        for either in node::LAST {
            code.asm.load(Size::U64, R3, R7, either);
            code.asm.jump_if(Cond::Eq, R1, R3, ends.holds);
        }
        code.asm.jump(ends.fails);
    }

    /// Runs the DFA of the record over the text of `subject`. Its output is in R0.
    fn run_automaton(&mut self, code: &mut Code<'_>, subject: Subject) {
        self.require_text(code, subject);
        let [long, done] = [(); 2].map(|()| code.asm.new_label());
        let load_dfa = |code: &mut Code<'_>| {
            code.asm.load(Size::U32, R3, R7, node::CLASSES);
            code.asm.load(Size::U32, R4, R7, node::START);
        };
        subject::jump_if_long(code, R6, subject, long);
        subject::load_text(code, R6, subject, &mut self.cannot_evaluate);
        load_dfa(code);
        code.subprograms.call_run_dfa(&mut code.asm, frame::subject_bytes(subject));
        if let Some(value) = subject.value().filter(|_| code.features.long_values()) {
            code.asm.jump(done);
            code.asm.bind(long);
            code.asm.load(Size::U64, R8, R6, frame::CONTEXT);
            load_dfa(code);
            let cannot_evaluate = self.cannot_evaluate.get(&mut code.asm);
            code.subprograms.emit_run_of_long_value(&mut code.asm, (value, R8), cannot_evaluate);
        }
        code.asm.bind(done);
    }
}
