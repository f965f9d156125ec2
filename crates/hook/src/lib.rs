//! The kernel's cgroup/sysctl hook in user space.
#![forbid(unsafe_code)]

pub mod errno;
pub mod invocation;
pub mod profile;
pub mod runs;

pub use errno::Errno;
pub use invocation::{Invocation, Task, VALUE_BYTES};
pub use profile::{Profile, UnknownProfile};
pub use runs::Runs;
