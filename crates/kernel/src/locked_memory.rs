//! The limit of locked memory, which includes programs and maps before 5.11
//! (`bpf_map_charge_init` and `bpf_prog_charge_memlock`, kernel/bpf/syscall.c).

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::machine::kernel_version;

/// The limit, if it applies to this kernel.
pub(crate) fn limit() -> Option<u64> {
    if kernel_version() >= (5, 11, 0) { None } else { getrlimit(Resource::Memlock).current }
}

/// Calls `make`. If it fails with `EPERM`, which the limit may have caused, raises the limit as far as this process may
/// and calls it again. The limit stays raised: attaching a program with cgroup storage needs locked memory, too, and
/// other threads load at the same time.
pub(crate) fn with_raised_limit<T>(mut make: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::PERM) if limit().is_some() => {
            let hard = getrlimit(Resource::Memlock).maximum;
            setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
                .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard }))
                .map_err(|_| Errno::PERM)?;
            make()
        }
        done => done,
    }
}
