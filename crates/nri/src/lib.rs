//! Plugins for container runtimes with the Node Resource Interface (NRI): containerd from 1.7 on, CRI-O from 1.26 on.
//!
//! In: a [`Plugin`], its [`PluginId`], and the path of the runtime's socket. [`run`] registers the plugin, calls it for each
//! event that it subscribes to, and connects again when the runtime restarts. Out: the plugin's answers, as the runtime
//! gets them. An answer can be a [`Rejection`]: the runtime then does not create or start the container, and shows its text.
//!
//! A *runtime* is containerd or CRI-O. A *pod sandbox* is what the containers of a pod share. An *adjustment* is what a
//! plugin changes about a container before it is created; here that is OCI [`Hooks`].
//!
//! The protocol has three layers, and each is a file: the frames of a multiplexer (`mux`), ttrpc messages in them (`ttrpc`),
//! and protobuf messages in these ([`messages`]). A connection has requests in both directions, but the runtime sends them one
//! at a time, so one thread is enough. The crate `ttrpc` could not be used as it is: it wants a socket for each direction, and
//! NRI has both in one.
//!
//! Who writes a plugin has to know how NRI fails: the runtime waits two seconds for an answer (unless it is configured
//! otherwise). Then it closes the connection and goes on **without** the plugin, as it does when the plugin is killed. The
//! containers that are created until [`run`] has connected again pass as if there were no plugin.
//!
//! ```no_run
//! use knobgate_nri::messages::{Container, PodSandbox};
//! use knobgate_nri::{Adjustment, Events, Plugin, PluginId, Rejection, run};
//!
//! /// Lets no container be created that is called `miner`.
//! struct NoMiners;
//!
//! impl Plugin for NoMiners {
//!     fn events(&self) -> Events {
//!         Events::CREATE_CONTAINER
//!     }
//!
//!     fn create_container(&mut self, _: &PodSandbox, container: &Container) -> Result<Adjustment, Rejection> {
//!         match container.name.as_str() {
//!             "miner" => Err(Rejection::new("there are no miners here")),
//!             _ => Ok(Adjustment::default()),
//!         }
//!     }
//! }
//!
//! let id = PluginId::new("no-miners", "50")?;
//! let error = run("/var/run/nri/nri.sock".as_ref(), &id, &mut NoMiners);
//! eprintln!("{error}");
//! # Ok::<(), knobgate_nri::InvalidPluginId>(())
//! ```
//!
//! [`Hooks`]: messages::Hooks
#![forbid(unsafe_code)]

pub mod messages;
mod mux;
mod plugin;
mod plugin_id;
mod run;
mod session;
mod ttrpc;

pub use mux::MuxError;
pub use plugin::{Adjustment, Events, Plugin, Rejection, Runtime};
pub use plugin_id::{InvalidPluginId, PluginId};
pub use run::run;
pub use session::SessionError;
pub use ttrpc::TtrpcError;
