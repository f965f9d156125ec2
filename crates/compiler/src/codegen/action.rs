//! The actions of rules, and how a value is replaced.
//!
//! The replacement is padded with newlines to exactly the caller's length, because `write(2)` returns the length of the
//! replacement, and writers take a different length for a short write or an error. A NUL follows it, which
//! [`emit_set_new_value`] needs.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R10};
use knobgate_bpf::{AluOp, Cond, Label, Size, emit_length_check, emit_set_new_value};
use knobgate_policy::limits::{NUMBER_CHARS_MAX, SHORT_VALUE_MAX};
use knobgate_policy::{Errno, Value};

use super::code::{Code, CounterSource, Exit, Report, ReportedVerdict};
use super::compare::{self, Branch, NextLabel};
use super::rule_code::RuleCode;
use super::subprograms::long_value::{self, replacement, source};
use super::{inline, subject, verifier};
use crate::ir::{Action, Bound, Bytes, CountRange, Established, Number, Operand, Reports};
use crate::layout::frame::{self, Numbers, VALUE_BYTES};
use crate::rule_hits::Counted;

/// The shared ends of rules that rewrite, by where the replacement is. The row of the step is in R9.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Whose buffer it is in, for which verdicts an event is sent, and where that end is. In the buffer of the current value, it
    /// may equal what the caller wrote. That of the new value it has overwritten; it differs from what the caller wrote.
    ends: Vec<((Value, Reports), Label)>,
}

/// Emits `action`, which ends the program.
pub(super) fn emit(code: &mut Code<'_>, rule: &mut RuleCode<'_>, commits: &mut Commits, action: &Action) {
    match action {
        Action::Allow => decide(code, rule, Exit::Allow),
        Action::Deny(errno) => decide(code, rule, Exit::Deny(*errno)),
        Action::CannotEvaluate => {
            code.decide(rule.constants.counters(), Counted::EvalError, Exit::Deny(Errno::EINVAL), true);
        }
        Action::Set(text) => {
            subject::require_bytes(code, (R10, R1), Value::New, &mut rule.cannot_evaluate);
            replace_with(code, rule, commits, *text);
        }
        Action::SetLong(text) => {
            subject::require_bytes(code, (R10, R1), Value::New, &mut rule.cannot_evaluate);
            if code.features.long_values() {
                if !code.features.uninit_stack {
                    // The end that the rule shares with others may read the buffer, as far as the verifier knows.
                    verifier::store_through_helper(&mut code.asm, frame::buffer(Value::Old), VALUE_BYTES);
                }
                rule.constants.load(code, R1, *text);
                code.asm.store(Size::U32, R10, frame::SOURCE, R1);
                commits.go_from(code, Value::Old, rule.reports);
            } else {
                // No value is long enough for it.
                let otherwise = rule.cannot_evaluate.get(&mut code.asm);
                code.asm.jump(otherwise);
            }
        }
        Action::Ignore => {
            subject::require_bytes(code, (R10, R1), Value::New, &mut rule.cannot_evaluate);
            subject::require_text(code, (R10, R1), Value::Old, &mut rule.cannot_evaluate);
            if code.features.long_values() {
                let short = code.asm.new_label();
                code.asm.mov(R2, source::BUFFER);
                code.asm.load(Size::U8, R1, R10, Numbers::of(Value::Old).length());
                code.asm.jump_if(Cond::Le, R1, SHORT_VALUE_MAX as i32, short);
                code.asm.mov(R2, source::OLD);
                code.asm.bind(short);
                code.asm.store(Size::U32, R10, frame::SOURCE, R2);
            }
            commits.go_from(code, Value::Old, rule.reports);
        }
        Action::ClampOne(bounds) => clamp_one(code, rule, commits, bounds),
        Action::ClampEach(bounds) => clamp_each(code, rule, commits, bounds),
    }
}

/// Ends the program: the rule has decided.
fn decide(code: &mut Code<'_>, rule: &RuleCode<'_>, exit: Exit) {
    let reports = if exit == Exit::Allow { rule.reports.allow } else { rule.reports.other };
    code.decide(rule.constants.counters(), Counted::Decided, exit, reports);
}

/// Goes to `target` if the number is inside `bound` (`when` is true) or outside (`when` is false), else falls through.
fn jump_if_inside(
    code: &mut Code<'_>,
    rule: &RuleCode<'_>,
    number: Operand,
    bound: &Bound,
    (target, when): (Label, bool),
) {
    let fall_through = code.asm.new_label();
    let branch = if when {
        Branch { holds: target, fails: fall_through, next: NextLabel::Fails }
    } else {
        Branch { holds: fall_through, fails: target, next: NextLabel::Holds }
    };
    compare::emit(code, rule.constants, (number, bound.inside, Operand::Constant(bound.end)), branch);
    code.asm.bind(fall_through);
}

