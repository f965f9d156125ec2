//! Helpers for dynptrs: kernel/bpf/helpers.c, kernel/bpf/ringbuf.c.

use knobgate_bpf::helper_ids;

use super::arguments::Arguments;
use super::maps::within_memory;
use super::{HelperEnv, HelperResult, errno, number};
use crate::Errno;
use crate::machine::memory::{Dynptr, Reservation};
use crate::machine::value::{Region, Value};

/// `DYNPTR_MAX_SIZE`
const SIZE_MAX: u64 = (1 << 24) - 1;

/// `bpf_dynptr_from_mem(data, size, flags, ptr)`
pub(super) fn from_mem(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (data, size, flags) = (arguments.pointer(1), arguments.number(2), arguments.number(3));
    if !matches!(data.region, Region::MapValue { .. }) {
        return Err(arguments.mismatch(1, "a map value", data.region));
    }
    // The memory must be there, and writable.
    env.memory.write_some(data, arguments.size(2), |_| ())?;
    let (result, data) = if size > SIZE_MAX {
        (errno(Errno::E2BIG), None)
    } else if flags != 0 {
        (errno(Errno::EINVAL), None)
    } else {
        (Value::number(0), Some(data))
    };
    let size = if data.is_some() { size as u32 } else { 0 };
    env.memory.init_dynptr(arguments.pointer(4), Dynptr { data, size, referenced: false })?;
    Ok(result)
}

/// `bpf_ringbuf_reserve_dynptr(ringbuf, size, flags, ptr)`. Without a record the dynptr is null, and has to be submitted or
/// discarded as well.
pub(super) fn reserve(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let map = arguments.map(1);
    // The helper takes a `u32`.
    let (size, flags) = (arguments.number(2) as u32, arguments.number(3));
    let reserved = if flags != 0 {
        Err(Errno::EINVAL)
    } else if u64::from(size) > SIZE_MAX {
        Err(Errno::E2BIG)
    } else {
        let reserved = within_memory(env.memory.map(map).reserve(size.into()))?;
        reserved.ok().flatten().ok_or(Errno::EINVAL)
    };
    let (result, data) = match reserved {
        Ok(number) => {
            env.memory.records.push(Reservation { map, number, open: true });
            let record = Region::Record(env.memory.records.len() as u32 - 1);
            (Value::number(0), Some(Value::start_of(record)))
        }
        Err(failed) => (errno(failed), None),
    };
    let size = if data.is_some() { size } else { 0 };
    env.memory.init_dynptr(arguments.pointer(4), Dynptr { data, size, referenced: true })?;
    Ok(result)
}

/// `bpf_ringbuf_submit_dynptr(ptr, flags)`, `bpf_ringbuf_discard_dynptr(ptr, flags)`
pub(super) fn commit(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let dynptr = env.memory.release_dynptr(arguments.pointer(1))?;
    if let Some(Value { region: Region::Record(record), .. }) = dynptr.data {
        env.memory.commit(record, arguments.helper.id == helper_ids::RINGBUF_DISCARD_DYNPTR)?;
    }
    // It returns nothing.
    Ok(Value::UNINIT)
}

/// `bpf_dynptr_read(dst, len, src, offset, flags)`
pub(super) fn read(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (destination, len) = (arguments.pointer(1), arguments.size(2));
    let dynptr = env.memory.dynptr(arguments.pointer(3))?;
    // The destination counts as initialized, whatever the helper returns.
    env.memory.write_some(destination, len, |_| ())?;
    if arguments.number(5) != 0 {
        return Ok(errno(Errno::EINVAL));
    }
    let source = match place(&dynptr, arguments.number(4), len) {
        Ok(source) => source,
        Err(failed) => return Ok(errno(failed)),
    };
    let bytes = env.memory.copy(source, len)?;
    env.memory.write_some(destination, len, |buffer| buffer.copy_from_slice(&bytes))?;
    number(0u64)
}

/// `bpf_dynptr_write(dst, offset, src, len, flags)`
pub(super) fn write(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let dynptr = env.memory.dynptr(arguments.pointer(1))?;
    let len = arguments.size(4);
    let bytes = env.memory.copy(arguments.pointer(3), len)?;
    match place(&dynptr, arguments.number(2), len) {
        Ok(_) if arguments.number(5) != 0 => Ok(errno(Errno::EINVAL)),
        Ok(destination) => {
            env.memory.write_some(destination, len, |buffer| buffer.copy_from_slice(&bytes))?;
            number(0u64)
        }
        Err(failed) => Ok(errno(failed)),
    }
}

/// `bpf_dynptr_data(ptr, offset, len)`
pub(super) fn data(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let dynptr = env.memory.dynptr(arguments.pointer(1))?;
    // The helper takes a `u32`.
    let len = arguments.number(3) as u32;
    match place(&dynptr, arguments.number(2), len as usize) {
        Ok(start) => Ok(env.memory.slice(start, len)),
        Err(_) => number(0u64),
    }
}

/// Where `len` bytes at `offset` of a dynptr are: `bpf_dynptr_check_off_len()`.
fn place(dynptr: &Dynptr, offset: u64, len: usize) -> Result<Value, Errno> {
    let start = dynptr.data.ok_or(Errno::EINVAL)?;
    let (offset, size) = (offset as u32, dynptr.size as usize);
    let fits = len <= size && offset as usize <= size - len;
    if fits { Ok(start.add(offset.into())) } else { Err(Errno::E2BIG) }
}
