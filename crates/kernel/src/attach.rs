//! The kernel's commands for attaching, with everything that they offer, for those who try programs out.
//!
//! Their errors are the kernel's own. Policies are attached by [`Link::create`] and [`attach_until_removed`], which
//! explain what went wrong.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use knobgate_bpf::uapi::{
    BPF_CGROUP_SYSCTL, BPF_F_AFTER, BPF_F_ALLOW_MULTI, BPF_F_BEFORE, BPF_F_LINK, BPF_F_PREORDER,
    BPF_F_REPLACE,
};

use crate::attach_mode::AttachMode;
use crate::cgroup::Cgroup;
use crate::link::{Link, attach_error};
use crate::link_error::LinkError;
use crate::program::ProgramFd;
use crate::replacement::Replacement;
use crate::sys::bpf::{self, AttachSpec};

/// Where a program goes in the order of its cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttachPosition<'a> {
    /// Run it before the programs of the cgroups below (`BPF_F_PREORDER`).
    pub preorder: bool,
    /// Put it before `relative_to`, or first (`BPF_F_BEFORE`).
    pub before: bool,
    /// Put it after `relative_to`, or last (`BPF_F_AFTER`).
    pub after: bool,
    /// What `before` and `after` refer to.
    pub relative_to: Option<RelativeTo<'a>>,
    /// Replace this program (`BPF_F_REPLACE`).
    pub replaced: Option<&'a ProgramFd>,
    /// Attach to the hook of this `enum bpf_attach_type` instead of `BPF_CGROUP_SYSCTL`. The kernel rejects that with
    /// `EINVAL`.
    pub attach_type: Option<u32>,
}

/// A program or link that is attached already.
#[derive(Debug, Clone, Copy)]
pub enum RelativeTo<'a> {
    /// A program, attached without a link.
    Program(&'a ProgramFd),
    /// A link (`BPF_F_LINK`).
    Link(&'a Link),
}

impl<'a> AttachPosition<'a> {
    fn attach_type(&self) -> u32 {
        self.attach_type.unwrap_or(BPF_CGROUP_SYSCTL)
    }

    fn spec(&self, mode: u32) -> AttachSpec<'a> {
        let of = |set: bool, flag: u32| if set { flag } else { 0 };
        let (relative_to, link): (Option<BorrowedFd<'a>>, _) = match self.relative_to {
            Some(RelativeTo::Program(program)) => (Some(program.as_fd()), false),
            Some(RelativeTo::Link(link)) => (Some(link.as_fd()), true),
            None => (None, false),
        };
        AttachSpec {
            flags: mode
                | of(self.preorder, BPF_F_PREORDER)
                | of(self.before, BPF_F_BEFORE)
                | of(self.after, BPF_F_AFTER)
                | of(self.replaced.is_some(), BPF_F_REPLACE)
                | of(link, BPF_F_LINK),
            replaced: self.replaced.map(AsFd::as_fd),
            relative_to,
        }
    }
}

/// Attaches a program without a link (`BPF_PROG_ATTACH`). It stays until it is detached or the cgroup is removed.
///
/// Not for policies: since Linux 5.19, a process needs no capability to detach a program that is not in
/// [`Multi`](AttachMode::Multi) mode.
///
/// # Errors
///
/// The kernel's.
pub fn prog_attach(
    program: &ProgramFd,
    cgroup: &Cgroup,
    mode: AttachMode,
    position: &AttachPosition<'_>,
) -> io::Result<()> {
    Ok(bpf::prog_attach(
        cgroup.as_fd(),
        program.as_fd(),
        position.attach_type(),
        position.spec(mode.flags()),
    )?)
}

/// Attaches `program` to `cgroup` until the cgroup is removed (`BPF_PROG_ATTACH` with `BPF_F_ALLOW_MULTI`).
///
/// No descriptor and no pin holds it, so another process can neither take one from this process (`pidfd_getfd(2)`) nor
/// remove it. Detaching in this mode needs a descriptor of the program (`cgroup_bpf_detach()`, kernel/bpf/cgroup.c).
/// Once the caller has closed its own, only `CAP_SYS_ADMIN` can open another.
///
/// # Errors
///
/// Those of [`Link::create`].
pub fn attach_until_removed(program: &ProgramFd, cgroup: &Cgroup) -> Result<(), LinkError> {
    let spec = AttachPosition::default().spec(BPF_F_ALLOW_MULTI);
    bpf::prog_attach(cgroup.as_fd(), program.as_fd(), BPF_CGROUP_SYSCTL, spec)
        .map_err(|error| attach_error(program, cgroup, error))
}

/// Detaches a program that was attached without a link (`BPF_PROG_DETACH`). In single and override mode, this detaches
/// whatever program is there.
///
/// # Errors
///
/// The kernel's.
pub fn prog_detach(program: &ProgramFd, cgroup: &Cgroup) -> io::Result<()> {
    Ok(bpf::prog_detach(cgroup.as_fd(), program.as_fd(), BPF_CGROUP_SYSCTL)?)
}

/// Attaches a program by a link (`BPF_LINK_CREATE`).
///
/// # Errors
///
/// The kernel's. Also if the new object is not a link of this hook.
pub fn link_create(program: &ProgramFd, cgroup: &Cgroup, position: &AttachPosition<'_>) -> io::Result<Link> {
    let fd = bpf::link_create(program.as_fd(), cgroup.as_fd(), position.attach_type(), position.spec(0))?;
    Link::from_fd(fd, || "the new object".to_owned()).map_err(io::Error::other)
}

/// Replaces the current program of a link (`BPF_LINK_UPDATE`).
///
/// # Errors
///
/// The kernel's. If a program has cgroup storage, the kernel is not called: [`LinkError::CgroupStorage`].
pub fn link_update(link: &Link, program: &ProgramFd) -> io::Result<()> {
    let old = link.program().map_err(io::Error::other)?;
    let replacement = Replacement::new(&old, program).map_err(io::Error::other)?;
    Ok(replacement.update(link.as_fd())?)
}

/// Detaches a link from its cgroup (`BPF_LINK_DETACH`).
///
/// # Errors
///
/// The kernel's.
pub fn link_detach(link: &Link) -> io::Result<()> {
    Ok(bpf::link_detach(link.as_fd())?)
}
