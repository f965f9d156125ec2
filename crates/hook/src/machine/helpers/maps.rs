//! Helpers for maps: kernel/bpf/helpers.c.

use knobgate_bpf::{MapDef, helper_ids};

use super::arguments::Arguments;
use super::{HelperEnv, HelperResult, errno, number};
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};
use crate::{Errno, MapError};

/// The key in r2.
fn key(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult<Vec<u8>> {
    let size = env.memory.map_def(arguments.map(1)).key_size as usize;
    env.memory.copy(arguments.pointer(2), size)
}

/// The value in this register.
fn value(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>, register: usize) -> HelperResult<Vec<u8>> {
    let size = env.memory.map_def(arguments.map(1)).value_size as usize;
    env.memory.copy(arguments.pointer(register), size)
}

/// The map in r1, which programs must be allowed to write.
fn writable(env: &HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult<u16> {
    let map = arguments.map(1);
    if env.memory.map_def(map).is_read_only() {
        return Err(Reason::ReadOnly { region: Region::Map(map) });
    }
    Ok(map)
}

/// The result of a map operation, as the program gets it.
fn zero_or_errno(env: &HelperEnv<'_, '_>, result: Result<(), MapError>) -> HelperResult {
    match within_memory(result)? {
        Ok(()) => number(0u64),
        Err(error) => Ok(map_errno(env, error.errno())),
    }
}

/// The result of a map operation, unless the model has no memory left, where a kernel would have some.
pub(super) fn within_memory<T>(result: Result<T, MapError>) -> HelperResult<Result<T, MapError>> {
    match result {
        Err(MapError::Together { most }) => Err(Reason::MapMemory { most }),
        result => Ok(result),
    }
}

/// `-errno` as map operations return it. The verifier calls the map's own function directly, which on older kernels returns
/// an `int`: the upper half is zero.
pub(super) fn map_errno(env: &HelperEnv<'_, '_>, number: Errno) -> Value {
    if env.invocation.profile.int_map_results {
        Value::number(u64::from(number.returned() as u32))
    } else {
        errno(number)
    }
}

/// `bpf_map_lookup_elem(map, key)`, `bpf_map_lookup_percpu_elem(map, key, cpu)`
pub(super) fn lookup(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let map = arguments.map(1);
    let key = key(env, arguments)?;
    let is_percpu = arguments.helper.id == helper_ids::MAP_LOOKUP_PERCPU_ELEM;
    let cpu = if is_percpu { arguments.number(3) as u32 } else { env.run_env.processor };
    if env.memory.map_def(map).kind.has_inner_maps() {
        let found = env.memory.map(map).inner_map(&key);
        return Ok(
            found.map_or(Value::number(0), |inner| Value::start_of(Region::Map(env.memory.join(&inner))))
        );
    }
    let mut state = env.memory.map(map);
    if is_percpu && !state.has_cpu(cpu) {
        return number(0u64);
    }
    let found = state.lookup(&key, cpu);
    Ok(found.map_or(Value::number(0), |slot| Value::start_of(Region::MapValue { map, slot })))
}

/// `bpf_get_local_storage(map, flags)`: the storage of the attachment. The kernel only takes the type from the map.
pub(super) fn get_local_storage(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let flags = arguments.number(2);
    let map = allocated(env, arguments)?;
    let (cgroup, cpu) = (env.invocation.attached_to, env.run_env.processor);
    let found = env.memory.map(map).local_value(cgroup, cpu);
    match within_memory(found)? {
        Ok(Some(slot)) if flags == 0 => Ok(Value::start_of(Region::MapValue { map, slot })),
        _ => Err(Reason::Size { helper: arguments.helper.name, register: 2, size: flags as i64 }),
    }
}

/// The map with the storage of the attachment, of the type of the map in r1. It is that map itself, unless the program got
/// there by a link update on a kernel that does not compare the maps.
fn allocated(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult<u16> {
    let map = arguments.map(1);
    let helper = arguments.helper.name;
    let own = &env.memory.maps[usize::from(map)];
    let Some(storage) = &env.invocation.storage else { return Ok(map) };
    let MapDef { kind, value_size: size, .. } = *own.def();
    let Some(found) = storage.of_kind(kind) else {
        return Err(Reason::NoStorage { helper, kind: kind.name() });
    };
    if found.is_same_as(own) {
        return Ok(map);
    }
    let found_size = found.def().value_size;
    if found_size < size {
        return Err(Reason::ShortStorage { helper, found: found_size, size });
    }
    Ok(env.memory.join(found))
}

/// `bpf_map_update_elem(map, key, value, flags)`
pub(super) fn update(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let map = writable(env, arguments)?;
    let (key, value) = (key(env, arguments)?, value(env, arguments, 3)?);
    let updated = env.memory.map(map).update(&key, &value, arguments.number(4), Some(env.run_env.processor));
    zero_or_errno(env, updated)
}

/// `bpf_map_delete_elem(map, key)`
pub(super) fn delete(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let map = writable(env, arguments)?;
    let key = key(env, arguments)?;
    let deleted = env.memory.map(map).delete(&key);
    zero_or_errno(env, deleted)
}

/// `bpf_map_push_elem(map, value, flags)`
pub(super) fn push(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let map = writable(env, arguments)?;
    let value = value(env, arguments, 2)?;
    let pushed = env.memory.map(map).push(&value, arguments.number(3));
    zero_or_errno(env, pushed)
}

/// `bpf_map_pop_elem(map, value)`, `bpf_map_peek_elem(map, value)`: of an empty map, zeros and `ENOENT`.
pub(super) fn pop(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (map, pointer) = (arguments.map(1), arguments.pointer(2));
    let size = env.memory.map_def(map).value_size as usize;
    // The destination is checked before anything is taken out.
    env.memory.write(pointer, size, |buffer| buffer.fill(0))?;
    let remove = arguments.helper.id == helper_ids::MAP_POP_ELEM;
    let popped = env.memory.map(map).pop(remove);
    match popped {
        Ok(value) => env.memory.write(pointer, size, |buffer| {
            buffer.copy_from_slice(&value);
            Value::number(0)
        }),
        Err(error) => zero_or_errno(env, Err(error)),
    }
}
