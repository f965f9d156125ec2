//! What programs, maps and links have in common: ids and errors.

use std::io;
use std::os::fd::OwnedFd;

use knobgate_bpf::uapi::BPF_OBJ_NAME_LEN;
use rustix::io::Errno;

use crate::capabilities::Capabilities;
use crate::sys::bpf::{self, Object};

/// Why an operation on a program, map or link failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfObjectError {
    /// The object does not exist or was freed.
    #[error("there is no {object} with id {id}")]
    NoSuchId {
        /// `program`, `map` or `link`.
        object: &'static str,
        /// The id.
        id: u32,
    },
    /// A capability is missing.
    #[error("cannot {doing}: it takes {needs}{}", where_it_counts())]
    NotPermitted {
        /// What failed.
        doing: String,
        /// The required capability.
        needs: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A key or value has the wrong size for the map.
    #[error("cannot {doing}: a key has {key_size} bytes and a value {value_size}")]
    WrongSize {
        /// What failed.
        doing: String,
        /// The size of a key in bytes.
        key_size: usize,
        /// The size of a value for user space in bytes.
        value_size: usize,
    },
    /// A command failed.
    #[error("cannot {doing}: {error}")]
    Failed {
        /// What failed.
        doing: String,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl BpfObjectError {
    /// The kernel's answer, if it was asked and there is such an object.
    pub fn os_error(&self) -> Option<&io::Error> {
        match self {
            Self::NotPermitted { source, .. } => Some(source),
            Self::Failed { error, .. } => Some(error),
            Self::NoSuchId { .. } | Self::WrongSize { .. } => None,
        }
    }

    /// For an operation that requires `needs`: `EPERM` means that it is missing.
    pub(crate) fn new(doing: impl Into<String>, needs: &'static str, error: Errno) -> Self {
        let doing = doing.into();
        match error {
            Errno::PERM => Self::NotPermitted { doing, needs, source: error.into() },
            _ => Self::Failed { doing, error: error.into() },
        }
    }

    pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let doing = doing.into();
        move |error| Self::Failed { doing, error: error.into() }
    }
}

/// Where a capability has to be, if this process is somewhere else.
fn where_it_counts() -> &'static str {
    match Capabilities::of_this_process() {
        Ok(capabilities) if !capabilities.in_initial_user_namespace() => {
            " in the initial user namespace, where this process is not; a BPF token is not enough"
        }
        _ => "",
    }
}

fn noun(object: Object) -> &'static str {
    match object {
        Object::Program => "program",
        Object::Map => "map",
        Object::Link => "link",
    }
}

/// Opens the object with this id.
pub(crate) fn open_by_id(object: Object, id: u32) -> Result<OwnedFd, BpfObjectError> {
    bpf::fd_by_id(object, id).map_err(|error| match error {
        Errno::NOENT => BpfObjectError::NoSuchId { object: noun(object), id },
        // The link is being created: it has an id, but is not ready (bpf_link_by_id() in kernel/bpf/syscall.c).
        Errno::AGAIN if object == Object::Link => BpfObjectError::NoSuchId { object: noun(object), id },
        error => {
            BpfObjectError::new(format!("open the {} with id {id}", noun(object)), "CAP_SYS_ADMIN", error)
        }
    })
}

/// The ids of all objects of a kind, in ascending order.
pub(crate) fn ids(object: Object) -> Result<Vec<u32>, BpfObjectError> {
    let mut ids = Vec::new();
    let mut last = 0;
    loop {
        match bpf::next_id(object, last) {
            Ok(id) => {
                ids.push(id);
                last = id;
            }
            Err(Errno::NOENT) => return Ok(ids),
            Err(error) => {
                let doing = format!("list the {}s of this machine", noun(object));
                return Err(BpfObjectError::new(doing, "CAP_SYS_ADMIN", error));
            }
        }
    }
}

/// A valid name for the kernel: at most 15 bytes of letters, digits, `_` and `.` (`bpf_obj_name_cpy()` in
/// `kernel/bpf/syscall.c`); other bytes become `_`.
pub(crate) fn kernel_name(name: &str) -> [u8; BPF_OBJ_NAME_LEN] {
    let mut result = [0; BPF_OBJ_NAME_LEN];
    for (slot, byte) in result[..BPF_OBJ_NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        let allowed = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        *slot = if allowed { byte } else { b'_' };
    }
    result
}

/// A name from the kernel.
pub(crate) fn name_text(name: &[u8; BPF_OBJ_NAME_LEN]) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_valid_for_the_kernel() {
        let cases = [
            ("web_tier.2", "web_tier.2"),
            ("web-tier", "web_tier"),
            ("a name that is too long", "a_name_that_is_"),
            ("fünf", "f__nf"),
            ("", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(name_text(&kernel_name(name)), expected, "{name}");
        }
    }
}
