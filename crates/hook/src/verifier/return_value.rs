//! The return values of programs and the arguments of `bpf_set_retval`: `check_return_code()` in kernel/bpf/verifier.c.

use knobgate_bpf::Reg;
use knobgate_bpf::uapi::MAX_ERRNO;

use super::Rejection;
use super::state::Abstract;

/// Rejects a return value that is not known to be 0 or 1.
pub(super) fn check_returned(
    insn: usize,
    value: Abstract,
    bounded: Option<&'static str>,
) -> Result<(), Rejection> {
    let Some(at) = bounded else { return Ok(()) };
    let found = match value {
        Abstract::Number(scalar, _) if scalar.unsigned.max <= 1 => return Ok(()),
        Abstract::Number(scalar, _) => match (scalar.unsigned.min, scalar.unsigned.max) {
            (min, max) if min == max => format!("has value {}", min as i64),
            (_, u64::MAX) => "has unknown scalar value".to_owned(),
            (min, max) => format!("has a value from {min} to {max}"),
        },
        _ => "is not a known value".to_owned(),
    };
    Err(Rejection::ReturnValue { insn, at, found })
}

/// Rejects an argument of `bpf_set_retval` that is not known to be an errno or 0.
pub(super) fn check_retval(insn: usize, value: Abstract) -> Result<(), Rejection> {
    match value {
        Abstract::Number(scalar, _) if scalar.is_int_within(-MAX_ERRNO, 0) => Ok(()),
        Abstract::Number(scalar, _) => {
            let found = match scalar.known() {
                Some(value) => format!("has value {}", value as i64),
                None => "has unknown scalar value".to_owned(),
            };
            Err(Rejection::Retval { insn, found })
        }
        Abstract::Any | Abstract::Uninit => Ok(()),
        _ => Err(Rejection::NotAScalar { insn, register: Reg::R1.number() }),
    }
}
