//! A change of an attachment that is made on all of its cgroups or on none.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::path::PathBuf;

use crate::attachment::Attachment;
use crate::bpffs::BpffsError;
use crate::cgroup::Cgroup;
use crate::link::{Link, LinkError};
use crate::map::Map;
use crate::probe::load_allow;
use crate::program::ProgramFd;

/// A program on its way to cgroups. Where it has got to is undone when this is dropped without having been
/// [kept](Self::keep).
#[derive(Debug)]
pub struct Change<'a> {
    attachment: &'a Attachment,
    program: &'a ProgramFd,
    program_id: u32,
    /// The cgroups that it was put on.
    attached: Vec<u64>,
    replaced: Vec<Replaced>,
    /// These programs, which nobody else might hold any longer.
    old: BTreeMap<u32, ProgramFd>,
    /// The maps that were pinned for the program, if it has its own.
    maps: Option<Vec<u32>>,
}

/// A cgroup on which the program took the place of another.
#[derive(Debug)]
struct Replaced {
    cgroup: PathBuf,
    cgroup_id: u64,
    old_id: u32,
}

impl<'a> Change<'a> {
    /// Nothing is changed yet.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`] if the program cannot be examined.
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

    /// Pins maps of the program beside the links, in the place of those of the program before it: those that lose what is
    /// in them when no process has them open, which are program arrays (`bpf_fd_array_map_clear()` in
    /// `kernel/bpf/arraymap.c`).
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn hold_maps(&mut self, maps: &[&Map]) -> Result<(), BpffsError> {
        let held = self.maps.get_or_insert_default();
        for map in maps {
            self.attachment.pin_map(map)?;
            held.push(map.info().id);
        }
        Ok(())
    }

    /// Puts the program on a cgroup that the attachment is not on, and makes sure that the kernel runs it there.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`]; the cgroup is then as it was.
    pub fn attach(&mut self, cgroup: &Cgroup) -> Result<(), BpffsError> {
        // Dropped without having been pinned, it takes the program off again.
        let link = Link::create(self.program, cgroup)?;
        cgroup.expect_in_force(self.program_id)?;
        self.attachment.pin(cgroup.id(), &link)?;
        self.attached.push(cgroup.id());
        Ok(())
    }

    /// Replaces the attachment's program on a cgroup, atomically, and makes sure that the kernel runs the new one there.
    ///
    /// Some kernels replace the wrong program if another one is attached with `BPF_F_PREORDER` on this cgroup or above
    /// (`replace_effective_prog()` in `kernel/bpf/cgroup.c`): the other one stops running, and the old one keeps running
    /// without a reference. There, the effective programs are computed again before the old one is released.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`].
    pub fn replace(&mut self, cgroup: &Cgroup) -> Result<(), BpffsError> {
        // Others can be at it as well.
        const TRIES: u32 = 10;
        let link = self.attachment.link(cgroup.id())?;
        for tries in 1.. {
            let recomputing = recompute_if_reordered(cgroup)?;
            let old_id = link.info()?.program_id;
            if let Entry::Vacant(entry) = self.old.entry(old_id) {
                entry.insert(ProgramFd::by_id(old_id).map_err(LinkError::from)?);
            }
            match link.update(&self.old[&old_id], self.program) {
                Ok(()) => {
                    let path = cgroup.path().to_owned();
                    self.replaced.push(Replaced { cgroup: path, cgroup_id: cgroup.id(), old_id });
                    drop(recomputing);
                    ensure_released(cgroup, old_id)?;
                    break;
                }
                Err(LinkError::ProgramChanged { .. }) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(cgroup.expect_in_force(self.program_id)?)
    }

    /// The ids of the programs whose places it has taken.
    pub fn replaced_programs(&self) -> BTreeSet<u32> {
        self.replaced.iter().map(|replaced| replaced.old_id).collect()
    }

    /// Leaves it as it is now. A map of the program before that cannot be given up is the next change's to give up: the change
    /// stands all the same.
    pub fn keep(mut self) {
        self.attached.clear();
        self.replaced.clear();
        if let Some(held) = self.maps.take() {
            let _ = self.attachment.unpin_maps_but(&held);
        }
    }

    /// Puts back what was there before. One cgroup on which that fails does not keep it from the others.
    ///
    /// # Errors
    ///
    /// The first that was met: [`BpffsError::Link`], [`Cgroup`](BpffsError::Cgroup), [`Io`](BpffsError::Io).
    pub fn undo(mut self) -> Result<(), BpffsError> {
        self.put_back()
    }

    fn put_back(&mut self) -> Result<(), BpffsError> {
        let mut first = Ok(());
        for Replaced { cgroup, cgroup_id, old_id } in take(&mut self.replaced) {
            let link = self.attachment.link(cgroup_id);
            let done = link.and_then(|link| {
                // The kernel takes off what is on a removed cgroup, but not at once.
                if link.info()?.cgroup_id.is_none() || !cgroup.exists() {
                    return Ok(());
                }
                let cgroup = Cgroup::open_directory(&cgroup)?;
                let recomputing = recompute_if_reordered(&cgroup)?;
                match link.update(self.program, &self.old[&old_id]) {
                    // Its cgroup is gone.
                    Err(LinkError::Detached { .. }) => return Ok(()),
                    done => done?,
                }
                drop(recomputing);
                Ok(ensure_released(&cgroup, self.program_id)?)
            });
            first = first.and(done);
        }
        for cgroup_id in take(&mut self.attached) {
            let link = self.attachment.link(cgroup_id);
            // Linux before 5.9 cannot; there it goes with its pin.
            let _ = link.map(|link| link.detach());
            first = first.and(self.attachment.unpin(cgroup_id));
        }
        first?;
        // Where it still is, it needs them.
        take(&mut self.maps).into_iter().flatten().try_for_each(|id| self.attachment.unpin_map(id))
    }
}

/// Has the kernel compute the effective programs of a cgroup and of those below it again when what it returns is dropped, or
/// when this process is killed; nothing where an update of a link cannot go wrong.
///
/// The kernel looks for a link's program at the link's position among those that are attached, nearest cgroup first.
/// It is at another one if programs with `BPF_F_PREORDER`, of this cgroup or of one above, are moved before it.
fn recompute_if_reordered(cgroup: &Cgroup) -> Result<Option<Link>, LinkError> {
    let is_in_order = cgroup.effective()?.starts_with(&cgroup.attached()?.program_ids);
    if is_in_order { Ok(None) } else { recompute(cgroup).map(Some) }
}

/// Makes sure that a program that was replaced runs no more on a cgroup: after the replacement went wrong all the same, since
/// another program was attached in the meantime or is there twice. If it is attached by somebody else, nothing changes.
fn ensure_released(cgroup: &Cgroup, program_id: u32) -> Result<(), LinkError> {
    if cgroup.effective()?.contains(&program_id) { recompute(cgroup).map(drop) } else { Ok(()) }
}

/// Attaches a program that lets everything pass: for each that is attached or detached, the kernel computes the effective
/// programs again (`update_effective_progs()` in `kernel/bpf/cgroup.c`).
fn recompute(cgroup: &Cgroup) -> Result<Link, LinkError> {
    let allow = load_allow().map_err(|error| LinkError::Failed {
        doing: format!(
            "load a program to have the effective programs of {} computed again",
            cgroup.path().display()
        ),
        source: error.into(),
    })?;
    Link::create(&allow, cgroup)
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let _ = self.put_back();
    }
}
