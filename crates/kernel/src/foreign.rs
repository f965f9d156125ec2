//! Attaching as others do, to see how we get along with them.

use std::io;

use crate::attach::{Among, attach_among};
use crate::cgroup::Cgroup;
use crate::program::ProgramFd;
use crate::query::AttachMode;

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
    attach_among(program, cgroup, mode, &Among::default())
}
