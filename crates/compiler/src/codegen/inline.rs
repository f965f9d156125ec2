//! Decision graphs as code. The values that they look at have been fetched.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R10};
use knobgate_bpf::{Cond, Label, Size, helper_ids as helper};
use knobgate_glob::TextEnd;
use knobgate_policy::Relation;
use knobgate_policy::limits::ELEMENTS_MAX;

use super::code::Code;
use super::compare::{self, Branch, NextLabel};
use super::rule_code::{RuleCode, RuleConstants};
use super::subprograms::{self, long_value};
use super::{subject, verifier};
use crate::ir::{
    Automaton, Bytes, CountRange, Established, Extent, Graph, Next, NumberSet, Operand, Sorted, Subject,
    Test, TextTest,
};
use crate::layout::frame::{self, Numbers};
use crate::layout::{ranges, shape};

/// Emits `graph`. Falls through if it holds, else goes to `fails`.
pub(super) fn emit(code: &mut Code<'_>, rule: &mut RuleCode<'_>, graph: &Graph, fails: Label) {
    let holds = code.asm.new_label();
    let labels: Vec<Label> = graph.nodes().iter().map(|_| code.asm.new_label()).collect();
    let established = graph.established();
    for (index, node) in graph.nodes().iter().enumerate() {
        code.asm.bind(labels[index]);
        let comes_next = |next| match next {
            Next::Node(node) => node == index + 1,
            Next::Holds => index + 1 == graph.nodes().len(),
            Next::Fails => false,
        };
        let label = |next| match next {
            Next::Node(node) => labels[node],
            Next::Holds => holds,
            Next::Fails => fails,
        };
        let next = match (comes_next(node.holds), comes_next(node.fails)) {
            (true, _) => NextLabel::Holds,
            (_, true) => NextLabel::Fails,
            _ => NextLabel::Neither,
        };
        let branch = Branch { holds: label(node.holds), fails: label(node.fails), next };
        emit_test(code, rule, &node.test, established[index], branch);
    }
    code.asm.bind(holds);
}

fn emit_test(
    code: &mut Code<'_>,
    rule: &mut RuleCode<'_>,
    test: &Test,
    mut established: Established,
    branch: Branch,
) {
    for operand in test.operands() {
        require_operand(code, rule, operand, established);
        established.add_operand(operand);
    }
    match test {
        Test::Compare { left, relation, right } => {
            compare::emit(code, rule.constants, (*left, *relation, *right), branch);
        }
        Test::Member { operand, set } => emit_member(code, rule.constants, *operand, *set, branch),
        Test::Ranges { value, automaton } => {
            require_text(code, rule, Subject::Value(*value), established);
            emit_automaton(code, rule, Subject::Value(*value), *automaton);
            let otherwise = rule.cannot_evaluate.get(&mut code.asm);
            code.asm.jump_if(Cond::Eq, R0, ranges::NOT_RANGES as i32, otherwise);
            branch.jump_if(code, R0, Relation::Equal, ranges::INSIDE as i32);
        }
        Test::Text { subject, test } => {
            require_text(code, rule, *subject, established);
            match test {
                TextTest::Equals(text) => {
                    emit_bytes(code, rule.constants, *subject, *text, Extent::Whole, branch);
                }
                TextTest::StartsWith(text) => {
                    emit_bytes(code, rule.constants, *subject, *text, Extent::Start, branch);
                }
                TextTest::Matches(automaton) => {
                    emit_automaton(code, rule, *subject, *automaton);
                    branch.jump_if(code, R0, Relation::NotEqual, 0);
                }
            }
        }
    }
}

/// Makes sure that there is a text.
fn require_text(code: &mut Code<'_>, rule: &mut RuleCode<'_>, subject: Subject, established: Established) {
    match subject {
        Subject::Value(value) if established.has_text(value) => {}
        Subject::Value(value) => {
            subject::require_text(code, (R10, R1), value, &mut rule.cannot_evaluate);
        }
        Subject::Comm if established.comm => {}
        Subject::Comm => subject::fetch_comm(code, R10, &mut rule.cannot_evaluate),
    }
}

/// Makes sure that a number can be loaded.
fn require_operand(code: &mut Code<'_>, rule: &mut RuleCode<'_>, operand: Operand, established: Established) {
    if let Some(counts) = operand.counts() {
        require_count(code, rule, counts, established);
    }
    if let Operand::Masked(number, _) = operand {
        let otherwise = rule.cannot_evaluate.get(&mut code.asm);
        subject::load_sign(code, R10, number, R1);
        code.asm.jump_if(Cond::Ne, R1, 0, otherwise);
    }
    if matches!(operand, Operand::Uid | Operand::Gid) && !established.ids {
        code.asm.call_helper(helper::GET_CURRENT_UID_GID);
        code.asm.store(Size::U64, R10, frame::IDS, R0);
    }
    if operand == Operand::KnobNetns {
        let otherwise = rule.cannot_evaluate.get(&mut code.asm);
        code.asm.mov(R1, R6);
        code.subprograms.call_knob_netns(&mut code.asm);
        verifier::launder_byte(&mut code.asm, R0);
        code.asm.jump_if(Cond::Eq, R0, subprograms::NETNS_UNKNOWN, otherwise);
    }
}

