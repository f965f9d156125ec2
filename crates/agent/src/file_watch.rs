//! Seeing that files change, such as the policies and the configuration.
//!
//! Editors write another file and rename it, and programs that deploy policies replace the whole directory, or the symbolic link to it. So
//! the directories are watched in which the names are that lead to each file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// The most symbolic links on the way to a file (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What is read, and watches on all that leads there.
#[derive(Debug)]
pub struct FileWatch {
    inotify: OwnedFd,
    /// The names that matter, by watch.
    names: HashMap<i32, Names>,
    /// Which names matter in the directory itself.
    matters: fn(&OsStr) -> bool,
}

#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<OsString>,
    /// Whether it is the directory itself.
    is_directory: bool,
}

/// How files were when they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileStates(BTreeMap<PathBuf, Option<FileState>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileWatch {
    /// For single files, and those of a directory whose names matter.
    ///
    /// # Errors
    ///
    /// That of inotify_init1(2).
    pub fn new(matters: fn(&OsStr) -> bool) -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, names: HashMap::new(), matters })
    }

    /// Watches this directory and these files, and nothing else any more. Returns whether something is watched that was not before: what
    /// happened there until now was not seen.
    ///
    /// # Errors
    ///
    /// That of inotify_add_watch(2) for a directory that cannot be watched, and is left out.
    pub fn watch<'a>(
        &mut self,
        directory: Option<&Path>,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<bool, Errno> {
        let mut wanted: BTreeMap<PathBuf, Names> = BTreeMap::new();
        let mut note = |path: &Path| {
            follow(path, &mut |directory, name| {
                wanted.entry(directory.to_owned()).or_default().names.insert(name.to_owned());
            })
        };
        files.into_iter().for_each(|file| drop(note(file)));
        if let Some(directory) = directory.map(note) {
            wanted.entry(directory).or_default().is_directory = true;
        }

        let (mut names, mut failed) = (HashMap::<i32, Names>::new(), Ok(()));
        for (directory, wanted) in wanted {
            let flags = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::ATTRIB
                | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.inotify, &directory, flags) {
                Ok(watch) => {
                    let known = names.entry(watch).or_default();
                    known.names.extend(wanted.names);
                    known.is_directory |= wanted.is_directory;
                }
                // That it comes into being is seen above it.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => failed = Err(error),
            }
        }
        for watch in self.names.keys().filter(|watch| !names.contains_key(watch)) {
            let _ = inotify::remove_watch(&self.inotify, *watch);
        }
        let is_new = names.keys().any(|watch| !self.names.contains_key(watch));
        self.names = names;
        failed.map(|()| is_new)
    }

    /// Reads all events. Returns whether one of them matters. That the kernel has lost some does.
    ///
    /// # Errors
    ///
    /// That of read(2).
    pub fn read(&mut self) -> Result<bool, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(matters),
                Err(error) => return Err(error),
            };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_one = |(name, names): (&OsStr, &Names)| {
                names.names.contains(name) || names.is_directory && (self.matters)(name)
            };
            matters |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || name.zip(self.names.get(&event.wd())).is_some_and(is_one);
        }
    }
}

impl AsFd for FileWatch {
    /// Readable while there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Whether this is the name of a policy's file.
pub(crate) fn is_policy(name: &OsStr) -> bool {
    is_finished(name) && Path::new(name).extension() == Some(OsStr::new("knob"))
}

/// Whether this is not the name of a file that somebody is going to rename.
pub(crate) fn is_finished(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".")
}

impl FileStates {
    /// How these files are now.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(files.into_iter().map(|file| (file.to_owned(), FileState::of(file))).collect())
    }

    /// The first file that has changed since.
    pub fn changed(&self) -> Option<&Path> {
        self.0.iter().find(|(file, state)| FileState::of(file) != **state).map(|(file, _)| &**file)
    }
}

