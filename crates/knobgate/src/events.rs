//! The events of attached policies: live, through the places of [readers], and from their [memory].

mod memory;
mod observer;
mod pairing;
mod reader;
mod readers;
mod room;

pub use memory::{EventMemory, EventMemoryMaps, MemoryEntry};
pub(crate) use memory::{MEMORY_MAPS, is_memory, prepare, remember_cgroups};
pub(crate) use observer::load_observer;
pub use observer::{Observer, ObserverError};
pub(crate) use pairing::{Pairing, Return};
pub use reader::{EventReader, EventReaderError};
pub use readers::EventReaders;
pub(crate) use room::{OtherCounters, make_room};
