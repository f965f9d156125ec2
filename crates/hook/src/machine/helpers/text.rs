//! Helpers for text: kernel/bpf/helpers.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::Size;

use super::arguments::Arguments;
use super::bprintf::{Malformed, Piece, pieces, prepare};
use super::bstr_printf::{Printed, bstr_printf};
use super::{HelperEnv, HelperResult, errno, number};
use crate::Errno;
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};

/// `MAX_BPRINTF_VARARGS`
const VARARGS_MAX: usize = 12;
/// `MAX_TRACE_PRINTK_VARARGS`
const TRACE_PRINTK_VARARGS: usize = 3;
/// `MAX_BPRINTF_BUF`
const BPRINTF_BUF_MAX: usize = 1024;

/// `bpf_strncmp(s1, s1_sz, s2)`; `s2` is a string in read-only memory.
pub(super) fn strncmp(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let size = arguments.size(2);
    let left = env.memory.copy(arguments.pointer(1), size)?;
    let right = const_str(env, arguments, 3)?;
    let at = |text: &[u8], index: usize| i64::from(text.get(index).copied().unwrap_or(0));
    let differing = (0..size).find_map(|index| {
        let (a, b) = (at(&left, index), at(&right, index));
        if a != b { Some((a - b).signum()) } else { (a == 0).then_some(0) }
    });
    number(differing.unwrap_or(0) as u64)
}

/// A string in a frozen map, without its NUL: `check_reg_const_str()`.
fn const_str(env: &HelperEnv<'_, '_>, arguments: &Arguments<'_>, register: usize) -> HelperResult<Vec<u8>> {
    let pointer = arguments.pointer(register);
    let text = match pointer.region {
        Region::MapValue { map, slot } => {
            let state = env.memory.map(map);
            let value = state.value(slot).filter(|_| env.memory.map_def(map).frozen).unwrap_or_default();
            let rest = value.get(pointer.bits as usize..).unwrap_or_default();
            rest.iter().position(|byte| *byte == 0).map(|end| rest[..end].to_vec())
        }
        _ => None,
    };
    let wanted = "a string with a NUL in a frozen map";
    text.ok_or_else(|| arguments.mismatch(register, wanted, pointer.region))
}

/// `bpf_snprintf(str, str_size, fmt, data, data_len)`
pub(super) fn snprintf(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(1), arguments.size(2));
    let format = const_str(env, arguments, 3)?;
    let Some(values) = packed_values(env, arguments, 4)? else { return Ok(errno(Errno::EINVAL)) };
    // The kernel's verifier checks the format.
    let malformed = |Malformed| Reason::Format { helper: arguments.helper.name };
    let pieces = pieces(&format, values.len(), env.invocation.profile).map_err(malformed)?;
    let stored = match prepare(env, &pieces, &values)? {
        Ok(stored) => stored,
        Err(failed) => return Ok(errno(failed)),
    };
    let Printed { text, len } = bstr_printf(size, &pieces, &stored);
    // The helper may write the whole buffer, so all of it counts as initialized.
    env.memory.write_some(pointer, size, |buffer| {
        buffer[..text.len()].copy_from_slice(&text);
        buffer[text.len()] = 0;
    })?;
    number(len + 1)
}

/// `bpf_trace_printk(fmt, fmt_size, …)`: to the tracer.
pub(super) fn trace_printk(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let Some(format) = sized_format(env, arguments)? else { return Ok(errno(Errno::EINVAL)) };
    // Registers that the format does not ask for may be uninitialized.
    let Ok(pieces) = pieces(&format, TRACE_PRINTK_VARARGS, env.invocation.profile) else {
        return Ok(errno(Errno::EINVAL));
    };
    let wanted = pieces.iter().filter(|piece| matches!(piece, Piece::Argument(_))).count();
    let values = (3..=5).take(wanted).map(|register| arguments.register(register));
    let values: Vec<Value> = values.collect::<HelperResult<_>>()?;
    trace(env, &format, &values)
}

/// `bpf_trace_vprintk(fmt, fmt_size, data, data_len)`: to the tracer.
pub(super) fn trace_vprintk(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let format = sized_format(env, arguments)?;
    let values = packed_values(env, arguments, 3)?;
    let (Some(format), Some(values)) = (format, values) else { return Ok(errno(Errno::EINVAL)) };
    trace(env, &format, &values)
}

fn trace(env: &mut HelperEnv<'_, '_>, format: &[u8], values: &[Value]) -> HelperResult {
    let profile = env.invocation.profile;
    let Ok(pieces) = pieces(format, values.len(), profile) else { return Ok(errno(Errno::EINVAL)) };
    let stored = match prepare(env, &pieces, values)? {
        Ok(stored) => stored,
        Err(failed) => return Ok(errno(failed)),
    };
    let Printed { text, len } = bstr_printf(BPRINTF_BUF_MAX, &pieces, &stored);
    if let Some(tracer) = &mut env.tracer {
        tracer.print(&text);
    }
    number(len)
}

/// The format in r1, which must have a NUL within the size in r2.
fn sized_format(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult<Option<Vec<u8>>> {
    let mut format = env.memory.copy(arguments.pointer(1), arguments.size(2))?;
    let end = format.iter().position(|byte| *byte == 0);
    Ok(end.map(|end| {
        format.truncate(end);
        format
    }))
}

/// The values to print, from an array of `u64` in `register`, whose size is in the next register. On the stack they may be
/// pointers. `None`: the size is not valid.
fn packed_values(
    env: &mut HelperEnv<'_, '_>,
    arguments: &Arguments<'_>,
    register: usize,
) -> HelperResult<Option<Vec<Value>>> {
    let (start, size) = (arguments.pointer(register), arguments.size(register + 1));
    if size % 8 != 0 || size > 8 * VARARGS_MAX {
        return Ok(None);
    }
    let value_at = |index: u64| match start.add(8 * index) {
        // Helpers read at any alignment; pointers are aligned.
        unaligned if unaligned.bits % 8 != 0 => {
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            env.memory.read(unaligned, 8, number).map(Value::number)
        }
        aligned => env.memory.load(aligned, Size::U64),
    };
    (0..size as u64 / 8).map(value_at).collect::<HelperResult<_>>().map(Some)
}
