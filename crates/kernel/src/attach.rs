//! Attaching in every way that the kernel offers, for those who try programs out. Policies are attached by
//! [`Link::create`] and [`attach_until_removed`], which say what is in the way.
//!
//! The errors of the others are the kernel's own, since it is them that are to be seen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::cgroup::Cgroup;
use crate::link::{Link, LinkError, attach_error};
use crate::object::ATTACH_TYPE;
use crate::program::ProgramFd;
use crate::query::AttachMode;
use crate::replacement::Replacement;
use crate::sys::bpf::{self, AttachSpec};

/// Where a program goes among those of the same cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Among<'a> {
    /// It runs before the programs of the cgroups below (`BPF_F_PREORDER`).
    pub preorder: bool,
    /// Before the anchor, or first (`BPF_F_BEFORE`).
    pub before: bool,
    /// After the anchor, or last (`BPF_F_AFTER`).
    pub after: bool,
    /// What it goes before or after.
    pub anchor: Option<Anchor<'a>>,
    /// The program whose place it takes (`BPF_F_REPLACE`).
    pub replaced: Option<&'a ProgramFd>,
}

/// What a program goes before or after.
#[derive(Debug, Clone, Copy)]
pub enum Anchor<'a> {
    /// A program that is attached without a link.
    Program(&'a ProgramFd),
    /// A link (`BPF_F_LINK`).
    Link(&'a Link),
}

/// `BPF_F_ALLOW_MULTI`
const MULTI: u32 = 1 << 1;

impl<'a> Among<'a> {
    fn spec(&self, mode: u32) -> AttachSpec<'a> {
        const REPLACE: u32 = 1 << 2;
        const BEFORE: u32 = 1 << 3;
        const AFTER: u32 = 1 << 4;
        const PREORDER: u32 = 1 << 6;
        const LINK: u32 = 1 << 13;
        let of = |set: bool, flag: u32| if set { flag } else { 0 };
        let (anchor, link): (Option<BorrowedFd<'a>>, _) = match self.anchor {
            Some(Anchor::Program(program)) => (Some(program.as_fd()), false),
            Some(Anchor::Link(link)) => (Some(link.as_fd()), true),
            None => (None, false),
        };
        AttachSpec {
            flags: mode
                | of(self.preorder, PREORDER)
                | of(self.before, BEFORE)
                | of(self.after, AFTER)
                | of(self.replaced.is_some(), REPLACE)
                | of(link, LINK),
            replaced: self.replaced.map(AsFd::as_fd),
            anchor,
        }
    }
}

/// Attaches a program without a link (`BPF_PROG_ATTACH`). It stays until it is detached or the cgroup is removed.
///
/// # Errors
///
/// The kernel's.
pub fn attach_among(
    program: &ProgramFd,
    cgroup: &Cgroup,
    mode: AttachMode,
    among: &Among<'_>,
) -> io::Result<()> {
    let mode = match mode {
        AttachMode::Single => 0,
        AttachMode::Override => 1,
        AttachMode::Multi => MULTI,
    };
    Ok(bpf::prog_attach(cgroup.as_fd(), program.as_fd(), ATTACH_TYPE, among.spec(mode))?)
}

/// Attaches `program` to `cgroup` for as long as that exists (`BPF_PROG_ATTACH` with `BPF_F_ALLOW_MULTI`).
///
/// No descriptor and no pin holds it, and so there is none that another process could take out of this one
/// (`pidfd_getfd(2)`) or remove. In this mode it takes a descriptor of the program to detach it (`cgroup_bpf_detach()`,
/// kernel/bpf/cgroup.c), and to get one `CAP_SYS_ADMIN`, once the caller has closed its own.
///
/// # Errors
///
/// Those of [`Link::create`].
pub fn attach_until_removed(program: &ProgramFd, cgroup: &Cgroup) -> Result<(), LinkError> {
    let spec = Among::default().spec(MULTI);
    bpf::prog_attach(cgroup.as_fd(), program.as_fd(), ATTACH_TYPE, spec)
        .map_err(|error| attach_error(program, cgroup, error))
}

/// Detaches a program that was attached without a link (`BPF_PROG_DETACH`); in another mode than multi whatever is there.
///
/// # Errors
///
/// The kernel's.
pub fn detach_without_link(program: &ProgramFd, cgroup: &Cgroup) -> io::Result<()> {
    Ok(bpf::prog_detach(cgroup.as_fd(), program.as_fd(), ATTACH_TYPE)?)
}

/// Attaches a program by a link (`BPF_LINK_CREATE`).
///
/// # Errors
///
/// The kernel's; also where what it gives is no link of this hook.
pub fn link_among(program: &ProgramFd, cgroup: &Cgroup, among: &Among<'_>) -> io::Result<Link> {
    let fd = bpf::link_create(program.as_fd(), cgroup.as_fd(), ATTACH_TYPE, among.spec(0))?;
    Link::from_fd(fd, || "what was just created".to_owned()).map_err(io::Error::other)
}

/// Replaces the program of a link, whichever that is (`BPF_LINK_UPDATE`).
///
/// # Errors
///
/// The kernel's. Where a program has cgroup storage the kernel is not asked:
/// [`LinkError::CgroupStorage`](crate::LinkError::CgroupStorage).
pub fn update_link(link: &Link, program: &ProgramFd) -> io::Result<()> {
    let old = link.program().map_err(io::Error::other)?;
    let replacement = Replacement::new(&old, program).map_err(io::Error::other)?;
    Ok(bpf::link_update(link.as_fd(), replacement)?)
}

/// Takes a link off its cgroup (`BPF_LINK_DETACH`).
///
/// # Errors
///
/// The kernel's.
pub fn detach_link(link: &Link) -> io::Result<()> {
    Ok(bpf::link_detach(link.as_fd())?)
}
