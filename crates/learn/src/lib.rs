//! The least policy that allows what a workload did.
//!
//! **In** come accesses, each with the result of its system call ([`Recording`]). **Out** comes a policy that allows what
//! succeeded, and as little else as possible ([`learn`]), or a policy that does so in addition ([`extend`]). Or events come in
//! of what a policy denies, and a [`Review`] asks what to add to it. The crate is pure: it observes nothing, and asks no kernel.
//!
//! ```
//! use knobgate_events::{CallResult, EventText};
//! use knobgate_learn::{LearnOptions, RecordedAccess, Recording, learn};
//! use knobgate_policy::AccessKind;
//!
//! let text = |text: &str| {
//!     let mut recorded = EventText::default();
//!     recorded.bytes = text.as_bytes().to_vec();
//!     recorded
//! };
//! let mut recording = Recording::new();
//! recording.begin_run();
//! // The knob took the first value, and rejected the second one with EINVAL.
//! for (value, returned) in [("100\n", 4), ("256\n", -22)] {
//!     recording.add(&RecordedAccess {
//!         kind: AccessKind::Write,
//!         knob: text("net/ipv4/ip_default_ttl"),
//!         new: Some(text(value)),
//!         position: 0,
//!         comm: Some(b"sysctl".to_vec()),
//!         result: CallResult::Returned(returned),
//!     });
//! }
//! let options = LearnOptions { name: "web", title: "sysctl", reads: false, slack: 0, knobs: &[] };
//! let learnt = learn(&recording, &options)?;
//! let text = learnt.file.source().text();
//! assert!(text.contains("# seen 1×, by sysctl\nallow write net.ipv4.ip_default_ttl if new == 100\n"));
//! assert!(text.contains("# seen 1×, by sysctl: write net.ipv4.ip_default_ttl failed with EINVAL\n"));
//! # Ok::<(), knobgate_learn::LearnError>(())
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
//! | the text of a policy | `policy_text.rs`, `test_block.rs`; `append.rs` and `extend.rs` for an existing one |
#![forbid(unsafe_code)]

mod append;
mod comment;
mod condition;
mod denied;
mod extend;
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
pub use extend::extend;
pub use policy_text::{LearnError, LearnOptions, Learnt, learn};
pub use proposal::Proposal;
pub use recorded::RecordedAccess;
pub use recording::Recording;
pub use review::{Question, Review};
