//! From a [`Program`] to one that the kernel holds.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use knobgate_bpf::{MapDef, MapKind, Program, TailCall};
use rustix::io::Errno;

use crate::attempt::Attempt;
use crate::capabilities::Capabilities;
use crate::load_error::LoadError;
use crate::locked_memory::{self, within_limit};
use crate::map::{Map, possible_cpus};
use crate::object::{ATTACH_TYPE, kernel_name};
use crate::program::ProgramFd;
use crate::sys::bpf::{self, MapSpec};
use crate::verifier_log::LogLevel;

/// How a program is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What a program that states no license of its own tells the kernel, which decides on the helpers that are for GPL
    /// programs alone.
    ///
    /// `Dual MIT/GPL` by default. What we compile calls no such helper; but of the permissive licenses this is the one
    /// that the kernel knows by name (`license_is_gpl_compatible()` in `include/linux/license.h`), and a program with
    /// an unknown one is shown as not compatible.
    pub license: CString,
    /// Whether the lines of the source go with the program, for the verifier's log and for `bpftool`. Where the kernel
    /// does not take them, the program is loaded without. A program whose functions helpers call back is refused without.
    pub line_info: bool,
    /// How much of its work the verifier writes to the log of a program that it rejects.
    pub log_level: LogLevel,
    /// The most bytes of verifier's log that are kept. A longer one loses its beginning; before Linux 6.4, where it would
    /// lose its end and with that the reason, only the reason is kept of a rejected program's.
    pub log_limit: usize,
    /// `expected_attach_type`: `BPF_CGROUP_SYSCTL` by default, without which `bpf_set_retval` is not offered.
    pub expected_attach_type: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            license: c"Dual MIT/GPL".to_owned(),
            line_info: true,
            log_level: LogLevel::Path,
            log_limit: 16 << 20,
            expected_attach_type: ATTACH_TYPE,
        }
    }
}

/// A program that the kernel holds, with its maps.
#[derive(Debug)]
pub struct LoadedProgram {
    /// The program.
    pub program: ProgramFd,
    /// Its maps by the names of their definitions, in the order of these.
    pub maps: Vec<(String, Map)>,
    /// Whether the kernel took the lines of the source.
    pub has_line_info: bool,
}

impl LoadedProgram {
    /// The map that the definition of this name became.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|(found, _)| found == name).map(|(_, map)| map)
    }
}

/// Creates the maps of a program, fills them, and loads it, for `BPF_PROG_TYPE_CGROUP_SYSCTL`.
///
/// A map that no instruction refers to is bound to the program, so that it lives as long as that and can be found
/// through it; kernels before 5.10 cannot, there it goes with [`LoadedProgram`].
///
/// Before Linux 5.11 maps count as locked memory; where that is refused, this process's limit is raised as far as it
/// may be.
///
/// # Errors
///
/// Every [`LoadError`]; a refused program is loaded once more with the verifier's log, which the error carries.
pub fn load(program: &Program, options: &LoadOptions) -> Result<LoadedProgram, LoadError> {
    load_with_maps(program, create_maps(program)?, options)
}

/// The maps that a program defines, in their order.
pub(crate) fn create_maps(program: &Program) -> Result<Vec<Map>, LoadError> {
    program.maps.iter().map(|def| create_map(&program.name, def)).collect()
}

/// Fails for a program that calls one whose storage it has not.
pub(crate) fn check_storage(program: &Program) -> Result<(), LoadError> {
    match program.foreign_storage() {
        None => Ok(()),
        Some((callee, map)) => Err(LoadError::ForeignStorage {
            program: program.name.clone(),
            callee: callee.name.clone(),
            map: map.name.clone(),
        }),
    }
}

/// Loads a program with these maps in place of those that it defines, in the same order: programs can so share maps.
///
/// # Errors
///
/// As [`load`]; [`LoadError::BadRelocation`] where there are too few.
pub fn load_with_maps(
    program: &Program,
    maps: Vec<Map>,
    options: &LoadOptions,
) -> Result<LoadedProgram, LoadError> {
    check_storage(program)?;
    let names = program.maps.iter().map(|def| def.name.clone());
    let maps: Vec<_> = names.zip(maps).collect();
    let (fd, has_line_info) = Attempt::new(program, &maps, options)?.load()?;
    for (index, (_, map)) in maps.iter().enumerate() {
        if !program.relocations.iter().any(|relocation| relocation.map == index) {
            // Not a reason to go without a policy: all that is lost is that others can find this map.
            let _ = bpf::prog_bind_map(fd.as_fd(), map.as_fd());
        }
    }
    for TailCall { map, index, program: callee } in &program.tail_calls {
        let (callee, _) = Attempt::new(callee, &maps, options)?.load()?;
        let no_map = || LoadError::BadTailCall { program: program.name.clone(), map: *map, index: *index };
        let (name, map) = maps.get(*map).ok_or_else(no_map)?;
        map.update(&index.to_ne_bytes(), &callee.as_raw_fd().to_ne_bytes())
            .map_err(|source| LoadError::MapContents { map: name.clone(), source })?;
    }
    let program = ProgramFd::from_fd(fd);
    let has_line_info = has_line_info && program.info().is_ok_and(|info| info.has_line_info);
    Ok(LoadedProgram { program, maps, has_line_info })
}

/// Creates a map and fills it. `program` is what is told to need it.
///
/// # Errors
///
/// Those of [`load`] that are about maps.
pub fn create_map(program: &str, def: &MapDef) -> Result<Map, LoadError> {
    const NO_PREALLOC: u32 = 1 << 0;
    const RDONLY_PROG: u32 = 1 << 7;
    let of_kind = if def.kind == MapKind::LpmTrie { NO_PREALLOC } else { 0 };
    let max_entries = match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => possible_cpus().unwrap_or(1) as u32,
        (_, max_entries) => max_entries,
    };
    let spec = MapSpec {
        kind: def.kind as u32,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries,
        flags: def.flags | of_kind | if def.frozen { RDONLY_PROG } else { 0 },
        name: kernel_name(&def.name),
    };
    let fd = within_limit(|| bpf::map_create(&spec)).map_err(|error| map_error(program, def, error))?;
    let contents = |source| LoadError::MapContents { map: def.name.clone(), source };
    let map = Map::from_fd(fd).map_err(contents)?;
    for (key, value) in &def.contents {
        map.update(key, value).map_err(contents)?;
    }
    if def.frozen {
        map.freeze().map_err(contents)?;
    }
    Ok(map)
}

fn map_error(program: &str, def: &MapDef, error: Errno) -> LoadError {
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
            source,
        },
    }
}
