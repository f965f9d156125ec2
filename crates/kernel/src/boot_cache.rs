//! What was found out since boot, cached in files of `/run/knobgate`.
//!
//! A file that is missing, not ours or unreadable counts as absent. A file that cannot be written is skipped.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, mkdir, open, openat, renameat, unlinkat};
use rustix::process::geteuid;

pub(crate) const DIRECTORY: &str = "/run/knobgate";

/// The content of the file.
pub(crate) fn read(name: &str) -> Option<String> {
    let directory = open_directory()?;
    let file =
        openat(&directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if !is_ours(&fstat(&file).ok()?) {
        return None;
    }
    let mut text = String::new();
    File::from(file).take(16 << 10).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Replaces the content of the file, atomically.
pub(crate) fn write(name: &str, text: &str) {
    if !geteuid().is_root() {
        return;
    }
    let _ = mkdir(DIRECTORY, Mode::RWXU);
    let Some(directory) = open_directory() else { return };
    // A process of another pid namespace, or one that was killed, may have used the same id.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let temporary = format!("{name}.{}-{now:x}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(&directory, &*temporary, flags, Mode::RUSR | Mode::WUSR) else { return };
    let written = File::from(file).write_all(text.as_bytes());
    if written.is_err() || renameat(&directory, &*temporary, &directory, name).is_err() {
        let _ = unlinkat(&directory, &*temporary, AtFlags::empty());
    }
}

/// The directory, if nobody else can use it.
pub(crate) fn open_directory() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(DIRECTORY, flags, Mode::empty()).ok()?;
    is_ours(&fstat(&directory).ok()?).then_some(directory)
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}
