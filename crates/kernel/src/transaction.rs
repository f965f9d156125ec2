//! Changing the program of an attachment on all of its cgroups or on none.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::path::PathBuf;

use crate::attachment::{Attachment, PinnedLink};
use crate::bpffs::BpffsError;
use crate::cgroup::Cgroup;
use crate::link::Link;
use crate::link_error::LinkError;
use crate::link_origin::{LinkOrigin, LinkSource};
use crate::map::Map;
use crate::probe::load_allow;
use crate::program::ProgramFd;

/// Puts a program on the cgroups of an attachment. Dropping it without a [commit](Self::commit) rolls back.
#[derive(Debug)]
pub struct Transaction<'a> {
    attachment: &'a Attachment,
    program: &'a ProgramFd,
    program_id: u32,
    /// The cgroups to which it was newly attached, and where its links come from.
    attached: Vec<(u64, LinkOrigin)>,
    replaced: Vec<Replaced>,
    /// The replaced programs, held open because nothing else may refer to them.
    old: BTreeMap<u32, ProgramFd>,
    /// The ids of the maps that were pinned for the program.
    maps: Option<Vec<u32>>,
}

/// A link in which the program replaced another one.
#[derive(Debug)]
struct Replaced {
    cgroup: PathBuf,
    link: PinnedLink,
    old_id: u32,
}

/// Whether a new link [came late](LinkOrigin::late).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// If a process is in the cgroup or below it, except for this one. That is looked up after the program is attached, so a process
    /// that comes in between counts.
    IfOccupied {
        /// The id of a process that does not count.
        except: Option<u32>,
    },
    /// It is known.
    Known(bool),
}

impl<'a> Transaction<'a> {
    /// Changes nothing yet.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`] if the program cannot be queried.
    pub fn begin(attachment: &'a Attachment, program: &'a ProgramFd) -> Result<Self, BpffsError> {
        let program_id = program.info().map_err(LinkError::from)?.id;
        Ok(Self {
            attachment,
            program,
            program_id,
            attached: Vec::new(),
            replaced: Vec::new(),
            old: BTreeMap::new(),
            maps: None,
        })
    }

    /// Pins maps of the program next to the links. A commit unpins those of the previous program. This is for program
    /// arrays, which the kernel empties when no process has them open (`bpf_fd_array_map_clear()` in
    /// kernel/bpf/arraymap.c).
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn pin_maps(&mut self, maps: &[&Map]) -> Result<(), BpffsError> {
        let pinned = self.maps.get_or_insert_default();
        for map in maps {
            self.attachment.pin_map(map)?;
            pinned.push(map.info().id);
        }
        Ok(())
    }

    /// Attaches the program to another cgroup, and checks that the kernel runs it there.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`]; then the cgroup is unchanged.
    pub fn attach(
        &mut self,
        cgroup: &Cgroup,
        source: LinkSource,
        lateness: Lateness,
    ) -> Result<(), BpffsError> {
        // If this link is dropped before it is pinned, the program is detached again.
        let link = Link::create(self.program, cgroup)?;
        cgroup.ensure_effective(self.program_id)?;
        let late = match lateness {
            // What cannot be found out does not count as early.
            Lateness::IfOccupied { except } => cgroup.is_occupied(except).unwrap_or(true),
            Lateness::Known(late) => late,
        };
        let origin = LinkOrigin { source, late };
        self.attachment.pin(cgroup.id(), origin, &link)?;
        self.attached.push((cgroup.id(), origin));
        Ok(())
    }

    /// Replaces the attachment's program on a cgroup, atomically, and checks that the kernel runs the new one there.
    ///
    /// Some kernels replace the wrong program if another one has `BPF_F_PREORDER` on this cgroup or above
    /// (`replace_effective_prog()` in kernel/bpf/cgroup.c): the other one stops running, and the old one keeps running
    /// without a reference. There, this makes the kernel recompute the effective programs before it releases the old
    /// one.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`].
    pub fn replace(&mut self, cgroup: &Cgroup) -> Result<(), BpffsError> {
        let links = self.attachment.links_on(cgroup.id())?;
        if links.is_empty() {
            // Says that it is not there.
            self.attachment.link(cgroup.id())?;
        }
        links.into_iter().try_for_each(|link| self.replace_in(link, cgroup))?;
        Ok(cgroup.ensure_effective(self.program_id)?)
    }

