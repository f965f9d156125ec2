//! Seeing cgroups come and go.
//!
//! inotify reports mkdir(2) and rmdir(2) in a watched directory, so each cgroup has a watch of its own. A new cgroup is first watched and
//! then listed: children that were made in between are seen by one of the two. The kernel tells the parent's watch of a removed cgroup,
//! and not the one of the cgroup itself (before Linux 7.0, kernfs_iop_rmdir() leaves the link count of the inode).

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use knobgate::kernel::{Cgroup, CgroupError};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

/// The cgroups of a hierarchy, and a watch on each.
#[derive(Debug)]
pub(crate) struct CgroupWatch {
    inotify: OwnedFd,
    top: PathBuf,
    root: u64,
    cgroups: HashMap<u64, Watched>,
    by_watch: HashMap<i32, u64>,
    lacking: Option<Lacking>,
}

/// A cgroup, which is known by its id.
#[derive(Debug)]
struct Watched {
    /// That above it; none for the topmost one.
    parent: Option<u64>,
    name: Arc<OsStr>,
    children: HashMap<Arc<OsStr>, u64>,
    /// None if there can be no more watches.
    watch: Option<i32>,
}

/// What happened to cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CgroupChange {
    /// It is there. One that is above others comes before them.
    Appeared { id: u64 },
    /// It is gone.
    Removed { id: u64 },
    /// The kernel had more events than it keeps: a [rescan](CgroupWatch::rescan) is needed.
    EventsLost,
}

/// Why not all cgroups are watched. Only a [rescan](CgroupWatch::rescan) finds new ones in those that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// There can be no more watches (`ENOSPC`).
    Watches,
    /// Something else, such as memory or descriptors.
    Other(Errno),
}

/// A cgroup that is to be looked at. Its path is made when that is done: there can be many, and each path can be long.
struct Found {
    /// None for the topmost one.
    parent: Option<u64>,
    name: OsString,
}

