//! Helpers for maps: kernel/bpf/helpers.c.

use knobgate_bpf::{MapDef, MapKind, Reg};

use super::{Called, Helper, errno};
use crate::machine::{Machine, Reason, Region, Value};
use crate::{Errno, MapError};

/// The map of the first argument.
fn map(machine: &Machine<'_, '_>, helper: Helper) -> Called<u16> {
    let map = machine.map_argument(helper, Reg::R1)?;
    machine.check_map_kind(helper, map)?;
    Ok(map)
}

fn key(machine: &mut Machine<'_, '_>, helper: Helper, map: u16) -> Called<Vec<u8>> {
    let size = machine.memory.maps[usize::from(map)].state().def().key_size as usize;
    let pointer = machine.pointer_argument(helper, Reg::R2)?;
    machine.bytes_argument(pointer, size)
}

fn value(machine: &mut Machine<'_, '_>, helper: Helper, map: u16, register: Reg) -> Called<Vec<u8>> {
    let size = machine.memory.maps[usize::from(map)].state().def().value_size as usize;
    let pointer = machine.pointer_argument(helper, register)?;
    machine.bytes_argument(pointer, size)
}

/// A map that programs may write.
fn writable(machine: &Machine<'_, '_>, map: u16) -> Called<()> {
    if machine.memory.maps[usize::from(map)].state().def().is_read_only() {
        return Err(Reason::ReadOnly { region: Region::Map(map) });
    }
    Ok(())
}

/// What the function of the map returns, which the verifier has called directly: on older kernels an int, with zeros above.
fn outcome(machine: &Machine<'_, '_>, result: Result<(), MapError>) -> Called {
    match within_memory(result)? {
        Ok(()) => Ok(Value::number(0)),
        Err(error) => Ok(failed(machine, error.errno())),
    }
}

/// What a map says, unless it has no memory, which is no answer of a kernel.
pub(super) fn within_memory<T>(result: Result<T, MapError>) -> Called<Result<T, MapError>> {
    match result {
        Err(MapError::Together { most }) => Err(Reason::MapMemory { most }),
        result => Ok(result),
    }
}

/// The same for one that fails with this errno.
pub(super) fn failed(machine: &Machine<'_, '_>, number: Errno) -> Value {
    if machine.invocation.profile.int_map_results {
        Value::number(u64::from(number.returned() as u32))
    } else {
        errno(number)
    }
}

/// `bpf_map_lookup_elem(map, key)`, `bpf_map_lookup_percpu_elem(map, key, cpu)`
pub(super) fn lookup(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    let key = key(machine, helper, map)?;
    let cpu = match helper {
        Helper::MAP_LOOKUP_PERCPU_ELEM => machine.number_argument(helper, Reg::R3)? as u32,
        _ => machine.surroundings.processor,
    };
    let mut state = machine.memory.maps[usize::from(map)].state();
    if helper == Helper::MAP_LOOKUP_PERCPU_ELEM && !state.has_cpu(cpu) {
        return Ok(Value::number(0));
    }
    let found = state.lookup(&key, cpu);
    Ok(found.map_or(Value::number(0), |slot| Value::start_of(Region::MapValue { map, slot })))
}

/// `bpf_get_local_storage(map, flags)`: what was allocated for the attachment. The kernel takes only the type from the map.
pub(super) fn local(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    let flags = machine.number_argument(helper, Reg::R2)?;
    let map = allocated(machine, helper, map)?;
    let (cgroup, cpu) = (machine.invocation.attached_to, machine.surroundings.processor);
    let place = machine.memory.maps[usize::from(map)].state().local_value(cgroup, cpu);
    match within_memory(place)? {
        Ok(Some(slot)) if flags == 0 => Ok(Value::start_of(Region::MapValue { map, slot })),
        _ => Err(Reason::Size { helper: helper.name(), register: 2, size: flags as i64 }),
    }
}

/// The map in which the attachment has its storage of the type of `map`: `map` itself, unless the program came by a link
/// update on a kernel that does not compare the maps.
fn allocated(machine: &mut Machine<'_, '_>, helper: Helper, map: u16) -> Called<u16> {
    let own = &machine.memory.maps[usize::from(map)];
    let Some(storage) = &machine.invocation.storage else { return Ok(map) };
    let MapDef { kind, value_size: size, .. } = own.def();
    let Some(found) = storage.of_kind(kind) else {
        return Err(Reason::NoStorage { helper: helper.name(), kind: kind.name() });
    };
    if found.is_same_as(own) {
        return Ok(map);
    }
    let found_size = found.def().value_size;
    if found_size < size {
        return Err(Reason::ShortStorage { helper: helper.name(), found: found_size, size });
    }
    let known = machine.memory.maps.iter().position(|map| map.is_same_as(found));
    let index = known.unwrap_or(machine.memory.maps.len());
    if known.is_none() {
        machine.memory.maps.push(found.clone());
    }
    Ok(index as u16)
}

/// `bpf_map_update_elem(map, key, value, flags)`
pub(super) fn update(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    writable(machine, map)?;
    let key = key(machine, helper, map)?;
    let value = value(machine, helper, map, Reg::R3)?;
    let flags = machine.number_argument(helper, Reg::R4)?;
    let cpu = Some(machine.surroundings.processor);
    let updated = machine.memory.maps[usize::from(map)].state().update(&key, &value, flags, cpu);
    outcome(machine, updated)
}

/// `bpf_map_delete_elem(map, key)`
pub(super) fn delete(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    writable(machine, map)?;
    let key = key(machine, helper, map)?;
    let deleted = machine.memory.maps[usize::from(map)].state().delete(&key);
    outcome(machine, deleted)
}

/// `bpf_map_push_elem(map, value, flags)`
pub(super) fn push(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    writable(machine, map)?;
    let value = value(machine, helper, map, Reg::R2)?;
    let flags = machine.number_argument(helper, Reg::R3)?;
    let pushed = machine.memory.maps[usize::from(map)].state().push(&value, flags);
    outcome(machine, pushed)
}

/// `bpf_map_pop_elem(map, value)`, `bpf_map_peek_elem(map, value)`: of an empty map, zeros and `ENOENT`.
pub(super) fn take(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = map(machine, helper)?;
    let pointer = machine.pointer_argument(helper, Reg::R2)?;
    let (size, kind) = {
        let state = machine.memory.maps[usize::from(map)].state();
        (state.def().value_size as usize, state.def().kind)
    };
    debug_assert!(matches!(kind, MapKind::Queue | MapKind::Stack));
    // Whether there is room is known before anything is taken out.
    machine.memory.write(pointer, size, |place| place.fill(0))?;
    let remove = helper == Helper::MAP_POP_ELEM;
    let taken = machine.memory.maps[usize::from(map)].state().take(remove);
    match taken {
        Ok(value) => machine.memory.write(pointer, size, |place| {
            place.copy_from_slice(&value);
            Value::number(0)
        }),
        Err(error) => outcome(machine, Err(error)),
    }
}
