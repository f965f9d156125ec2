//! The object file that a program came from. A map of the program carries it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use knobgate_bpf::{MapDef, Program};
use knobgate_kernel::{BpfObjectError, ProgramFd};

use crate::attached_policy::only_value;

/// The name of the map with the [`ObjectOrigin`] of a program: an array of one frozen value, the path of the object file, a NUL,
/// and the name of the program in it.
pub const OBJECT_FILE_MAP: &str = "object_file";

/// The origin of a program that does not belong to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectOrigin {
    path: String,
    program: String,
}

impl ObjectOrigin {
    /// Adds a map with the origin to a program from the object file at `path`.
    pub fn add_to(program: &mut Program, path: &Path) {
        let origin = [path.as_os_str().as_bytes(), b"\0", program.name.as_bytes()].concat();
        program.maps.push(MapDef::frozen_value(OBJECT_FILE_MAP, origin));
    }

    /// The origin of a program in the kernel; `None` if it has no such map.
    ///
    /// # Errors
    ///
    /// Those of [`ProgramFd::maps`] and [`Map::lookup`](knobgate_kernel::Map::lookup).
    pub fn read(program: &ProgramFd) -> Result<Option<Self>, BpfObjectError> {
        let maps = program.maps()?;
        let Some(map) = maps.iter().find(|map| map.info().name == OBJECT_FILE_MAP) else { return Ok(None) };
        let origin = only_value(map)?.unwrap_or_default();
        let mut parts = origin.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut part = || parts.next().unwrap_or_default().into_owned();
        Ok(Some(Self { path: part(), program: part() }))
    }

    /// The path of the object file when the program was attached.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The full name of the program; the kernel keeps 15 bytes of it.
    pub fn program(&self) -> &str {
        &self.program
    }
}
