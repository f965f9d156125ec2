//! All unsafe code: bpf(2), fork without exec, clone3(2), and closures that run between fork and exec.
//!
//! The functions are thin. Their arguments are typed, so that no caller can make one touch the wrong memory. The rest
//! of the crate denies `unsafe`.

pub(crate) mod accesses;
pub(crate) mod bpf;
pub(crate) mod clone_into_cgroup;
pub(crate) mod exec;
pub(crate) mod file_handle;
pub(crate) mod fork;
pub(crate) mod perf;
pub(crate) mod ring;
pub(crate) mod signals;
pub(crate) mod startup;
#[cfg(feature = "test-util")]
pub(crate) mod test_util;
