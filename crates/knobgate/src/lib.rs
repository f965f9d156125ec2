//! Controls which files under `/proc/sys` the processes of a cgroup may read and write. A library to embed in other programs.
//! The command `knobgate` is a thin layer over it.
//!
//! In: a policy as text, and the cgroups that it applies to. Out: an attachment in the kernel, which stays when this
//! process ends. Any later process can read it back: the policy's text, its cgroups, and how often each rule decided.
//!
//! # Words
//!
//! - A **policy** says which knobs under `/proc/sys` may be read and written, and with which values
//!   ([`policy::parse`] reads it).
//! - A [`CompiledPolicy`] is a policy as a BPF program for the running kernel. It is never less strict than the policy. What
//!   this kernel cannot do, the program denies, and a [`KernelLimit`] says so.
//! - [`Attachments`] are programs on cgroups, under names, held by links that are pinned on a bpffs. The kernel and the
//!   bpffs have all of their state. [Applying](Attachments::apply) a program to a name attaches it, or replaces what
//!   is there.
//! - A program can also be [pinned](Attachments::pin) under a name, for others to attach, such as systemd.
//! - A [`PolicyVersion`] is a policy for cgroups that come and go, whose attachment stays without any.
//! - Who put a program on a cgroup is the **source** of its link ([`kernel::LinkSource`]). Nobody takes away another's: [`LinksOf`].
//! - What is [`Off`] is out of force, and nothing puts it in force.
//! - A [`Survey`] shows which programs run for which cgroup, ours and others'.
//! - [`Integrity`] finds what somebody else has done to attachments and their cgroups, and a [`PinWatch`] notices that pins go.
//! - A [`Supervisor`] runs one command under a policy, in a cgroup that exists only for it.
//! - An [`Observation`] records what the processes of a cgroup do, and which of it succeeds.
//!
//! Most of this needs root and cgroup v2, and attachments need a bpffs. The library prints nothing: it returns errors,
//! limits, and what was done.
//!
//! Four features are off by default. `json` and `suggest` are those of [`policy`]: one reads and prints policies as JSON, the
//! other adds to diagnostics what a misspelled word may have been meant to be. `workloads` has a `WorkloadResolver`, which finds
//! out what people call the container, pod or unit in a cgroup, and `WorkloadFields`, which tell whether a policy applies to it.
//! `containers` has `ContainerPolicies`, the policies for containers in a directory, and `StartingContainer`, a container of which
//! nothing runs yet, so that a hook of its runtime can put them on it.
//!
//! # Examples
//!
//! ```no_run
//! use knobgate::kernel::LinkSource;
//! use knobgate::policy::{CheckOptions, Source, parse};
//! use knobgate::{Attachments, CgroupRef, CompiledPolicy, LinksOf};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let text = "policy web\nallow write net.core.somaxconn if new <= 65535\n";
//!     let policy = parse(Source::new("web.knob", text), &CheckOptions::default())?;
//!     let compiled = CompiledPolicy::compile(&policy)?;
//!     compiled.limits().iter().for_each(|limit| eprintln!("stricter than written: {limit}"));
//!
//!     let (attachments, name) = (Attachments::create()?, "web".parse()?);
//!     let cgroups = [CgroupRef::at("system.slice/web.service")?];
//!     attachments.apply(&name, &compiled.load()?, &cgroups, LinkSource::Hand)?;
//!     for rule in attachments.read(&name)?.policy.iter().flat_map(|policy| policy.rule_counters()) {
//!         println!("{} accesses: {}", rule.decided, rule.text);
//!     }
//!     attachments.detach(&name, &[], LinksOf::Source(LinkSource::Hand))?;
//!     Ok(())
//! }
//! ```
//!
//! A command under a policy, from its first instruction on:
//!
//! ```no_run
//! use std::process::Command;
//!
//! use knobgate::kernel::Hierarchy;
//! use knobgate::{CompiledPolicy, OnDeparture, Supervisor};
//! # use knobgate::policy::{CheckOptions, Source, parse};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let policy = parse(Source::new("web.knob", "policy web\n"), &CheckOptions::default())?;
//! let loaded = CompiledPolicy::compile(&policy)?.load()?;
//! let mut command = Command::new("sysctl");
//! command.args(["-w", "kernel.domainname=example"]);
//! let parent = Hierarchy::find()?.root()?;
//! let outcome = Supervisor::new()?.run(&mut command, loaded, &parent, OnDeparture::Kill, &mut |event| {
//!     eprintln!("{event:?}");
//! })?;
//! assert!(!outcome.status.success());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "containers")]
mod agent_config;
mod apply;
mod attached_policy;
mod attachment_error;
mod attachment_state;
mod attachments;
mod bpf_memory;
mod cgroup_ref;
mod compiled_policy;
mod confinement;
#[cfg(feature = "containers")]
mod container_error;
#[cfg(feature = "containers")]
mod container_policies;
#[cfg(feature = "containers")]
mod denied_sysctl;
mod departures;
mod detach;
mod events;
mod included_files;
mod integrity;
mod kernel_limit;
mod link_version;
mod object_origin;
mod observation;
mod observed_run;
#[cfg(feature = "containers")]
mod oci_state;
mod off;
#[cfg(feature = "containers")]
mod open_to_others;
#[cfg(feature = "containers")]
mod outdated;
mod pin_watch;
mod pinned_program;
#[cfg(feature = "containers")]
mod planned_workload;
mod policy_links;
mod policy_version;
mod run_error;
#[cfg(feature = "containers")]
mod starting_container;
mod supervisor;
mod survey;
mod versions;
#[cfg(feature = "workloads")]
mod workload_fields;
#[cfg(feature = "workloads")]
mod workload_memory;
#[cfg(feature = "workloads")]
mod workload_resolver;
#[cfg(feature = "workloads")]
mod workload_search;

