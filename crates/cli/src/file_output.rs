//! A result that is written to a file: all of it, or nothing.

use std::borrow::Cow;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::policy_file::name;

/// Where a result goes.
#[derive(Debug)]
pub(crate) struct FileOutput<'a> {
    path: &'a Path,
}

impl<'a> FileOutput<'a> {
    /// A file at `path`, which may exist. Reports what can be known to be wrong before there is a result. `inputs` are the files
    /// that the result is made from.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it is a directory, one of the inputs, or in no directory.
    pub(crate) fn new(path: &'a Path, inputs: &[PathBuf]) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::usage(format!("cannot write {}", name(path))).because(error);
        let found = match path.canonicalize() {
            Ok(found) if found.is_dir() => return Err(cannot(io::ErrorKind::IsADirectory.into())),
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                directory(path).metadata().map_err(cannot)?;
                return Ok(Self { path });
            }
            Err(error) => return Err(cannot(error)),
        };
        if inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == found)) {
            let place = name(path);
            return Err(Failure::usage(format!(
                "{place} is one of the files to read: it would be overwritten"
            )));
        }
        Ok(Self { path })
    }

    /// Writes the result as [`replace`] does.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be written. A file that was there is unchanged.
    pub(crate) fn write(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        replace(self.path, write)
            .map_err(|error| Failure::usage(format!("cannot write {}", name(self.path))).because(error))
    }
}

/// Has `write` write to a file beside, which then takes the place of the one at `path` (or of what it links to): readers see either
/// the old content or the new one. The mode of a file that was there stays, and its owner where this process may give files away. A
/// device or a pipe is written to as it is.
///
/// # Errors
/// The file cannot be written. One that was there is unchanged.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (path, metadata) = match path.canonicalize() {
        Ok(found) => (Cow::Owned(found), Some(path.metadata()?)),
        // A link to a file that is not there yet stays.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            return as_it_is(File::create(path)?, write);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Cow::Borrowed(path), None),
        Err(error) => return Err(error),
    };
    if metadata.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return as_it_is(File::options().write(true).open(&path)?, write);
    }
    let mut builder = tempfile::Builder::new();
    // As any new file; the umask counts.
    builder.prefix(".knobgate-").permissions(Permissions::from_mode(0o666));
    let mut file = BufWriter::new(builder.tempfile_in(directory(&path))?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if let Some(metadata) = metadata {
        // Changing the owner clears bits of the mode, so it comes first.
        let _ = fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid()));
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

fn as_it_is(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    file.flush()
}

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();

        let half = |output: &mut dyn Write| output.write_all(b"half").and(Err(io::ErrorKind::Other.into()));
        assert!(replace(&file, half).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");

        replace(&link, |output| output.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        symlink("file", &link).unwrap();
        replace(&link, |output| output.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (directory.path().join("ours"), directory.path().join("other"));
        replace(&ours, |output| output.write_all(b"new")).unwrap();
        fs::write(&other, "").unwrap();
        assert_eq!(ours.metadata().unwrap().mode(), other.metadata().unwrap().mode());
    }

    #[test]
    fn a_device_stays_one() {
        replace(Path::new("/dev/null"), |output| output.write_all(b"x")).unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }
}
