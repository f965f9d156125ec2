//! Reading an attachment back from the kernel.

use std::path::PathBuf;

use knobgate_kernel::{
    AttachmentName, Hierarchy, LinkError, LinkOrigin, Map, PinnedLink, ProgramFd, ProgramInfo,
};

use crate::attached_policy::AttachedPolicy;
use crate::attachment_error::{AttachmentError, failed};
use crate::attachments::Attachments;
use crate::object_origin::ObjectOrigin;

/// An attachment, as the kernel has it.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttachmentState {
    /// Its cgroups, sorted by path. Empty if all of them have been removed.
    pub cgroups: Vec<AttachedCgroup>,
    /// Whether its program is pinned, so that it stays without any cgroup: it is that of a policy for containers if
    /// [`versions_of`](crate::versions_of) knows its name, and else one that somebody else attaches.
    pub is_pinned: bool,
    /// Its program.
    pub program: ProgramInfo,
    /// The policy of the program; `None` if it is not the program of a policy.
    pub policy: Option<AttachedPolicy>,
    /// The object file of the program; `None` if it does not come from one.
    pub origin: Option<ObjectOrigin>,
    /// The maps of the program.
    pub maps: Vec<Map>,
}

/// A cgroup of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachedCgroup {
    /// Its id.
    pub id: u64,
    /// Its directory; `None` if it is not visible here.
    pub path: Option<PathBuf>,
    /// Who put the program there, and whether that came late.
    pub origin: LinkOrigin,
    /// The id of the link.
    pub link_id: u32,
    /// The id of the program that the link holds. It is the same on all cgroups, unless a replace was interrupted.
    pub program_id: u32,
}

impl Attachments {
    /// Reads an attachment back.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`].
    pub fn read(&self, name: &AttachmentName) -> Result<AttachmentState, AttachmentError> {
        self.read_unlocked(name).or_else(|error| {
            // It may have been replaced or detached in the meantime.
            let _lock = self.lock().map_err(|_| error)?;
            self.read_unlocked(name)
        })
    }

    pub(crate) fn read_unlocked(&self, name: &AttachmentName) -> Result<AttachmentState, AttachmentError> {
        let attachment = self.attachment(name, "show")?;
        let links = attachment.links().map_err(failed("show", name))?;
        let (dead, alive): (Vec<_>, Vec<_>) = links.into_iter().partition(PinnedLink::is_dead);
        if let Some(program) = attachment.program().map_err(failed("show", name))? {
            return state(&program, &alive, true).map_err(failed("show", name));
        }
        let Some(link) = alive.first().or(dead.first()) else {
            return Err(AttachmentError::Empty { name: name.clone() });
        };
        let program = ProgramFd::by_id(link.info.program_id).map_err(LinkError::from);
        program.and_then(|program| state(&program, &alive, false)).map_err(failed("show", name))
    }
}

fn state(program: &ProgramFd, links: &[PinnedLink], is_pinned: bool) -> Result<AttachmentState, LinkError> {
    Ok(AttachmentState {
        cgroups: cgroups_of(links),
        is_pinned,
        program: program.info()?,
        policy: AttachedPolicy::read(program)?,
        origin: ObjectOrigin::read(program)?,
        maps: program.maps()?,
    })
}

fn cgroups_of(links: &[PinnedLink]) -> Vec<AttachedCgroup> {
    let paths = Hierarchy::find().and_then(|hierarchy| hierarchy.paths_by_id()).unwrap_or_default();
    let cgroup = |link: &PinnedLink| AttachedCgroup {
        id: link.cgroup_id,
        path: paths.get(&link.cgroup_id).cloned(),
        origin: link.origin,
        link_id: link.info.id,
        program_id: link.info.program_id,
    };
    let mut cgroups: Vec<_> = links.iter().map(cgroup).collect();
    cgroups.sort_by_cached_key(|cgroup| cgroup.path.clone().map(PathBuf::into_os_string));
    cgroups
}