/// Makes sure that the new value is a list of exactly `count` numbers.
fn require_new_count(code: &mut Code<'_>, rule: &mut RuleCode<'_>, count: u8) {
    let counts = CountRange { value: Value::New, least: count, most: count };
    inline::require_count(code, rule, counts, Established::default());
}

/// `clamp … to range`
fn clamp_one(code: &mut Code<'_>, rule: &mut RuleCode<'_>, commits: &mut Commits, bounds: &[Bound]) {
    require_new_count(code, rule, 1);
    for bound in bounds {
        let inside = code.asm.new_label();
        jump_if_inside(code, rule, Operand::Number(Number::only(Value::New)), bound, (inside, true));
        if bound.is_stored {
            replace_with(code, rule, commits, bound.decimal);
        } else {
            let otherwise = rule.cannot_evaluate.get(&mut code.asm);
            code.asm.jump(otherwise);
        }
        code.asm.bind(inside);
    }
    decide(code, rule, Exit::Allow);
}

/// `clamp … to [range, range]`
fn clamp_each(code: &mut Code<'_>, rule: &mut RuleCode<'_>, commits: &mut Commits, bounds: &[Vec<Bound>]) {
    require_new_count(code, rule, bounds.len() as u8);
    let outside = code.asm.new_label();
    let numbers = || (0..).map(|index| Operand::Number(Number::at(Value::New, index)));
    for (number, bounds) in numbers().zip(bounds) {
        for bound in bounds {
            jump_if_inside(code, rule, number, bound, (outside, false));
        }
    }
    decide(code, rule, Exit::Allow);
    if bounds.iter().all(Vec::is_empty) {
        // No number is outside.
        return;
    }
    code.asm.bind(outside);
    for (number, bounds) in numbers().zip(bounds) {
        for bound in bounds.iter().filter(|bound| !bound.is_stored) {
            let otherwise = rule.cannot_evaluate.get(&mut code.asm);
            jump_if_inside(code, rule, number, bound, (otherwise, false));
        }
    }
    if !code.features.variable_stack {
        return decide(code, rule, Exit::Deny(Errno::EPERM));
    }
    // R7: how many bytes have been written. Eight numbers and the blanks between them may be longer than the buffer of one
    // value, and continue in the next one; they do not fit then, unless the new value is long.
    code.asm.mov(R7, 0);
    if code.features.long_values() && !code.features.uninit_stack {
        let rest = frame::buffer(Value::New) + VALUE_BYTES;
        verifier::store_through_helper(&mut code.asm, rest, frame::LIST_BYTES - VALUE_BYTES);
    }
    for (index, (number, number_bounds)) in numbers().zip(bounds).enumerate() {
        if index > 0 {
            append_byte(code, b' ');
            code.asm.alu(AluOp::Add, R7, 1);
        }
        let done = code.asm.new_label();
        for bound in number_bounds {
            let inside = code.asm.new_label();
            jump_if_inside(code, rule, number, bound, (inside, true));
            append_bound(code, rule, bound);
            code.asm.jump(done);
            code.asm.bind(inside);
        }
        end_of_replacement(code);
        compare::load(code, rule.constants, number, R2);
        compare::load_sign(code, number, R3);
        code.subprograms.call_append_number(&mut code.asm);
        code.asm.alu(AluOp::Add, R7, R0);
        code.asm.bind(done);
        // Else the verifier would follow every combination of their lengths.
        verifier::launder_byte(&mut code.asm, R7);
        let otherwise = rule.cannot_evaluate.get(&mut code.asm);
        let most = bounds.len() * (NUMBER_CHARS_MAX + 1);
        verifier::prove_at_most(&mut code.asm, R7, most as i32, otherwise);
    }
    append_byte(code, 0);
    commits.go_from(code, Value::New, rule.reports);
}

/// Makes R1 the address of the next byte of a replacement.
fn end_of_replacement(code: &mut Code<'_>) {
    code.address(R1, frame::buffer(Value::New));
    code.asm.alu(AluOp::Add, R1, R7);
}

fn append_byte(code: &mut Code<'_>, byte: u8) {
    end_of_replacement(code);
    code.asm.store_imm(Size::U8, R1, 0, byte.into());
}

