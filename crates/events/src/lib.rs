//! What programs report about accesses: events, and their binary form in the kernel.
//!
//! In: the bytes of a record, as a program has written them to a ring buffer or to its memory. Out: an [`Event`]. A reader adds
//! what it knows about it, which makes a [`StreamItem`]. With the feature `json`, streams are written and read as lines of JSON.
//!
//! # Words
//!
//! - An **event** is what a program reports about one access: who, which knob, which values, and the verdict with the rule that
//!   made it.
//! - A **record** is the binary form of an event ([`record`]). It has a format version, because a program that is pinned in the
//!   kernel outlives the tool that compiled it.
//! - The **memory** of a policy is what it keeps in the kernel while nobody reads: the first and the last event of each rule and
//!   cgroup with their number, and the most recent events.
//! - A [`CallResult`] says how the system call of an access ended, which events do not.
//! - A **stream** ([`StreamItem`]) has events, and how many were suppressed or lost, in the order in which a reader got them.
//! - An event is **suppressed** if its rule has sent as many as it may in this second. It is counted, and nothing else.
//! - An event is **lost** if a reader was too slow for it.
//!
//! ```
//! use knobgate_events::{Event, record};
//!
//! // A damaged record is an error, and never a wrong event.
//! assert!(record::decode(&[0; 64]).is_err());
//! # let _: fn(&[u8]) -> Result<Event, record::DecodeError> = record::decode;
//! ```
#![forbid(unsafe_code)]

mod call_result;
mod event;
mod fields;
#[cfg(feature = "json")]
pub mod json;
mod namespace;
mod reconstruct;
pub mod record;
pub mod secrets;
mod stream;
pub mod terminal;
pub mod words;
mod workload;

pub use call_result::{CallResult, UnknownResult};
pub use event::{
    Event, EventOutcome, EventRule, EventText, EventVerdict, Namespaces, RuleRef, Totals, denied_with,
};
pub use namespace::Namespace;
pub use reconstruct::{Reconstructed, reconstruct};
pub use stream::{Lost, StreamContent, StreamContext, StreamEvent, StreamItem, Suppressed};
pub use workload::StreamWorkload;
