//! Maps that are pinned by name, so that programs share them (`LIBBPF_PIN_BY_NAME`).

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use knobgate_bpf::{MapDef, MapKind};
use rustix::fs::{lstat, stat};
use rustix::io::Errno;

use crate::bpffs::{Bpffs, BpffsError, failed, untrusted_pin};
use crate::fdinfo::FdInfo;
use crate::load::{ProgramMap, create_typed, flags, max_entries};
use crate::load_error::LoadError;
use crate::loaded_types::LoadedTypes;
use crate::map::Map;
use crate::pin_owner::BadOwnership;
use crate::sys::bpf;

/// Opens the map that is pinned by the name of `def`. If there is none, creates and pins it. As in libbpf, it has to be of the
/// same type, sizes and flags; it stays pinned when no program uses it any more.
///
/// Pins that do not belong to root are not used.
pub(crate) fn open_or_pin(
    program: &str,
    def: &MapDef,
    pins: Option<&Bpffs>,
    types: &mut LoadedTypes,
) -> Result<ProgramMap, LoadError> {
    let failure = |source| LoadError::PinnedMap { map: def.name.clone(), source: Box::new(source) };
    let found = pins.cloned().map_or_else(Bpffs::find, Ok).map_err(failure)?;
    let path = path_of(found.path(), &def.name);
    let c_path = (!def.name.contains('/'))
        .then(|| CString::new(path.as_os_str().as_bytes()).ok())
        .flatten()
        .ok_or_else(|| failure(failed("use the name of the pin", &path)(Errno::INVAL)))?;
    let directory = stat(found.path()).map_err(|error| failure(failed("examine", found.path())(error)))?;
    if let Some(why) = BadOwnership::of_directory(&directory) {
        return Err(failure(BpffsError::Untrusted {
            path: found.path().to_owned(),
            why,
            remedy: format!("let root own it: chown root {0} && chmod go-w {0}", found.path().display()),
        }));
    }
    // Another process may pin one between the two calls.
    for _ in 0..2 {
        match bpf::obj_get(&c_path) {
            Ok(fd) => {
                let pin = lstat(&path).map_err(|error| failure(failed("examine", &path)(error)))?;
                if let Some(why) = BadOwnership::of_entry(&pin) {
                    return Err(failure(untrusted_pin(&path, why)));
                }
                let is_map = FdInfo::of(fd.as_fd()).is_ok_and(|info| info.get("map_type").is_some());
                let map = is_map.then(|| Map::from_fd(fd).ok()).flatten();
                let map = map.ok_or_else(|| other(def, &path, "it is not a map".to_owned()))?;
                return match differences(def, &map) {
                    None => Ok(ProgramMap::Pinned(map)),
                    Some(differences) => Err(other(def, &path, differences)),
                };
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failure(failed("open", &path)(error))),
        }
        let map = create_typed(program, def, types)?;
        match bpf::obj_pin(map.as_fd(), &c_path) {
            Ok(()) => return Ok(ProgramMap::New(map)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failure(failed("pin a map at", &path)(error))),
        }
    }
    Err(failure(failed("pin a map at", &path)(Errno::EXIST)))
}

/// Names on a bpffs have no periods; libbpf replaces them, too.
fn path_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(name.replace('.', "_"))
}

fn other(def: &MapDef, path: &Path, differences: String) -> LoadError {
    LoadError::OtherPinnedMap { map: def.name.clone(), path: path.to_owned(), differences }
}

/// What differs between a map and the one that a program needs, if so.
fn differences(def: &MapDef, map: &Map) -> Option<String> {
    let info = map.info();
    let Some(kind) = MapKind::from_number(info.kind) else {
        return Some(format!("its type is {}, not {}", info.kind, def.kind.name()));
    };
    let found = MapDef {
        kind,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.flags,
        map_extra: map.extra(),
        ..MapDef::default()
    };
    MapDef { flags: flags(def), max_entries: max_entries(def), ..def.clone() }.differences(&found)
}