/// Makes sure that `value` is a list of numbers with a count in this range.
pub(super) fn require_count(
    code: &mut Code<'_>,
    rule: &mut RuleCode<'_>,
    CountRange { value, least, most }: CountRange,
    established: Established,
) {
    // The shape of a value that is no list of numbers is greater than any count.
    let (low, high) = established.counts(value).unwrap_or((0, u8::MAX));
    if low >= least && high <= most {
        return;
    }
    let otherwise = rule.cannot_evaluate.get(&mut code.asm);
    code.asm.load(Size::U8, R1, R10, Numbers::of(value).shape());
    if least == most {
        return code.asm.jump_if(Cond::Ne, R1, i32::from(least), otherwise);
    }
    if high > most {
        code.asm.jump_if(Cond::Gt, R1, i32::from(most), otherwise);
    }
    if low < least {
        code.asm.jump_if(Cond::Lt, R1, i32::from(least), otherwise);
    }
}

fn emit_member(
    code: &mut Code<'_>,
    constants: RuleConstants<'_>,
    operand: Operand,
    set: NumberSet,
    branch: Branch,
) {
    let negative = code.asm.new_label();
    compare::load_sign(code, operand, R3);
    code.asm.jump_if(Cond::Ne, R3, 0, negative);
    search(code, constants, operand, set.nonnegative, Branch { next: NextLabel::Neither, ..branch });
    code.asm.bind(negative);
    search(code, constants, operand, set.negative, branch);
}

fn search(
    code: &mut Code<'_>,
    constants: RuleConstants<'_>,
    operand: Operand,
    sorted: Option<Sorted>,
    branch: Branch,
) {
    let Some(Sorted { offset, log2 }) = sorted else { return code.asm.jump(branch.fails) };
    compare::load(code, constants, operand, R1);
    constants.load(code, R2, offset);
    constants.load(code, R3, log2);
    code.subprograms.call_search(&mut code.asm);
    branch.jump_if(code, R0, Relation::NotEqual, 0);
}

/// Compares this extent of the text of `subject` with `text`. Zeros follow the bytes that were fetched.
fn emit_bytes(
    code: &mut Code<'_>,
    constants: RuleConstants<'_>,
    subject: Subject,
    text: Bytes,
    extent: Extent,
    branch: Branch,
) {
    let whole = extent == Extent::Whole;
    if !frame::can_hold(subject, text.len) {
        return branch.always(code, false);
    }
    if text.len == 0 && !whole {
        return branch.always(code, true);
    }
    let mut done = 0;
    let mut compare = |code: &mut Code<'_>, size: Size, is_last: bool| {
        code.asm.load(size, R1, R10, frame::subject_buffer(subject) + done as i16);
        constants.load_bytes(code, R2, text, done, size);
        done += size.bytes() as usize;
        if is_last {
            branch.jump_if(code, R1, Relation::Equal, R2);
        } else {
            code.asm.jump_if(Cond::Ne, R1, R2, branch.fails);
        }
    };
    let mut rest = text.len;
    for size in [Size::U64, Size::U32, Size::U16, Size::U8] {
        while rest >= size.bytes() as usize {
            rest -= size.bytes() as usize;
            compare(code, size, rest == 0 && !whole);
        }
    }
    if whole {
        code.asm.load(Size::U8, R1, R10, frame::subject_buffer(subject) + text.len as i16);
        if subject.end() == TextEnd::NulOrNewline {
            code.asm.jump_if(Cond::Eq, R1, i32::from(b'\n'), branch.holds);
        }
        branch.jump_if(code, R1, Relation::Equal, 0);
    }
}

/// Runs a DFA over the text of `subject`. Its output is in R0.
fn emit_automaton(
    code: &mut Code<'_>,
    rule: &mut RuleCode<'_>,
    subject: Subject,
    Automaton { classes, start }: Automaton,
) {
    let [long, done] = [(); 2].map(|()| code.asm.new_label());
    let load_dfa = |code: &mut Code<'_>| {
        rule.constants.load(code, R3, classes);
        rule.constants.load(code, R4, start);
    };
    subject::jump_if_long(code, R10, subject, long);
    subject::load_text(code, R10, subject, &mut rule.cannot_evaluate);
    load_dfa(code);
    code.subprograms.call_run_dfa(&mut code.asm, frame::subject_bytes(subject));
    if let Some(value) = subject.value().filter(|_| code.features.long_values()) {
        code.asm.jump(done);
        code.asm.bind(long);
        code.asm.mov(R1, R6);
        load_dfa(code);
        code.subprograms.call_match(&mut code.asm, value);
        let otherwise = rule.cannot_evaluate.get(&mut code.asm);
        code.asm.jump32_if(Cond::Eq, R0, long_value::NO_OUTPUT, otherwise);
    }
    code.asm.bind(done);
}

const _: () = assert!(ELEMENTS_MAX < shape::UNAVAILABLE as usize);
