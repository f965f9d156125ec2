//! The loop that goes through conditions that are [data](crate::nodes).
//!
//! `bpf_loop` calls a function once for every test, and the verifier follows that once, whatever the number of rules. It is
//! given the frame of the main function, where values have been fetched, and leaves there how far it has come.
//! There is one for each combination of values: it must not look at those that were not fetched.
//!
//! A comparison of numbers takes about 8 ns more than as code, one of texts 27 ns, and a match no more, on Linux 6.18: for a
//! chain of 100 rules on reads, with conditions on `pos`, `old ==` and `comm matches`, the best of 9 times 5,000 reads.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::limits::{ELEMENTS_MAX, VALUE_MAX};
use knobgate_policy::{Errno, Value, Width};

use crate::blocks::row;
use crate::body::{Needs, TextAt};
use crate::chain::StepId;
use crate::context;
use crate::frame::{self, COMM, COMM_BYTES, Numbers};
use crate::lower::{Exit, Lowering, Outcome};
use crate::nodes::{NONE, NodeTest, Source, end, node, operand, outcome};
use crate::program;
use crate::shape;

/// A function that makes one test.
#[derive(Debug)]
pub(crate) struct Walk {
    label: Label,
    /// What has been fetched, whatever the width.
    fetched: Needs,
}

/// Where a test goes in the end. In R7 is its node.
#[derive(Debug, Clone, Copy)]
struct Ends {
    holds: Label,
    fails: Label,
}

