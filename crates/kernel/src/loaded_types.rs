//! The types of maps that the kernel has got.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use knobgate_bpf::MapBtf;
use rustix::io::Errno;

use crate::sys::bpf::{self, TypesSpec};

/// The types of maps that are created together. Maps of the same object have the same ones, which are loaded once.
#[derive(Default)]
pub(crate) struct LoadedTypes(Vec<Loaded>);

/// Types, and what the kernel answered.
type Loaded = (Arc<[u8]>, Result<OwnedFd, Errno>);

impl LoadedTypes {
    /// These types in the kernel.
    ///
    /// # Errors
    ///
    /// It accepts none of their forms: its answer to the first.
    pub(crate) fn of(&mut self, btf: &MapBtf) -> Result<TypesSpec<'_>, Errno> {
        let known = self.0.iter().position(|(types, _)| Arc::ptr_eq(types, &btf.types));
        let index = known.unwrap_or_else(|| {
            self.0.push((btf.types.clone(), load(btf)));
            self.0.len() - 1
        });
        let MapBtf { key_type_id, value_type_id, .. } = *btf;
        let fd = self.0[index].1.as_ref().map_err(|error| *error)?;
        Ok(TypesSpec { btf: fd.as_fd(), key_type_id, value_type_id })
    }
}

/// Loads the types, or else what older kernels know of them.
fn load(btf: &MapBtf) -> Result<OwnedFd, Errno> {
    bpf::btf_load(&btf.types).or_else(|error| {
        let for_older = btf.for_older_kernels();
        for_older.iter().find_map(|types| bpf::btf_load(types).ok()).ok_or(error)
    })
}
