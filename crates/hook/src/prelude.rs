//! What tests of programs import: `use knobgate_hook::prelude::*;`.

pub use crate::Outcome::{self, Denied, Failed, Read, Replaced, Returned, Written};
pub use crate::maps::{FromBytes, Map, ToBytes};
pub use crate::{
    CgroupId, Errno, Error, Hook, Knob, Knobs, LoadedObject, Process, ProcessId, Profile, ProgramId, handler,
};