impl CgroupWatch {
    /// Watches the cgroup in this directory and all below, which [`rescan`](Self::rescan) has to find first.
    pub(crate) fn new(top: &Path) -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            inotify,
            top: top.to_owned(),
            root: 0,
            cgroups: HashMap::new(),
            by_watch: HashMap::new(),
            lacking: None,
        })
    }

    /// How many cgroups there are.
    pub(crate) fn len(&self) -> usize {
        self.cgroups.len()
    }

    /// Whether a cgroup is there.
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.cgroups.contains_key(&id)
    }

    /// The topmost one.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// Their ids, those above before those below them.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut ids = Vec::with_capacity(self.cgroups.len());
        ids.extend(self.cgroups.contains_key(&self.root).then_some(self.root));
        let mut next = 0;
        while let Some(cgroup) = ids.get(next).and_then(|id| self.cgroups.get(id)) {
            ids.extend(cgroup.children.values());
            next += 1;
        }
        ids
    }

    /// The directory of a cgroup, if that is there.
    pub(crate) fn path(&self, id: u64) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut cgroup = self.cgroups.get(&id)?;
        while let Some(parent) = cgroup.parent {
            names.push(&*cgroup.name);
            cgroup = self.cgroups.get(&parent)?;
        }
        let mut path = self.top.clone();
        path.extend(names.into_iter().rev());
        Some(path)
    }

    /// The cgroups above one, from the inside out.
    fn above(&self, id: u64) -> impl Iterator<Item = u64> {
        let parent = |id: u64| self.cgroups.get(&id)?.parent;
        std::iter::successors(parent(id), move |&id| parent(id))
    }

    /// A cgroup and those above it, from the inside out.
    pub(crate) fn at_and_above(&self, id: u64) -> impl Iterator<Item = u64> {
        std::iter::once(id).chain(self.above(id))
    }

    /// Why some cgroups are not watched, if that is so.
    pub(crate) fn lacking(&self) -> Option<Lacking> {
        self.lacking
    }

    /// Looks at the whole hierarchy, and says what is not as it was.
    pub(crate) fn rescan(&mut self, changed: &mut dyn FnMut(CgroupChange)) -> Result<(), CgroupError> {
        self.root = Cgroup::open(&self.top)?.id();
        self.lacking = None;
        let mut seen = HashSet::new();
        let top = Found { parent: None, name: OsString::new() };
        self.enter(top, Some(&mut seen), changed);
        // What could not be opened is not known to be gone.
        if !matches!(self.lacking, Some(Lacking::Other(_))) {
            let gone: Vec<u64> = self.cgroups.keys().copied().filter(|id| !seen.contains(id)).collect();
            gone.into_iter().for_each(|id| self.remove(id, changed));
        }
        Ok(())
    }

    /// Handles some of the events that are there. Returns whether there may be more.
    pub(crate) fn read(&mut self, changed: &mut dyn FnMut(CgroupChange)) -> Result<bool, Errno> {
        // A cgroup is reported when its event is read, so those behind it wait for no more than this.
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events: Vec<(i32, ReadFlags, OsString)> = Vec::new();
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error),
            };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
            events.push((event.wd(), event.events(), name.unwrap_or_default()));
            if reader.is_buffer_empty() {
                break;
            }
        }
        let is_more = !events.is_empty();
        for (watch, flags, name) in events {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                changed(CgroupChange::EventsLost);
                continue;
            }
            let Some(&parent) = self.by_watch.get(&watch) else { continue };
            if flags.contains(ReadFlags::IGNORED) {
                self.by_watch.remove(&watch);
                if let Some(cgroup) = self.cgroups.get_mut(&parent) {
                    cgroup.watch = None;
                }
            } else if flags.contains(ReadFlags::CREATE | ReadFlags::ISDIR) {
                self.enter(Found { parent: Some(parent), name }, None, changed);
            } else if flags.contains(ReadFlags::DELETE | ReadFlags::ISDIR) {
                let child = self.cgroups.get(&parent).and_then(|cgroup| cgroup.children.get(&*name));
                // It may be about one whose name another one has by now, which is known already.
                if let Some(&child) = child
                    && !self.is_there(child)
                {
                    self.remove(child, changed);
                }
            }
        }
        Ok(is_more)
    }

    /// Whether a known cgroup is where it was seen.
    fn is_there(&mut self, id: u64) -> bool {
        match self.path(id).map(|path| Cgroup::open(&path)) {
            Some(Ok(cgroup)) => cgroup.id() == id,
            None | Some(Err(CgroupError::NotFound { .. } | CgroupError::NotCgroup { .. })) => false,
            // The next rescan finds out.
            Some(Err(error)) => {
                self.lack(Lacking::Other(errno_of(&error)));
                true
            }
        }
    }

    /// Takes in a cgroup and all below it. Those that are known and watched are not looked into, unless all that are `seen` count.
    fn enter(
        &mut self,
        found: Found,
        mut seen: Option<&mut HashSet<u64>>,
        changed: &mut dyn FnMut(CgroupChange),
    ) {
        let mut pending = vec![found];
        while let Some(Found { parent, name }) = pending.pop() {
            let path = match parent.map(|parent| self.path(parent)) {
                None => self.top.clone(),
                Some(Some(above)) => above.join(&name),
                // It was forgotten, with all below it.
                Some(None) => continue,
            };
            let cgroup = match Cgroup::open(&path) {
                Ok(cgroup) => cgroup,
                // It is gone already.
                Err(CgroupError::NotFound { .. } | CgroupError::NotCgroup { .. }) => continue,
                Err(error) => {
                    self.lack(Lacking::Other(errno_of(&error)));
                    continue;
                }
            };
            let id = cgroup.id();
            if let Some(seen) = &mut seen {
                seen.insert(id);
            }
            let is_new = !self.cgroups.contains_key(&id);
            if is_new {
                let name: Arc<OsStr> = name.into();
                let above = parent.and_then(|parent| self.cgroups.get_mut(&parent));
                let other = above.and_then(|above| above.children.insert(Arc::clone(&name), id));
                // It was removed, and this one made in its place, before the event about that was read.
                if let Some(other) = other {
                    self.remove(other, changed);
                }
                let cgroup = Watched { parent, name, children: HashMap::new(), watch: None };
                self.cgroups.insert(id, cgroup);
            }
            let is_watched = self.cgroups.get(&id).is_some_and(|cgroup| cgroup.watch.is_some());
            if !is_watched {
                self.watch(id, &cgroup);
            }
            if is_new {
                changed(CgroupChange::Appeared { id });
            }
            if is_new || !is_watched || seen.is_some() {
                let children = self.children(&cgroup);
                let found = |name: OsString| Found { parent: Some(id), name };
                pending.extend(children.into_iter().map(found));
            }
        }
    }

    fn watch(&mut self, id: u64, cgroup: &Cgroup) {
        // Not by its path, which may lead to another one by now.
        let path = format!("/proc/self/fd/{}", cgroup.as_fd().as_raw_fd());
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(watch) => {
                self.by_watch.insert(watch, id);
                if let Some(cgroup) = self.cgroups.get_mut(&id) {
                    cgroup.watch = Some(watch);
                }
            }
            // It was removed.
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(Errno::NOSPC) => self.lack(Lacking::Watches),
            Err(error) => self.lack(Lacking::Other(error)),
        }
    }

    fn children(&mut self, cgroup: &Cgroup) -> Vec<OsString> {
        let mut children = Vec::new();
        let entries = match Dir::read_from(cgroup) {
            Ok(entries) => entries,
            Err(Errno::NOENT | Errno::NODEV) => return children,
            Err(error) => {
                self.lack(Lacking::Other(error));
                return children;
            }
        };
        // What fails is the list of a removed cgroup.
        for entry in entries.map_while(Result::ok) {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if entry.file_type() == FileType::Directory && name != "." && name != ".." {
                children.push(name.to_owned());
            }
        }
        children
    }

    /// Forgets a cgroup and all below it.
    fn remove(&mut self, id: u64, changed: &mut dyn FnMut(CgroupChange)) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let Some(cgroup) = self.cgroups.remove(&id) else { continue };
            if let Some(watch) = cgroup.watch {
                self.by_watch.remove(&watch);
                // It keeps the inode; the kernel may have removed it already.
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
            if let Some(above) = cgroup.parent.and_then(|parent| self.cgroups.get_mut(&parent))
                && above.children.get(&cgroup.name) == Some(&id)
            {
                above.children.remove(&cgroup.name);
            }
            pending.extend(cgroup.children.into_values());
            changed(CgroupChange::Removed { id });
        }
    }

    fn lack(&mut self, lacking: Lacking) {
        self.lacking.get_or_insert(lacking);
    }
}

impl AsFd for CgroupWatch {
    /// Readable while there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn errno_of(error: &CgroupError) -> Errno {
    let CgroupError::Io { error, .. } = error else { return Errno::IO };
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
