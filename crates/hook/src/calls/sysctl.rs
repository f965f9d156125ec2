//! The helpers of the hook itself: kernel/bpf/cgroup.c.

use knobgate_bpf::Reg;

use super::{Called, Helper, errno};
use crate::Errno;
use crate::machine::{Machine, Reason, Value};

/// `BPF_F_SYSCTL_BASE_NAME`; all other flags are ignored.
const BASE_NAME: u64 = 1;
/// `PAGE_SIZE - 1`
const NEW_VALUE_MAX: usize = 4095;

/// `bpf_sysctl_get_name(ctx, buf, buf_len, flags)`
pub(super) fn get_name(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    machine.context_argument(helper, Reg::R1)?;
    let pointer = machine.pointer_argument(helper, Reg::R2)?;
    let size = machine.size_argument(helper, Reg::R3, false)?;
    let flags = machine.number_argument(helper, Reg::R4)?;
    // The prototype asks for memory that holds something; kernels that let programs read any stack do not mind.
    machine.memory.read(pointer, size, |_| ())?;
    let (name, fortified) = (machine.invocation.name, machine.invocation.profile.fortified);
    machine.memory.write(pointer, size, |buffer| match write_name(buffer, name, flags, fortified) {
        Some(length) => Value::number(length as u64),
        None => errno(Errno::E2BIG),
    })
}

/// Assembles the name piece by piece, as `sysctl_cpy_dir()` does; its length, if it fits.
fn write_name(buffer: &mut [u8], name: &str, flags: u64, fortified: bool) -> Option<usize> {
    let (directories, base) = name.rsplit_once('/').unwrap_or(("", name));
    let mut at = 0;
    if flags & BASE_NAME == 0 {
        // The root directory has an empty name, and no slash behind it.
        at += copy_string(&mut buffer[at..], b"")?;
        for directory in directories.split('/').filter(|directory| !directory.is_empty()) {
            at += copy_string(&mut buffer[at..], directory.as_bytes())?;
            at += if fortified {
                copy_bytes(&mut buffer[at..], b"/")?
            } else {
                copy_string(&mut buffer[at..], b"/")?
            };
        }
    }
    Some(at + copy_string(&mut buffer[at..], base.as_bytes())?)
}

/// `strscpy()` in lib/string.c: whole words while there is room for them, the one with the NUL filled with zeros.
fn copy_string(buffer: &mut [u8], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while buffer.len() - at >= 8 {
        let rest = text.get(at..).unwrap_or_default();
        let mut word = [0; 8];
        let len = rest.len().min(8);
        word[..len].copy_from_slice(&rest[..len]);
        buffer[at..at + 8].copy_from_slice(&word);
        if len < 8 {
            return Some(text.len());
        }
        at += 8;
    }
    copy_from(buffer, text, at)
}

fn copy_bytes(buffer: &mut [u8], text: &[u8]) -> Option<usize> {
    copy_from(buffer, text, 0)
}

/// Copies byte by byte from byte `at` on, and ends what does not fit with a NUL.
fn copy_from(buffer: &mut [u8], text: &[u8], at: usize) -> Option<usize> {
    for (index, place) in buffer.iter_mut().enumerate().skip(at) {
        let byte = text.get(index).copied().unwrap_or(0);
        *place = byte;
        if byte == 0 {
            return Some(index);
        }
    }
    if let Some(last) = buffer.last_mut() {
        *last = 0;
    }
    None
}

/// `bpf_sysctl_get_current_value(ctx, buf, buf_len)`
pub(super) fn get_current_value(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let (pointer, size) = buffer(machine, helper)?;
    let current = machine.invocation.current;
    machine.memory.write(pointer, size, |buffer| copy_value(buffer, current))
}

/// `bpf_sysctl_get_new_value(ctx, buf, buf_len)`
pub(super) fn get_new_value(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let (pointer, size) = buffer(machine, helper)?;
    let new = machine.invocation.new.as_deref().filter(|_| machine.invocation.write).unwrap_or_default();
    machine.memory.write(pointer, size, |buffer| copy_value(buffer, new))
}

fn buffer(machine: &Machine<'_, '_>, helper: Helper) -> Called<(Value, usize)> {
    machine.context_argument(helper, Reg::R1)?;
    let pointer = machine.pointer_argument(helper, Reg::R2)?;
    Ok((pointer, machine.size_argument(helper, Reg::R3, false)?))
}

/// `copy_sysctl_value()`
fn copy_value(buffer: &mut [u8], value: &[u8]) -> Value {
    let len = value.len().min(buffer.len());
    buffer[..len].copy_from_slice(&value[..len]);
    buffer[len..].fill(0);
    if value.is_empty() {
        return errno(Errno::EINVAL);
    }
    if buffer.len() > value.len() {
        return Value::number(value.len() as u64);
    }
    if let Some(last) = buffer.last_mut() {
        *last = 0;
    }
    errno(Errno::E2BIG)
}

/// `bpf_sysctl_set_new_value(ctx, buf, buf_len)`
pub(super) fn set_new_value(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let (pointer, size) = buffer(machine, helper)?;
    let value = machine.bytes_argument(pointer, size)?;
    let has_new = machine.invocation.new.as_ref().is_some_and(|new| !new.is_empty());
    if !machine.invocation.write || !has_new {
        return Ok(errno(Errno::EINVAL));
    }
    if size > NEW_VALUE_MAX {
        return Ok(errno(Errno::E2BIG));
    }
    machine.invocation.replace_new(&value);
    Ok(Value::number(0))
}

/// `bpf_set_retval(retval)`
pub(super) fn set_retval(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let retval = machine.number_argument(helper, Reg::R1)?;
    let retval = retval as i32;
    if machine.invocation.profile.set_retval_checked && !(-4095..=0).contains(&retval) {
        return Err(Reason::Retval { value: retval.into() });
    }
    machine.invocation.retval = retval;
    Ok(Value::number(0))
}
