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

    /// Puts the program in the place of the attachment's on a cgroup, at once, and makes sure that the kernel runs it
    /// there.
    ///
    /// Some kernels exchange the wrong program where another one is attached with `BPF_F_PREORDER`
    /// (`replace_effective_prog()` in `kernel/bpf/cgroup.c`): the other one stops running, and the old one is run on without
    /// being held. There the kernel is made to list anew what runs before the old one is given up.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Link`].
    pub fn replace(&mut self, cgroup: &Cgroup) -> Result<(), BpffsError> {
        // Others can be at it as well.
        const TRIES: u32 = 10;
        let link = self.attachment.link(cgroup.id())?;
        let listed_anew = list_anew(cgroup)?;
        for tries in 1.. {
            let old_id = link.info()?.program_id;
            if let Entry::Vacant(entry) = self.old.entry(old_id) {
                entry.insert(ProgramFd::by_id(old_id).map_err(LinkError::from)?);
            }
            match link.update(&self.old[&old_id], self.program) {
                Ok(()) => {
                    let path = cgroup.path().to_owned();
                    self.replaced.push(Replaced { cgroup: path, cgroup_id: cgroup.id(), old_id });
                    break;
                }
                Err(LinkError::ProgramChanged { .. }) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        match listed_anew {
            Some(link) => drop(link),
            // One may have come meanwhile.
            None => drop(list_anew(cgroup)?),
        }
        Ok(cgroup.expect_in_force(self.program_id)?)
    }

    /// The ids of the programs whose places it has taken.
    pub fn replaced_programs(&self) -> BTreeSet<u32> {
        self.replaced.iter().map(|replaced| replaced.old_id).collect()
    }

    /// Leaves it as it is now.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`] if a map of the program before cannot be given up; the change stands.
    pub fn keep(mut self) -> Result<(), BpffsError> {
        self.attached.clear();
        self.replaced.clear();
        self.maps.take().map_or(Ok(()), |held| self.attachment.unpin_maps_but(&held))
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
                let _listed_anew = list_anew(&Cgroup::open_directory(&cgroup)?)?;
                match link.update(self.program, &self.old[&old_id]) {
                    // Its cgroup is gone.
                    Err(LinkError::Detached { .. }) => Ok(()),
                    done => Ok(done?),
                }
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

/// Has the kernel list anew what runs on a cgroup and on those below it when this is dropped, or when the process is
/// killed, where an update of a link could go wrong otherwise.
///
/// The kernel finds the place of a link by its place on the cgroup, and it is another one where programs with
/// `BPF_F_PREORDER`, of this cgroup or of one above, come before it. It lists all anew for each program that is attached
/// or detached (`update_effective_progs()` in `kernel/bpf/cgroup.c`). This one lets everything pass.
fn list_anew(cgroup: &Cgroup) -> Result<Option<Link>, LinkError> {
    let (effective, attached) = (cgroup.effective()?, cgroup.attached()?.program_ids);
    // One that is there twice may have either place.
    let is_there_once = |id: &u32| effective.iter().filter(|&other| other == id).count() == 1;
    if effective.starts_with(&attached) && attached.iter().all(is_there_once) {
        return Ok(None);
    }
    let allow = load_allow().map_err(|error| LinkError::Failed {
        doing: format!("load a program that has the programs of {} listed anew", cgroup.path().display()),
        source: error.into(),
    })?;
    Link::create(&allow, cgroup).map(Some)
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let _ = self.put_back();
    }
}
