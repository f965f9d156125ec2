//! Which hook decides. Every command that uses a hook reports it.

use std::fmt;

use knobgate_hook::Profile;
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A hook, with its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DecidingHook {
    /// The running kernel's, with its release.
    Kernel(String),
    /// The one in user space, with the modelled kernel.
    UserSpace(Profile),
}

impl DecidingHook {
    /// The running kernel's hook.
    pub(crate) fn of_this_machine() -> Self {
        Self::Kernel(rustix::system::uname().release().to_string_lossy().into_owned())
    }
}

impl fmt::Display for DecidingHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(release) => write!(f, "the kernel's hook, Linux {release}"),
            Self::UserSpace(profile) => write!(f, "the hook in user space, as {profile}"),
        }
    }
}

/// `{"in": "kernel" or "user space", "linux": "6.18"}`
impl Serialize for DecidingHook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (place, linux) = match self {
            Self::Kernel(release) => ("kernel", release.as_str()),
            Self::UserSpace(profile) => ("user space", profile.name),
        };
        let mut object = serializer.serialize_struct("DecidingHook", 2)?;
        object.serialize_field("in", place)?;
        object.serialize_field("linux", linux)?;
        object.end()
    }
}