impl Lowering<'_> {
    /// Goes through the conditions of the chain whose first step, one of `candidates`, is in R9, and enters the block of
    /// the step that decides. What the chain needs is fetched.
    pub(crate) fn walk(&mut self, needs: Needs, candidates: BTreeSet<StepId>) {
        let most = candidates.iter().map(|&step| self.blocks.of(step).tests).max().unwrap_or(0);
        if most == 0 {
            return self.enter_by_row(candidates);
        }
        let (decided, unreadable) = (self.asm.new_label(), self.asm.new_label());
        let fetched = Needs { width: Width::default(), ..needs };
        let walk = self.walks.iter().find(|walk| walk.fetched == fetched).map(|walk| walk.label);
        let label = walk.unwrap_or_else(|| {
            let label = self.asm.new_label();
            self.walks.push(Walk { label, fetched });
            label
        });

        self.asm.load(Size::U64, R0, R9, row::CONDITION);
        self.asm.jump_if(Cond::Eq, R0, end::DECIDES as i32, decided);
        self.asm.store(Size::U32, R10, frame::NODE, R0);
        self.asm.load(Size::U32, R1, R6, context::FILE_POS);
        self.asm.store(Size::U32, R10, frame::POSITION, R1);
        self.asm.mov(R1, most as i32);
        self.asm.load_function(R2, label);
        self.asm.mov(R3, R10);
        self.asm.mov(R4, 0);
        self.asm.call_helper(helper::LOOP);
        self.asm.load(Size::U32, R0, R10, frame::ROW);
        self.row_from_offset();
        self.asm.load(Size::U32, R0, R10, frame::NODE);
        self.asm.jump_if(Cond::Ne, R0, end::DECIDES as i32, unreadable);
        self.asm.bind(decided);
        self.enter_by_row(self.chains(candidates));
        self.asm.bind(unreadable);
        self.count_by_row(Outcome::Unreadable);
        self.exit(Exit::Deny(Errno::EINVAL));
    }

    /// Emits the functions that something loops over.
    pub(crate) fn emit_walks(&mut self) {
        for walk in std::mem::take(&mut self.walks) {
            let names = walk.fetched.values().map(|value| match value {
                Value::New => "_new",
                Value::Old => "_old",
            });
            let before = (self.asm.position(), self.routines.verifier_steps());
            self.asm.begin_function(&std::iter::once("test").chain(names).collect::<String>());
            self.asm.bind(walk.label);
            self.emit_test(walk.fetched);
            // As counted by it: most of this three times, and what it calls twice.
            self.steps_in_loops +=
                2 * (self.asm.position() - before.0) + (self.routines.verifier_steps() - before.1);
        }
    }

    /// The function: R2 the frame pointer of the main function. Returns whether the loop is over.
    fn emit_test(&mut self, needs: Needs) {
        let ends = Ends { holds: self.asm.new_label(), fails: self.asm.new_label() };
        self.asm.mov(R6, R2);
        self.asm.load(Size::U32, R0, R6, frame::NODE);
        self.table_at_offset(R7);

        let is_there = |value: Option<Value>| value.is_none_or(|value| needs.has(value));
        let sources = self.blocks.nodes.sources.values().copied().filter(|source| is_there(source.value()));
        let sources: Vec<Source> = sources.collect();
        let takes_operands = |test| matches!(test, NodeTest::Numbers | NodeTest::Search);
        let has_operands = |test: NodeTest| !takes_operands(test) || !sources.is_empty();
        let tests = self.blocks.nodes.tests.values().copied();
        let tests = tests.filter(|&test| is_there(test.value()) && has_operands(test));
        let tests: Vec<(NodeTest, Label)> = tests.map(|test| (test, self.asm.new_label())).collect();
        self.asm.load(Size::U8, R1, R7, node::TEST);
        self.switch_among(
            &tests.iter().map(|(test, label)| (test.number().into(), *label)).collect::<Vec<_>>(),
        );
        for (test, label) in tests {
            self.asm.bind(label);
            match test {
                NodeTest::Numbers => self.test_numbers(&sources, ends),
                NodeTest::Search => self.test_search(&sources, ends),
                NodeTest::Bytes(at) => self.test_bytes(at, ends),
                NodeTest::Matches(at) => self.test_match(at, ends),
            }
        }

        let (go_on, over) = (self.asm.new_label(), self.asm.new_label());
        self.asm.bind(ends.holds);
        self.asm.load(Size::U32, R8, R7, node::HOLDS);
        self.asm.jump(go_on);
        self.asm.bind(ends.fails);
        self.asm.load(Size::U32, R8, R7, node::FAILS);
        self.asm.bind(go_on);
        let goes_on = self.asm.new_label();
        self.asm.jump_if(Cond::Ne, R8, end::NEXT_STEP as i32, goes_on);
        self.asm.load(Size::U32, R0, R6, frame::ROW);
        self.table_at_offset(R7);
        self.asm.load(Size::U32, R0, R7, row::NEXT);
        self.asm.store(Size::U32, R6, frame::ROW, R0);
        self.table_at_offset(R7);
        self.asm.load(Size::U64, R8, R7, row::CONDITION);
        self.asm.bind(goes_on);
        self.asm.store(Size::U32, R6, frame::NODE, R8);
        self.asm.jump_if(Cond::Eq, R8, end::DECIDES as i32, over);
        self.asm.mov(R0, 0);
        self.asm.exit();
        if let Some(unreadable) = self.unreadable.take() {
            self.asm.bind(unreadable);
            self.asm.store_imm(Size::U32, R6, frame::NODE, end::UNREADABLE as i32);
        }
        self.asm.bind(over);
        self.asm.mov(R0, 1);
        self.asm.exit();
    }

    /// Makes `into` what is in the tables at the offset in R0.
    fn table_at_offset(&mut self, into: Reg) {
        self.asm.alu(AluOp::And, R0, self.tables.row_mask() as i32);
        self.asm.load_map_value(into, program::TABLES, 0);
        self.asm.alu(AluOp::Add, into, R0);
    }

    fn test_numbers(&mut self, sources: &[Source], ends: Ends) {
        self.operand(sources, node::LEFT, node::LEFT_CONSTANT, (R8, R9));
        self.operand(sources, node::RIGHT, node::RIGHT_CONSTANT, (R3, R4));
        let (compared, signs_differ, greater) =
            (self.asm.new_label(), self.asm.new_label(), self.asm.new_label());
        self.asm.mov(R1, i32::from(outcome::LESS));
        self.asm.jump_if(Cond::Ne, R9, R4, signs_differ);
        // See `compare`: of equal signs, the order of the bits is that of the numbers.
        self.asm.jump_if(Cond::Lt, R8, R3, compared);
        self.asm.jump_if(Cond::Gt, R8, R3, greater);
        self.asm.mov(R1, i32::from(outcome::EQUAL));
        self.asm.jump(compared);
        self.asm.bind(signs_differ);
        self.asm.jump_if(Cond::Ne, R9, 0, compared);
        self.asm.bind(greater);
        self.asm.mov(R1, i32::from(outcome::GREATER));
        self.asm.bind(compared);
        self.asm.load(Size::U8, R2, R7, node::OUTCOMES);
        self.asm.alu(AluOp::And, R2, R1);
        self.asm.jump_if(Cond::Ne, R2, 0, ends.holds);
        self.asm.jump(ends.fails);
    }

    fn test_search(&mut self, sources: &[Source], ends: Ends) {
        // No constant: one that is looked for is none.
        self.operand(sources, node::LEFT, node::LEFT_CONSTANT, (R8, R9));
        let (negative, search) = (self.asm.new_label(), self.asm.new_label());
        let [at_nonnegative, at_negative] = node::SORTED;
        self.asm.jump_if(Cond::Ne, R9, 0, negative);
        for (at, label) in [(at_nonnegative, None), (at_negative, Some(negative))] {
            if let Some(label) = label {
                self.asm.bind(label);
            }
            self.asm.load(Size::U32, R2, R7, at);
            self.asm.load(Size::U32, R3, R7, at + 4);
            self.asm.jump(search);
        }
        self.asm.bind(search);
        self.asm.jump_if(Cond::Eq, R3, NONE as i32, ends.fails);
        self.asm.mov(R1, R8);
        self.routines.call_is_among(&mut self.asm, self.tables);
        self.asm.jump_if(Cond::Ne, R0, 0, ends.holds);
        self.asm.jump(ends.fails);
    }

    /// Loads the operand that is `at` in the node: its low 64 bits, and 1 if it is negative, else 0. R0 to R2 are lost.
    fn operand(&mut self, sources: &[Source], at: i16, constant_at: i16, (bits, sign): (Reg, Reg)) {
        let loaded = self.asm.new_label();
        let labels: Vec<Label> = sources.iter().map(|_| self.asm.new_label()).collect();
        let numbers = sources.iter().map(|source| source.number().into());
        self.asm.load(Size::U8, R1, R7, at + operand::SOURCE);
        self.switch_among(&numbers.zip(labels.iter().copied()).collect::<Vec<_>>());
        for (&source, label) in sources.iter().zip(labels) {
            self.asm.bind(label);
            if let Some(value) = source.value() {
                self.asm.load(Size::U8, R0, R6, Numbers::of(value).shape());
                let unreadable = self.unreadable();
                for (limit, outside) in [(operand::LEAST, Cond::Lt), (operand::MOST, Cond::Gt)] {
                    self.asm.load(Size::U8, R1, R7, at + limit);
                    self.asm.jump_if(outside, R0, R1, unreadable);
                }
            }
            match source {
                Source::Constant => self.asm.load(Size::U64, bits, R7, constant_at),
                Source::Position => self.asm.load(Size::U32, bits, R6, frame::POSITION),
                Source::Uid | Source::Gid => {
                    self.asm.call_helper(helper::GET_CURRENT_UID_GID);
                    if source == Source::Uid {
                        self.asm.alu(AluOp::Lsh, R0, 32);
                    }
                    self.asm.alu(AluOp::Rsh, R0, 32);
                    self.asm.mov(bits, R0);
                }
                Source::Count(_) => self.asm.mov(bits, R0),
                Source::Element(value, index) => {
                    let numbers = Numbers::of(value);
                    self.asm.load(Size::U64, bits, R6, numbers.element(index.into()));
                    self.asm.load(Size::U8, sign, R6, numbers.signs());
                    self.asm.alu(AluOp::Rsh, sign, i32::from(index));
                    self.asm.alu(AluOp::And, sign, 1);
                    self.asm.jump(loaded);
                    continue;
                }
            }
            self.asm.load(Size::U8, sign, R7, at + operand::NEGATIVE);
            self.asm.jump(loaded);
        }
        self.asm.bind(loaded);
    }

    /// Makes sure that a text can be read.
    fn text_is_readable(&mut self, at: TextAt) {
        let unreadable = self.unreadable();
        match at {
            TextAt::Value(value) => {
                self.asm.load(Size::U8, R0, R6, Numbers::of(value).shape());
                for shape in [shape::UNAVAILABLE, shape::GOES_ON] {
                    self.asm.jump_if(Cond::Eq, R0, shape as i32, unreadable);
                }
            }
            TextAt::Comm => {
                self.asm.mov(R1, R6);
                self.asm.alu(AluOp::Add, R1, i32::from(COMM));
                self.asm.mov(R2, i32::from(COMM_BYTES));
                self.asm.call_helper(helper::GET_CURRENT_COMM);
                self.asm.jump_if(Cond::Ne, R0, 0, unreadable);
            }
        }
    }

    fn test_bytes(&mut self, at: TextAt, ends: Ends) {
        self.text_is_readable(at);
        let last = self.asm.new_label();
        let words = at.bytes() / 8;
        self.asm.load(Size::U8, R2, R7, node::WORDS);
        for word in 0..words {
            self.asm.load(Size::U64, R1, R6, at.offset() + 8 * word);
            self.asm.jump_if(Cond::Eq, R2, i32::from(word), last);
            self.asm.load(Size::U64, R3, R7, node::WHOLE + 8 * word);
            self.asm.jump_if(Cond::Ne, R1, R3, ends.fails);
        }
        self.asm.jump(ends.fails);
        self.asm.bind(last);
        self.asm.load(Size::U64, R3, R7, node::MASK);
        self.asm.alu(AluOp::And, R1, R3);
        for either in node::LAST {
            self.asm.load(Size::U64, R3, R7, either);
            self.asm.jump_if(Cond::Eq, R1, R3, ends.holds);
        }
        self.asm.jump(ends.fails);
    }

    fn test_match(&mut self, at: TextAt, ends: Ends) {
        self.text_is_readable(at);
        self.asm.mov(R1, R6);
        self.asm.alu(AluOp::Add, R1, i32::from(at.offset()));
        match at {
            TextAt::Value(value) => {
                self.asm.load(Size::U8, R2, R6, Numbers::of(value).length());
                // Known, but not to the verifier.
                let unreadable = self.unreadable();
                self.asm.jump_if(Cond::Gt, R2, VALUE_MAX as i32, unreadable);
            }
            TextAt::Comm => self.asm.mov(R2, i32::from(COMM_BYTES)),
        }
        self.asm.load(Size::U32, R3, R7, node::CLASSES);
        self.asm.load(Size::U32, R4, R7, node::START);
        self.routines.call_run_table(&mut self.asm, at.bytes() as usize);
        self.asm.jump_if(Cond::Ne, R0, 0, ends.holds);
        self.asm.jump(ends.fails);
    }
}

const _: () = assert!(ELEMENTS_MAX < shape::UNAVAILABLE as usize);
