//! What attaching supports, tried on an empty cgroup.

use std::io;

use rustix::io::Errno;

use super::rewrite::scratch_cgroup;
use super::{ProbeOutcome, load_allow};
use crate::attach::{AttachPosition, link_create, link_detach, link_update, prog_attach, prog_detach};
use crate::attach_mode::AttachMode;
use crate::cgroup::Cgroup;
use crate::program::ProgramFd;

/// What attaching supports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachProbes {
    /// A program can replace another one (`BPF_F_REPLACE`).
    pub replace: ProbeOutcome,
    /// A link can be detached (`BPF_LINK_DETACH`).
    pub link_detach: ProbeOutcome,
    /// A program can run before those of the cgroups below (`BPF_F_PREORDER`).
    pub preorder: ProbeOutcome,
    /// A program can go before or after another one (`BPF_F_BEFORE`, `BPF_F_AFTER`).
    pub attach_positions: ProbeOutcome,
    /// Updating a link changes that link's program, also if another one has `BPF_F_PREORDER`.
    pub updates_find_their_slot: ProbeOutcome,
}

impl AttachProbes {
    fn unknown(why: &str) -> Self {
        let unknown = || ProbeOutcome::Unknown(why.to_owned());
        Self {
            replace: unknown(),
            link_detach: unknown(),
            preorder: unknown(),
            attach_positions: unknown(),
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
    let preordered = AttachPosition { preorder: true, ..AttachPosition::default() };
    let multi =
        |program, position: &AttachPosition<'_>| prog_attach(program, &cgroup, AttachMode::Multi, position);
    // Each of these starts with an empty cgroup.
    let replaced = multi(&one, &AttachPosition::default())
        .and_then(|()| multi(&two, &AttachPosition { replaced: Some(&one), ..AttachPosition::default() }));
    detach_all(&cgroup, &[&one, &two]);
    let preorder = multi(&one, &preordered);
    detach_all(&cgroup, &[&one]);
    AttachProbes {
        replace: outcome(replaced),
        link_detach: outcome(
            link_create(&one, &cgroup, &AttachPosition::default()).and_then(|link| link_detach(&link)),
        ),
        attach_positions: outcome(
            link_create(&one, &cgroup, &AttachPosition { before: true, ..AttachPosition::default() })
                .map(drop),
        ),
        updates_find_their_slot: match &preorder {
            Ok(()) => slots(&cgroup, [&one, &two, &three]).unwrap_or_else(|error| unknown(&error)),
            // Without `preorder`, updates cannot go wrong.
            Err(_) => ProbeOutcome::Yes,
        },
        preorder: outcome(preorder),
    }
}

/// Updates a link that is attached next to a program with `BPF_F_PREORDER`, and checks that the kernel changes the
/// right slot.
fn slots(cgroup: &Cgroup, [linked, preordered, new]: [&ProgramFd; 3]) -> io::Result<ProbeOutcome> {
    let link = link_create(linked, cgroup, &AttachPosition::default())?;
    let preorder = AttachPosition { preorder: true, ..AttachPosition::default() };
    prog_attach(preordered, cgroup, AttachMode::Multi, &preorder)?;
    link_update(&link, new)?;
    let effective = cgroup.effective().map_err(io::Error::other)?;
    prog_detach(preordered, cgroup)?;
    let id = |program: &ProgramFd| program.info().map(|info| info.id).map_err(io::Error::other);
    // Programs on cgroups above may be effective, too.
    let ours = [id(preordered)?, id(new)?];
    let is_right = ours.iter().all(|id| effective.contains(id));
    Ok(if is_right { ProbeOutcome::Yes } else { ProbeOutcome::No })
}

/// Detaches these programs, if they are attached.
fn detach_all(cgroup: &Cgroup, programs: &[&ProgramFd]) {
    for program in programs {
        let _ = prog_detach(program, cgroup);
    }
}

/// `EINVAL` means that the kernel does not support it.
fn outcome(result: io::Result<()>) -> ProbeOutcome {
    match result {
        Ok(()) => ProbeOutcome::Yes,
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => ProbeOutcome::No,
        Err(error) => unknown(&error),
    }
}

fn unknown(error: &io::Error) -> ProbeOutcome {
    ProbeOutcome::Unknown(error.to_string())
}
