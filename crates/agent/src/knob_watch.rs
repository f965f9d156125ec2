//! Watching knobs that are to keep their values.
//!
//! A program on the root of the hierarchy reports each write to one of these knobs. It runs before the value is stored, so
//! the knob is compared a moment later. Other changes, which no write below `/proc/sys` makes, are found by the periodic check.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use knobgate::event::{Event, EventOutcome};
use knobgate::kernel::{Cgroup, PROC_SYS};
use knobgate::policy::KnobName;
use knobgate::{EventReader, EventReaderError, KeptKnob, Observer, ObserverError};

use crate::kept_value::{KeptValue, KnobAccess, KnobFinding, KnobWriter};

/// How long after a write the value is compared.
const AFTER_WRITE: Duration = Duration::from_millis(50);
/// How long there is between two comparisons of a knob that is written all the time.
const BETWEEN: Duration = Duration::from_secs(1);
/// The size of the buffer for events, in bytes: room for about 600. What does not fit is found by the periodic check.
const EVENTS_BYTES: u32 = 256 << 10;

/// Watches knobs, for as long as this value lives.
#[derive(Debug)]
pub struct KnobWatch {
    knobs: Vec<Watched>,
    observing: Option<Observing>,
}

#[derive(Debug)]
struct Watched {
    value: KeptValue,
    compared_at: Option<Instant>,
    /// When it is to be compared because somebody wrote it.
    compare_at: Option<Instant>,
}

#[derive(Debug)]
struct Observing {
    // Dropped first, while its place is there.
    reader: EventReader,
    _observer: Observer,
}

/// Why writes are not seen, so that changes are only found by the periodic check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotObserved {
    /// There can be no observer.
    #[error(transparent)]
    Observer(#[from] ObserverError),
    /// Its events cannot be read.
    #[error("cannot read the observer's events")]
    Reader(#[from] EventReaderError),
}

impl KnobWatch {
    /// Watches these knobs, and the writes to them in `root` and below. If writes cannot be seen, returns why as well.
    pub fn new(knobs: impl IntoIterator<Item = KeptKnob>, root: Cgroup) -> (Self, Option<NotObserved>) {
        let knobs = knobs.into_iter().map(|kept| Watched {
            value: KeptValue::new(kept),
            compared_at: None,
            compare_at: None,
        });
        let knobs: Vec<Watched> = knobs.collect();
        if knobs.is_empty() {
            return (Self { knobs, observing: None }, None);
        }
        match Observing::begin(root, knobs.iter().map(|knob| &knob.value.kept().name)) {
            Ok(observing) => (Self { knobs, observing: Some(observing) }, None),
            Err(error) => (Self { knobs, observing: None }, Some(error)),
        }
    }

    /// Readable when there is something to [attend](Self::attend) to; `None` if writes are not seen.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.observing.as_ref().map(|observing| observing.reader.as_fd())
    }

    /// When it is to [attend](Self::attend) though nothing is readable.
    pub fn next(&self) -> Option<Instant> {
        self.knobs.iter().filter_map(|knob| knob.compare_at).min()
    }

    /// The knobs that had another value when they were last compared, or could not be read.
    pub fn differing(&self) -> impl Iterator<Item = &KeptKnob> {
        let values = self.knobs.iter().map(|knob| &knob.value);
        values.filter(|value| !value.has_its_value()).map(KeptValue::kept)
    }

    /// Reads the events, and compares the knobs that were written a moment ago. Calls `report` with each finding.
    pub fn attend(&mut self, now: Instant, report: &mut dyn FnMut(&KeptKnob, KnobFinding)) {
        if let Some(observing) = &mut self.observing {
            let knobs = &mut self.knobs;
            observing.reader.for_each(|event| {
                if let Ok(event) = event {
                    note(knobs, event, now);
                }
            });
        }
        for knob in &mut self.knobs {
            if knob.compare_at.is_some_and(|at| at <= now) {
                knob.compare(now, report);
            }
        }
    }

    /// Compares all knobs.
    pub fn check(&mut self, now: Instant, report: &mut dyn FnMut(&KeptKnob, KnobFinding)) {
        self.attend(now, report);
        self.knobs.iter_mut().for_each(|knob| knob.compare(now, report));
    }
}

impl Observing {
    fn begin<'a>(root: Cgroup, knobs: impl Iterator<Item = &'a KnobName>) -> Result<Self, NotObserved> {
        let observer = Observer::attach_to_writes_of(root, knobs)?;
        let readers = observer.readers().map_err(ObserverError::from)?.ok_or(ObserverError::NoEvents)?;
        Ok(Self { reader: EventReader::open(vec![readers], EVENTS_BYTES)?, _observer: observer })
    }
}

fn note(knobs: &mut [Watched], event: Event, now: Instant) {
    let is_it = |knob: &&mut Watched| knob.value.kept().name.as_bytes() == event.knob.bytes;
    let Some(knob) = knobs.iter_mut().find(is_it) else { return };
    if let EventOutcome::Denied(_) = event.outcome() {
        return;
    }
    let earliest = knob.compared_at.map_or(now, |at| at + BETWEEN);
    knob.compare_at.get_or_insert((now + AFTER_WRITE).max(earliest));
    // What was not recorded as a whole is not its value.
    if let Some(new) = event.new.filter(|new| new.cut_from.is_none()) {
        let writer = KnobWriter {
            pid: event.pid,
            comm: event.comm,
            uid: event.uid,
            cgroup_id: event.cgroup_id,
            written: new.bytes,
        };
        knob.value.written(event.position as usize, writer);
    }
}

impl Watched {
    fn compare(&mut self, now: Instant, report: &mut dyn FnMut(&KeptKnob, KnobFinding)) {
        self.compare_at = None;
        self.compared_at = Some(now);
        let kept = self.value.kept().clone();
        self.value.compare(&ProcSys, now, &mut |finding| report(&kept, finding));
    }
}

/// The knobs of this machine, in the namespaces of this process.
struct ProcSys;

impl KnobAccess for ProcSys {
    fn read(&self, knob: &KeptKnob) -> io::Result<Vec<u8>> {
        // A single read of at most a page, as the kernel's hook does.
        let mut bytes = vec![0; 4096];
        let length = File::open(path(&knob.name)?)?.read(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn write(&self, knob: &KeptKnob) -> io::Result<()> {
        let value = format!("{}\n", knob.value);
        let written = OpenOptions::new().write(true).open(path(&knob.name)?)?.write(value.as_bytes())?;
        if written == value.len() { Ok(()) } else { Err(io::Error::other("the knob took only a part of it")) }
    }
}

/// The path of a knob. A name with `..` could leave `/proc/sys`.
fn path(name: &KnobName) -> io::Result<PathBuf> {
    let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let is_below = name.components().all(|component| matches!(component, Component::Normal(_)));
    if is_below { Ok(Path::new(PROC_SYS).join(name)) } else { Err(io::ErrorKind::NotFound.into()) }
}
