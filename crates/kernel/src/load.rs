//! Loading a [`Program`] into the kernel.

use std::os::fd::{AsFd, AsRawFd};

use knobgate_bpf::uapi::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG};
use knobgate_bpf::{MapDef, MapKind, Program, TailCall};
use rustix::io::Errno;

use crate::capabilities::Capabilities;
use crate::load_error::LoadError;
use crate::load_options::LoadOptions;
use crate::load_request::LoadRequest;
use crate::locked_memory::{self, with_raised_limit};
use crate::map::{Map, possible_cpus};
use crate::object::kernel_name;
use crate::program::{ProgramFd, has_line_info};
use crate::sys::bpf::{self, MapSpec};
use crate::token::BpfToken;

/// A loaded program with its maps.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedProgram {
    /// The program.
    pub program: ProgramFd,
    /// The names of its map definitions with the maps, in the order of the definitions.
    pub maps: Vec<(String, Map)>,
    /// Whether it has line information.
    pub has_line_info: bool,
}

impl LoadedProgram {
    /// The map with this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|(found, _)| found == name).map(|(_, map)| map)
    }
}

/// Creates the maps of a program, fills them, and loads it, for `BPF_PROG_TYPE_CGROUP_SYSCTL`.
///
/// Maps that no instruction refers to are bound to the program, so that they live as long and can be found through it.
/// Kernels before 5.10 cannot do that; there, such a map lives as long as the [`LoadedProgram`].
///
/// Before Linux 5.11, programs and maps count as locked memory. If that fails, this raises the limit of the process as
/// far as possible.
///
/// # Errors
///
/// Every [`LoadError`]. A rejected program is loaded again to get the verifier's log, which the error contains.
pub fn load(program: &Program, options: &LoadOptions) -> Result<LoadedProgram, LoadError> {
    load_with_maps(program, create_maps(program)?, options)
}

/// Creates the maps that a program defines.
pub(crate) fn create_maps(program: &Program) -> Result<Vec<Map>, LoadError> {
    program.maps.iter().map(|def| create_map(&program.name, def)).collect()
}

/// Fails if the program tail-calls one with cgroup storage that it lacks itself.
pub(crate) fn check_storage(program: &Program) -> Result<(), LoadError> {
    match program.foreign_storage() {
        None => Ok(()),
        Some((callee, map)) => Err(LoadError::StorageMismatch {
            program: program.name.clone(),
            callee: callee.name.clone(),
            map: map.name.clone(),
        }),
    }
}

/// Loads a program with these maps instead of those that it defines, in the same order. This way, programs can share
/// maps.
///
/// # Errors
///
/// As [`load`]; [`LoadError::BadRelocation`] if there are too few.
pub fn load_with_maps(
    program: &Program,
    maps: Vec<Map>,
    options: &LoadOptions,
) -> Result<LoadedProgram, LoadError> {
    check_storage(program)?;
    let names = program.maps.iter().map(|def| def.name.clone());
    let maps: Vec<_> = names.zip(maps).collect();
    let (fd, has_lines) = LoadRequest::new(program, &maps, options)?.load()?;
    for (index, (_, map)) in maps.iter().enumerate() {
        if !program.relocations.iter().any(|relocation| relocation.map == index) {
            // A failure only means that others cannot find this map.
            let _ = bpf::prog_bind_map(fd.as_fd(), map.as_fd());
        }
    }
    for TailCall { map, index, program: callee } in &program.tail_calls {
        let (callee, _) = LoadRequest::new(callee, &maps, options)?.load()?;
        let no_map = || LoadError::BadTailCall { program: program.name.clone(), map: *map, index: *index };
        let (name, map) = maps.get(*map).ok_or_else(no_map)?;
        map.update(&index.to_ne_bytes(), &callee.as_raw_fd().to_ne_bytes())
            .map_err(|source| LoadError::MapContents { map: name.clone(), source })?;
    }
    let program = ProgramFd::from_fd(fd);
    let has_line_info = has_line_info(has_lines, program.info().ok().as_ref());
    Ok(LoadedProgram { program, maps, has_line_info })
}

/// Creates a map and fills it. Errors name `program` as its user.
///
/// # Errors
///
/// Those of [`load`] that concern maps.
pub fn create_map(program: &str, def: &MapDef) -> Result<Map, LoadError> {
    let of_kind = if def.kind == MapKind::LpmTrie { BPF_F_NO_PREALLOC } else { 0 };
    let max_entries = match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => possible_cpus().unwrap_or(1) as u32,
        (_, max_entries) => max_entries,
    };
    let inner = def.inner.as_ref().map(|inner| create_map(program, inner)).transpose()?;
    let spec = MapSpec {
        kind: def.kind as u32,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries,
        flags: def.flags | of_kind | if def.frozen { BPF_F_RDONLY_PROG } else { 0 },
        name: kernel_name(&def.name),
        inner: inner.as_ref().map(Map::as_fd),
    };
    let fd = with_raised_limit(|| bpf::map_create(&spec)).map_err(|error| map_error(program, def, error))?;
    let contents = |source| LoadError::MapContents { map: def.name.clone(), source };
    let map = Map::from_fd(fd).map_err(contents)?;
    for (key, value) in &def.contents {
        match def.kind {
            MapKind::Queue | MapKind::Stack => map.push(value),
            _ => map.update(key, value),
        }
        .map_err(contents)?;
    }
    if def.frozen {
        map.freeze().map_err(contents)?;
    }
    Ok(map)
}

fn map_error(program: &str, def: &MapDef, error: Errno) -> LoadError {
    if error == Errno::PERM {
        let what = || format!("create the map \"{}\"", def.name);
        let lacks =
            |token: &BpfToken| [token.lacks_for_programs(), token.lacks_for_maps(&[def.kind])].concat();
        if let Some(error) = LoadError::not_delegated(what, lacks) {
            return error;
        }
    }
    let capabilities = Capabilities::of_this_process().ok();
    let source = error.into();
    match (error, locked_memory::limit()) {
        (Errno::PERM, Some(limit)) if capabilities.is_some_and(Capabilities::can_load) => {
            LoadError::LockedMemory { what: format!("create the map \"{}\"", def.name), limit, source }
        }
        (Errno::PERM, _) => LoadError::NotPermitted { program: program.to_owned(), capabilities, source },
        (Errno::NOMEM, _) => LoadError::NoMemory { program: program.to_owned(), source },
        _ => LoadError::Map {
            map: def.name.clone(),
            kind: def.kind,
            max_entries: def.max_entries,
            key_size: def.key_size,
            value_size: def.value_size,
            error: source,
        },
    }
}
