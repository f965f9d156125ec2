//! The helpers of the hook itself: kernel/bpf/cgroup.c.

use knobgate_bpf::uapi::{BPF_F_SYSCTL_BASE_NAME, MAX_ERRNO};

use super::arguments::Arguments;
use super::{HelperEnv, HelperResult, errno};
use crate::Errno;
use crate::machine::fault::Reason;
use crate::machine::value::Value;

/// `PAGE_SIZE - 1`
const NEW_VALUE_MAX: usize = 4095;

/// `bpf_sysctl_get_name(ctx, buf, buf_len, flags)`
pub(super) fn get_name(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size, flags) = (arguments.pointer(2), arguments.size(3), arguments.number(4));
    // The prototype needs initialized memory; on kernels that let programs read uninitialized stack, all stack is.
    env.memory.read(pointer, size, |_| ())?;
    let (name, fortified) = (env.invocation.name, env.invocation.profile.fortified);
    env.memory.write(pointer, size, |buffer| match write_name(buffer, name, flags, fortified) {
        Some(length) => Value::number(length as u64),
        None => errno(Errno::E2BIG),
    })
}

/// Assembles the name like `sysctl_cpy_dir()`, component by component. Returns its length, if it fits.
fn write_name(buffer: &mut [u8], name: &str, flags: u64, fortified: bool) -> Option<usize> {
    let (directories, base) = name.rsplit_once('/').unwrap_or(("", name));
    let mut at = 0;
    // All other flags are ignored.
    if flags & u64::from(BPF_F_SYSCTL_BASE_NAME) == 0 {
        // The root directory has an empty name, without a slash after it.
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

/// Copies byte by byte from byte `at` on. If it does not fit, the last byte is a NUL.
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
pub(super) fn get_current_value(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(2), arguments.size(3));
    let current = env.invocation.current;
    env.memory.write(pointer, size, |buffer| copy_value(buffer, current))
}

/// `bpf_sysctl_get_new_value(ctx, buf, buf_len)`
pub(super) fn get_new_value(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(2), arguments.size(3));
    let new = env.invocation.new.as_deref().filter(|_| env.invocation.write).unwrap_or_default();
    env.memory.write(pointer, size, |buffer| copy_value(buffer, new))
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
pub(super) fn set_new_value(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(2), arguments.size(3));
    let value = env.memory.copy(pointer, size)?;
    let has_new = env.invocation.new.as_ref().is_some_and(|new| !new.is_empty());
    if !env.invocation.write || !has_new {
        return Ok(errno(Errno::EINVAL));
    }
    if size > NEW_VALUE_MAX {
        return Ok(errno(Errno::E2BIG));
    }
    env.invocation.replace_new(&value);
    Ok(Value::number(0))
}

/// `bpf_set_retval(retval)`
pub(super) fn set_retval(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let retval = arguments.number(1) as i32;
    if env.invocation.profile.set_retval_checked && !(-MAX_ERRNO..=0).contains(&retval) {
        return Err(Reason::Retval { value: retval.into() });
    }
    env.invocation.retval = retval;
    Ok(Value::number(0))
}
