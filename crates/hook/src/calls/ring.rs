//! Helpers that send events: kernel/bpf/ringbuf.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::Reg;

use super::storage::within_memory;
use super::{Called, Helper, errno};
use crate::machine::memory::Reservation;
use crate::machine::{Machine, Reason, Region, Value};
use crate::{Errno, MapError};

/// `BPF_F_INDEX_MASK`, `BPF_F_CURRENT_CPU`
const CURRENT_CPU: u64 = 0xffff_ffff;

fn outcome(result: Result<(), MapError>) -> Called {
    Ok(within_memory(result)?.map_or_else(|error| errno(error.errno()), |()| Value::number(0)))
}

/// `bpf_ringbuf_output(ringbuf, data, size, flags)`
pub(super) fn output(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = machine.map_argument(helper, Reg::R1)?;
    machine.check_map_kind(helper, map)?;
    let pointer = machine.pointer_argument(helper, Reg::R2)?;
    let size = machine.size_argument(helper, Reg::R3, true)?;
    let flags = machine.number_argument(helper, Reg::R4)?;
    let data = machine.bytes_argument(pointer, size)?;
    let mut state = machine.memory.maps[usize::from(map)].state();
    outcome(state.output(&data, flags))
}

/// `bpf_ringbuf_reserve(ringbuf, size, flags)`
pub(super) fn reserve(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = machine.map_argument(helper, Reg::R1)?;
    machine.check_map_kind(helper, map)?;
    let size = machine.number_argument(helper, Reg::R2)?;
    let flags = machine.number_argument(helper, Reg::R3)?;
    let mut state = machine.memory.maps[usize::from(map)].state();
    let room = if flags == 0 { within_memory(state.reserve(size))? } else { Ok(None) };
    let Ok(Some(number)) = room else { return Ok(Value::number(0)) };
    drop(state);
    machine.memory.records.push(Reservation { map, number, open: true });
    Ok(Value::start_of(Region::Record(machine.memory.records.len() as u32 - 1)))
}

/// `bpf_ringbuf_submit(data, flags)`, `bpf_ringbuf_discard(data, flags)`
pub(super) fn settle(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    machine.number_argument(helper, Reg::R2)?;
    let (Region::Record(record), 0) = (pointer.region, pointer.bits) else {
        return Err(Reason::Argument {
            helper: helper.name(),
            register: 1,
            wanted: "the start of a ring buffer record",
            found: pointer.region,
        });
    };
    let record = machine.memory.records.get_mut(record as usize).filter(|record| record.open);
    let record = record.ok_or(Reason::Released)?;
    record.open = false;
    let (map, number) = (usize::from(record.map), record.number);
    if let Some(ring) = machine.memory.maps[map].state().ring_mut() {
        ring.settle(number, helper == Helper::RINGBUF_DISCARD);
    }
    // It returns nothing.
    Ok(Value::UNINIT)
}

/// `bpf_ringbuf_query(ringbuf, flags)`
pub(super) fn query(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = machine.map_argument(helper, Reg::R1)?;
    machine.check_map_kind(helper, map)?;
    let what = machine.number_argument(helper, Reg::R2)?;
    let state = machine.memory.maps[usize::from(map)].state();
    Ok(Value::number(state.ring().map_or(0, |ring| ring.query(what))))
}

/// `bpf_perf_event_output(ctx, map, flags, data, size)`
pub(super) fn perf_event_output(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    machine.context_argument(helper, Reg::R1)?;
    let map = machine.map_argument(helper, Reg::R2)?;
    machine.check_map_kind(helper, map)?;
    let flags = machine.number_argument(helper, Reg::R3)?;
    let pointer = machine.pointer_argument(helper, Reg::R4)?;
    let size = machine.size_argument(helper, Reg::R5, true)?;
    let data = machine.bytes_argument(pointer, size)?;
    if flags & !CURRENT_CPU != 0 {
        return Ok(errno(Errno::EINVAL));
    }
    let index = if flags == CURRENT_CPU { machine.surroundings.processor } else { flags as u32 };
    let result = machine.memory.maps[usize::from(map)].state().send_event(index, &data);
    outcome(result)
}
