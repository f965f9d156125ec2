//! Replacing the value that a caller writes.
//!
//! The replacement is padded with newlines to exactly the caller's length, because `write(2)` returns the length of
//! the replacement, and writers take another one for a short write or for nonsense. It is set twice, first with a
//! NUL behind it: most kernels hand the buffer to the knob's handler without terminating it (CVE-2026-97420), and
//! of two calls only the last one's length counts, while the first one's NUL stays in the buffer.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R6, R9, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::limits::{NUMBER_CHARS_MAX, VALUE_MAX};
use knobgate_policy::{Errno, Range, Relation, Value};

use crate::block::Block;
use crate::compare::{self, Source};
use crate::error::Degradation;
use crate::frame::{self, FORGET, VALUE_BYTES};
use crate::lower::{Exit, Lowering};

/// The shared ends of rules that rewrite, by where the replacement lies.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// In the buffer of the current value; it may equal what the caller wrote.
    from_old: Option<Label>,
    /// In the buffer of the new value, which it has overwritten; it differs from what the caller wrote.
    from_new: Option<Label>,
}

impl Lowering<'_> {
    /// `set … to text`
    pub(crate) fn set(&mut self, text: &[u8]) {
        self.value(Value::New);
        self.replace_with(text);
    }

    /// `ignore …`
    pub(crate) fn ignore(&mut self) {
        self.value(Value::New);
        self.text(Value::Old);
        self.pad_and_commit(Value::Old);
    }

    /// `clamp … to ranges`
    pub(crate) fn clamp(&mut self, ranges: &[Range]) {
        self.numbers(Value::New, Cond::Ne, ranges.len() as i32);
        if let [range] = ranges {
            self.clamp_one(range);
        } else {
            self.clamp_vector(ranges);
        }
    }

    fn clamp_one(&mut self, range: &Range) {
        let number = Source::Number { of: Value::New, index: 0 };
        for (relation, end) in ends(range) {
            let inside = self.asm.new_label();
            compare::branch(&mut self.asm, number, relation, end, inside, true);
            if let Source::Constant(end) = end {
                self.replace_with(end.to_string().as_bytes());
            }
            self.asm.bind(inside);
        }
        self.decide(Exit::Allow);
    }

    fn clamp_vector(&mut self, ranges: &[Range]) {
        let outside = self.asm.new_label();
        for (index, range) in ranges.iter().enumerate() {
            let number = Source::Number { of: Value::New, index };
            for (relation, end) in ends(range) {
                compare::branch(&mut self.asm, number, relation, end, outside, false);
            }
        }
        self.decide(Exit::Allow);
        if ranges.iter().all(|range| ends(range).next().is_none()) {
            return;
        }
        self.asm.bind(outside);
        if !self.features.variable_stack {
            self.degrade(Degradation::VectorClampIsDenied { rule: self.rule });
            self.decide(Exit::Deny(Errno::EPERM));
            return;
        }
        // R9: how much has been spelled. Eight numbers and the blanks between them are longer than one value's
        // buffer, and run on into the next one's; padding then finds that they do not fit.
        self.asm.mov(R9, 0);
        for (index, range) in ranges.iter().enumerate() {
            if index > 0 {
                self.append(b" ");
            }
            let number = Source::Number { of: Value::New, index };
            let done = self.asm.new_label();
            for (relation, end) in ends(range) {
                let inside = self.asm.new_label();
                compare::branch(&mut self.asm, number, relation, end, inside, true);
                if let Source::Constant(end) = end {
                    self.append(end.to_string().as_bytes());
                }
                self.asm.jump(done);
                self.asm.bind(inside);
            }
            self.end_of_replacement();
            number.load(&mut self.asm, R2);
            number.load_sign(&mut self.asm, R3);
            self.routines.call_append_number(&mut self.asm);
            self.asm.alu(AluOp::Add, R9, R0);
            self.asm.bind(done);
            self.forget_all_but_bound(ranges.len());
        }
        self.append(b"\0");
        self.pad_and_commit(Value::New);
    }

    /// R1: where the next byte of a replacement that is being spelled goes.
    fn end_of_replacement(&mut self) {
        self.address(R1, frame::buffer(Value::New));
        self.asm.alu(AluOp::Add, R1, R9);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.end_of_replacement();
        for (i, &byte) in bytes.iter().enumerate() {
            self.asm.store_imm(Size::U8, R1, i as i16, byte.into());
        }
        self.asm.alu(AluOp::Add, R9, bytes.len() as i32);
    }

    /// Makes the verifier take R9 for any number up to the most that `numbers` numbers take. Without this it would
    /// follow every combination of their lengths.
    fn forget_all_but_bound(&mut self, numbers: usize) {
        let unreadable = self.unreadable();
        self.forget(R9);
        let most = numbers * (NUMBER_CHARS_MAX + 1);
        self.asm.jump_if(Cond::Gt, R9, most as i32, unreadable);
    }

    /// Makes the verifier forget all that it knows of `register`, which is below 256.
    pub(crate) fn forget(&mut self, register: Reg) {
        self.asm.store(Size::U8, R10, FORGET, register);
        self.asm.load(Size::U8, register, R10, FORGET);
    }

    /// Replaces the new value, which has been fetched, with `text`.
    fn replace_with(&mut self, text: &[u8]) {
        let mut buffer = [0; VALUE_BYTES as usize];
        if text.len() > VALUE_MAX {
            // Does not fit into any value that was fetched.
            let unreadable = self.unreadable();
            self.asm.jump(unreadable);
            return;
        }
        buffer[..text.len()].copy_from_slice(text);
        let at = frame::buffer(Value::Old);
        for (i, word) in buffer.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(std::array::from_fn(|i| word[i]));
            self.asm.load_imm64(R1, word);
            self.asm.store(Size::U64, R10, at + 8 * i as i16, R1);
        }
        self.pad_and_commit(Value::Old);
    }

    /// Ends the rule: what lies in the buffer of `value` replaces the new value.
    fn pad_and_commit(&mut self, value: Value) {
        let unreadable = self.unreadable();
        self.asm.load(Size::U8, R9, R10, frame::NEW_LENGTH);
        // Known, but not to the verifier.
        self.asm.jump_if(Cond::Gt, R9, VALUE_MAX as i32, unreadable);
        self.asm.jump_if(Cond::Eq, R9, 0, unreadable);
        self.through(Block::Pad(value));
        self.asm.jump_if(Cond::Eq, R0, 0, unreadable);
        if !self.features.set_new_value {
            self.degrade(Degradation::RewriteIsDenied { rule: self.rule });
        }
        self.count(crate::program::Counter::Decided(self.rule));
        let commit = match value {
            Value::New => &mut self.commits.from_new,
            Value::Old => &mut self.commits.from_old,
        };
        let label = *commit.get_or_insert_with(|| self.asm.new_label());
        self.asm.jump(label);
    }

    /// Emits the ends that something jumps to.
    pub(crate) fn emit_commits(&mut self) {
        if let Some(label) = self.commits.from_new {
            self.asm.bind(label);
            self.commit(Value::New);
        }
        if let Some(label) = self.commits.from_old {
            self.asm.bind(label);
            let differs = self.asm.new_label();
            let (new, old) = (frame::buffer(Value::New), frame::buffer(Value::Old));
            for offset in (0..VALUE_BYTES).step_by(8) {
                self.asm.load(Size::U64, R1, R10, new + offset);
                self.asm.load(Size::U64, R2, R10, old + offset);
                self.asm.jump_if(Cond::Ne, R1, R2, differs);
            }
            self.exit(Exit::Allow);
            self.asm.bind(differs);
            self.commit(Value::Old);
        }
    }

    /// Replaces the new value with the R9 bytes in the buffer of `value`, behind which stands a NUL.
    fn commit(&mut self, value: Value) {
        if self.audits() {
            return self.exit(Exit::Allow);
        }
        if !self.features.set_new_value {
            return self.exit(Exit::Deny(Errno::EPERM));
        }
        let refused = self.asm.new_label();
        for terminator in [1, 0] {
            self.asm.mov(R1, R6);
            self.address(R2, frame::buffer(value));
            self.asm.mov(R3, R9);
            self.asm.alu(AluOp::Add, R3, terminator);
            self.asm.call_helper(helper::SYSCTL_SET_NEW_VALUE);
        }
        self.asm.jump_if(Cond::Ne, R0, 0, refused);
        self.exit(Exit::Allow);
        self.asm.bind(refused);
        self.exit(Exit::Deny(Errno::EINVAL));
    }
}

/// The ends of a range with the relation that a number inside has to them.
fn ends(range: &Range) -> impl Iterator<Item = (Relation, Source)> {
    let low = range.low.map(|low| (Relation::GreaterOrEqual, Source::Constant(low)));
    let high = range.high.map(|high| (Relation::LessOrEqual, Source::Constant(high)));
    low.into_iter().chain(high)
}
