//! What tests of programs import: `use knobgate_hook::prelude::*;`.
//!
//! Cgroups, processes and programs have ids of different types. They belong to one [`Hook`], and so does a
//! [`LoadedObject`]: each hook counts its own, so it takes an id of another hook for its own of the same number. If there is
//! none, operations fail with `ENOENT` or `ESRCH`, and an attached program does not run.

pub use crate::Outcome::{self, Denied, Failed, Read, Replaced, Returned, Written};
pub use crate::maps::{FromBytes, Map, ToBytes};
pub use crate::{
    CgroupId, Errno, Error, Hook, Knob, Knobs, LoadedObject, ModelKernel, Object, Process, ProcessId,
    Profile, ProgramId, handler,
};
