//! What people call the workload in a cgroup.
//!
//! **In** comes the path of a cgroup, as in `/proc/PID/cgroup`. **Out** comes a [`Workload`]: the engine, the container, the
//! pod, the unit and the user, as far as the path shows them. With the feature `state`, an `EngineState` adds the names
//! that the engine keeps in its files: the container's, the pod's and the image's. [`Workload::of_oci`] takes what a container
//! runtime tells its hooks.
//!
//! ```
//! use knobgate_workload::{Engine, Workload};
//!
//! let path = b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a12_5e.slice/\
//!     cri-containerd-4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f.scope";
//! let workload = Workload::of_path(path);
//! assert_eq!(workload.engine, Engine::Containerd);
//! assert_eq!(workload.pod_id.as_ref().map(|uid| uid.bytes()), Some(&b"0a12-5e"[..]));
//! assert_eq!(workload.label(), b"k8s/0a12-5e/4f6b1e3a9c0d");
//!
//! let unit = Workload::of_path(b"/system.slice/nginx.service");
//! assert_eq!(unit.label(), b"unit nginx.service");
//! ```
//!
//! # Words
//!
//! - An **engine** ([`Engine`]) started the workload: a container engine, or systemd.
//! - A **piece** ([`Piece`]) is one fact about the workload, with its [`Origin`]. Its bytes are raw.
//! - The **outer** workload ([`Workload::outer`]) is the container around a container or unit, as with Docker in Docker.
//! - The **owner** ([`Workload::owner`]) of a name is what is above it that could have made it up: a service, for example.
//! - The **label** ([`Workload::label`]) is the name in one column. The [`Labels`] of a container are
//!   something else: keys and values that whoever starts it chose.
//! - A **name** ([`WorkloadName`]) is what somebody calls a workload, to say which one is meant.
//!
//! # Who chooses a name
//!
//! Everything in a path is chosen by somebody. Root and its daemons choose the names of the topmost cgroups. A user with
//! a service manager chooses the names below `user@UID.service` ([`Workload::user_manager`]), and a workload that owns its
//! cgroup those below it ([`Workload::outer`], [`Workload::owner`]). So a name says what somebody claims. Which
//! of them a policy can rely on, `knobgate_policy::selector::trust()` says. The state
//! of engines is only asked about names that neither of these chose. Escape a piece or a label before you print it.
//!
//! # From a path to a workload
//!
//! | step | see |
//! | --- | --- |
//! | one component is a container, a pod, a unit or none of these | `component.rs` |
//! | whether a name is that of a unit, and what its escapes mean | `unit.rs` |
//! | the components together: the innermost workload, and those around it | `path.rs` |
//! | a name in one column | `label.rs` |
//! | from what somebody calls a workload to the workload | `workload_name.rs` |
//! | a container that a runtime is about to start | `oci.rs` |
//! | a workload as bytes, to remember it when its cgroup is gone | `remembered.rs` |
//! | names from the files of engines | `state.rs` |
#![forbid(unsafe_code)]

mod annotations;
mod component;
mod label;
mod labels;
mod names;
mod oci;
mod path;
mod remembered;
#[cfg(feature = "state")]
mod state;
mod unit;
mod workload;
mod workload_name;

pub use label::{LabelLevel, label};
pub use labels::Labels;
pub use oci::OciContainer;
#[cfg(feature = "state")]
pub use state::EngineState;
pub use workload::{Engine, Origin, Piece, Role, Workload};
pub use workload_name::{NameMatch, WorkloadName};
