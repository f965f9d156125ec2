//! The value that a knob of this machine has now.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use knobgate_kernel::PROC_SYS;
use knobgate_policy::KnobName;

/// The value of a knob of this machine.
#[derive(Debug)]
pub(crate) enum KnobValue {
    /// This, as the knob prints it.
    Value(Vec<u8>),
    /// There is no such knob on this machine.
    NoSuchKnob,
    /// It is write-only, such as `vm.drop_caches`.
    WriteOnly,
    /// It cannot be read.
    Unreadable(io::Error),
}

impl KnobValue {
    /// Reads the knob.
    pub(crate) fn read(knob: &KnobName) -> Self {
        Self::read_below(Path::new(PROC_SYS), knob)
    }

    /// Reads the knob in this directory, which is like `/proc/sys`.
    pub(crate) fn read_below(directory: &Path, knob: &KnobName) -> Self {
        let name = Path::new(OsStr::from_bytes(knob.as_bytes()));
        match read(directory, name) {
            Ok(bytes) => Self::Value(bytes),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                    Self::NoSuchKnob
                }
                io::ErrorKind::PermissionDenied if is_write_only(directory, name) => Self::WriteOnly,
                _ => Self::Unreadable(error),
            },
        }
    }
}

/// Whether the mode of the knob lets nobody read it. This applies to root too (`test_perm` in fs/proc/proc_sysctl.c).
fn is_write_only(directory: &Path, name: &Path) -> bool {
    const READ: u32 = 0o444;
    fs::metadata(directory.join(name)).is_ok_and(|knob| knob.mode() & READ == 0)
}

fn read(directory: &Path, name: &Path) -> io::Result<Vec<u8>> {
    // A name with `..` could leave the directory.
    if !name.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Like the hook (`__cgroup_bpf_run_filter_sysctl`, kernel/bpf/cgroup.c): a single read of at most a page.
    // `read_to_end` would start with 32 bytes, and a second read returns nothing for a list of numbers.
    const PAGE_SIZE: usize = 4096;
    let mut bytes = vec![0; PAGE_SIZE];
    let length = File::open(directory.join(name))?.read(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_proc_sys_is_read() {
        for name in ["kernel/../../version", "../version", "kernel/no_such_knob", "kernel"] {
            let value = KnobValue::read(&KnobName::from_path(name).unwrap());
            assert!(matches!(value, KnobValue::NoSuchKnob), "{name}: {value:?}");
        }
    }
}
