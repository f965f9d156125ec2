//! Noticing at once that pins are removed.

use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::attachments::Attachments;

/// Watches the directory of attachments and those in it (inotify(7)). Somebody who removes a pin there takes a program out of
/// force. The kernel does not say who it was.
#[derive(Debug)]
pub struct PinWatch {
    inotify: OwnedFd,
    directory: PathBuf,
}

impl PinWatch {
    /// Watches them from now on.
    ///
    /// # Errors
    ///
    /// There can be no more watches, or the directory is gone.
    pub fn new(attachments: &Attachments) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = attachments.path().to_owned();
        let watch = Self { inotify, directory };
        watch.add_all()?;
        Ok(watch)
    }

    /// Reads all events. Returns whether pins or attachments have gone, by whoever it was; also if events were lost. Attachments that
    /// are new are watched.
    ///
    /// # Errors
    ///
    /// read(2) fails.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let (mut are_gone, mut lost) = (false, false);
        let mut new = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let events = event.events();
            are_gone |= events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::UNMOUNT);
            lost |= events.contains(ReadFlags::QUEUE_OVERFLOW);
            if events.contains(ReadFlags::ISDIR) && events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
            {
                new.extend(event.file_name().map(|name| self.directory.join(text(name))));
            }
        }
        if lost {
            self.add_all()?;
        }
        for directory in new {
            self.add(&directory, WatchFlags::empty())?;
        }
        Ok(are_gone || lost)
    }

    fn add_all(&self) -> io::Result<()> {
        self.add(&self.directory, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&entry.path(), WatchFlags::empty())?;
            }
        }
        Ok(())
    }

    fn add(&self, directory: &Path, also: WatchFlags) -> io::Result<()> {
        let flags = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR | also;
        match inotify::add_watch(&self.inotify, directory, flags) {
            // It is gone again, or has another name by now.
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for PinWatch {
    /// Becomes readable when something has changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn text(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}