/// Appends the end of a range. The zeros after it are written as well, and the next number overwrites them.
fn append_bound(code: &mut Code<'_>, rule: &RuleCode<'_>, bound: &Bound) {
    end_of_replacement(code);
    for byte in 0..NUMBER_CHARS_MAX {
        rule.constants.load_bytes(code, R2, bound.decimal, byte, Size::U8);
        code.asm.store(Size::U8, R1, byte as i16, R2);
    }
    rule.constants.load(code, R2, bound.len);
    code.asm.alu(AluOp::Add, R7, R2);
}

/// Replaces the new value, which has been fetched, with `text`.
fn replace_with(code: &mut Code<'_>, rule: &RuleCode<'_>, commits: &mut Commits, text: Bytes) {
    let buffer = frame::buffer(Value::Old);
    for offset in (0..VALUE_BYTES as usize).step_by(8) {
        if offset < text.len {
            rule.constants.load_bytes(code, R1, text, offset, Size::U64);
        } else if offset == text.len {
            code.asm.mov(R1, 0);
        }
        code.asm.store(Size::U64, R10, buffer + offset as i16, R1);
    }
    code.subprograms.will_pad_constants();
    if code.features.long_values() {
        code.asm.mov(R1, source::BUFFER);
        code.asm.store(Size::U32, R10, frame::SOURCE, R1);
    }
    commits.go_from(code, Value::Old, rule.reports);
}

impl Commits {
    /// Ends a rule: what is in the buffer of `value` replaces the new value.
    fn go_from(&mut self, code: &mut Code<'_>, value: Value, reports: Reports) {
        let key = (value, reports);
        let known = self.ends.iter().find(|(other, _)| *other == key).map(|(_, label)| *label);
        let label = known.unwrap_or_else(|| {
            let label = code.asm.new_label();
            self.ends.push((key, label));
            label
        });
        code.asm.jump(label);
    }

    /// Emits the ends that something jumps to.
    pub(super) fn emit(mut self, code: &mut Code<'_>) {
        self.ends.sort_by_key(|&((value, reports), _)| (value == Value::Old, reports));
        for ((value, reports), label) in self.ends {
            code.asm.bind(label);
            pad_and_commit(code, value, reports);
        }
    }
}

/// Pads what is in the buffer of `value` to the length of the new value, and replaces that with it. Instead of the buffer, it may be
/// another [`source`].
fn pad_and_commit(code: &mut Code<'_>, value: Value, reports: Reports) {
    let [otherwise, long, same] = [(); 3].map(|()| code.asm.new_label());
    code.asm.load(Size::U8, R7, R10, Numbers::of(Value::New).length());
    if code.features.long_values() {
        if value == Value::Old {
            code.asm.load(Size::U32, R1, R10, frame::SOURCE);
            code.asm.jump_if(Cond::Ne, R1, source::BUFFER, long);
        }
        code.asm.jump_if(Cond::Gt, R7, SHORT_VALUE_MAX as i32, long);
    }
    // The length is in these bounds, but the verifier does not know it.
    emit_length_check(&mut code.asm, R7, SHORT_VALUE_MAX as i32, otherwise);
    code.address(R1, frame::buffer(value));
    verifier::load_unlinked_byte(&mut code.asm, R2, R10, Numbers::of(Value::New).length());
    verifier::load_unknown_zero(&mut code.asm, R3);
    code.subprograms.call_pad(&mut code.asm);
    verifier::launder_byte(&mut code.asm, R0);
    code.asm.jump_if(Cond::Eq, R0, 0, otherwise);
    code.count_by_row(Counted::Decided);
    if value == Value::Old {
        let differs = code.asm.new_label();
        jump_if_buffers_differ(code, differs);
        code.asm.jump(same);
        code.asm.bind(differs);
    }
    commit(code, reports.other, Replacement::InBuffer(value));
    if code.features.long_values() {
        code.asm.bind(long);
        commit_long(code, value, reports, (same, otherwise));
    }
    if value == Value::Old {
        code.asm.bind(same);
        let allowed = Report::of(ReportedVerdict::Allow);
        code.end(CounterSource::Row, Exit::Allow, reports.allow.then_some(allowed));
    }
    code.asm.bind(otherwise);
    code.decide(CounterSource::Row, Counted::EvalError, Exit::Deny(Errno::EINVAL), true);
}