    fn replace_in(&mut self, pinned: PinnedLink, cgroup: &Cgroup) -> Result<(), BpffsError> {
        // Other processes may be replacing it, too.
        const TRIES: u32 = 10;
        let link = self.attachment.open_link(&pinned)?;
        for tries in 1.. {
            let recomputing = recompute_if_reordered(cgroup)?;
            let old_id = link.info()?.program_id;
            if let Entry::Vacant(entry) = self.old.entry(old_id) {
                entry.insert(ProgramFd::by_id(old_id).map_err(LinkError::from)?);
            }
            match link.update(&self.old[&old_id], self.program) {
                Ok(()) => {
                    self.replaced.push(Replaced { cgroup: cgroup.path().to_owned(), link: pinned, old_id });
                    drop(recomputing);
                    ensure_released(cgroup, old_id)?;
                    break;
                }
                Err(LinkError::ProgramChanged { .. }) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The cgroups to which it was newly attached, and where its links come from.
    pub fn attached(&self) -> &[(u64, LinkOrigin)] {
        &self.attached
    }

    /// The ids of the replaced programs.
    pub fn replaced_programs(&self) -> BTreeSet<u32> {
        self.replaced.iter().map(|replaced| replaced.old_id).collect()
    }

    /// Makes the change permanent. If a map of the previous program cannot be unpinned, that is left to the next
    /// transaction.
    pub fn commit(mut self) {
        self.attached.clear();
        self.replaced.clear();
        if let Some(pinned) = self.maps.take() {
            let _ = self.attachment.unpin_maps_except(&pinned);
        }
    }

    /// Restores the previous state. A failure on one cgroup does not stop the others.
    ///
    /// # Errors
    ///
    /// The first one: [`BpffsError::Link`], [`Cgroup`](BpffsError::Cgroup), [`Io`](BpffsError::Io).
    pub fn rollback(mut self) -> Result<(), BpffsError> {
        self.restore()
    }

    fn restore(&mut self) -> Result<(), BpffsError> {
        let mut first = Ok(());
        for Replaced { cgroup, link, old_id } in take(&mut self.replaced) {
            let link = self.attachment.open_link(&link);
            let done = link.and_then(|link| {
                // The kernel detaches the programs of a removed cgroup with a delay.
                if link.info()?.cgroup_id.is_none() || !cgroup.exists() {
                    return Ok(());
                }
                let cgroup = Cgroup::open_directory(&cgroup)?;
                let recomputing = recompute_if_reordered(&cgroup)?;
                match link.update(self.program, &self.old[&old_id]) {
                    // The cgroup was removed.
                    Err(LinkError::Detached { .. }) => return Ok(()),
                    done => done?,
                }
                drop(recomputing);
                Ok(ensure_released(&cgroup, self.program_id)?)
            });
            first = first.and(done);
        }
        for (cgroup_id, origin) in take(&mut self.attached) {
            let links = self.attachment.links_on(cgroup_id);
            let unpinned = links.and_then(|links| {
                let mut own = links.iter().filter(|link| link.origin == origin);
                own.try_for_each(|link| self.detach(link))
            });
            first = first.and(unpinned);
        }
        first?;
        // If the program is still attached somewhere, it needs the maps.
        take(&mut self.maps).into_iter().flatten().try_for_each(|id| self.attachment.unpin_map(id))
    }

    fn detach(&self, link: &PinnedLink) -> Result<(), BpffsError> {
        // Linux before 5.9 cannot detach; there, the link goes with its pin.
        let _ = self.attachment.open_link(link).map(|link| link.detach());
        self.attachment.unpin(link)
    }
}

/// A link that makes the kernel recompute the effective programs of a cgroup and of those below: when it comes and, also if this
/// process is killed, when it goes.
struct Recomputing(Link);

impl Drop for Recomputing {
    fn drop(&mut self) {
        // Another thread may have forked, and its child has the descriptor for a moment. Before Linux 5.9, the link goes only then.
        let _ = self.0.detach();
    }
}

/// `None` where updating a link cannot go wrong.
///
/// The kernel looks for a link's program at the link's position in attach order, nearest cgroup first. The program is
/// at another position if programs with `BPF_F_PREORDER`, of this cgroup or above, run before it.
fn recompute_if_reordered(cgroup: &Cgroup) -> Result<Option<Recomputing>, LinkError> {
    let is_in_order = cgroup.effective()?.starts_with(&cgroup.attached()?.program_ids);
    if is_in_order { Ok(None) } else { recompute(cgroup).map(Some) }
}

/// Makes sure that a replaced program no longer runs on a cgroup. The replacement can still go wrong if another program
/// was attached in the meantime or is attached twice. If somebody else attached the old program too, this changes
/// nothing.
fn ensure_released(cgroup: &Cgroup, program_id: u32) -> Result<(), LinkError> {
    if cgroup.effective()?.contains(&program_id) { recompute(cgroup).map(drop) } else { Ok(()) }
}

/// Attaches a program that allows everything: with every attach and detach, the kernel recomputes the effective
/// programs (`update_effective_progs()` in kernel/bpf/cgroup.c).
fn recompute(cgroup: &Cgroup) -> Result<Recomputing, LinkError> {
    let allow = load_allow().map_err(|error| LinkError::Failed {
        doing: format!("load a program to recompute the effective programs of {}", cgroup.path().display()),
        error: error.into(),
    })?;
    Link::create(&allow, cgroup).map(Recomputing)
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let _ = self.restore();
    }
}
