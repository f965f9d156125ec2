//! A reader of events, with a ring buffer of its own in one of the places for readers.

use std::os::fd::{AsFd, BorrowedFd};

use knobgate_bpf::{MapDef, MapKind};
use knobgate_compiler::EVENT_READERS_MAX;
use knobgate_events::Event;
use knobgate_events::record::{DecodeError, decode};
use knobgate_kernel::{BpfObjectError, BpffsError, LoadError, Map, RingBuffer, create_map};

use super::readers::{EventReaders, TakenPlace};

/// A reader of events. Every event that a program sends while it is open is given out once, or counted as lost.
///
/// It has a place in each of the [`EventReaders`] until it is dropped. If its process is killed, the next reader can have its place in
/// the shared ones.
#[derive(Debug)]
pub struct EventReader {
    places: Vec<(EventReaders, TakenPlace)>,
    map: Map,
    ring: RingBuffer,
    full: usize,
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
    /// A place cannot be locked.
    #[error("cannot lock a place for reading events")]
    Lock(#[from] BpffsError),
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

    /// Takes a place in each of `readers`, with one ring buffer of so many bytes: a power of two, at least the size of a page.
    ///
    /// # Errors
    ///
    /// See [`EventReaderError`].
    pub fn open(readers: Vec<EventReaders>, bytes: u32) -> Result<Self, EventReaderError> {
        let map = ring(bytes)?;
        let ring = RingBuffer::open(&map)?;
        // What was taken is freed if the rest fails.
        let mut reader = Self { places: Vec::new(), map, ring, full: 0 };
        for readers in readers {
            match readers.take(&reader.map)? {
                Some(place) => reader.places.push((readers, place)),
                None if readers.are_shared() => return Err(EventReaderError::NoPlace),
                None => reader.full += 1,
            }
        }
        match reader.places.is_empty() && reader.full > 0 {
            true => Err(EventReaderError::NoPlace),
            false => Ok(reader),
        }
    }

    /// In how many of the [`EventReaders`] that are not shared all places were taken, so that it does not get the events there.
    pub fn full(&self) -> usize {
        self.full
    }

    /// Whether it has a place in these.
    pub(crate) fn is_in(&self, readers: &EventReaders) -> bool {
        self.places.iter().any(|(own, _)| own.id() == readers.id())
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
        self.places.iter().map(|(readers, place)| readers.lost_in(place)).sum()
    }

    /// Gives up the place, so that no further event is sent. Those that were sent can still be read.
    ///
    /// # Errors
    ///
    /// [`EventReaderError::Places`], [`Lock`](EventReaderError::Lock).
    pub fn stop(&self) -> Result<(), EventReaderError> {
        self.places.iter().try_for_each(|(readers, place)| readers.free(place))
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        // If that fails, the next reader does it.
        let _ = self.stop();
    }
}

impl AsFd for EventReader {
    /// Readable when there are events. The first event after all have been read wakes who waits for that, which takes much longer than
    /// the event. So wait some milliseconds more before you read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
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
        ..MapDef::default()
    };
    create_map("reader", &def).map_err(|error| EventReaderError::Buffer { bytes, source: Box::new(error) })
}
