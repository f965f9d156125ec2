//! Loading a [`Program`] into the kernel.

use std::os::fd::{AsFd, AsRawFd};

use knobgate_bpf::uapi::BPF_F_RDONLY_PROG;
use knobgate_bpf::{InnerMap, MapDef, MapKind, Program, TailCall};
use rustix::io::Errno;

use crate::capabilities::Capabilities;
use crate::load_error::LoadError;
use crate::load_options::LoadOptions;
use crate::load_request::LoadRequest;
use crate::loaded_types::LoadedTypes;
use crate::locked_memory::{self, with_raised_limit};
use crate::map::{Map, possible_cpus};
use crate::object::kernel_name;
use crate::pinned_map::MapPin;
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
/// Maps that are pinned by name are shared with other programs: see [`LoadOptions::pins`]. They stay pinned.
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
    check_storage(program)?;
    let mut types = LoadedTypes::default();
    let pins = program.maps.iter().map(|def| {
        let pinned = def.pinned_by_name.then(|| MapPin::of(def, options.pins.as_ref()));
        pinned.transpose()
    });
    let pins: Vec<Option<MapPin>> = pins.collect::<Result<_, _>>()?;
    // Another process may pin one of them at the same time; then that one is used.
    let mut attempts = 2;
    loop {
        let (mut maps, mut are_new) = (Vec::new(), Vec::new());
        for (def, pin) in program.maps.iter().zip(&pins) {
            let found = pin.as_ref().map(|pin| pin.open(def)).transpose()?.flatten();
            are_new.push(found.is_none());
            let map = found.map_or_else(|| create_typed(&program.name, def, &mut types), Ok)?;
            maps.push((def.name.clone(), map));
        }
        put_inner_maps(program, &maps, |map| are_new[map])?;
        // From here on, others use the pinned ones: they are complete.
        let mut taken = None;
        for (index, pin) in pins.iter().enumerate().filter(|(index, _)| are_new[*index]) {
            if let Some(pin) = pin
                && !pin.pin(&maps[index].1)?
            {
                taken = Some(pin);
            }
        }
        attempts -= 1;
        match taken {
            None => return load_filled(program, maps, options),
            Some(pin) if attempts == 0 => return Err(pin.contended()),
            Some(_) => {}
        }
    }
}

/// Creates the maps that a program defines. None is pinned.
pub(crate) fn create_maps(program: &Program) -> Result<Vec<Map>, LoadError> {
    let mut types = LoadedTypes::default();
    program.maps.iter().map(|def| create_typed(&program.name, def, &mut types)).collect()
}

/// Puts maps into the arrays and hashes of maps that are new.
pub(crate) fn put_inner_maps(
    program: &Program,
    maps: &[(String, Map)],
    is_new: impl Fn(usize) -> bool,
) -> Result<(), LoadError> {
    for &InnerMap { outer, key, map } in &program.inner_maps {
        let bad = || LoadError::BadInnerMap { program: program.name.clone(), outer, map };
        let ((name, outer_map), (_, inner)) = maps.get(outer).zip(maps.get(map)).ok_or_else(bad)?;
        if is_new(outer) {
            outer_map
                .put_map(&key.to_ne_bytes(), inner)
                .map_err(|source| LoadError::MapContents { map: name.clone(), source })?;
        }
    }
    Ok(())
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
/// maps. The arrays and hashes of maps among them get their initial contents.
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
    put_inner_maps(program, &maps, |_| true)?;
    load_filled(program, maps, options)
}

/// Loads a program with maps that have their initial contents.
fn load_filled(
    program: &Program,
    maps: Vec<(String, Map)>,
    options: &LoadOptions,
) -> Result<LoadedProgram, LoadError> {
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

/// Creates a map and fills it, except with maps. Errors name `program` as its user. It is not pinned.
///
/// # Errors
///
/// Those of [`load`] that concern maps.
pub fn create_map(program: &str, def: &MapDef) -> Result<Map, LoadError> {
    create_typed(program, def, &mut LoadedTypes::default())
}

/// The same with types that are loaded once for several maps.
pub(crate) fn create_typed(program: &str, def: &MapDef, types: &mut LoadedTypes) -> Result<Map, LoadError> {
    let inner = def.inner.as_ref().map(|inner| create_typed(program, inner, types)).transpose()?;
    let is_special = def.btf.as_ref().is_some_and(|btf| !btf.special_fields.is_empty());
    let types = match def.btf.as_ref().map(|btf| types.of(btf)) {
        Some(Err(Errno::PERM)) if is_special => return Err(map_error(program, def, Errno::PERM)),
        // Without types, nothing would say where the locks and timers in its values are.
        Some(Err(error)) if is_special => {
            return Err(LoadError::MapTypes { map: def.name.clone(), error: error.into() });
        }
        found => found.and_then(Result::ok),
    };
    let spec = MapSpec {
        kind: def.kind as u32,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: max_entries(def),
        flags: flags(def),
        name: kernel_name(&def.name),
        inner: inner.as_ref().map(Map::as_fd),
        types,
        map_extra: def.map_extra,
    };
    let mut fd = with_raised_limit(|| bpf::map_create(&spec));
    if fd.is_err() && spec.types.is_some() {
        // The kernel may not accept these types for this kind of map. Like libbpf: without them, the verifier rejects programs that
        // use a lock or a timer in values, and says why.
        let untyped = MapSpec { types: None, ..spec };
        fd = with_raised_limit(|| bpf::map_create(&untyped));
    }
    let fd = fd.map_err(|error| map_error(program, def, error))?;
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

/// The flags that a map is created with.
pub(crate) fn flags(def: &MapDef) -> u32 {
    def.flags | def.kind.implied_flags() | if def.frozen { BPF_F_RDONLY_PROG } else { 0 }
}

/// The number of entries that a map is created with.
pub(crate) fn max_entries(def: &MapDef) -> u32 {
    match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => possible_cpus().unwrap_or(1) as u32,
        (_, max_entries) => max_entries,
    }
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
            flags: flags(def),
            error: source,
        },
    }
}
