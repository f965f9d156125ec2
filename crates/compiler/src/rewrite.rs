//! Replacing the value that a caller writes.
//!
//! The replacement is padded with newlines to exactly the caller's length, because `write(2)` returns the length of
//! the replacement, and writers take another one for a short write or for nonsense. A NUL is put behind it, which
//! [`emit_set_new_value`] wants.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R6, R7, R10};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, emit_length_check, emit_set_new_value};
use knobgate_policy::limits::{NUMBER_CHARS_MAX, VALUE_MAX};
use knobgate_policy::{Errno, Value};

use crate::body::{Bound, Bytes, SPELLED_BYTES, Term};
use crate::context;
use crate::frame::{self, FORGET, Numbers, VALUE_BYTES};
use crate::lower::{Exit, Lowering, Outcome};

/// The shared ends of rules that rewrite, by where the replacement lies. The row of the step is in R9.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// In the buffer of the current value; it may equal what the caller wrote.
    from_old: Option<Label>,
    /// In the buffer of the new value, which it has overwritten; it differs from what the caller wrote.
    from_new: Option<Label>,
}

impl Lowering<'_> {
    /// `set … to text`
    pub(crate) fn set(&mut self, text: Bytes) {
        self.value(Value::New);
        self.replace_with(text);
    }

    /// `ignore …`
    pub(crate) fn ignore(&mut self) {
        self.value(Value::New);
        self.text(Value::Old);
        self.commit_from(Value::Old);
    }

    /// `clamp … to range`
    pub(crate) fn clamp_one(&mut self, bounds: &[Bound]) {
        self.numbers(Value::New, Cond::Ne, 1);
        for bound in bounds {
            let inside = self.asm.new_label();
            self.compare(Term::Only(Value::New), bound.inside, Term::Constant(bound.end), inside, true);
            if bound.is_stored {
                self.replace_with(bound.spelled);
            } else {
                let unreadable = self.unreadable();
                self.asm.jump(unreadable);
            }
            self.asm.bind(inside);
        }
        self.decide(Exit::Allow);
    }

    /// `clamp … to [range, range]`
    pub(crate) fn clamp_each(&mut self, bounds: &[Vec<Bound>]) {
        self.numbers(Value::New, Cond::Ne, bounds.len() as i32);
        let outside = self.asm.new_label();
        for (index, bounds) in (0..).zip(bounds) {
            for bound in bounds {
                let number = Term::Element(Value::New, index);
                self.compare(number, bound.inside, Term::Constant(bound.end), outside, false);
            }
        }
        self.decide(Exit::Allow);
        if bounds.iter().all(Vec::is_empty) {
            // Nothing is outside.
            return;
        }
        self.asm.bind(outside);
        for (index, bounds) in (0..).zip(bounds) {
            for bound in bounds.iter().filter(|bound| !bound.is_stored) {
                let (number, unreadable) = (Term::Element(Value::New, index), self.unreadable());
                self.compare(number, bound.inside, Term::Constant(bound.end), unreadable, false);
            }
        }
        if !self.features.variable_stack {
            self.decide(Exit::Deny(Errno::EPERM));
            return;
        }
        // R7: how much has been spelled. Eight numbers and the blanks between them are longer than one value's
        // buffer, and run on into the next one's; padding then finds that they do not fit.
        self.asm.mov(R7, 0);
        for (index, number_bounds) in (0..).zip(bounds) {
            if index > 0 {
                self.append_byte(b' ');
                self.asm.alu(AluOp::Add, R7, 1);
            }
            let number = Term::Element(Value::New, index);
            let done = self.asm.new_label();
            for bound in number_bounds {
                let inside = self.asm.new_label();
                self.compare(number, bound.inside, Term::Constant(bound.end), inside, true);
                self.append_spelled(bound);
                self.asm.jump(done);
                self.asm.bind(inside);
            }
            self.end_of_replacement();
            self.load_term(number, R2);
            self.load_sign(number, R3);
            self.routines.call_append_number(&mut self.asm);
            self.asm.alu(AluOp::Add, R7, R0);
            self.asm.bind(done);
            self.forget_all_but_bound(bounds.len());
        }
        self.append_byte(0);
        self.commit_from(Value::New);
    }

    /// R1: where the next byte of a replacement that is being spelled goes.
    fn end_of_replacement(&mut self) {
        self.address(R1, frame::buffer(Value::New));
        self.asm.alu(AluOp::Add, R1, R7);
    }

    fn append_byte(&mut self, byte: u8) {
        self.end_of_replacement();
        self.asm.store_imm(Size::U8, R1, 0, byte.into());
    }

    /// Appends a number of the rule's own. The zeros behind it are written as well: the next one goes over them.
    fn append_spelled(&mut self, bound: &Bound) {
        self.end_of_replacement();
        for byte in 0..NUMBER_CHARS_MAX {
            self.constant_bytes(R2, bound.spelled, byte, Size::U8);
            self.asm.store(Size::U8, R1, byte as i16, R2);
        }
        self.constant(R2, bound.len);
        self.asm.alu(AluOp::Add, R7, R2);
    }

    /// Makes the verifier take R7 for any number up to the most that `numbers` numbers take. Without this it would
    /// follow every combination of their lengths.
    fn forget_all_but_bound(&mut self, numbers: usize) {
        let unreadable = self.unreadable();
        self.forget(R7);
        let most = numbers * (NUMBER_CHARS_MAX + 1);
        self.asm.jump_if(Cond::Gt, R7, most as i32, unreadable);
    }

    /// Makes the verifier forget all that it knows of `register`, which is below 256.
    fn forget(&mut self, register: Reg) {
        self.asm.store(Size::U8, R10, FORGET, register);
        self.asm.load(Size::U8, register, R10, FORGET);
    }

    /// Replaces the new value, which has been fetched, with `text`.
    fn replace_with(&mut self, text: Bytes) {
        let at = frame::buffer(Value::Old);
        for offset in (0..VALUE_BYTES as usize).step_by(8) {
            if offset < text.len {
                self.constant_bytes(R1, text, offset, Size::U64);
            } else if offset == text.len {
                self.asm.mov(R1, 0);
            }
            self.asm.store(Size::U64, R10, at + offset as i16, R1);
        }
        self.routines.will_pad_constants();
        self.commit_from(Value::Old);
    }

    /// Ends the rule: what lies in the buffer of `value` replaces the new value.
    fn commit_from(&mut self, value: Value) {
        let commit = match value {
            Value::New => &mut self.commits.from_new,
            Value::Old => &mut self.commits.from_old,
        };
        let label = *commit.get_or_insert_with(|| self.asm.new_label());
        self.asm.jump(label);
    }

    /// Emits the ends that something jumps to.
    pub(crate) fn emit_commits(&mut self) {
        for (value, label) in [(Value::New, self.commits.from_new), (Value::Old, self.commits.from_old)] {
            if let Some(label) = label {
                self.asm.bind(label);
                self.pad_and_commit(value);
            }
        }
    }

    /// Pads what lies in the buffer of `value` to the length of the new value, and replaces that with it.
    fn pad_and_commit(&mut self, value: Value) {
        let unreadable = self.asm.new_label();
        self.asm.load(Size::U8, R7, R10, Numbers::of(Value::New).length());
        // It is such a length, but the verifier does not know.
        emit_length_check(&mut self.asm, R7, VALUE_MAX as i32, unreadable);
        self.address(R1, frame::buffer(value));
        // Not from R7: the verifier would know that they are equal, and follow the rest for every length by itself.
        self.asm.load(Size::U8, R2, R10, Numbers::of(Value::New).length());
        // 0: elsewhere the new value is unavailable. If the verifier knew, it would follow the rest for every length again.
        self.asm.load(Size::U32, R3, R6, context::FILE_POS);
        self.routines.call_pad(&mut self.asm);
        self.forget(R0);
        self.asm.jump_if(Cond::Eq, R0, 0, unreadable);
        self.count_by_row(Outcome::Decided);
        if value == Value::Old {
            let differs = self.asm.new_label();
            let (new, old) = (frame::buffer(Value::New), frame::buffer(Value::Old));
            let same = self.asm.new_label();
            for offset in (0..VALUE_BYTES).step_by(8) {
                let end = i32::from(offset) + 8;
                let goes_on = self.asm.new_label();
                self.asm.load(Size::U64, R1, R10, new + offset);
                self.asm.load(Size::U64, R2, R10, old + offset);
                self.asm.alu(AluOp::Xor, R1, R2);
                self.asm.jump_if(Cond::Gt, R7, end, goes_on);
                // What is in the last word behind the value does not count.
                self.asm.mov(R2, end);
                self.asm.alu(AluOp::Sub, R2, R7);
                self.asm.alu(AluOp::Lsh, R2, 3);
                self.asm.alu(AluOp::Lsh, R1, R2);
                self.asm.jump_if(Cond::Ne, R1, 0, differs);
                self.asm.jump(same);
                self.asm.bind(goes_on);
                self.asm.jump_if(Cond::Ne, R1, 0, differs);
            }
            self.asm.bind(same);
            self.exit(Exit::Allow);
            self.asm.bind(differs);
        }
        self.commit(value);
        self.asm.bind(unreadable);
        self.count_by_row(Outcome::Unreadable);
        self.exit(Exit::Deny(Errno::EINVAL));
    }

    /// Replaces the new value with the R7 bytes in the buffer of `value`, behind which stands a NUL.
    fn commit(&mut self, value: Value) {
        if self.audits() {
            return self.exit(Exit::Allow);
        }
        if !self.features.set_new_value {
            return self.exit(Exit::Deny(Errno::EPERM));
        }
        let refused = self.asm.new_label();
        emit_set_new_value(&mut self.asm, R6, frame::buffer(value), R7, refused);
        self.exit(Exit::Allow);
        self.asm.bind(refused);
        self.exit(Exit::Deny(Errno::EINVAL));
    }
}

const _: () = assert!(NUMBER_CHARS_MAX < SPELLED_BYTES);