impl FileState {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Visits each name on the way to `path`, with the directory that it is in, and returns where that leads.
fn follow(path: &Path, visit: &mut dyn FnMut(&Path, &OsStr)) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let components = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut at, mut pending, mut links) = (PathBuf::from("/"), components(&path), 0);
    while let Some(name) = pending.pop() {
        match Path::new(&name).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(_)) => {
                visit(&at, &name);
                match at.join(&name).read_link() {
                    Ok(target) if links < LINKS_MAX => {
                        links += 1;
                        pending.extend(components(&target));
                    }
                    _ => at.push(&name),
                }
            }
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether a change is seen.
    fn sees(watch: &mut FileWatch, change: impl FnOnce()) -> bool {
        change();
        watch.read().unwrap()
    }

    #[test]
    fn every_way_to_change_a_policy_is_seen() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("real/parts")).unwrap();
        fs::create_dir_all(at("other")).unwrap();
        fs::write(at("real/parts/net.part"), "").unwrap();
        symlink("real", at("policies.d")).unwrap();
        let files = [at("agent.toml"), at("policies.d/parts/net.part")];
        let mut watch = FileWatch::new(is_policy).unwrap();
        let mut begin = || {
            watch.watch(Some(&at("policies.d")), files.iter().map(PathBuf::as_path)).unwrap();
            watch.read().unwrap();
        };
        begin();
        let policy = at("policies.d/a.knob");
        assert!(sees(&mut watch, || fs::write(&policy, "x").unwrap()), "a new policy");
        assert!(sees(&mut watch, || fs::write(at("real/a.knob"), "y").unwrap()), "a changed policy");
        fs::write(at("real/.a.knob.swp"), "z").unwrap();
        fs::write(at("real/a.knob~"), "z").unwrap();
        assert!(!watch.read().unwrap(), "what an editor keeps");
        assert!(sees(&mut watch, || fs::rename(at("real/a.knob~"), &policy).unwrap()), "a renamed file");
        assert!(sees(&mut watch, || fs::remove_file(&policy).unwrap()), "a removed policy");
        assert!(sees(&mut watch, || fs::write(at("agent.toml"), "").unwrap()), "the configuration");
        assert!(sees(&mut watch, || fs::write(at("real/parts/net.part"), "x").unwrap()), "an included file");
        assert!(!sees(&mut watch, || fs::write(at("other/a.knob"), "x").unwrap()), "another directory");
        let switched = || {
            symlink("other", at("new")).unwrap();
            fs::rename(at("new"), at("policies.d")).unwrap();
        };
        assert!(sees(&mut watch, switched), "another target of a symbolic link");
        assert!(watch.watch(Some(&at("policies.d")), []).unwrap(), "it is new");
        assert!(!watch.watch(Some(&at("policies.d")), []).unwrap(), "nothing is new");
        watch.read().unwrap();
        assert!(sees(&mut watch, || fs::write(at("other/a.knob"), "y").unwrap()), "the new target");
        assert!(!sees(&mut watch, || fs::write(at("real/b.knob"), "y").unwrap()), "the old one");
        let replaced = || {
            fs::rename(at("other"), at("old")).unwrap();
            fs::rename(at("real"), at("other")).unwrap();
        };
        assert!(sees(&mut watch, replaced), "another directory in its place");
    }

    #[test]
    fn a_directory_that_comes_into_being_is_seen() {
        let top = tempfile::tempdir().unwrap();
        let mut watch = FileWatch::new(is_policy).unwrap();
        watch.watch(Some(&top.path().join("knobgate/policies.d")), []).unwrap();
        assert!(sees(&mut watch, || fs::create_dir(top.path().join("knobgate")).unwrap()));
    }

    #[test]
    fn files_that_nothing_reports_are_compared() {
        let top = tempfile::tempdir().unwrap();
        let (file, missing) = (top.path().join("a"), top.path().join("b"));
        fs::write(&file, "x").unwrap();
        let states = FileStates::of([&*file, &*missing]);
        assert_eq!(states.changed(), None);
        fs::write(&file, "xy").unwrap();
        assert_eq!(states.changed(), Some(&*file));
        let states = FileStates::of([&*file, &*missing]);
        fs::write(&missing, "").unwrap();
        assert_eq!(states.changed(), Some(&*missing));
    }

    #[test]
    fn links_without_end_are_not_followed() {
        let top = tempfile::tempdir().unwrap();
        symlink("loop", top.path().join("loop")).unwrap();
        let mut seen = 0;
        follow(&top.path().join("loop/x"), &mut |_, _| seen += 1);
        assert!(seen > LINKS_MAX && seen < 2 * LINKS_MAX, "{seen}");
    }
}
