//! Maps: what a program and user space share.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::fdinfo::FdInfo;
use crate::object::{ObjectError, ids, name_text, open_by_id};
use crate::sys::bpf::{MapFd, Object};

/// A map, held open.
#[derive(Debug)]
pub struct Map {
    fd: MapFd,
}

/// What the kernel says of a map (`struct bpf_map_info`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// Its id, not used again while the machine is up.
    pub id: u32,
    /// Its name; at most 15 bytes.
    pub name: String,
    /// The number of its kind in the kernel's `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// How many entries it has room for.
    pub max_entries: u32,
    /// `BPF_F_…` bits it was created with.
    pub flags: u32,
}

/// A key with its value, as [`Map::lookup`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Map {
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, ObjectError> {
        let fd = MapFd::new(fd, possible_cpus()).map_err(ObjectError::failed("examine a map"))?;
        Ok(Self { fd })
    }

    /// The map with this id.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoSuchId`], [`NotPermitted`](ObjectError::NotPermitted), [`Failed`](ObjectError::Failed).
    pub fn by_id(id: u32) -> Result<Self, ObjectError> {
        Self::from_fd(open_by_id(Object::Map, id)?)
    }

    /// The ids of all maps of this machine.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NotPermitted`], [`Failed`](ObjectError::Failed).
    pub fn all_ids() -> Result<Vec<u32>, ObjectError> {
        ids(Object::Map)
    }

    /// What the kernel says of it.
    pub fn info(&self) -> MapInfo {
        let info = self.fd.info();
        MapInfo {
            id: info.id,
            name: name_text(&info.name),
            kind: info.kind,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.flags,
        }
    }

    /// The value under `key`. Of a per-CPU map: one value for each possible CPU, each rounded up to 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ObjectError::WrongSize`]; [`Failed`](ObjectError::Failed), also for maps that are not arrays, hash tables or LPM tries.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ObjectError> {
        let mut value = vec![0; self.fd.value_bytes()];
        match self.fd.lookup(key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error("look up an entry of", error)),
        }
    }

    /// Stores `value` under `key`, whether or not there is one.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup); `EPERM` when the map is frozen.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), ObjectError> {
        const ANY: u64 = 0;
        self.fd.update(key, value, ANY).map_err(|error| self.error("store an entry in", error))
    }

    /// Removes what is under `key`; says whether there was something.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); arrays have no entries to remove.
    pub fn delete(&self, key: &[u8]) -> Result<bool, ObjectError> {
        match self.fd.delete(key) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.error("remove an entry of", error)),
        }
    }

    /// The key behind `key` in the map's own order; the first one for `None`, or for a key that is not in the map.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, ObjectError> {
        match self.fd.next_key(key) {
            Ok(next) => Ok(Some(next)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error("walk over", error)),
        }
    }

    /// All entries. While others change the map, some can be missing or come twice.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn entries(&self) -> Result<Vec<MapEntry>, ObjectError> {
        self.first_entries(usize::MAX)
    }

    /// The first `most` of them.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn first_entries(&self, most: usize) -> Result<Vec<MapEntry>, ObjectError> {
        // A walk starts over when its place vanishes under it; the bound makes sure of an end.
        let most = most.min(self.fd.info().max_entries as usize);
        let mut entries = Vec::new();
        let mut key = self.next_key(None)?;
        while let Some(current) = key.filter(|_| entries.len() < most) {
            key = self.next_key(Some(&current))?;
            if let Some(value) = self.lookup(&current)? {
                entries.push(MapEntry { key: current, value });
            }
        }
        Ok(entries)
    }

    /// The values of a queue or a stack, in the order in which they come out. They are taken out and put back, which
    /// whoever uses the map meanwhile notices.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`], also for other maps.
    pub fn queued(&self) -> Result<Vec<Vec<u8>>, ObjectError> {
        const STACK: u32 = 23;
        let mut values = Vec::new();
        loop {
            let mut value = vec![0; self.fd.value_bytes()];
            match self.fd.pop(&mut value) {
                Ok(()) => values.push(value),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(self.error("take a value out of", error)),
            }
        }
        let put_back =
            |value: &Vec<u8>| self.fd.push(value).map_err(|error| self.error("put a value into", error));
        if self.fd.info().kind == STACK {
            values.iter().rev().try_for_each(put_back)?;
        } else {
            values.iter().try_for_each(put_back)?;
        }
        Ok(values)
    }

    /// A second handle of the same map.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`] when there are no descriptors left.
    pub fn try_clone(&self) -> Result<Self, ObjectError> {
        let failed = |source| ObjectError::Failed { doing: "hold a map twice".to_owned(), source };
        Ok(Self { fd: self.fd.try_clone().map_err(failed)? })
    }

    /// Lets nobody change it from user space from now on (`BPF_MAP_FREEZE`); programs still may, except where it was
    /// made read-only for them.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`]: `EBUSY` when it is frozen already, or mapped for writing.
    pub fn freeze(&self) -> Result<(), ObjectError> {
        self.fd.freeze().map_err(|error| self.error("freeze", error))
    }

    /// Whether it is frozen, from the descriptor's `fdinfo`.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Failed`] when `/proc` cannot be read.
    pub fn is_frozen(&self) -> Result<bool, ObjectError> {
        let info = FdInfo::of(self.as_fd()).map_err(|source| ObjectError::Failed {
            doing: format!("read the fdinfo of map {}", self.info().id),
            source,
        })?;
        Ok(info.get("frozen") == Some("1"))
    }

    fn error(&self, doing: &str, error: Errno) -> ObjectError {
        let info = self.info();
        let doing = format!("{doing} the map {} (id {})", info.name, info.id);
        match error {
            Errno::INVAL => ObjectError::WrongSize {
                doing,
                key_size: info.key_size as usize,
                value_size: self.fd.value_bytes(),
            },
            error => ObjectError::failed(doing)(error),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How many CPUs there can be, which is how many values a per-CPU map has for a key.
pub fn possible_cpus() -> Option<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    count_cpus(text.trim())
}

/// Counts what a list like `0-3,8` names, which for this one is the last number plus one.
fn count_cpus(list: &str) -> Option<usize> {
    let last = list.rsplit([',', '-']).next()?;
    last.parse::<usize>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_cpus_are_counted_to_the_last() {
        let cases = [("0", Some(1)), ("0-1", Some(2)), ("0-3,8-11", Some(12)), ("0,2", Some(3)), ("", None)];
        for (list, expected) in cases {
            assert_eq!(count_cpus(list), expected, "{list}");
        }
    }
}
