//! The least policy that allows what a workload did.
//!
//! **In** come accesses, each with the result of its system call ([`Recording`]). **Out** comes a policy that allows what
//! succeeded, and as little else as possible, or an existing policy that does so in addition ([`learn`]). Or events come in
//! of what a policy denies, and a [`Review`] asks what to add to it. The crate is pure: it observes nothing, and asks no kernel.
//!
//! ```
//! use knobgate_events::json::StreamReader;
//! use knobgate_events::{CallResult, StreamContent};
//! use knobgate_learn::{LearnOptions, RecordedAccess, Recording, learn};
//!
//! let line = r#"{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":1,"access":"write",
//!     "knob":"net.ipv4.ip_default_ttl","new":{"text":"100\n"},"position":0,"verdict":"allow","mode":"enforce",
//!     "policy":"observer","rule":{"default":"write","text":{"text":"default write allow"}},
//!     "cgroup":{"id":1},"task":{"pid":1,"tid":1,"uid":0,"gid":0,"comm":"sysctl"}}"#;
//! let item = StreamReader::new(line.replace('\n', "").as_bytes()).next().expect("a line")?;
//! let StreamContent::Event(seen) = item.content else { panic!("no event") };
//!
//! let mut recording = Recording::new();
//! recording.begin_run();
//! // The knob took all 4 bytes of it.
//! recording.add(&RecordedAccess { event: seen.event, result: CallResult::Returned(4) });
//! let options = LearnOptions { name: "web", title: "sysctl", reads: false, slack: 0, knobs: &[] };
//! let learnt = learn(&recording, &options)?;
//! let text = learnt.file.source().text();
//! assert!(text.contains("# seen 1×, by sysctl\nallow write net.ipv4.ip_default_ttl if new == 100\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! * A *recorded access* is an event with the result of its system call. Whether it succeeded decides what becomes of it.
//! * A *doubt* is why an access that may have succeeded becomes a comment and no rule.
//! * *Slack* is how much more than the numbers that were seen a rule admits.
//! * A *class* has the accesses of one kind to one knob. A *review* decides about each class that a policy denies by its default.
//! * A *proposal* has the rules of one possible decision.
//! * To *generalise* is to make one rule of those for the same knob of several interfaces.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | what an access says | `recorded.rs`, and `recording.rs` for many |
//! | values to a condition | `condition.rs` |
//! | rules with their comments | `plan.rs`; `interfaces.rs` for generalised ones |
//! | what a policy denies, and the decisions about it | `denied.rs`, `proposal.rs`, `review.rs` |
//! | knobs that are never allowed, or only with a warning | `host_knobs.rs` |
//! | the text of a policy | `policy_text.rs`, `test_block.rs`; `append.rs` and `extended.rs` for an existing one |
#![forbid(unsafe_code)]

mod append;
mod comment;
mod condition;
mod denied;
mod extended;
mod host_knobs;
mod interfaces;
mod plan;
mod policy_text;
mod proposal;
mod recorded;
mod recording;
mod review;
mod test_block;

pub use denied::{DeniedAccesses, DeniedClass, LeftOut};
pub use policy_text::{LearnError, LearnOptions, Learnt, learn};
pub use proposal::Proposal;
pub use recorded::RecordedAccess;
pub use recording::Recording;
pub use review::{Question, Review};
