//! A reader of events, with a ring buffer of its own in one of the places for readers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use knobgate_bpf::{MapDef, MapKind};
use knobgate_compiler::EVENT_READERS_MAX;
use knobgate_events::Event;
use knobgate_events::record::{DecodeError, decode};
use knobgate_kernel::{BpfObjectError, LoadError, Map, RingBuffer, create_map};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdir, open};
use rustix::io::Errno;

use super::readers::EventReaders;

/// Where readers have their locks: a file for each place.
const LOCKS: &str = "/run/knobgate/readers";

/// A reader of events. Every event that a program sends while it is open is given out once, or counted as lost.
///
/// It has one of the places in [`EventReaders`] until it is dropped. A lock file in `/run/knobgate` says that it lives; if its
/// process is killed, the next reader takes its place.
#[derive(Debug)]
pub struct EventReader {
    readers: Vec<EventReaders>,
    place: u32,
    map: Map,
    ring: RingBuffer,
    lost_before: u64,
    _lock: File,
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventReaderError {
    /// All places are taken.
    #[error(
        "{EVENT_READERS_MAX} readers of events are running, and there are no more places; end one of them"
    )]
    NoPlace,
    /// A lock file cannot be used.
    #[error("cannot lock a place for reading events at {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The ring buffer cannot be made.
    #[error("cannot make a ring buffer of {bytes} bytes for events")]
    Buffer {
        /// Its size.
        bytes: u32,
        /// What went wrong.
        source: Box<LoadError>,
    },
    /// The places cannot be used.
    #[error("cannot use the places for readers of events")]
    Places(#[from] BpfObjectError),
}

impl EventReader {
    /// The size of the ring buffer, in bytes, unless another one is asked for. There is room for about 20,000 events.
    pub const DEFAULT_BYTES: u32 = 8 << 20;

    /// Takes a place in all of `readers`, with a ring buffer of so many bytes: a power of two, at least the size of a page. Frees the places of
    /// readers that were killed.
    ///
    /// # Errors
    ///
    /// See [`EventReaderError`].
    pub fn open(readers: Vec<EventReaders>, bytes: u32) -> Result<Self, EventReaderError> {
        let map = ring(bytes)?;
        let _places = lock_places()?;
        let mut taken = None;
        for place in 0..EVENT_READERS_MAX {
            let Some(lock) = try_lock(place)? else { continue };
            readers.iter().try_for_each(|readers| readers.free_dead(place))?;
            taken.get_or_insert((place, lock));
        }
        let Some((place, lock)) = taken else { return Err(EventReaderError::NoPlace) };
        let ring = RingBuffer::open(&map)?;
        let (mut own, mut lost_before) = (Vec::new(), 0);
        for readers in readers {
            let lost = readers.lost(place)?;
            if readers.fill(place, map.as_fd())? {
                lost_before += lost;
                own.push(readers);
            }
        }
        Ok(Self { readers: own, place, map, ring, lost_before, _lock: lock })
    }

    /// Calls `consume` with each event that was sent since the last call. One that cannot be decoded is an error.
    pub fn for_each(&mut self, mut consume: impl FnMut(Result<Event, DecodeError>)) {
        self.ring.for_each(|record| consume(decode(record)));
    }

    /// How many events it has lost since it was opened, because its buffer was full.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn lost(&self) -> Result<u64, BpfObjectError> {
        Ok(lost(&self.readers, self.place)?.saturating_sub(self.lost_before))
    }

    /// Gives up the place, so that no further event is sent. Those that were sent can still be read.
    ///
    /// # Errors
    ///
    /// [`EventReaderError::Places`], [`Lock`](EventReaderError::Lock).
    pub fn stop(&self) -> Result<(), EventReaderError> {
        let _places = lock_places()?;
        Ok(self.readers.iter().try_for_each(|readers| readers.free(self.place))?)
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        // If that fails, the next reader does it.
        let _ = self.stop();
    }
}

impl AsFd for EventReader {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// How many events the reader in this place has lost since the places were made.
fn lost(readers: &[EventReaders], place: u32) -> Result<u64, BpfObjectError> {
    readers.iter().map(|readers| readers.lost(place)).sum()
}

fn ring(bytes: u32) -> Result<Map, EventReaderError> {
    let def = MapDef {
        name: "reader".to_owned(),
        kind: MapKind::Ringbuf,
        key_size: 0,
        value_size: 0,
        max_entries: bytes,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        inner: None,
    };
    create_map("reader", &def).map_err(|error| EventReaderError::Buffer { bytes, source: Box::new(error) })
}

/// The lock of a place, if no living process has it.
fn try_lock(place: u32) -> Result<Option<File>, EventReaderError> {
    lock(&place.to_string(), FlockOperation::NonBlockingLockExclusive)
}

/// The lock of all places, for as long as one is taken or freed.
fn lock_places() -> Result<Option<File>, EventReaderError> {
    lock("all", FlockOperation::LockExclusive)
}

fn lock(name: &str, operation: FlockOperation) -> Result<Option<File>, EventReaderError> {
    let path = PathBuf::from(format!("{LOCKS}/{name}"));
    let failed = |error: Errno| EventReaderError::Lock { path: path.clone(), source: error.into() };
    for directory in ["/run/knobgate", LOCKS] {
        match mkdir(directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(file.into())),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}
