//! The outcome of an access, as a test states it.

use std::fmt;

use crate::{AccessResult, Errno};

/// The outcome of an access: who decided, and what.
///
/// ```
/// use knobgate_hook::prelude::*;
///
/// let mut hook = Hook::default();
/// let process = hook.spawn(hook.root(), Process::default())?;
/// assert_eq!(hook.write_sysctl(process, "vm.swappiness", "70")?, Written(2));
/// assert_eq!(hook.read_sysctl(process, "vm.swappiness")?, Read("70\n".into()));
/// assert_eq!(hook.write_sysctl(process, "vm.swappiness", "201")?, Failed(Errno::EINVAL)); // no program ran
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The read returned these bytes.
    Read(Vec<u8>),
    /// The knob took the bytes that the process wrote, and the write returned this length.
    Written(usize),
    /// The knob took these bytes, which a program had set instead (`bpf_sysctl_set_new_value`). A kernel that drops
    /// replacements ([`Profile::rewrites_are_applied`](crate::Profile::rewrites_are_applied)) gives [`Written`](Self::Written).
    Replaced(Vec<u8>),
    /// The programs denied the access, with this errno.
    Denied(Errno),
    /// The programs denied the access, and the system call returned this number, which is no errno with a name
    /// (`bpf_set_retval`).
    Returned(i32),
    /// The access failed with this errno, but not because of a program: the mode of the knob (`EACCES`), its handler
    /// (`EINVAL`, `ERANGE`), or the kernel before it.
    Failed(Errno),
}

impl Outcome {
    pub(crate) fn of_read(result: AccessResult) -> Self {
        Self::of_failure(&result).unwrap_or(Self::Read(result.data))
    }

    pub(crate) fn of_write(result: AccessResult) -> Self {
        Self::of_failure(&result).unwrap_or_else(|| {
            let replacement = result.filter.filter(|filter| filter.replacement_applied);
            match replacement.and_then(|filter| filter.replacement) {
                Some(value) => Self::Replaced(value),
                None => Self::Written(result.returned as usize),
            }
        })
    }

    fn of_failure(result: &AccessResult) -> Option<Self> {
        match result.filter.as_ref().map_or(0, |filter| filter.retval) {
            0 => result.errno().map(Self::Failed),
            retval => Some(result.errno().map_or(Self::Returned(retval), Self::Denied)),
        }
    }
}

impl fmt::Debug for Outcome {
    /// As in Rust, with bytes as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(bytes) => write!(f, "Read(\"{}\")", bytes.escape_ascii()),
            Self::Written(length) => write!(f, "Written({length})"),
            Self::Replaced(bytes) => write!(f, "Replaced(\"{}\")", bytes.escape_ascii()),
            Self::Denied(errno) => write!(f, "Denied({errno})"),
            Self::Returned(number) => write!(f, "Returned({number})"),
            Self::Failed(errno) => write!(f, "Failed({errno})"),
        }
    }
}
