//! What recorded accesses would have met under another policy.
//!
//! **In**: a policy, and the [`StreamItem`](knobgate_events::StreamItem)s of a stream of events. **Out**: a [`Report`]: the
//! [`Class`]es of accesses, each with how many there were, and what would be different. Or, for two policies and their
//! [`Diff`](knobgate_diff::Diff), how many events are in each class of the diff ([`DiffEvents`]). The crate is pure.
//!
//! ```
//! # use knobgate_events::{StreamItem, json::StreamReader};
//! use knobgate_policy::{CheckOptions, Source, parse};
//! use knobgate_replay::{Outcome, Replay};
//!
//! let text = "policy web\nallow write net.core.somaxconn if new <= 65535\n";
//! let policy = parse(Source::new("web.knob", text), &CheckOptions::default())?.into_policy();
//! # let line = r#"{"schema":"knobgate.events","version":1,"type":"event","sequence":1,"boot_time":7,"policy":"old",
//! #   "mode":"enforce","verdict":"deny","errno":"EPERM","access":"write","knob":"net.core.somaxconn","position":0,
//! #   "new":{"text":"1024\n"},"rule":{"default":"write","text":{"text":"default write deny"}},"cgroup":{"id":1}}"#;
//! # let item = StreamReader::new(line.replace('\n', " ").as_bytes()).next().unwrap()?;
//!
//! let mut replay = Replay::new(&policy, |item| item.context.attachment.clone());
//! replay.add(&item); // Another policy had denied a write of 1024.
//! let report = replay.finish();
//! assert_eq!(report.classes[0].outcome, Outcome::NewlyAllowed);
//! assert_eq!(report.events(Outcome::NewlyAllowed), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! - A [`Recorded`] access is what an event has of an access. Some of it may be unknown: see [`Unknown`].
//! - An [`Outcome`] is how the verdict of the policy compares with what happened to the access. It is [`Outcome::Unknown`] if the policy
//!   could come to different verdicts, depending on what the event does not have.
//! - A [`Class`] has the accesses to one knob that were decided by the same rule, and would be decided by the same rule.
//! - A [`Tally`] says how many events there were, when, and in which workloads.
//!
//! # How it works
//!
//! | step | see |
//! | --- | --- |
//! | an event becomes an access, and the set of its inputs that are unknown | `recorded.rs` |
//! | [`evaluate`](knobgate_policy::evaluate()) decides; if something is unknown, [`possible`](knobgate_policy::possible()) does | `decide.rs` |
//! | the verdict is compared with the outcome of the event | `outcome.rs` |
//! | equal accesses are decided once | `seen.rs` |
//! | events are counted by class | `replay.rs`, and `diff_events.rs` for a diff |
//!
//! # Memory
//!
//! It does not depend on the number of events. Classes take at most [`CLASSES_BYTES_MAX`] bytes, and events of further ones are
//! counted by outcome alone ([`Report::further`]).
#![forbid(unsafe_code)]

mod decide;
mod diff_events;
mod outcome;
mod recorded;
mod replay;
mod seen;
mod tally;

pub use decide::{Decided, Decider};
pub use diff_events::DiffEvents;
pub use outcome::Outcome;
pub use recorded::{Recorded, Unknown};
pub use replay::{CLASSES_BYTES_MAX, Class, Now, Replay, Report};
pub use tally::{Label, Tally, WORKLOADS_MAX};
