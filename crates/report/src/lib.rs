//! A stream of recorded accesses as one self-contained HTML page.
//!
//! **In**: the [`StreamItem`](knobgate_events::StreamItem)s of a stream of events. **Out**: a [`Report`], which has them counted,
//! and its page ([`write_page`]): a summary, events over time, knobs and workloads, denials by rule, values over time, and
//! examples. The crate is pure.
//!
//! ```
//! # use knobgate_events::json::StreamReader;
//! use knobgate_policy::filter::OutcomeKind;
//! use knobgate_report::{Aggregator, Head, write_page};
//! # let line = r#"{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":7,"policy":"web",
//! #   "mode":"enforce","verdict":"deny","errno":"EPERM","access":"write","knob":"net.core.somaxconn","position":0,
//! #   "new":{"text":"1024\n"},"rule":{"default":"write","text":{"text":"default write deny"}},"cgroup":{"id":1}}"#;
//! # let item = StreamReader::new(line.replace('\n', " ").as_bytes()).next().unwrap()?;
//!
//! let mut aggregator = Aggregator::new();
//! aggregator.add(&item); // A write of 1024 was denied.
//! let report = aggregator.finish();
//! assert_eq!(report.events.of(OutcomeKind::Denied), 1);
//!
//! let mut page = Vec::new();
//! write_page(&report, &Head::default(), &mut page)?;
//! assert!(page.starts_with(b"<!DOCTYPE html>"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! - An **outcome** is what became of an access. [`Counts`] has how many events had each.
//! - A **workload** is what runs in a cgroup, by its label ([`words::workload`](knobgate_events::words::workload)).
//! - A [`Cell`] is a knob and a workload that have events together.
//! - A [`Class`] has the events that are alike: same outcome, knob, workload and rule. The first and the last one are its examples.
//! - The [`History`] of a knob has the changes of its values that events show.
//! - The [`Timeline`] has the events in buckets. These become wider while the stream becomes longer.
//! - What found no room is counted ([`Further`]), and put together as "other" on the page.
//!
//! # Memory
//!
//! It does not depend on the number of events. Each list has a limit, and takes what comes first. The page has fewer entries than
//! the lists: those with the most events.
//!
//! # What others chose
//!
//! Names and values are [escaped](knobgate_events::terminal::escape), and then written as text: in HTML with its character references,
//! in the data with the escapes of JSON. The data is an element that is no script. The script makes elements one by one and sets texts;
//! it never interprets a string. The page's content security policy allows this script and this style by their hashes, and nothing else.
#![forbid(unsafe_code)]

mod aggregate;
mod class;
mod counts;
mod history;
mod interner;
mod kept;
mod key;
mod moment;
mod number;
mod page;
mod report;
mod timeline;

pub use aggregate::Aggregator;
pub use class::{Class, ClassKey, Example};
pub use counts::Counts;
pub use history::{CHANGES_KEPT, Change, History};
pub use moment::Span;
pub use page::{Head, write_page};
pub use report::{Attachment, Boot, Cell, Further, Knob, Report, Rule, Workload};
pub use timeline::{BUCKETS_MAX, Bucket, Timeline};
