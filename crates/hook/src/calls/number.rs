//! `bpf_strtol` and `bpf_strtoul`: kernel/bpf/helpers.c, lib/kstrtox.c.

use knobgate_bpf::Reg;

use super::{Called, Helper, errno};
use crate::Errno;
use crate::machine::{Machine, Reason, Value};

/// What is looked at behind the sign: `sizeof(str) - 1` in `__bpf_strtoull()`.
const WINDOW_BYTES: usize = 63;

/// `bpf_strtol(buf, buf_len, flags, res)`, `bpf_strtoul(buf, buf_len, flags, res)`
pub(super) fn parse(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let flags = machine.number_argument(helper, Reg::R3)?;
    let result = machine.pointer_argument(helper, Reg::R4)?;
    let text = machine.bytes_argument(pointer, size)?;
    if result.bits % 8 != 0 {
        return Err(Reason::Misaligned { size: 8 });
    }
    // Kernels where results need not be set before do not leave them as they are either.
    let zeroes = machine.invocation.profile.zero_res_on_error;
    if !zeroes {
        machine.memory.read(result, 8, |_| ())?;
    }
    let parsed = match helper {
        Helper::STRTOL => signed(&text, flags),
        _ => unsigned(&text, flags),
    };
    let (returned, stored) = match parsed {
        Ok((value, consumed)) => (Value::number(consumed as u64), Some(value)),
        Err(error) => (errno(error), zeroes.then_some(0)),
    };
    let bytes = stored.map(u64::to_le_bytes);
    machine.memory.write(result, 8, |place| {
        if let Some(bytes) = bytes {
            place.copy_from_slice(&bytes);
        }
    })?;
    Ok(returned)
}

fn signed(text: &[u8], flags: u64) -> Result<(u64, usize), Errno> {
    let Parsed { magnitude, negative, consumed } = magnitude(text, flags)?;
    let limit = if negative { 1 << 63 } else { i64::MAX as u64 };
    if magnitude > limit {
        return Err(Errno::ERANGE);
    }
    Ok((if negative { magnitude.wrapping_neg() } else { magnitude }, consumed))
}

fn unsigned(text: &[u8], flags: u64) -> Result<(u64, usize), Errno> {
    let Parsed { magnitude, negative, consumed } = magnitude(text, flags)?;
    if negative { Err(Errno::EINVAL) } else { Ok((magnitude, consumed)) }
}

struct Parsed {
    magnitude: u64,
    negative: bool,
    consumed: usize,
}

/// `__bpf_strtoull()`
fn magnitude(text: &[u8], flags: u64) -> Result<Parsed, Errno> {
    let base = flags & 31;
    if !matches!(base, 0 | 8 | 10 | 16) || flags & !31 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut consumed = text.iter().take_while(|byte| is_space(**byte)).count();
    let negative = text.get(consumed) == Some(&b'-');
    consumed += usize::from(negative);
    let rest = &text[consumed..];
    if rest.is_empty() {
        return Err(Errno::EINVAL);
    }
    let window = &rest[..rest.len().min(WINDOW_BYTES)];
    // The window is copied to a string of the kernel's: a NUL ends it.
    let (base, prefix) = radix(window, base as u32);
    let digits = window[prefix..].iter().map_while(|byte| char::from(*byte).to_digit(base));
    let (mut value, mut count) = (Some(0u64), 0);
    for digit in digits {
        count += 1;
        value = value
            .and_then(|value| value.checked_mul(u64::from(base)))
            .and_then(|value| value.checked_add(u64::from(digit)));
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let magnitude = value.ok_or(Errno::ERANGE)?;
    Ok(Parsed { magnitude, negative, consumed: consumed + prefix + count })
}

/// `_parse_integer_fixup_radix()`: the base, and how long the prefix is that says so.
fn radix(text: &[u8], base: u32) -> (u32, usize) {
    let at = |index: usize| text.get(index).copied().unwrap_or(0);
    let is_x = at(0) == b'0' && at(1).eq_ignore_ascii_case(&b'x');
    let base = match base {
        0 if is_x && at(2).is_ascii_hexdigit() => 16,
        0 if at(0) == b'0' => 8,
        0 => 10,
        base => base,
    };
    (base, if base == 16 && is_x { 2 } else { 0 })
}

/// `isspace()` of the kernel, which is that of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ' | 0xa0)
}
