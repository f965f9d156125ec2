//! The machine's knobs, for the hook in user space.

mod inference;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use knobgate_hook::handler::Unreadable;
use knobgate_hook::{Errno, Handler, Knob, Knobs, Profile, VALUE_BYTES, WritesStrict};
use knobgate_kernel::{Machine, PROC_SYS, kernel_version, knob_names};

/// What was read of the machine's knobs, as far as a model can stand in for them.
#[derive(Debug)]
pub struct Snapshot {
    /// The knobs, with modes, owners and values.
    pub knobs: Knobs,
    /// `kernel.sysctl_writes_strict`; the kernel's default where it cannot be read.
    pub writes_strict: WritesStrict,
    /// Of each knob, what its handler is made from: what the model does with writes is no better than that.
    pub inferred: BTreeMap<String, Inferred>,
}

/// What the handler of a knob is made from, and what is not known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inferred {
    /// The knob is one of those whose handlers and limits are known by name ([`Knobs::usual`]), and it holds a value that
    /// such a handler takes.
    ByName,
    /// It reads as so many integers do. Their limits are not known, nor what they count, nor whether they are signed.
    Integers(usize),
    /// It reads as a set of numbers does. How large they may be is not known.
    Set,
    /// It reads as a text does. How long one may be is not known.
    Text,
    /// It is empty: a text, or a set of numbers. The handler is that of texts.
    Empty,
    /// It reads as no handler that is modelled. Reads give what was read, and writes fail with `EINVAL`.
    Unknown,
    /// Reading it fails with this. What it takes is not known: writes succeed.
    Unreadable(Errno),
    /// Its mode lets nobody read it. What it takes is not known: writes succeed, and programs get no current value.
    WriteOnly,
    /// Reading it would have done something, which was not done. As [`Unreadable`](Self::Unreadable) with `EIO`.
    ReadsAct(&'static str),
}

/// Knobs whose reads do something, with what they do.
const READS_ACT: &[(&str, &str)] = &[
    // vmstat_refresh, mm/vmstat.c
    ("vm/stat_refresh", "has every processor sum up its counters"),
    // proc_do_uuid, drivers/char/random.c
    ("kernel/random/uuid", "draws random numbers, others each time"),
];

/// How long a text may become of which nothing else is known, with its NUL.
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
            Self::ReadsAct(what) => write!(f, "not read, which {what}"),
        }
    }
}

/// Reads the knobs of this machine, as this process sees them (the `net` ones of its network namespace), into knobs for the
/// hook in user space.
///
/// Nothing is written. Each knob is read twice, at its beginning and at position 1, since texts go on there and lists of
/// numbers have ended. The hook's programs, if there are any, see these reads. Knobs whose reads do something are left
/// alone ([`Inferred::ReadsAct`]), as are those whose mode lets nobody read them. What vanishes meanwhile is left out.
///
/// # Errors
///
/// `/proc/sys` cannot be listed.
pub fn snapshot() -> io::Result<Snapshot> {
    // As its release describes it: to probe is not for a snapshot.
    let profile = Profile::closest(kernel_version());
    let mut by_name = Knobs::usual_of(&profile);
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

/// One knob; `usual` is what is known of it by name. `None`: it is gone.
fn knob(name: &str, usual: Option<Knob>, profile: &Profile) -> Option<(Knob, Inferred)> {
    let path = Path::new(PROC_SYS).join(name);
    let metadata = path.metadata().ok()?;
    let (handler, inferred) = handler(name, &path, metadata.mode(), usual, profile);
    let (owner, group) = (metadata.uid(), metadata.gid());
    Some((Knob { mode: (metadata.mode() & 0o777) as u16, owner, group, handler }, inferred))
}

fn handler(
    name: &str,
    path: &Path,
    mode: u32,
    usual: Option<Knob>,
    profile: &Profile,
) -> (Box<dyn Handler>, Inferred) {
    let unreadable =
        |errno| -> Box<dyn Handler> { Box::new(Unreadable { errno, writes: inference::anything() }) };
    if let Some((_, what)) = READS_ACT.iter().find(|(found, _)| *found == name) {
        return (unreadable(Errno::EIO), Inferred::ReadsAct(what));
    }
    if mode & 0o444 == 0 {
        return (unreadable(Errno::EIO), Inferred::WriteOnly);
    }
    match Reading::of(path) {
        Ok(reading) => inference::handler(&reading, usual.map(|knob| knob.handler), profile),
        Err(error) => {
            let errno = Errno(error.raw_os_error().unwrap_or(Errno::EIO.0));
            (unreadable(errno), Inferred::Unreadable(errno))
        }
    }
}

/// What was read of a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    /// A page from its beginning, which is as much as the hook sees.
    whole: Vec<u8>,
    /// A page from position 1.
    behind_first: Vec<u8>,
}

impl Reading {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // One system call each: a second one might find another value.
        let read = |position| {
            let mut bytes = vec![0; VALUE_BYTES];
            let length = file.read_at(&mut bytes, position)?;
            bytes.truncate(length);
            Ok::<_, io::Error>(bytes)
        };
        Ok(Self { whole: read(0)?, behind_first: read(1)? })
    }
}