pub use knobgate_bpf as bpf;
pub use knobgate_compiler as compiler;
pub use knobgate_events as event;
pub use knobgate_kernel as kernel;
pub use knobgate_policy as policy;
#[cfg(feature = "workloads")]
pub use knobgate_workload as workload;

#[cfg(feature = "containers")]
pub use agent_config::{AgentConfig, KeptKnob, LogFormat, LogLevel, OtlpEndpoint};
pub use apply::Applied;
pub use attached_policy::{AttachedPolicy, RuleCounters};
pub use attachment_error::AttachmentError;
pub use attachment_state::{AttachedCgroup, AttachmentState};
pub use attachments::Attachments;
pub use bpf_memory::BpfMemory;
pub use cgroup_ref::CgroupRef;
pub use compiled_policy::CompiledPolicy;
#[cfg(feature = "containers")]
pub use container_error::ContainerError;
#[cfg(feature = "containers")]
pub use container_policies::{ContainerPolicies, ContainerPolicy};
#[cfg(feature = "containers")]
pub use denied_sysctl::DeniedSysctl;
pub use departures::{DepartureSummary, OnDeparture, departure_target};
pub use detach::{Detached, LinksOf, TakenOff};
pub use events::{
    EventMemory, EventMemoryMaps, EventReader, EventReaderError, EventReaders, MemoryEntry, Observer,
    ObserverError,
};
pub use included_files::IncludedFiles;
pub use integrity::{Finding, FindingKind, ForeignBy, ForeignProgram, Integrity};
pub use kernel_limit::{KernelLimit, TargetKernel};
pub use link_version::{Linked, LinkedVersion};
pub use object_origin::{OBJECT_FILE_MAP, ObjectOrigin};
pub use observation::{Observation, ObservationError, ObservationLoss, Observed};
pub use observed_run::ObservedRunError;
#[cfg(feature = "containers")]
pub use oci_state::{OciBundle, OciState, OciStatus};
pub use off::{Off, OffBy, OffError, OffNote};
#[cfg(feature = "containers")]
pub use open_to_others::OpenToOthers;
#[cfg(feature = "containers")]
pub use outdated::OutdatedLink;
pub use pin_watch::PinWatch;
pub use pinned_program::Pinned;
#[cfg(feature = "containers")]
pub use planned_workload::planned_workload;
pub use policy_links::{NotListed, PolicyLink, PolicyLinks, VersionLinks};
pub use policy_version::{PolicyVersion, name_of_versions, versions_of};
pub use run_error::RunError;
#[cfg(feature = "containers")]
pub use starting_container::StartingContainer;
pub use supervisor::{RunEvent, RunOutcome, Supervisor};
pub use survey::{AttachedBy, EffectiveProgram, RunOrder, Survey};
#[cfg(feature = "workloads")]
pub use workload_fields::WorkloadFields;
#[cfg(feature = "workloads")]
pub use workload_resolver::WorkloadResolver;
#[cfg(feature = "workloads")]
pub use workload_search::{FoundWorkload, WorkloadSearchError};
