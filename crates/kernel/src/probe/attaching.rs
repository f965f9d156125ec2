//! What attaching takes, tried on a cgroup of our own in which no process is: for the description of this kernel.

use std::io;

use rustix::io::Errno;

use super::rewrite::scratch_cgroup;
use super::{Outcome, load_allow};
use crate::attach::{Among, attach_among, detach_link, detach_without_link, link_among, update_link};
use crate::cgroup::Cgroup;
use crate::program::ProgramFd;
use crate::query::AttachMode;

/// What attaching a program accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachProbes {
    /// A program can replace another one (`BPF_F_REPLACE`).
    pub replace: Outcome,
    /// A link can be detached (`BPF_LINK_DETACH`).
    pub link_detach: Outcome,
    /// A program can run before those of the cgroups below (`BPF_F_PREORDER`).
    pub preorder: Outcome,
    /// A program can go before or after another one (`BPF_F_BEFORE`, `BPF_F_AFTER`).
    pub anchors: Outcome,
    /// Updating a link changes that link's program, also if another one has `BPF_F_PREORDER`.
    pub updates_find_their_slot: Outcome,
}

impl AttachProbes {
    fn unknown(why: &str) -> Self {
        let unknown = || Outcome::Unknown(why.to_owned());
        Self {
            replace: unknown(),
            link_detach: unknown(),
            preorder: unknown(),
            anchors: unknown(),
            updates_find_their_slot: unknown(),
        }
    }
}

/// Attaches programs to a cgroup made for that, in which no process is.
pub fn probe_attaching() -> AttachProbes {
    let cgroup = match scratch_cgroup() {
        Ok(cgroup) => cgroup,
        Err(error) => return AttachProbes::unknown(&error.to_string()),
    };
    let (Ok(one), Ok(two), Ok(three)) = (load_allow(), load_allow(), load_allow()) else {
        return AttachProbes::unknown("no program can be loaded");
    };
    let preordered = Among { preorder: true, ..Among::default() };
    let multi = |program, among: &Among<'_>| attach_among(program, &cgroup, AttachMode::Multi, among);
    // What is attached by the one before is detached again, so that each begins with none.
    let replaced = multi(&one, &Among::default())
        .and_then(|()| multi(&two, &Among { replaced: Some(&one), ..Among::default() }));
    detach_all(&cgroup, &[&one, &two]);
    let preorder = multi(&one, &preordered);
    detach_all(&cgroup, &[&one]);
    AttachProbes {
        replace: outcome(replaced),
        link_detach: outcome(
            link_among(&one, &cgroup, &Among::default()).and_then(|link| detach_link(&link)),
        ),
        anchors: outcome(link_among(&one, &cgroup, &Among { before: true, ..Among::default() }).map(drop)),
        updates_find_their_slot: match &preorder {
            Ok(()) => slots(&cgroup, [&one, &two, &three]).unwrap_or_else(|error| unknown(&error)),
            // Without it there is nothing that would be missed.
            Err(_) => Outcome::Yes,
        },
        preorder: outcome(preorder),
    }
}

/// Updates a link that comes after a program with `BPF_F_PREORDER`, and sees whether it is the link's place in the order
/// that the kernel changes.
fn slots(cgroup: &Cgroup, [linked, preordered, new]: [&ProgramFd; 3]) -> io::Result<Outcome> {
    let link = link_among(linked, cgroup, &Among::default())?;
    let preorder = Among { preorder: true, ..Among::default() };
    attach_among(preordered, cgroup, AttachMode::Multi, &preorder)?;
    update_link(&link, new)?;
    let effective = cgroup.effective().map_err(io::Error::other)?;
    detach_without_link(preordered, cgroup)?;
    let id = |program: &ProgramFd| program.info().map(|info| info.id).map_err(io::Error::other);
    // Programs of others may run there, too.
    let ours = [id(preordered)?, id(new)?];
    let is_right = ours.iter().all(|id| effective.contains(id));
    Ok(if is_right { Outcome::Yes } else { Outcome::No })
}

/// What is not attached, cannot be detached, and that is all there is to be said of it.
fn detach_all(cgroup: &Cgroup, programs: &[&ProgramFd]) {
    for program in programs {
        let _ = detach_without_link(program, cgroup);
    }
}

/// What the kernel does not know is `EINVAL`.
fn outcome(done: io::Result<()>) -> Outcome {
    match done {
        Ok(()) => Outcome::Yes,
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Outcome::No,
        Err(error) => unknown(&error),
    }
}

fn unknown(error: &io::Error) -> Outcome {
    Outcome::Unknown(error.to_string())
}
