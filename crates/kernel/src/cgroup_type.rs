//! The type of a cgroup: whether it can have processes or only threads.

use std::fmt;

/// The content of `cgroup.type` (Documentation/admin-guide/cgroup-v2.rst, "Threads").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupType {
    /// The root, which has no such file.
    Root,
    /// Has processes.
    Domain,
    /// Has processes. Their threads can be in the threaded cgroups below.
    DomainThreaded,
    /// Can have nothing: it was created below or next to a threaded cgroup, and is not threaded itself.
    DomainInvalid,
    /// Has threads. The threads of a process can be in several.
    Threaded,
}

impl CgroupType {
    /// From the content of the file.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Domain, Self::DomainThreaded, Self::DomainInvalid, Self::Threaded]
            .into_iter()
            .find(|kind| kind.to_string() == name)
    }

    /// Whether a new child of such a cgroup can have processes.
    pub fn has_domain_children(self) -> bool {
        matches!(self, Self::Root | Self::Domain)
    }
}

impl fmt::Display for CgroupType {
    /// The content of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Domain => "domain",
            Self::DomainThreaded => "domain threaded",
            Self::DomainInvalid => "domain invalid",
            Self::Threaded => "threaded",
        })
    }
}
