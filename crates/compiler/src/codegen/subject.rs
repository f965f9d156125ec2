//! Values and texts on the stack of the main function, for code in it and for the functions that it calls.
//!
//! `base` is the register with the frame pointer of the main function: R10 in that function itself.

use knobgate_bpf::Reg::{R0, R1, R2};
use knobgate_bpf::{AluOp, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_policy::Value;
use knobgate_policy::limits::SHORT_VALUE_MAX;

use super::code::{Code, LazyLabel};
use super::verifier;
use crate::ir::{Number, Subject};
use crate::layout::frame::{self, COMM, COMM_BYTES, Numbers};
use crate::layout::shape;

/// Loads the shape of `value` into `into`, and leaves if the value is unavailable.
pub(super) fn require_bytes(
    code: &mut Code<'_>,
    (base, into): (Reg, Reg),
    value: Value,
    cannot_evaluate: &mut LazyLabel,
) {
    let cannot_evaluate = cannot_evaluate.get(&mut code.asm);
    code.asm.load(Size::U8, into, base, Numbers::of(value).shape());
    code.asm.jump_if(Cond::Eq, into, shape::UNAVAILABLE as i32, cannot_evaluate);
}

/// As [`require_bytes`], and leaves also if the value has no text.
pub(super) fn require_text(
    code: &mut Code<'_>,
    (base, into): (Reg, Reg),
    value: Value,
    cannot_evaluate: &mut LazyLabel,
) {
    require_bytes(code, (base, into), value, cannot_evaluate);
    let cannot_evaluate = cannot_evaluate.get(&mut code.asm);
    code.asm.jump_if(Cond::Eq, into, shape::GOES_ON as i32, cannot_evaluate);
}

/// Fetches the name of the task.
pub(super) fn fetch_comm(code: &mut Code<'_>, base: Reg, cannot_evaluate: &mut LazyLabel) {
    let cannot_evaluate = cannot_evaluate.get(&mut code.asm);
    address(code, base, COMM);
    code.asm.mov(R2, i32::from(COMM_BYTES));
    code.asm.call_helper(helper::GET_CURRENT_COMM);
    code.asm.jump_if(Cond::Ne, R0, 0, cannot_evaluate);
}

/// Goes to `long` if the text of `subject` is that of a long value. Clobbers R1.
pub(super) fn jump_if_long(code: &mut Code<'_>, base: Reg, subject: Subject, long: Label) {
    if let Some(value) = subject.value().filter(|_| code.features.long_values()) {
        code.asm.load(Size::U8, R1, base, Numbers::of(value).length());
        code.asm.jump_if(Cond::Gt, R1, SHORT_VALUE_MAX as i32, long);
    }
}

/// Makes R1 the address of a text, and R2 its length. It is not that of a [long value](jump_if_long).
pub(super) fn load_text(code: &mut Code<'_>, base: Reg, subject: Subject, cannot_evaluate: &mut LazyLabel) {
    address(code, base, frame::subject_buffer(subject));
    match subject {
        Subject::Value(value) => {
            code.asm.load(Size::U8, R2, base, Numbers::of(value).length());
            let cannot_evaluate = cannot_evaluate.get(&mut code.asm);
            verifier::prove_at_most(&mut code.asm, R2, SHORT_VALUE_MAX as i32, cannot_evaluate);
        }
        Subject::Comm => code.asm.mov(R2, i32::from(COMM_BYTES)),
    }
}

fn address(code: &mut Code<'_>, base: Reg, offset: i16) {
    code.asm.mov(R1, base);
    code.asm.alu(AluOp::Add, R1, i32::from(offset));
}

/// Loads 1 if this element of a list of numbers is negative, else 0.
pub(super) fn load_sign(code: &mut Code<'_>, base: Reg, number: Number, into: Reg) {
    code.asm.load(Size::U8, into, base, Numbers::of(number.value).signs());
    code.asm.alu(AluOp::Rsh, into, i32::from(number.index));
    code.asm.alu(AluOp::And, into, 1);
}
