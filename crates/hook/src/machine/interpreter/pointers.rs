//! Arithmetic and comparisons of pointers, which have no addresses.

use knobgate_bpf::{AluOp, Cond, Width};

use super::RunResult;
use crate::arithmetic;
use crate::machine::fault::Reason;
use crate::machine::value::Value;

/// `adjust_ptr_min_max_vals()` in kernel/bpf/verifier.c: numbers can be added to and subtracted from pointers, and
/// pointers subtracted from pointers into the same region.
#[cold]
pub(super) fn pointer_arithmetic(width: Width, op: AluOp, left: Value, right: Value) -> RunResult<Value> {
    let moved = |pointer: Value, bits| Ok(Value { bits, region: pointer.region });
    match (width, op) {
        (Width::W64, AluOp::Add) if left.region.is_movable() && right.is_number() => {
            moved(left, left.bits.wrapping_add(right.bits))
        }
        (Width::W64, AluOp::Add) if right.region.is_movable() && left.is_number() => {
            moved(right, right.bits.wrapping_add(left.bits))
        }
        (Width::W64, AluOp::Sub) if left.region.is_movable() && right.is_number() => {
            moved(left, left.bits.wrapping_sub(right.bits))
        }
        (Width::W64, AluOp::Sub) if left.region == right.region && left.region.has_offsets() => {
            Ok(Value::number(left.bits.wrapping_sub(right.bits)))
        }
        _ => Err(Reason::DependsOnAddress { left: left.region, right: right.region }),
    }
}

/// Compares pointers, if the result does not depend on addresses. Pointers are not null, except those to structs of the
/// kernel, which have addresses.
#[cold]
pub(super) fn compare_pointers(width: Width, cond: Cond, left: Value, right: Value) -> RunResult<bool> {
    if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
        return Ok(arithmetic::holds(width, cond, left, right));
    }
    let is_null = |value: Value| value.is_number() && value.bits == 0;
    let differ = is_null(left) || is_null(right) || !(left.is_number() || right.is_number());
    match (width, cond) {
        (Width::W64, _) if left.region == right.region && cond != Cond::Set => {
            Ok(arithmetic::holds(width, cond, left.bits, right.bits))
        }
        (Width::W64, Cond::Eq) if differ => Ok(false),
        (Width::W64, Cond::Ne) if differ => Ok(true),
        _ => Err(Reason::DependsOnAddress { left: left.region, right: right.region }),
    }
}