/// The same if the new value, or what replaces it, does not fit on the stack.
fn commit_long(code: &mut Code<'_>, value: Value, reports: Reports, (same, otherwise): (Label, Label)) {
    // The function may return without having stored these, and the verifier forgets when it does.
    verifier::load_unknown_zero(&mut code.asm, R1);
    code.asm.store(Size::U32, R10, frame::HELD_SLOT, R1);
    code.asm.store(Size::U32, R10, frame::HELD_LENGTH, R1);
    code.asm.mov(R1, R6);
    code.address(R2, frame::buffer(value));
    match value {
        // What it is clamped to. It differs from what was written.
        Value::New => code.asm.mov(R3, source::LIST),
        Value::Old => code.asm.load(Size::U32, R3, R10, frame::SOURCE),
    }
    code.asm.mov(R4, R10);
    code.subprograms.call_replace(&mut code.asm);
    verifier::launder_byte(&mut code.asm, R0);
    code.asm.jump_if(Cond::Eq, R0, replacement::NONE, otherwise);
    code.count_by_row(Counted::Decided);
    if value == Value::Old {
        code.asm.jump_if(Cond::Eq, R0, replacement::SAME, same);
    }
    commit(code, reports.other, Replacement::InSlot);
}

/// Goes to `differs` if the first R7 bytes in the buffers of the two values differ.
fn jump_if_buffers_differ(code: &mut Code<'_>, differs: Label) {
    let (new, old) = (frame::buffer(Value::New), frame::buffer(Value::Old));
    let same = code.asm.new_label();
    for offset in (0..VALUE_BYTES).step_by(8) {
        let end = i32::from(offset) + 8;
        let goes_on = code.asm.new_label();
        code.asm.load(Size::U64, R1, R10, new + offset);
        code.asm.load(Size::U64, R2, R10, old + offset);
        code.asm.alu(AluOp::Xor, R1, R2);
        code.asm.jump_if(Cond::Gt, R7, end, goes_on);
        // What follows the value in its last word does not count.
        code.asm.mov(R2, end);
        code.asm.alu(AluOp::Sub, R2, R7);
        code.asm.alu(AluOp::Lsh, R2, 3);
        code.asm.alu(AluOp::Lsh, R1, R2);
        code.asm.jump_if(Cond::Ne, R1, 0, differs);
        code.asm.jump(same);
        code.asm.bind(goes_on);
        code.asm.jump_if(Cond::Ne, R1, 0, differs);
    }
    code.asm.bind(same);
}

/// Where what replaces the new value is. A NUL follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replacement {
    /// The R7 bytes in the buffer of this value.
    InBuffer(Value),
    /// In a slot, which is taken.
    InSlot,
}

/// Replaces the new value.
fn commit(code: &mut Code<'_>, reports: bool, with: Replacement) {
    let reports = reports && code.sends_events();
    let report = |verdict| reports.then_some(Report::of(verdict));
    let is_set = code.features.set_new_value && !code.audits();
    if !is_set && with == Replacement::InSlot {
        long_value::emit_give_back_held(&mut code.asm);
    }
    if !code.features.set_new_value {
        let report = report(ReportedVerdict::Deny(Errno::EPERM));
        return code.end(CounterSource::Row, Exit::Deny(Errno::EPERM), report);
    }
    if code.audits() {
        return code.end(CounterSource::Row, Exit::Allow, report(ReportedVerdict::Rewrite));
    }
    let (failed, failed_unreported) = (code.asm.new_label(), code.asm.new_label());
    let can_fail_unreported = reports && with != Replacement::InSlot;
    if can_fail_unreported {
        // Else the verifier would follow the function for every length that the comparison of the buffers has shown.
        verifier::launder_byte(&mut code.asm, R7);
        emit_length_check(&mut code.asm, R7, SHORT_VALUE_MAX as i32, failed_unreported);
    }
    if reports {
        code.stash();
    }
    let report = |verdict| reports.then_some(Report { is_stashed: true, ..Report::of(verdict) });
    match with {
        Replacement::InBuffer(value) => {
            emit_set_new_value(&mut code.asm, R6, frame::buffer(value), R7, failed);
        }
        Replacement::InSlot => long_value::emit_set(&mut code.asm, failed),
    }
    code.end(CounterSource::Row, Exit::Allow, report(ReportedVerdict::Rewrite));
    code.asm.bind(failed);
    let errno = if code.features.set_retval { Errno::EINVAL } else { Errno::EPERM };
    code.end(CounterSource::Row, Exit::Deny(Errno::EINVAL), report(ReportedVerdict::Deny(errno)));
    if can_fail_unreported {
        code.asm.bind(failed_unreported);
        code.end(CounterSource::Row, Exit::Deny(Errno::EINVAL), None);
    }
}

const _: () = assert!(NUMBER_CHARS_MAX < Bound::DECIMAL_BYTES);
const _: () = assert!(VALUE_BYTES as usize == Action::SET_BYTES);
