//! Opening directories whose path exceeds `PATH_MAX`, as that of a deeply nested cgroup can.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::{Errno, Result};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the directory at `path`, however long that is.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    match open(path, DIRECTORY, Mode::empty()) {
        Err(Errno::NAMETOOLONG) => open_in_pieces(path),
        done => done,
    }
}

fn open_in_pieces(path: &Path) -> Result<OwnedFd> {
    // A component has at most 255 bytes.
    const PIECE: usize = libc::PATH_MAX as usize - 256;
    let (mut directory, mut piece) = (None::<OwnedFd>, PathBuf::new());
    let open_piece = |directory: &Option<OwnedFd>, piece: &Path| match directory {
        Some(directory) => openat(directory, piece, DIRECTORY, Mode::empty()),
        None => open(piece, DIRECTORY, Mode::empty()),
    };
    for component in path.components() {
        piece.push(component);
        if piece.as_os_str().as_bytes().len() >= PIECE {
            directory = Some(open_piece(&directory, &piece)?);
            piece = PathBuf::from(".");
        }
    }
    open_piece(&directory, &piece)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{fstat, stat};

    use super::*;

    #[test]
    fn a_path_of_any_length_is_opened() {
        let start = Path::new("/proc/self/fd/..");
        let same: PathBuf = (0..2000).fold(start.to_owned(), |path, _| path.join("fd").join(".."));
        assert_eq!(open(&same, DIRECTORY, Mode::empty()).err(), Some(Errno::NAMETOOLONG));
        let inode = fstat(open_directory(&same).expect("a directory")).expect("its inode").st_ino;
        assert_eq!(inode, stat("/proc/self").expect("its inode").st_ino);
        let long_name = Path::new("/").join("x".repeat(300));
        assert_eq!(open_directory(&long_name).err(), Some(Errno::NAMETOOLONG));
        assert_eq!(open_directory(&same.join("missing")).err(), Some(Errno::NOENT));
    }
}
