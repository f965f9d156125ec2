//! What linking a program takes from the kernel that it is for.

use std::cell::{Cell, OnceCell};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::{fmt, iter, mem};

use super::core_compat::essential_name;
use super::target_kernel::TargetKernel;
use crate::btf_types::{Type, TypeIndex, Types};
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
    hasher: RandomState,
    /// For each hash of a name, the first type that has it; 0 if there is none. As many as a power of two.
    first: Vec<u32>,
    /// For each type, the next one whose name has the same hash; 0 if there is none.
    next: Vec<u32>,
}

impl KernelTypes {
    /// Reads the BTF of a kernel, such as `/sys/kernel/btf/vmlinux` of the running one; `None` if it is cut short, or not of a version that is known.
    pub fn read(btf: Arc<[u8]>) -> Option<Self> {
        let index = TypeIndex::read(&btf)?;
        let types = index.types(&btf);
        let hasher = RandomState::new();
        let (mut first, mut next) = (vec![0; types.count().next_power_of_two()], vec![0; types.count() + 1]);
        // From the last, so that those of a name are in their order.
        for (id, of) in types.all().rev() {
            let name = essential_name(types.name(of));
            if !name.is_empty() {
                let first = &mut first[slot(&hasher, name, types.count())];
                next[id as usize] = mem::replace(first, id);
            }
        }
        Some(Self { btf, index, hasher, first, next })
    }

    /// The BTF that they were read from.
    pub fn btf(&self) -> &[u8] {
        &self.btf
    }

    pub(crate) fn types(&self) -> Types<'_> {
        self.index.types(&self.btf)
    }

    /// The types whose names are this one but for their flavours, with their ids, in their order.
    pub(super) fn named<'t>(&'t self, essential: &str) -> impl Iterator<Item = (u32, Type<'t>)> {
        let types = self.types();
        self.with_hash_of(essential).filter(move |(_, of)| essential_name(types.name(*of)) == essential)
    }

    /// The first type of this kind and this name, and its id.
    pub(crate) fn find(&self, kind: u32, name: &str) -> Option<(u32, Type<'_>)> {
        let strings = self.types().strings;
        let mut same = self.with_hash_of(essential_name(name));
        same.find(|(_, of)| of.kind == kind && strings.is_at(of.name, name))
    }

    /// The types whose names have the hash of this one.
    fn with_hash_of<'t>(&'t self, essential: &str) -> impl Iterator<Item = (u32, Type<'t>)> + use<'t> {
        let types = self.types();
        let first = self.first[slot(&self.hasher, essential, types.count())];
        let ids = iter::successors(Some(first), |id| Some(self.next[*id as usize])).take_while(|id| *id != 0);
        ids.filter_map(move |id| Some((id, types.get(id)?)))
    }
}

/// Where the types of a name begin, of so many types.
fn slot(hasher: &RandomState, essential: &str, types: usize) -> usize {
    hasher.hash_one(essential) as usize & (types.next_power_of_two() - 1)
}

impl fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelTypes").field("types", &self.types().count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{self, Strings, blob};
    use crate::btf_types::{FWD, STRUCT, TYPEDEF, UNION};

    #[test]
    fn types_are_found_by_name() {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let kinds =
            [("s", STRUCT), ("s___old", STRUCT), ("s", FWD), ("", UNION), ("t", TYPEDEF), ("s", UNION)];
        let ids = kinds.map(|(name, kind)| match name {
            "" => types.add(0, kind, 0, 0, &[]),
            name => types.add(strings.add(name), kind, 0, 0, &[]),
        });
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
        let types = KernelTypes::read(blob(&types, &strings).into()).expect("types");
        let named = |name| types.named(name).map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(named("s"), [1, 2, 3, 6]);
        assert_eq!(named("t"), [5]);
        assert_eq!([named("s___old"), named("none"), named("")], [const { Vec::<u32>::new() }; 3]);
        let found = |kind, name| types.find(kind, name).map(|(id, _)| id);
        assert_eq!(found(STRUCT, "s"), Some(1));
        assert_eq!(found(STRUCT, "s___old"), Some(2));
        assert_eq!(found(UNION, "s"), Some(6));
        assert_eq!([found(TYPEDEF, "s"), found(UNION, "s___old"), found(STRUCT, "none")], [None; 3]);
    }

    #[test]
    fn where_there_are_no_types_none_are_found() {
        let types = KernelTypes::read(blob(&btf::Types::new(), &Strings::new()).into()).expect("types");
        assert_eq!((types.named("s").count(), types.find(STRUCT, "s").is_some()), (0, false));
        let cut = types.btf()[..types.btf().len() - 1].into();
        assert!(KernelTypes::read(cut).is_none());
    }
}
