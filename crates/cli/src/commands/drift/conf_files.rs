//! Which files are read, in which order.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use knobgate_sysctl_conf::{CONF_DIRECTORIES, DirectoryEntry, is_conf_name, reading_order};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, open, openat2, readlinkat};

use crate::failure::Failure;
use crate::output::Output;
use crate::{policy_file, settings_file};

/// The files, of which later ones count more.
#[derive(Debug)]
pub(super) struct ConfFiles(Vec<ConfFile>);

/// A file.
#[derive(Debug)]
pub(super) struct ConfFile {
    /// What it is called in messages.
    pub(super) name: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// An argument.
    Path(PathBuf),
    /// This one, if that were the root directory.
    Below(PathBuf, PathBuf),
}

/// What sysctl(8) reads after all others.
const SYSCTL_CONF: &str = "/etc/sysctl.conf";

impl ConfFiles {
    /// Those that systemd-sysctl reads if `root` is the root directory. Notes what it passes over.
    ///
    /// # Errors
    /// [`Failure::Usage`] if a directory is there and cannot be listed.
    pub(super) fn of_machine(root: &Path, output: &Output) -> Result<Self, Failure> {
        if root.symlink_metadata().is_err() {
            let what = format!("cannot read {}", root.display());
            return Err(Failure::usage(what).because("there is no such directory"));
        }
        let mut directories = Vec::new();
        for directory in CONF_DIRECTORIES {
            let directory = Path::new(directory);
            directories.push(entries(root, directory).map_err(|error| {
                Failure::usage(format!("cannot read {}", below(root, directory).display())).because(error)
            })?);
        }
        let slices: Vec<&[DirectoryEntry]> = directories.iter().map(Vec::as_slice).collect();
        let (mut files, mut ids) = (Vec::new(), Vec::new());
        for (directory, name) in reading_order(&slices) {
            let path = Path::new(CONF_DIRECTORIES[directory]).join(name);
            let name = policy_file::name(&below(root, &path));
            match open_below(root, &path, OFlags::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    output
                        .note(format_args!("{name} is a link to nothing, which systemd-sysctl passes over"));
                }
                opened => {
                    ids.extend(opened.ok().as_ref().and_then(id));
                    files.push(ConfFile { name, source: Source::Below(root.to_owned(), path) });
                }
            }
        }
        if let Ok(sysctl_conf) = open_below(root, SYSCTL_CONF.as_ref(), OFlags::empty())
            && id(&sysctl_conf).is_some_and(|id| !ids.contains(&id))
        {
            let name = below(root, SYSCTL_CONF.as_ref()).display().to_string();
            output.note(format_args!(
                "{name} is not read: no file of sysctl.d is a link to it, and systemd-sysctl reads only these; `sysctl --system` \
                 would read it after them"
            ));
        }
        Ok(Self(files))
    }

    /// Those that are given. A directory stands for its [`.conf` files](is_conf_name), by name.
    pub(super) fn of_arguments(paths: &[PathBuf]) -> Self {
        let mut files = Vec::new();
        for path in paths {
            match conf_files(path) {
                Some(paths) => files.extend(paths),
                None => files.push(path.clone()),
            }
        }
        let file = |path: PathBuf| ConfFile { name: policy_file::name(&path), source: Source::Path(path) };
        Self(files.into_iter().map(file).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ConfFile> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The name of the file with this index.
    pub(super) fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |file| &file.name)
    }
}

impl ConfFile {
    /// Its bytes.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read, or is too large.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match &self.source {
            Source::Path(path) => settings_file::read(path),
            Source::Below(root, path) => {
                settings_file::read_opened(open_below(root, path, OFlags::empty()), &self.name)
            }
        }
    }
}

/// `path`, which is absolute, below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Opens what is at `path`, which is absolute, if `root` is the root directory: links do not lead out of it.
fn open_below(root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    // Nothing is waited for if it is a FIFO.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    // Any kernel and any sandbox lets a process open a file like this.
    if root == Path::new("/") {
        return Ok(open(path, flags, Mode::empty())?.into());
    }
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?.into())
}

/// The entries of a directory; none if there is no such directory.
fn entries(root: &Path, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
    let directory = match open_below(root, directory, OFlags::DIRECTORY) {
        Ok(directory) => directory,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        // As `dirent_is_file()` (src/basic/dirent-util.c).
        if !matches!(entry.file_type(), FileType::RegularFile | FileType::Symlink | FileType::Unknown) {
            continue;
        }
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let is_null =
            readlinkat(&directory, name, Vec::new()).is_ok_and(|target| target.as_bytes() == b"/dev/null");
        entries.push(DirectoryEntry { name: name.to_owned(), is_null });
    }
    Ok(entries)
}

/// The files of a directory that are read, by name; `None` if it is no directory.
fn conf_files(directory: &Path) -> Option<Vec<PathBuf>> {
    let paths = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let is_conf = |path: &PathBuf| path.file_name().is_some_and(is_conf_name);
    let mut paths: Vec<PathBuf> = paths.filter(is_conf).collect();
    paths.sort();
    Some(paths)
}

/// What tells a file from others.
fn id(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
