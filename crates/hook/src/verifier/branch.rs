//! The state after a branch: `reg_set_min_max()` and `mark_ptr_or_null_regs()` in kernel/bpf/verifier.c.

use knobgate_bpf::{Cond, Operand, Width};

use super::scalar::Scalar;
use super::state::{Abstract, FuncState};
use crate::Profile;
use crate::step::Step;

/// Whether a comparison of the number with itself holds, if that is known.
fn itself(width: Width, cond: Cond, number: Scalar) -> Option<bool> {
    match cond {
        Cond::Eq | Cond::Ge | Cond::Le | Cond::SGe | Cond::SLe => Some(true),
        Cond::Ne | Cond::Gt | Cond::Lt | Cond::SGt | Cond::SLt => Some(false),
        Cond::Set => match number.known_to(width) {
            Some(known) => Some(known != 0),
            None => number.sign_excludes_zero(width).then_some(true),
        },
    }
}

/// The state at `target`, a successor of the instruction `insn`, which is `step`. `None`: the branch is never taken.
pub(super) fn outcome(
    step: Step,
    insn: usize,
    target: usize,
    state: &FuncState,
    profile: &Profile,
) -> Option<FuncState> {
    let Step::JumpIf { width, cond, dst, operand, target: jumps_to } = step else {
        return Some(state.clone());
    };
    // Both branches of a jump to the next instruction lead there.
    if jumps_to as usize == insn + 1 {
        return Some(state.clone());
    }
    let holds = target != insn + 1;
    let left = state.get(dst);
    let right = match operand {
        Operand::Imm(imm) => Abstract::constant(i64::from(imm) as u64),
        Operand::Reg(register) => state.get(register),
    };
    let mut there = state.clone();
    match (left, right) {
        (Abstract::Number(a, _), Abstract::Number(b, _)) => {
            if operand == Operand::Reg(dst) {
                let decided = itself(width, cond, a).filter(|_| profile.self_comparisons_decided);
                if decided.is_some_and(|outcome| outcome != holds) {
                    return None;
                }
                there.learn(dst, a.compare_itself(width, cond, holds)?);
                return Some(there);
            }
            let refined = Scalar::compare(width, cond, holds, a, b)?;
            let differ = matches!((cond, holds), (Cond::Ne, true) | (Cond::Eq, false));
            // Before 6.8, `reg_set_min_max` learns nothing from inequality.
            let (a, b) = if differ && profile.version < (6, 8) { (a, b) } else { refined };
            there.learn(dst, a);
            if let Operand::Reg(register) = operand {
                there.learn(register, b);
            }
        }
        (pointer, Abstract::Number(b, _)) if b.known() == Some(0) && width == Width::W64 => {
            let equals = matches!((cond, holds), (Cond::Eq, true) | (Cond::Ne, false));
            match (pointer, equals) {
                (Abstract::Memory, true) => return None,
                // A possible null pointer that equals 0 is 0.
                (Abstract::Any, true) => there.set(dst, Abstract::constant(0)),
                (Abstract::MemoryOrNull(_), true) => there.find(pointer, Abstract::constant(0)),
                (Abstract::MemoryOrNull(_), false) if matches!(cond, Cond::Eq | Cond::Ne) => {
                    there.find(pointer, Abstract::Memory);
                }
                _ => {}
            }
        }
        _ => {}
    }
    Some(there)
}
