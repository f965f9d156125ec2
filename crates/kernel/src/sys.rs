//! Everything here that the compiler cannot check: bpf(2), fork without exec, clone3(2), and closures that run
//! between fork and exec.
//!
//! The functions are thin. Each takes typed arguments, so that no caller can make one touch memory it should
//! not, and says in its `SAFETY` lines what that rests on. The rest of the crate denies `unsafe`.

pub(crate) mod accesses;
pub(crate) mod bpf;
pub(crate) mod clone_into_cgroup;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod ring;
pub(crate) mod signals;
pub(crate) mod startup;
#[cfg(feature = "ways")]
pub(crate) mod ways;
