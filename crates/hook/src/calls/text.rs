//! Helpers for text: kernel/bpf/helpers.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::{Reg, Size};

use super::format::print;
use super::{Called, Helper, errno};
use crate::Errno;
use crate::machine::{Machine, Reason, Region, Value};

/// `MAX_BPRINTF_VARARGS`
const ARGUMENTS_MAX: usize = 12;

/// `bpf_strncmp(s1, s1_sz, s2)`; `s2` is a string in read-only memory.
pub(super) fn compare(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let left = machine.bytes_argument(pointer, size)?;
    let right = constant_text(machine, helper, Reg::R3)?;
    let at = |text: &[u8], index: usize| i64::from(text.get(index).copied().unwrap_or(0));
    let differing = (0..size).find_map(|index| {
        let (a, b) = (at(&left, index), at(&right, index));
        if a != b { Some((a - b).signum()) } else { (a == 0).then_some(0) }
    });
    Ok(Value::number(differing.unwrap_or(0) as u64))
}

/// A string in a map that nobody can change, without its NUL: `check_reg_const_str()`.
fn constant_text(machine: &mut Machine<'_, '_>, helper: Helper, register: Reg) -> Called<Vec<u8>> {
    let pointer = machine.pointer_argument(helper, register)?;
    let text = match pointer.region {
        Region::MapValue { map, slot } => {
            let state = machine.memory.maps[usize::from(map)].state();
            let value = state.value(slot).filter(|_| state.def().frozen).unwrap_or_default();
            let rest = value.get(pointer.bits as usize..).unwrap_or_default();
            rest.iter().position(|byte| *byte == 0).map(|end| rest[..end].to_vec())
        }
        _ => None,
    };
    text.ok_or(Reason::Argument {
        helper: helper.name(),
        register: register.number(),
        wanted: "a string with a NUL in a frozen map",
        found: pointer.region,
    })
}

/// `bpf_snprintf(str, str_size, fmt, data, data_len)`
pub(super) fn snprintf(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let size = machine.size_argument(helper, Reg::R2, true)?;
    let format = constant_text(machine, helper, Reg::R3)?;
    let Some(arguments) = packed_arguments(machine, helper, Reg::R4, Reg::R5)? else {
        return Ok(errno(Errno::EINVAL));
    };
    // The verifier looks at the format.
    let text = print(machine, &format, &arguments)?.map_err(|_| Reason::Format { helper: helper.name() })?;
    if size > 0 {
        let pointer = machine.pointer_argument(helper, Reg::R1)?;
        let len = text.len().min(size - 1);
        // As the whole buffer may be written to, it all counts as stored to.
        machine.memory.write(pointer, size, |buffer| {
            buffer[..len].copy_from_slice(&text[..len]);
            buffer[len] = 0;
        })?;
    }
    Ok(Value::number(text.len() as u64 + 1))
}

/// `bpf_trace_printk(fmt, fmt_size, …)`: to the tracer.
pub(super) fn trace_printk(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let Some(format) = measured_text(machine, helper)? else { return Ok(errno(Errno::EINVAL)) };
    let wanted = format.windows(2).filter(|pair| pair[0] == b'%' && pair[1] != b'%').count();
    let registers = [Reg::R3, Reg::R4, Reg::R5];
    let arguments: Vec<Value> =
        registers.iter().take(wanted).map(|register| machine.read(*register)).collect::<Result<_, _>>()?;
    trace(machine, &format, &arguments)
}

/// `bpf_trace_vprintk(fmt, fmt_size, data, data_len)`: to the tracer.
pub(super) fn trace_vprintk(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let format = measured_text(machine, helper)?;
    let arguments = packed_arguments(machine, helper, Reg::R3, Reg::R4)?;
    let (Some(format), Some(arguments)) = (format, arguments) else { return Ok(errno(Errno::EINVAL)) };
    trace(machine, &format, &arguments)
}

fn trace(machine: &mut Machine<'_, '_>, format: &[u8], arguments: &[Value]) -> Called {
    let Ok(text) = print(machine, format, arguments)? else { return Ok(errno(Errno::EINVAL)) };
    if let Some(tracer) = &mut machine.tracer {
        tracer.print(&text);
    }
    Ok(Value::number(text.len() as u64))
}

/// The format in r1, of which r2 says how long it is; it must end before.
fn measured_text(machine: &mut Machine<'_, '_>, helper: Helper) -> Called<Option<Vec<u8>>> {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let mut format = machine.bytes_argument(pointer, size)?;
    let end = format.iter().position(|byte| *byte == 0);
    Ok(end.map(|end| {
        format.truncate(end);
        format
    }))
}

/// Arguments in an array of eight bytes each, which on the stack may be pointers.
fn packed_arguments(
    machine: &mut Machine<'_, '_>,
    helper: Helper,
    pointer: Reg,
    size: Reg,
) -> Called<Option<Vec<Value>>> {
    let size = machine.size_argument(helper, size, true)?;
    if size % 8 != 0 || size > 8 * ARGUMENTS_MAX {
        return Ok(None);
    }
    if size == 0 {
        return Ok(Some(Vec::new()));
    }
    let start = machine.pointer_argument(helper, pointer)?;
    let place = |index: u64| Value { bits: start.bits.wrapping_add(8 * index), region: start.region };
    (0..size as u64 / 8)
        .map(|index| match place(index) {
            // A helper reads wherever it is told to; pointers are where they are aligned.
            odd if odd.bits % 8 != 0 => {
                let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
                machine.memory.read(odd, 8, number).map(Value::number)
            }
            place => machine.memory.load(place, Size::U64),
        })
        .collect::<Called<_>>()
        .map(Some)
}
