//! Writing a file atomically: readers see either the old text or the new one.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Gives the file at `path` (or what it links to) these bytes, and creates it if there is none. The mode of a file stays, and
/// its owner where this process may give files away. What is no file, such as a pipe, is written to.
///
/// # Errors
/// The file cannot be replaced; it is unchanged.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => replace(path, &metadata, bytes),
        Ok(_) => fs::write(path, bytes),
        // A link to nothing cannot be replaced by what it would name.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => create(path, bytes),
        Err(_) => fs::write(path, bytes),
    }
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    // As any other program creates files: the mask of this process applies.
    let mode = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".knobgate-").permissions(mode).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn replace(path: &Path, metadata: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize()?;
    // A canonical path to a file has a parent.
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".knobgate-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    // Changing the owner clears bits of the mode, so it comes first.
    let _ = fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid()));
    file.as_file().set_permissions(metadata.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_mode_and_links_to_the_file_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();

        write(&link, b"new").unwrap();

        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (directory.path().join("ours"), directory.path().join("other"));
        write(&ours, b"new").unwrap();
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode();
        assert_eq!((fs::read(&ours).unwrap(), mode(&ours)), (b"new".to_vec(), mode(&other)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn what_is_no_file_is_written_to() {
        write(Path::new("/dev/null"), b"new").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }
}
