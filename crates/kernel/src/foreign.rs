//! Attaching as others do, to see how we get along with them.

use std::io;
use std::os::fd::AsFd;

use crate::cgroup::Cgroup;
use crate::object::ATTACH_TYPE;
use crate::program::ProgramFd;
use crate::query::AttachMode;
use crate::sys::bpf;

/// Attaches a program without a link (`BPF_PROG_ATTACH`), for tests with programs that others have left.
///
/// It stays until the cgroup is removed. Not for policies: since Linux 5.19 any process without a single capability can
/// take a program off again that is in another mode than [`Multi`](AttachMode::Multi).
///
/// # Errors
///
/// The kernel's.
#[doc(hidden)]
pub fn attach_without_link(program: &ProgramFd, cgroup: &Cgroup, mode: AttachMode) -> io::Result<()> {
    let flags = match mode {
        AttachMode::Single => 0,
        AttachMode::Override => 1,
        AttachMode::Multi => 2,
    };
    Ok(bpf::prog_attach(cgroup.as_fd(), program.as_fd(), ATTACH_TYPE, flags)?)
}
