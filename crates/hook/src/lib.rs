//! The kernel's cgroup/sysctl hook in user space.
#![forbid(unsafe_code)]

pub mod invocation;
pub mod profile;

pub use invocation::{Invocation, Task};
pub use profile::Profile;
