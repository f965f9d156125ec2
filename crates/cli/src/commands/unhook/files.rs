//! Reading files of engines, below a root.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::limited;
use crate::printable::printable_path;

/// The largest file that is looked at, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// The entries of a directory, sorted; none if it is not there.
///
/// # Errors
/// [`Failure::Machine`].
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    };
    match list() {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        listed => listed.map_err(|error| {
            Failure::machine(format!("cannot list {}", printable_path(directory))).because(error)
        }),
    }
}

/// The text of a file, with other bytes than UTF-8 replaced; `None` if it is not there.
///
/// # Errors
/// [`Failure::Machine`].
pub(super) fn read(file: &Path) -> Result<Option<String>, Failure> {
    Ok(read_bytes(file)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The bytes of a file; `None` if it is not there.
///
/// # Errors
/// [`Failure::Machine`].
pub(super) fn read_bytes(file: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match limited::read_file(file, BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Failure::machine(format!("cannot read {}", printable_path(file))).because(error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}
