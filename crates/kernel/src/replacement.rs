//! Which program may replace which one in a link (`BPF_LINK_UPDATE`).
//!
//! A program with a map of type `CGROUP_STORAGE` or `PERCPU_CGROUP_STORAGE` reaches one value of it through its
//! attachment. Attaching allocates the values that the program needs, but `__cgroup_bpf_replace()` in
//! kernel/bpf/cgroup.c neither allocates nor frees any: the new program runs with the values of the old one. Fixed
//! kernels compare the maps first (`cgroup_bpf_storages_compatible()`; 6.1.192, 6.12.117, 7.2.13); 5.10, 6.1.170,
//! 6.12.94, 6.18.44 and others do not.
//!
//! | the old program has | the new one | kernel without the comparison | kernel with it |
//! | --- | --- | --- | --- |
//! | no storage | no storage | fine | fine |
//! | no storage | a map | crash: `bpf_get_local_storage()` dereferences a null pointer | `EINVAL` |
//! | a map | no storage | fine | `EINVAL` |
//! | a map | another map of its type | it gets the value of the old map, even if that is shorter or was freed | `EINVAL` |
//! | a map | the same map | fine, with two exceptions | fine |
//!
//! The two exceptions in the last row: with `BPF_F_PREORDER`, some kernels without the comparison put the new program
//! into the slot of another one, which has other values or none. And the list of a program's maps does not show which
//! ones it uses (`BPF_PROG_BIND_MAP`), so two programs with the same list can have different storage. So only the first
//! row is allowed, which needs no probe and is the same on every kernel.
//!
//! `BPF_PROG_ATTACH` with `BPF_F_REPLACE` is different: `__cgroup_bpf_attach()` allocates the values of the new
//! program. Tried with all of these pairs on 6.1.192, 6.12.94, 6.12.117, 6.18.15, 7.2.13 and 7.3.4, it gave each
//! program its own values.

use std::os::fd::{AsFd, BorrowedFd};

use knobgate_bpf::MapKind;

use crate::link_error::LinkError;
use crate::object::{BpfObjectError, name_text, open_by_id};
use crate::program::ProgramFd;
use crate::sys::bpf::{self, Object};

/// A pair of programs that can replace each other in a link. `BPF_LINK_UPDATE` is only called with such a pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replacement<'a> {
    old: BorrowedFd<'a>,
    new: BorrowedFd<'a>,
}

impl<'a> Replacement<'a> {
    /// # Errors
    ///
    /// [`LinkError::CgroupStorage`]; [`LinkError::Object`] if the maps of a program cannot be listed.
    pub(crate) fn new(old: &'a ProgramFd, new: &'a ProgramFd) -> Result<Self, LinkError> {
        check(old)?;
        check(new)?;
        Ok(Self { old: old.as_fd(), new: new.as_fd() })
    }

    /// Replaces the program of `link`. Fails with `EPERM` if that is not the old one.
    pub(crate) fn update(self, link: BorrowedFd<'_>) -> rustix::io::Result<()> {
        bpf::link_update_unchecked(link, self.old, self.new)
    }
}

impl ProgramFd {
    /// Checks that links can replace it with `new`.
    ///
    /// # Errors
    ///
    /// [`LinkError::CgroupStorage`], [`Object`](LinkError::Object).
    pub fn check_replaced_by(&self, new: &Self) -> Result<(), LinkError> {
        Replacement::new(self, new).map(drop)
    }
}

/// Fails for a program with cgroup storage.
fn check(program: &ProgramFd) -> Result<(), LinkError> {
    let failed = || BpfObjectError::failed("list the maps of a program");
    for id in bpf::program_map_ids(program.as_fd()).map_err(failed())? {
        let map: bpf::MapInfo = bpf::info(open_by_id(Object::Map, id)?.as_fd()).map_err(failed())?;
        if MapKind::from_number(map.kind).is_some_and(MapKind::is_cgroup_storage) {
            let program = program.info()?;
            return Err(LinkError::CgroupStorage {
                program_id: program.id,
                program_name: program.name,
                map_id: id,
                map_name: name_text(&map.name),
            });
        }
    }
    Ok(())
}
