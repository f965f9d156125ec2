//! What both backends check before they do anything, so that the same arguments fail with the same errno on both.

use knobgate_bpf::uapi::PATH_MAX;
use knobgate_bpf::{MapDef, MapKind, Program};
use knobgate_hook::{Errno, Rejection};

use crate::backend::{Request, Task};
use crate::step_error::{RejectionLog, StepError, StepResult};
use crate::{ACCESS_MAX, ENTRIES_MAX, MAPS_MAX};

/// Checks that this is a path below `/proc/sys`, whether or not there is such a knob.
pub(crate) fn check_knob(name: &str) -> StepResult<()> {
    let component = |part| !matches!(part, "" | "." | "..");
    if !name.split('/').all(component) || name.contains('\0') {
        return Err(Errno::EINVAL.into());
    }
    if "/proc/sys/".len() + name.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(())
}

pub(crate) fn check_task(task: &Task) -> StepResult<()> {
    // For the kernel, this id means that the present one stays.
    let ids_exist = ![task.uid, task.gid].contains(&u32::MAX);
    let name_fits = task.comm.len() <= Task::COMM_MAX && !task.comm.contains(&0);
    if ids_exist && name_fits { Ok(()) } else { Err(Errno::EINVAL.into()) }
}

pub(crate) fn check_request(request: Request<'_>) -> StepResult<()> {
    let bytes = match request {
        Request::Read { count, .. } => count,
        Request::Write(bytes) => bytes.len(),
    };
    if bytes > ACCESS_MAX { Err(Errno::E2BIG.into()) } else { Ok(()) }
}

/// Checks that these maps can replace those that the program defines.
pub(crate) fn check_maps<'a>(
    program: &Program,
    maps: impl Iterator<Item = &'a MapDef>,
    cpus: usize,
) -> StepResult<()> {
    // A perf event array of 0 entries has one for each CPU.
    let entries = |def: &MapDef| match def.kind {
        MapKind::PerfEventArray if def.max_entries == 0 => cpus as u32,
        _ => def.max_entries,
    };
    let shape = |def: &MapDef| (def.kind, def.key_size, def.value_size, entries(def));
    let found: Vec<&MapDef> = maps.collect();
    let pairs = || program.maps.iter().zip(&found);
    let created = |def: &MapDef| MapDef { max_entries: entries(def), ..def.clone() };
    // A map that is pinned by its name has the definition of the first program that has it.
    let other_pin = pairs().filter(|(own, _)| own.pinned_by_name).find_map(|(own, map)| {
        let differences = created(own).differences(&created(map))?;
        Some(Rejection::PinnedMap { name: own.name.clone(), differences })
    });
    let fits = program.maps.len() == found.len() && pairs().all(|(own, map)| shape(own) == shape(map));
    let rejection = match other_pin {
        Some(rejection) => rejection,
        None if fits => return Ok(()),
        None => Rejection::OtherMaps,
    };
    let full = format!("program {:?} is rejected: {rejection}", program.name);
    let log = RejectionLog::new(rejection.to_string(), full);
    Err(StepError::Rejected { errno: Some(rejection.errno().number() as i32), log })
}

/// Checks that the entries of a map are bytes, which can be listed.
pub(crate) fn check_lists(def: &MapDef) -> StepResult<()> {
    match def.kind {
        MapKind::ProgArray | MapKind::CgroupArray | MapKind::ArrayOfMaps | MapKind::HashOfMaps => {
            Err(Errno::EINVAL.into())
        }
        _ => Ok(()),
    }
}

/// The same, and that they have keys.
pub(crate) fn check_updates(def: &MapDef) -> StepResult<()> {
    match def.kind {
        MapKind::Queue | MapKind::Stack | MapKind::Ringbuf | MapKind::PerfEventArray => {
            Err(Errno::EINVAL.into())
        }
        _ => check_lists(def),
    }
}

/// Checks that there can be maps in a map.
pub(crate) fn check_has_maps(def: &MapDef) -> StepResult<()> {
    if def.kind.has_inner_maps() { Ok(()) } else { Err(Errno::EINVAL.into()) }
}

/// The most entries of this map that are listed.
pub(crate) fn listed_max(def: &MapDef, cpus: usize) -> usize {
    let values = if def.kind.is_per_cpu() { cpus as u64 } else { 1 };
    let bytes = u64::from(def.key_size) + u64::from(def.value_size) * values;
    (MAPS_MAX / bytes.max(1)).min(ENTRIES_MAX.into()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_a_map_is_limited_in_bytes_and_entries() {
        for (kind, key_size, value_size, cpus, expected) in [
            (MapKind::Array, 4, 1, 1, 65_536),
            (MapKind::Hash, 4, (1 << 20) - 4, 1, 256),
            (MapKind::Hash, 4, (1 << 20) - 4, 64, 256),
            (MapKind::PercpuHash, 8, (1 << 20) - 4, 2, 128),
            (MapKind::PercpuCgroupStorage, 8, 4096, 64, 1023),
            (MapKind::Queue, 0, 1 << 20, 8, 256),
            (MapKind::Ringbuf, 0, 0, 8, 65_536),
        ] {
            let (name, contents) = ("map".to_owned(), Vec::new());
            let def = MapDef {
                name,
                kind,
                key_size,
                value_size,
                max_entries: 1,
                flags: 0,
                contents,
                frozen: false,
                ..MapDef::default()
            };
            assert_eq!(listed_max(&def, cpus), expected, "{def:?}");
        }
    }
}
