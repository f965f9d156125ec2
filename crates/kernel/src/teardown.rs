//! Killing what is in a cgroup and removing it, with system calls only.
//!
//! The guard process does this between fork and `_exit`, where it must not allocate or lock. So buffers are on the
//! stack, and names are C strings. Cgroups can be nested so deeply that recursion would overflow the stack and paths
//! would be too long, so each step goes from one directory to the next.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry, fstat, openat, unlinkat};
use rustix::io::{Errno, Result, pread, read, write};
use rustix::process::Signal;
use rustix::thread::{NanosleepRelativeResult, nanosleep};

use crate::process_id::ProcessId;

/// Kills every process in `cgroup` and below it, by `cgroup.kill` (Linux 5.14; not in threaded cgroups,
/// `cgroup_kill_write` in kernel/cgroup/cgroup.c) or one by one. `cgroup.kill` skips a process whose first thread has
/// ended before the others (seen on 6.18). Fails with `ENOENT` for the root of the hierarchy, where it would kill the
/// whole machine.
pub(crate) fn kill_all(cgroup: BorrowedFd<'_>) -> Result<()> {
    match openat(cgroup, c"cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => match write(&file, b"1") {
            Ok(_) if wait_until_empty(cgroup, Duration::from_millis(100))? => Ok(()),
            Ok(_) | Err(Errno::OPNOTSUPP) => kill_each(cgroup),
            Err(error) => Err(error),
        },
        Err(Errno::NOENT) => kill_each(cgroup),
        Err(error) => Err(error),
    }
}

/// Whether there is a process in `cgroup` or below it, from `cgroup.events`.
pub(crate) fn is_populated(cgroup: BorrowedFd<'_>) -> Result<bool> {
    let events = open_events(cgroup)?;
    read_populated(&events)
}

