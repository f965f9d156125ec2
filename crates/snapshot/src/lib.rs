//! This machine, as the hook in user space models it.
//!
//! In goes the running kernel; out come the [`Profile`](knobgate_hook::Profile) that describes it and a [`Snapshot`] of
//! its knobs, which are what a [`Hook`](knobgate_hook::Hook) is made of.
//!
//! - [`running_profile()`] probes what can be tried without harm. The closest known release supplies the rest.
//! - [`snapshot()`] reads every knob and infers a handler that reads the same. [`Inferred`] says how much that handler
//!   is worth.
//!
//! # Example
//!
//! ```no_run
//! use knobgate_hook::Hook;
//! use knobgate_snapshot::{running_profile, snapshot};
//!
//! # fn main() -> std::io::Result<()> {
//! let snapshot = snapshot()?;
//! let mut hook = Hook::new(running_profile(), snapshot.knobs);
//! hook.writes_strict = snapshot.writes_strict;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod running_profile;
mod snapshot;

pub use running_profile::running_profile;
pub use snapshot::{Inferred, Snapshot, snapshot};
