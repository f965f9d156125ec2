//! The return values of programs and the arguments of `bpf_set_retval`: `check_return_code()` in kernel/bpf/verifier.c.

use knobgate_bpf::Reg;
use knobgate_bpf::uapi::MAX_ERRNO;

use super::register::Register;
use super::violation::{Bounds, Violation};

/// Rejects a number that is not known to be 0 or 1.
pub(super) fn check_returned(at: &'static str, value: &Register) -> Result<(), Violation> {
    let bounds = value.scalar.signed;
    if bounds.min >= 0 && bounds.max <= 1 {
        return Ok(());
    }
    Err(Violation::ReturnValue { at, found: Bounds { min: bounds.min, max: bounds.max } })
}

/// Rejects an argument of `bpf_set_retval` that is not known to be an errno or 0.
pub(super) fn check_retval(value: &Register) -> Result<(), Violation> {
    if !value.is_scalar() {
        return Err(Violation::NotAScalar { register: Reg::R1.number() });
    }
    if value.scalar.is_int_within(-MAX_ERRNO, 0) {
        return Ok(());
    }
    let bounds = value.scalar.signed;
    Err(Violation::Retval { found: Bounds { min: bounds.min, max: bounds.max } })
}