/// Waits until `cgroup` is empty. Returns whether it is.
pub(crate) fn wait_until_empty(cgroup: BorrowedFd<'_>, at_most: Duration) -> Result<bool> {
    const STEP: Duration = Duration::from_millis(20);
    let events = open_events(cgroup)?;
    let mut left = at_most;
    loop {
        // The read arms the notification that the poll waits for.
        if !read_populated(&events)? {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
        let step = STEP.min(left);
        let timeout = Timespec { tv_sec: 0, tv_nsec: step.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => left -= step,
            Err(error) => return Err(error),
        }
    }
}

/// Removes the cgroup `name` in `parent` and everything below it. Its processes must have ended. The kernel can take a
/// moment to notice (`EBUSY`), so this retries.
pub(crate) fn remove_all(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    const TRIES: u32 = 50;
    let mut tries = 1;
    loop {
        match remove_tree(parent, name) {
            Err(error @ (Errno::BUSY | Errno::NOTEMPTY)) => {
                let has_processes = open_child(parent, name).and_then(|cgroup| is_populated(cgroup.as_fd()));
                if tries == TRIES || has_processes == Ok(true) {
                    return Err(error);
                }
                tries += 1;
                sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

/// The same, without retries: fails with `EBUSY` or `ENOTEMPTY` if a cgroup is in use.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    match remove_descendants(parent, name).and_then(|()| unlinkat(parent, name, AtFlags::REMOVEDIR)) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        done => done,
    }
}

fn remove_descendants(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let mut cgroup = open_child(parent, name)?;
    let mut depth: u64 = 0;
    // The child whose children have been removed.
    let mut emptied = None;
    loop {
        let with_children = find_child(cgroup.as_fd(), |child| {
            match unlinkat(cgroup.as_fd(), child.file_name(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(false),
                // A cgroup with children says EBUSY too.
                Err(Errno::BUSY | Errno::NOTEMPTY) if emptied != Some(child.ino()) => Ok(true),
                Err(error) => Err(error),
            }
        })?;
        if let Some(child) = with_children {
            (cgroup, depth, emptied) = (child, depth + 1, None);
        } else if depth > 0 {
            emptied = Some(fstat(&cgroup)?.st_ino);
            (cgroup, depth) = (open_child(cgroup.as_fd(), c"..")?, depth - 1);
        } else {
            return Ok(());
        }
    }
}

/// Whether this cgroup has children.
pub(crate) fn has_children(cgroup: BorrowedFd<'_>) -> Result<bool> {
    Ok(find_child(cgroup, |_| Ok(true))?.is_some())
}

/// Sleeps, also when signals interrupt it.
pub(crate) fn sleep(time: Duration) {
    let mut left = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    while let NanosleepRelativeResult::Interrupted(remaining) = nanosleep(&left) {
        left = remaining;
    }
}

fn open_events(cgroup: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(cgroup, c"cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn read_populated(events: &OwnedFd) -> Result<bool> {
    let mut text = [0; 128];
    match pread(events, &mut text, 0) {
        Ok(length) => Ok(text[..length].windows(11).any(|part| part == b"populated 1")),
        // The cgroup was removed.
        Err(Errno::NODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes several rounds, because a process may fork after being seen and before being killed. Freezing the cgroup
/// (Linux 5.2) stops that; frozen processes can still be killed.
fn kill_each(cgroup: BorrowedFd<'_>) -> Result<()> {
    // This comes first: the root has no cgroup.events, and fails here.
    if !is_populated(cgroup)? {
        return Ok(());
    }
    set_frozen(cgroup, true);
    let done = kill_rounds(cgroup);
    set_frozen(cgroup, false);
    done
}

fn kill_rounds(cgroup: BorrowedFd<'_>) -> Result<()> {
    const ROUNDS: u32 = 20;
    for _ in 0..ROUNDS {
        if !is_populated(cgroup)? {
            break;
        }
        for_each_cgroup(cgroup, kill_members)?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn set_frozen(cgroup: BorrowedFd<'_>, frozen: bool) {
    let freeze = openat(cgroup, c"cgroup.freeze", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = freeze.and_then(|freeze| write(&freeze, if frozen { b"1" } else { b"0" }));
}

/// Uses the list of threads, since a signal to one thread kills its whole process. `cgroup.procs` lists a process where
/// its first thread is, or was when it ended; threaded cgroups have no such list.
fn kill_members(cgroup: BorrowedFd<'_>) -> Result<()> {
    let mut buffer = [0; 512];
    let list = openat(cgroup, c"cgroup.threads", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut number: i64 = 0;
    loop {
        let length = read(&list, &mut buffer)?;
        if length == 0 {
            break;
        }
        for &byte in &buffer[..length] {
            if byte.is_ascii_digit() {
                number = number.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
            } else {
                // 0 stands for a process of another pid namespace. 1 is the init of ours, which is never killed.
                if let Some(process) = ProcessId::new(number).filter(|process| process.get() != 1) {
                    let _ = process.send(Signal::KILL);
                }
                number = 0;
            }
        }
    }
    Ok(())
}

fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Calls `visit` for this cgroup and each one below it. Skips those that are removed in the meantime.
fn for_each_cgroup(
    cgroup: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let mut visit = |cgroup: &OwnedFd| match visit(cgroup.as_fd()) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        done => done,
    };
    let mut cgroup = open_child(cgroup, c".")?;
    visit(&cgroup)?;
    let mut depth: u64 = 0;
    // The last visited child.
    let mut last = None;
    loop {
        let next = find_child(cgroup.as_fd(), |child| match last {
            None => Ok(true),
            Some(inode) => {
                if child.ino() == inode {
                    last = None;
                }
                Ok(false)
            }
        })?;
        if let Some(child) = next {
            visit(&child)?;
            (cgroup, depth, last) = (child, depth + 1, None);
        } else if depth > 0 {
            last = Some(fstat(&cgroup)?.st_ino);
            (cgroup, depth) = (open_child(cgroup.as_fd(), c"..")?, depth - 1);
        } else {
            return Ok(());
        }
    }
}

/// Opens the first child that is `wanted`. Skips children that were removed, and mount points, where anything could be
/// mounted.
fn find_child(
    cgroup: BorrowedFd<'_>,
    mut wanted: impl FnMut(&RawDirEntry<'_>) -> Result<bool>,
) -> Result<Option<OwnedFd>> {
    // The position in a directory belongs to the open file, so this needs a descriptor of its own.
    let listing = open_child(cgroup, c".")?;
    let device = fstat(&listing)?.st_dev;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(&listing, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." || !wanted(&entry)? {
            continue;
        }
        let child = match open_child(cgroup, name) {
            Ok(child) => child,
            Err(Errno::NOENT | Errno::NODEV) => continue,
            Err(error) => return Err(error),
        };
        let stat = fstat(&child)?;
        if (stat.st_dev, stat.st_ino) == (device, entry.ino()) {
            return Ok(Some(child));
        }
    }
    Ok(None)
}
