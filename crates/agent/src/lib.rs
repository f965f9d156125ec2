//! Keeps policies on the cgroups that they apply to, while cgroups come and go.
//!
//! In: a directory of policies, `agent.toml`, and the cgroup hierarchy. Out: links that are pinned on the bpffs, [notices](Notice)
//! of what happened, and a [`Status`].
//!
//! # Words
//!
//! - A **guarded** cgroup has a policy of its own: a link of an attachment of knobgate is on it.
//! - A [`Notice`] is something that the agent saw: what it did, or what somebody else did to its attachments.
//! - A cgroup got its policy **late** if processes were in it already.
//!
//! All state is in the kernel and on the bpffs. So an agent that is killed leaves every policy in force, and the next one goes on
//! from there.
#![forbid(unsafe_code)]

mod agent;
mod agent_error;
mod cgroup_watch;
mod client;
mod control;
mod engine;
mod file_watch;
mod kept_value;
mod knob_watch;
mod lock;
mod metrics;
mod notice;
#[cfg(feature = "otlp")]
mod otlp;
mod reporter;
mod rfc_3339;
mod service;
mod service_error;
mod service_reporter;
mod status;
mod systemd;

pub use agent::{Agent, AgentHandle, AgentOptions};
pub use agent_error::AgentError;
pub use client::AskError;
pub use file_watch::{FileStates, FileWatch};
pub use kept_value::{KnobFinding, KnobWriter};
pub use knob_watch::{KnobWatch, NotObserved};
pub use lock::RUN_DIRECTORY;
pub use metrics::Metrics;
pub use notice::{Notice, NoticeField, NoticeKind, Severity};
#[cfg(feature = "otlp")]
pub use otlp::{Collected, OtlpExporter, OtlpRecord};
pub use reporter::Reporter;
pub use service::Service;
pub use service_error::ServiceError;
pub use status::{LateCgroup, OffPolicy, PolicyStatus, ReloadStatus, Status, UndecidedCgroup};
