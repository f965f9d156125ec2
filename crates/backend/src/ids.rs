//! The ids that a backend gives out, and what they stand for.

use std::collections::BTreeMap;

use knobgate_hook::Errno;

use crate::{StepError, StepResult};

macro_rules! id {
    ($doc:literal, $name:ident) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(usize);

        impl From<usize> for $name {
            fn from(number: usize) -> Self {
                Self(number)
            }
        }
    };
}

id!("The id of a cgroup.", CgroupId);
id!("The id of a loaded program.", ProgramId);
id!("The id of a link.", LinkId);
id!("The id of an open file, which is a knob.", FileId);
id!("The id of a map.", MapId);
id!("The id of a process that was started.", ProcessId);

impl CgroupId {
    /// The cgroup that the backend makes for itself.
    pub const SCRATCH: Self = Self(0);
}

/// What ids stand for. They count from 0, and none is given twice.
#[derive(Debug)]
pub(crate) struct Table<Id, T> {
    entries: BTreeMap<Id, T>,
    given: usize,
}

impl<Id, T> Default for Table<Id, T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), given: 0 }
    }
}

impl<Id: From<usize> + Ord + Copy, T> Table<Id, T> {
    pub(crate) fn insert(&mut self, entry: T) -> Id {
        let id = Id::from(self.given);
        self.given += 1;
        self.entries.insert(id, entry);
        id
    }

    pub(crate) fn get(&self, id: Id) -> StepResult<&T> {
        self.entries.get(&id).ok_or(StepError::from(Errno::EBADF))
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> StepResult<&mut T> {
        self.entries.get_mut(&id).ok_or(StepError::from(Errno::EBADF))
    }

    pub(crate) fn remove(&mut self, id: Id) -> StepResult<T> {
        self.entries.remove(&id).ok_or(StepError::from(Errno::EBADF))
    }

    /// The first id whose entry is like this.
    pub(crate) fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<Id> {
        self.entries.iter().find(|(_, entry)| is_it(entry)).map(|(&id, _)| id)
    }
}

impl<Id, T> Table<Id, T> {
    #[cfg(feature = "kernel")]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
