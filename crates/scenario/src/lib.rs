//! Scenarios: experiments with the kernel's cgroup/sysctl hook, written down as JSON documents.
//!
//! A scenario names knobs with their values, programs (instructions, ELF objects, policies), the maps that they share, and
//! cgroups. Then come the steps: load, attach, update, detach, read, write, show a map. Each step gives one [`Line`]. It is
//! played on the model of the kernel, [`knobgate_hook::Hook`], without root and anywhere; with the feature `kernel` also on
//! the running kernel. The lines of both are the same, byte for byte, so that they can be compared.
//!
//! ```text
//!   JSON ──► Document ──► Scenario ──► Play ──► Line, Line, …
//!            as written   checked      on the model, or on the running kernel
//! ```
//!
//! ```
//! use knobgate_scenario::Scenario;
//!
//! let text = r#"{
//!     "knobs": [{"name": "net/core/somaxconn", "value": "4096", "handler": {"kind": "int", "min": 0}}],
//!     "programs": {"deny": {"insns": "b700000000000000 9500000000000000"}},
//!     "cgroups": ["web"],
//!     "steps": [
//!         {"attach": {"program": "deny", "cgroup": "web", "mode": "link"}},
//!         {"write": {"knob": "net/core/somaxconn", "cgroup": "web", "data": "1\n"}},
//!         {"write": {"knob": "net/core/somaxconn", "cgroup": "/", "data": "1\n"}}
//!     ]
//! }"#;
//! let scenario = Scenario::parse(text, &mut |_| unreachable!("it names no files")).unwrap();
//! let lines: Result<Vec<_>, _> = scenario.play_on_model()?.collect();
//! let lines: Vec<String> = lines?.iter().map(|line| line.to_json()).collect();
//! assert_eq!(lines, [
//!     r#"{"step":0,"ok":true,"errno":null}"#,
//!     r#"{"step":1,"ok":false,"errno":"EPERM","ret":-1,"data":null,"pos":0,"value":"4096\n"}"#,
//!     r#"{"step":2,"ok":true,"errno":null,"ret":2,"data":null,"pos":2,"value":"1\n"}"#,
//! ]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod check;
mod document;
mod error;
mod expectation;
mod id;
mod insns;
#[cfg(feature = "kernel")]
mod kernel;
mod kernel_range;
mod knob;
mod line;
mod locate;
mod model;
mod object_only;
mod path;
mod play;
mod program_document;
mod program_file;
mod scenario;
mod step_document;
mod unique;
mod unmodelled;
mod variable_value;

pub use bytes::{Bytes, Hex};
pub use check::LinkFor;
pub use document::{
    AttachDocument, Document, FlagDocument, HandlerDocument, HandlerKind, Integer, KnobDocument, MapDocument,
    ModeDocument, MoveDocument, ProcessDocument, ReadDocument, UpdateDocument, WriteDocument,
};
pub use error::ScenarioError;
pub use expectation::{ExpectationDocument, Expectations, Mismatch, Outcome};
pub use id::Id;
#[cfg(feature = "kernel")]
pub use kernel::{KernelError, KnobError};
pub use kernel_range::KernelRange;
pub use line::{Details, Line};
pub use model::ModelError;
pub use play::{Play, PlayError};
pub use program_document::ProgramDocument;
pub use program_file::ProgramFile;
pub use scenario::Scenario;
pub use step_document::{ActionDocument, StepDocument};
pub use variable_value::VariableValue;

/// The JSON schema of a [`Document`]. Checking asks for more than it can say.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Document).into()
}
