//! Where the knobs of a machine differ from what its configuration says, and who wrote them last.
//!
//! **In** come what files set ([`ConfiguredKnob`]), the value that each of these knobs has now ([`Running`]), and recorded
//! events ([`StreamItem`](knobgate_events::StreamItem)). **Out** comes a [`Drift`]: each knob with how it compares, and for one
//! that differs the last write that an event reports, and whether that is where the running value comes from. The crate is pure:
//! it reads no files and no knobs.
//!
//! ```
//! use knobgate_drift::{ConfiguredKnob, Drift, Here, Running, State};
//! use knobgate_policy::KnobName;
//!
//! let configured = ConfiguredKnob {
//!     knob: KnobName::parse("net.core.somaxconn")?,
//!     value: "0x4000".to_owned(),
//!     file: "/etc/sysctl.d/99-web.conf".to_owned(),
//!     line: 2,
//!     glob: None,
//!     ignores_errors: false,
//! };
//! let running = |value: &'static str| move |_: &KnobName| Running::Value(value.into());
//! let drift = Drift::new([configured.clone()], running("16384\n"), Here::default());
//! assert_eq!(drift.knobs()[0].state(), State::Same);
//! let drift = Drift::new([configured], running("4096\n"), Here::default());
//! assert_eq!(drift.knobs()[0].state(), State::Differs);
//! # Ok::<(), knobgate_policy::NotationError>(())
//! ```
//!
//! # Words
//!
//! * A knob has *drifted* if its running value is not what it stores if the configured value is written to it.
//! * A *writer* is the task of a write that passed or may have, as far as events say: the knob itself may have rejected the value.
//! * A write *explains* the running value if it wrote that.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | whether two values are the same | [`is_same_value`] |
//! | the knobs and their states | [`Drift`] |
//! | which event is the last write | [`Writes`] |
//! | the result as JSON | `json.rs`, with the feature `json` |
#![forbid(unsafe_code)]

mod compare;
mod drift;
#[cfg(feature = "json")]
mod json;
mod writes;

pub use compare::is_same_value;
pub use drift::{ComparedKnob, ConfiguredKnob, Drift, Here, Running, State};
#[cfg(feature = "json")]
pub use json::{DriftDocument, UnmatchedGlob, json_schema};
pub use writes::{Explains, Write, Writes};
