//! Maps, which programs and user space share.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use knobgate_bpf::uapi::BPF_ANY;
use rustix::io::Errno;

use crate::fdinfo::FdInfo;
use crate::object::{BpfObjectError, ids, name_text, open_by_id};
use crate::sys::bpf::{MapFd, Object, read_only_map};
use crate::token::BpfToken;

/// A descriptor of a map.
#[derive(Debug)]
pub struct Map {
    fd: MapFd,
}

/// What the kernel says about a map (`struct bpf_map_info`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// Its id, which is not reused before the next boot.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its kind in the kernel's `enum bpf_map_type`.
    pub kind: u32,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// The maximum number of entries.
    pub max_entries: u32,
    /// The `BPF_F_…` flags that it was created with.
    pub flags: u32,
}

/// A key with its value, as [`Map::lookup`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Map {
    /// `map_extra`, with which it was created.
    pub(crate) fn extra(&self) -> u64 {
        self.fd.info().map_extra
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, BpfObjectError> {
        let fd = MapFd::new(fd, possible_cpus()).map_err(BpfObjectError::failed("examine a map"))?;
        Ok(Self { fd })
    }

    /// The map with this id.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NoSuchId`], [`NotPermitted`](BpfObjectError::NotPermitted), [`Failed`](BpfObjectError::Failed).
    pub fn by_id(id: u32) -> Result<Self, BpfObjectError> {
        Self::from_fd(open_by_id(Object::Map, id)?)
    }

    /// The ids of all maps on this machine.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn all_ids() -> Result<Vec<u32>, BpfObjectError> {
        ids(Object::Map)
    }

    /// What the kernel says about it.
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

    /// The value of `key`. For a per-CPU map: a value for each possible CPU, each rounded up to 8 bytes.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::WrongSize`]; [`Failed`](BpfObjectError::Failed), also for maps other than arrays, hash tables and
    /// LPM tries.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BpfObjectError> {
        let mut value = vec![0; self.fd.value_bytes()];
        match self.fd.lookup(key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error("look up an entry of", error)),
        }
    }

    /// Sets the value of `key`, new or not.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup); `EPERM` if the map is frozen.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), BpfObjectError> {
        self.update_with(key, value, BPF_ANY)
    }

    /// Sets the value of `key` as `flags` say: `BPF_ANY`, `BPF_NOEXIST` or `BPF_EXIST`; with `BPF_F_LOCK`, while the lock in the
    /// value is held, which stays as it is.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); `EINVAL`, which is [`BpfObjectError::WrongSize`], if values have no lock.
    pub fn update_with(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), BpfObjectError> {
        self.fd.update(key, value, flags).map_err(|error| self.error("store an entry in", error))
    }

    /// Puts `map` into this array or hash of maps.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); `EINVAL`, which is [`BpfObjectError::WrongSize`], for a map that is not like those that may be
    /// in it.
    pub fn put_map(&self, key: &[u8], map: &Self) -> Result<(), BpfObjectError> {
        self.update(key, &map.as_fd().as_raw_fd().to_ne_bytes())
    }

    /// Removes `key`. Returns whether it existed.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); entries of arrays cannot be removed.
    pub fn delete(&self, key: &[u8]) -> Result<bool, BpfObjectError> {
        match self.fd.delete(key) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.error("remove an entry of", error)),
        }
    }

    /// The key after `key` in the map's order; the first one for `None`, or for a key that is not in the map.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, BpfObjectError> {
        match self.fd.next_key(key) {
            Ok(next) => Ok(Some(next)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.error("iterate over", error)),
        }
    }

    /// All entries. Some can be missing or duplicate if the map changes in the meantime.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn entries(&self) -> Result<Vec<MapEntry>, BpfObjectError> {
        self.first_entries(usize::MAX)
    }

    /// At most `most` entries.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup).
    pub fn first_entries(&self, most: usize) -> Result<Vec<MapEntry>, BpfObjectError> {
        // Iteration starts over if its current key is removed, so it needs a limit.
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

    /// Puts a value into a queue or a stack.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::WrongSize`]; [`Failed`](BpfObjectError::Failed), also for other maps.
    pub fn push(&self, value: &[u8]) -> Result<(), BpfObjectError> {
        self.fd.push(value).map_err(|error| self.error("push a value to", error))
    }

    /// The values of a queue or a stack, in pop order. This pops all of them and pushes them again, which is visible to
    /// other users of the map.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`], also for other maps.
    pub fn queued(&self) -> Result<Vec<Vec<u8>>, BpfObjectError> {
        const STACK: u32 = 23;
        let mut values = Vec::new();
        loop {
            let mut value = vec![0; self.fd.value_bytes()];
            match self.fd.pop(&mut value) {
                Ok(()) => values.push(value),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(self.error("pop a value from", error)),
            }
        }
        let push = |value: &Vec<u8>| self.push(value);
        if self.fd.info().kind == STACK {
            values.iter().rev().try_for_each(push)?;
        } else {
            values.iter().try_for_each(push)?;
        }
        Ok(values)
    }

    /// A second descriptor of the same map, with which its contents can only be read. A process that uses a [`BpfToken`] cannot have
    /// one, and gets one like this.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn read_only(&self) -> Result<Self, BpfObjectError> {
        let id = self.info().id;
        let opened = read_only_map(id);
        if opened.as_ref().err() == Some(&Errno::PERM) && BpfToken::of_this_process().is_some() {
            return self.try_clone();
        }
        Self::from_fd(opened.map_err(|error| {
            BpfObjectError::new(format!("open the map with id {id} for reading"), "CAP_SYS_ADMIN", error)
        })?)
    }

    /// A second descriptor of the same map.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`] if there are no descriptors left.
    pub fn try_clone(&self) -> Result<Self, BpfObjectError> {
        let failed =
            |error| BpfObjectError::Failed { doing: "duplicate the descriptor of a map".to_owned(), error };
        Ok(Self { fd: self.fd.try_clone().map_err(failed)? })
    }

    /// Makes it read-only for user space (`BPF_MAP_FREEZE`). Programs can still write to it, unless it was created
    /// read-only for them.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`]: `EBUSY` if it is frozen already, or mapped for writing.
    pub fn freeze(&self) -> Result<(), BpfObjectError> {
        self.fd.freeze().map_err(|error| self.error("freeze", error))
    }

    /// Whether it is frozen, from the descriptor's `fdinfo`.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`] if `/proc` cannot be read.
    pub fn is_frozen(&self) -> Result<bool, BpfObjectError> {
        Ok(self.fdinfo()?.get("frozen") == Some("1"))
    }

    /// How many bytes of kernel memory it takes, from the descriptor's `fdinfo`: on Linux 6.4 and later what it has now, before
    /// that what it may have when it is full. `None` if the kernel does not say.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`] if `/proc` cannot be read.
    pub fn memory(&self) -> Result<Option<u64>, BpfObjectError> {
        Ok(self.fdinfo()?.memory())
    }

    fn fdinfo(&self) -> Result<FdInfo, BpfObjectError> {
        FdInfo::of(self.as_fd()).map_err(|error| BpfObjectError::Failed {
            doing: format!("read the fdinfo of map {}", self.info().id),
            error,
        })
    }

    fn error(&self, doing: &str, error: Errno) -> BpfObjectError {
        let info = self.info();
        let doing = format!("{doing} the map {} (id {})", info.name, info.id);
        match error {
            Errno::INVAL => BpfObjectError::WrongSize {
                doing,
                key_size: info.key_size as usize,
                value_size: self.fd.value_bytes(),
            },
            error => BpfObjectError::failed(doing)(error),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The number of possible CPUs, which is the number of values per key in a per-CPU map.
pub fn possible_cpus() -> Option<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    count_cpus(text.trim())
}

/// The size of a per-CPU array for a list like `0-3,8`: the last number plus one.
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
