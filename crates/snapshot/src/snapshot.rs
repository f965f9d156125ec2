//! The knobs of this machine, for the hook in user space.

mod inference;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use knobgate_hook::handler::ReadFails;
use knobgate_hook::{Errno, Handler, Knob, Knobs, Profile, VALUE_BYTES, WritesStrict};
use knobgate_kernel::{Machine, PROC_SYS, kernel_version, knob_names};

/// The knobs of this machine, with handlers that model them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The knobs, with modes, owners and values.
    pub knobs: Knobs,
    /// `kernel.sysctl_writes_strict`, or the kernel's default if it cannot be read.
    pub writes_strict: WritesStrict,
    /// How the handler of each knob was inferred. The model of its writes is not better than that.
    pub inferred: BTreeMap<String, Inferred>,
}

/// How the handler of a knob was inferred, and what is unknown about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inferred {
    /// The handler and limits are known by name ([`Knobs::defaults`]), and accept the current value.
    ByName,
    /// It reads like this many integers. Their limits, unit and signedness are unknown.
    Integers(usize),
    /// It reads like a set of numbers. Their limit is unknown.
    Set,
    /// It reads like a text. Its maximum length is unknown.
    Text,
    /// It is empty: a text or a set of numbers. The handler is that of a text.
    Empty,
    /// It reads like no known handler. Reads return the same value, and writes fail with `EINVAL`.
    Unknown,
    /// Reading it fails with this. What it accepts is unknown: writes succeed.
    Unreadable(Errno),
    /// Its mode forbids reading. What it accepts is unknown: writes succeed, and programs get no current value.
    WriteOnly,
    /// It was not read because that has a side effect. As [`Unreadable`](Self::Unreadable) with `EIO`.
    SideEffect(&'static str),
}

/// Knobs whose reads have side effects.
const SIDE_EFFECTS: &[(&str, &str)] = &[
    // vmstat_refresh, mm/vmstat.c
    ("vm/stat_refresh", "has every processor sum up its counters"),
    // proc_do_uuid, drivers/char/random.c
    ("kernel/random/uuid", "draws random numbers, others each time"),
];

/// The maximum length of a text of unknown limit, with its NUL.
const TEXT_BYTES: usize = VALUE_BYTES;

impl fmt::Display for Inferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByName => f.write_str("handler and limits as in mainline Linux"),
            Self::Integers(1) => f.write_str("one integer; limits unknown"),
            Self::Integers(count) => write!(f, "{count} integers; limits unknown"),
            Self::Set => f.write_str("a set of numbers; the largest possible one unknown"),
            Self::Text => f.write_str("a text; the longest possible one unknown"),
            Self::Empty => f.write_str("empty; whether a text or a set of numbers unknown"),
            Self::Unknown => f.write_str("unknown handler; writes fail"),
            Self::Unreadable(errno) => write!(f, "reading fails with {errno}; what it takes unknown"),
            Self::WriteOnly => f.write_str("write-only; what it takes unknown"),
            Self::SideEffect(what) => write!(f, "not read, which {what}"),
        }
    }
}

/// Models the knobs that this process sees (the `net` ones are those of its network namespace).
///
/// This writes nothing. It reads each knob twice, at positions 0 and 1: a text continues there, and a list of numbers
/// has ended. Attached programs see these reads. Knobs whose reads have side effects ([`Inferred::SideEffect`]) or are
/// forbidden by the mode are not read. Knobs that are removed in the meantime are skipped.
///
/// # Errors
///
/// `/proc/sys` cannot be listed.
pub fn snapshot() -> io::Result<Snapshot> {
    // The profile of the release: a snapshot does not probe.
    let profile = Profile::closest(kernel_version());
    let mut by_name = Knobs::defaults_for(&profile);
    let mut snapshot = Snapshot {
        knobs: Knobs::new(),
        writes_strict: match Machine::read().sysctl_writes_strict {
            Some(..=-1) => WritesStrict::Legacy,
            Some(0) => WritesStrict::Warn,
            _ => WritesStrict::Strict,
        },
        inferred: BTreeMap::new(),
    };
    for name in knob_names()? {
        let Some((knob, inferred)) = knob(&name, by_name.remove(&name), &profile) else { continue };
        if snapshot.knobs.add(&name, knob).is_ok() {
            snapshot.inferred.insert(name, inferred);
        }
    }
    Ok(snapshot)
}

/// Models a knob, whose handler by name is `known`. `None` if it was removed.
fn knob(name: &str, known: Option<Knob>, profile: &Profile) -> Option<(Knob, Inferred)> {
    let path = Path::new(PROC_SYS).join(name);
    let metadata = path.metadata().ok()?;
    let (handler, inferred) = handler(name, &path, metadata.mode(), known, profile);
    let (owner, group) = (metadata.uid(), metadata.gid());
    Some((Knob { mode: (metadata.mode() & 0o777) as u16, owner, group, set: None, handler }, inferred))
}

fn handler(
    name: &str,
    path: &Path,
    mode: u32,
    known: Option<Knob>,
    profile: &Profile,
) -> (Box<dyn Handler>, Inferred) {
    let unreadable =
        |errno| -> Box<dyn Handler> { Box::new(ReadFails { errno, writes: inference::anything() }) };
    if let Some((_, what)) = SIDE_EFFECTS.iter().find(|(found, _)| *found == name) {
        return (unreadable(Errno::EIO), Inferred::SideEffect(what));
    }
    if mode & 0o444 == 0 {
        return (unreadable(Errno::EIO), Inferred::WriteOnly);
    }
    match Reading::of(path) {
        Ok(reading) => inference::handler(&reading, known.map(|knob| knob.handler), profile),
        Err(error) => {
            // Numbers without a name, from 512 on, are the kernel's own: they say no more than EIO does.
            let number = error.raw_os_error().and_then(|number| u32::try_from(number).ok());
            let errno = number.and_then(Errno::from_number).unwrap_or(Errno::EIO);
            (unreadable(errno), Inferred::Unreadable(errno))
        }
    }
}

/// What was read from a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    /// A page from position 0, which is what the hook sees.
    whole: Vec<u8>,
    /// A page from position 1.
    after_first: Vec<u8>,
}

impl Reading {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // With one system call, because the value may change.
        let read = |position| {
            let mut bytes = vec![0; VALUE_BYTES];
            let length = file.read_at(&mut bytes, position)?;
            bytes.truncate(length);
            Ok::<_, io::Error>(bytes)
        };
        Ok(Self { whole: read(0)?, after_first: read(1)? })
    }
}
