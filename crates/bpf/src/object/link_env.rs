//! What linking a program takes from the kernel that it is for.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::core_compat::essential_name;
use super::target_kernel::TargetKernel;
use crate::btf_types::{TypeIndex, Types};
use crate::{KernelStructs, UnresolvedReason};

/// The kernel that a program is linked for, with its types, which are read when the first of them is needed.
pub(super) struct LinkEnv<'k> {
    pub(super) kernel: &'k dyn TargetKernel,
    types: OnceCell<Result<KernelTypes, String>>,
    /// How many more types and members may be looked at for the program.
    pub(super) budget: Cell<u64>,
    /// What a model has of these types.
    pub(super) structs: Option<Arc<KernelStructs>>,
}

/// Each relocation takes at most some thousands.
const BUDGET: u64 = 5_000_000;

impl<'k> LinkEnv<'k> {
    pub(super) fn new(kernel: &'k dyn TargetKernel) -> Self {
        Self { kernel, types: OnceCell::new(), budget: Cell::new(BUDGET), structs: kernel.structs() }
    }

    /// Whether these bytes of a struct are there, if the kernel is a model.
    pub(super) fn is_modelled(&self, name: &str, start: u64, size: u32) -> bool {
        self.structs.as_ref().is_none_or(|structs| structs.knows_some(name, start..start + u64::from(size)))
    }

    /// Counts steps of looking up types.
    pub(super) fn charge(&self, steps: u64) -> Result<(), String> {
        charge(&self.budget, steps)
    }

    /// Who lacks what the types do not have. With [structs](TargetKernel::structs), they are all that the kernel has.
    pub(super) fn why_absent(&self, what: &str) -> UnresolvedReason {
        if self.structs.is_some() || self.kernel.lacks(what) {
            UnresolvedReason::KernelLacks
        } else {
            UnresolvedReason::NotModelled
        }
    }

    /// The kernel's types; otherwise, why they are not known.
    pub(super) fn types(&self) -> Result<&KernelTypes, String> {
        if let Some(types) = self.kernel.types() {
            return Ok(types);
        }
        let read = || {
            let btf = self.kernel.btf()?;
            KernelTypes::read(btf.into()).ok_or_else(|| {
                format!("the BTF of {} is cut short, or of a version that is not known", self.kernel)
            })
        };
        self.types.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

/// Takes steps off a budget.
///
/// # Errors
///
/// It is used up.
pub(super) fn charge(budget: &Cell<u64>, steps: u64) -> Result<(), String> {
    let left = budget.get().checked_sub(steps).ok_or("looking up its types takes too long")?;
    budget.set(left);
    Ok(())
}

/// The types of a kernel, by name.
pub struct KernelTypes {
    btf: Arc<[u8]>,
    index: TypeIndex,
    /// By names without flavours.
    named: HashMap<Box<str>, Vec<u32>>,
}

impl KernelTypes {
    /// Reads the BTF of a kernel; `None` if it is cut short, or not of a version that is known.
    pub fn read(btf: Arc<[u8]>) -> Option<Self> {
        let index = TypeIndex::read(&btf)?;
        let types = index.types(&btf);
        let mut named: HashMap<Box<str>, Vec<_>> = HashMap::new();
        for (id, of) in types.all() {
            let name = essential_name(types.name(of));
            match named.get_mut(name) {
                Some(ids) => ids.push(id),
                None if name.is_empty() => {}
                None => drop(named.insert(name.into(), vec![id])),
            }
        }
        Some(Self { btf, index, named })
    }

    pub(super) fn types(&self) -> Types<'_> {
        self.index.types(&self.btf)
    }

    /// The ids of the types whose names are this one but for their flavours.
    pub(super) fn named(&self, essential: &str) -> &[u32] {
        self.named.get(essential).map(Vec::as_slice).unwrap_or_default()
    }
}

impl fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelTypes").field("names", &self.named.len()).finish_non_exhaustive()
    }
}
