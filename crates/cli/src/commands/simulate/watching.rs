//! Playing again whenever a file changes.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Simulate;
use super::scenario_file::ScenarioFile;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural;

/// How long no file may change before the scenarios are played: editors and compilers write in several steps.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Plays now, and whenever a file changes. Ends by a signal.
pub(super) fn play_again_and_again(simulate: &Simulate, output: &Output) -> Result<ExitCode, Failure> {
    let cannot_watch =
        |error: Errno| Failure::machine("cannot watch the files").because(io::Error::from(error));
    let kernel = simulate.kernel()?;
    let mut watch = FileWatch::new().map_err(cannot_watch)?;
    loop {
        // What changes while they are read is seen if they were watched before; what they name is known afterwards.
        watch.watch(simulate.scenarios.iter().map(PathBuf::as_path)).map_err(cannot_watch)?;
        let files = simulate.read(&kernel);
        let named = || files.iter().flat_map(|ScenarioFile { files, .. }| files.iter().map(PathBuf::as_path));
        watch.watch(named()).map_err(cannot_watch)?;
        let status = simulate.play(&files, output)?;
        if status > 128 {
            return Ok(ExitCode::from(status));
        }
        let count = named().collect::<BTreeSet<_>>().len();
        output.note(format_args!(
            "exit status {status}; watching {}; Ctrl-C ends",
            plural::count(count, "file")
        ));
        let changed = watch.wait().map_err(cannot_watch)?;
        output.note(format_args!("{} has changed", changed.display()));
    }
}

/// Watches on the directories of files: editors write another file and rename it.
#[derive(Debug)]
struct FileWatch {
    inotify: OwnedFd,
    /// By watch, the directory and the names that matter in it.
    directories: HashMap<i32, (PathBuf, BTreeSet<OsString>)>,
}

impl FileWatch {
    fn new() -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, directories: HashMap::new() })
    }

    /// Watches these files as well. A directory that does not exist is left out.
    fn watch<'a>(&mut self, files: impl Iterator<Item = &'a Path>) -> Result<(), Errno> {
        for file in files {
            let Some(name) = file.file_name() else { continue };
            let directory = match file.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE
                | WatchFlags::CREATE
                | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.inotify, directory, flags) {
                Ok(watch) => {
                    let (_, names) = self
                        .directories
                        .entry(watch)
                        .or_insert_with(|| (directory.to_owned(), BTreeSet::new()));
                    names.insert(name.to_owned());
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until a file has changed, and no other has for a moment. Returns the first one.
    fn wait(&self) -> Result<PathBuf, Errno> {
        let mut first = None;
        loop {
            let pause = first.as_ref().map(|_| &PAUSE);
            match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], pause) {
                Ok(0) => {
                    if let Some(first) = first {
                        return Ok(first);
                    }
                }
                Ok(_) => first = first.or(self.read()?),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads all events. Returns the first file of which there was one.
    fn read(&self) -> Result<Option<PathBuf>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut first = None;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(first),
                Err(error) => return Err(error),
            };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            if let (Some(name), Some((directory, names))) = (name, self.directories.get(&event.wd()))
                && names.contains(name)
            {
                first.get_or_insert_with(|| directory.join(name));
            }
        }
    }
}
