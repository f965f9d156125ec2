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
use crate::load::{flags, max_entries};
use crate::load_error::LoadError;
use crate::map::Map;
use crate::pin_owner::BadOwnership;
use crate::sys::bpf;

/// Where a map is pinned by its name.
pub(crate) struct MapPin {
    map: String,
    path: PathBuf,
    c_path: CString,
}

impl MapPin {
    /// The pin of a map. Only a bpffs that root owns is used.
    pub(crate) fn of(def: &MapDef, pins: Option<&Bpffs>) -> Result<Self, LoadError> {
        let failure = |source| LoadError::PinnedMap { map: def.name.clone(), source: Box::new(source) };
        let found = pins.cloned().map_or_else(Bpffs::find, Ok).map_err(failure)?;
        let path = path_of(found.path(), &def.name);
        let c_path = (!def.name.contains('/'))
            .then(|| CString::new(path.as_os_str().as_bytes()).ok())
            .flatten()
            .ok_or_else(|| failure(failed("use the name of the pin", &path)(Errno::INVAL)))?;
        let directory =
            stat(found.path()).map_err(|error| failure(failed("examine", found.path())(error)))?;
        if let Some(why) = BadOwnership::of_directory(&directory) {
            return Err(failure(BpffsError::Untrusted {
                path: found.path().to_owned(),
                why,
                remedy: format!("let root own it: chown root {0} && chmod go-w {0}", found.path().display()),
            }));
        }
        Ok(Self { map: def.name.clone(), path, c_path })
    }

    /// The map that is pinned there, if one is. As in libbpf, it has to be of the same type, sizes and flags. Pins that do not
    /// belong to root are not used.
    pub(crate) fn open(&self, def: &MapDef) -> Result<Option<Map>, LoadError> {
        let path = &self.path;
        let fd = match bpf::obj_get(&self.c_path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failure("open", error)),
        };
        let pin = lstat(path).map_err(|error| self.failure("examine", error))?;
        if let Some(why) = BadOwnership::of_entry(&pin) {
            let source = Box::new(untrusted_pin(path, why));
            return Err(LoadError::PinnedMap { map: self.map.clone(), source });
        }
        let is_map = FdInfo::of(fd.as_fd()).is_ok_and(|info| info.get("map_type").is_some());
        let map = is_map.then(|| Map::from_fd(fd).ok()).flatten();
        let map = map.ok_or_else(|| other(def, path, "it is not a map".to_owned()))?;
        match differences(def, &map) {
            None => Ok(Some(map)),
            Some(differences) => Err(other(def, path, differences)),
        }
    }

    /// Pins a map there. `false`: another process has pinned one.
    pub(crate) fn pin(&self, map: &Map) -> Result<bool, LoadError> {
        match bpf::obj_pin(map.as_fd(), &self.c_path) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(self.failure("pin a map at", error)),
        }
    }

    /// That other processes pin maps there and remove them all the time.
    pub(crate) fn contended(&self) -> LoadError {
        self.failure("pin a map at", Errno::EXIST)
    }

    fn failure(&self, doing: &'static str, error: Errno) -> LoadError {
        let source = Box::new(failed(doing, &self.path)(error));
        LoadError::PinnedMap { map: self.map.clone(), source }
    }
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
