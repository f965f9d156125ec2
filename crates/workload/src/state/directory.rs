//! Reading files that may be anything.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use serde::de::DeserializeOwned;

/// A directory of an engine.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory `below` the root. The administrator may have moved it elsewhere below the root: symbolic links
    /// are followed.
    pub(super) fn open(root: &Path, below: &str) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(root, flags, Mode::empty()).ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&root, below, flags, Mode::empty(), resolve).ok().map(Self)
    }

    /// Opens the directory `path` in this one. From here on, symbolic links are not followed.
    pub(super) fn directory(&self, path: &[u8]) -> Option<Self> {
        self.open_inside(path, OFlags::RDONLY | OFlags::DIRECTORY).map(Self)
    }

    /// What the JSON file `path` says; `None` if it is larger than `limit` bytes.
    pub(super) fn json<T: DeserializeOwned>(&self, path: &[u8], limit: u64) -> Option<T> {
        // Opening a pipe would wait for a writer.
        let file = self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let is_file = FileType::from_raw_mode(fstat(&file).ok()?.st_mode) == FileType::RegularFile;
        let mut bytes = Vec::new();
        // The size can change while it is read.
        File::from(is_file.then_some(file)?).take(limit + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit).then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// The names in it with their inode numbers, at most `limit` of them.
    pub(super) fn entries(&self, limit: usize) -> Vec<(Vec<u8>, u64)> {
        let Ok(entries) = Dir::read_from(self.0.as_fd()) else { return Vec::new() };
        let named = entries.flatten().map(|entry| (entry.file_name().to_bytes().to_vec(), entry.ino()));
        named.filter(|(name, _)| !matches!(&name[..], b"." | b"..")).take(limit).collect()
    }

    fn open_inside(&self, path: &[u8], flags: OFlags) -> Option<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
    }
}
