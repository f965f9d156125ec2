//! Which hook decides. Every command that lets one decide says so.

use std::fmt;

use knobgate_hook::Profile;
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A hook, with the kernel that it is part of or stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DecidingHook {
    /// The running kernel's, of this release.
    Kernel(String),
    /// The one in user space, as this kernel.
    UserSpace(Profile),
}

impl DecidingHook {
    /// That of the running kernel.
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
