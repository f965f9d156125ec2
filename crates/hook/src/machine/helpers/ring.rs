//! Helpers that send events: kernel/bpf/ringbuf.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::helper_ids;

use super::arguments::Arguments;
use super::maps::within_memory;
use super::{HelperEnv, HelperResult, errno, number};
use crate::machine::fault::Reason;
use crate::machine::memory::Reservation;
use crate::machine::value::{Region, Value};
use crate::{Errno, MapError};

/// `BPF_F_INDEX_MASK`, `BPF_F_CURRENT_CPU`
const CURRENT_CPU: u64 = 0xffff_ffff;

fn zero_or_errno(result: Result<(), MapError>) -> HelperResult {
    Ok(within_memory(result)?.map_or_else(|error| errno(error.errno()), |()| Value::number(0)))
}

/// `bpf_ringbuf_output(ringbuf, data, size, flags)`
pub(super) fn output(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let data = env.memory.copy(arguments.pointer(2), arguments.size(3))?;
    zero_or_errno(env.memory.map(arguments.map(1)).output(&data, arguments.number(4)))
}

/// `bpf_ringbuf_reserve(ringbuf, size, flags)`
pub(super) fn reserve(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (map, size, flags) = (arguments.map(1), arguments.number(2), arguments.number(3));
    let reserved = if flags == 0 { within_memory(env.memory.map(map).reserve(size))? } else { Ok(None) };
    let Ok(Some(number)) = reserved else { return Ok(Value::number(0)) };
    env.memory.records.push(Reservation { map, number, open: true });
    Ok(Value::start_of(Region::Record(env.memory.records.len() as u32 - 1)))
}

/// `bpf_ringbuf_submit(data, flags)`, `bpf_ringbuf_discard(data, flags)`
pub(super) fn commit(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let Region::Record(record) = arguments.pointer(1).region else { return Err(Reason::Released) };
    env.memory.commit(record, arguments.helper.id == helper_ids::RINGBUF_DISCARD)?;
    // It returns nothing.
    Ok(Value::UNINIT)
}

/// `bpf_ringbuf_query(ringbuf, flags)`
pub(super) fn query(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let state = env.memory.map(arguments.map(1));
    number(state.ring().map_or(0, |ring| ring.query(arguments.number(2))))
}

/// `bpf_perf_event_output(ctx, map, flags, data, size)`
pub(super) fn perf_event_output(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let flags = arguments.number(3);
    let data = env.memory.copy(arguments.pointer(4), arguments.size(5))?;
    if flags & !CURRENT_CPU != 0 {
        return Ok(errno(Errno::EINVAL));
    }
    let index = if flags == CURRENT_CPU { env.run_env.processor } else { flags as u32 };
    zero_or_errno(env.memory.map(arguments.map(2)).send_event(index, &data))
}
