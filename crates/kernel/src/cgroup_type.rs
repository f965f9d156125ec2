//! What kind of cgroup it is: whether processes can be in it, or threads alone.

use std::fmt;

/// The content of `cgroup.type` (Documentation/admin-guide/cgroup-v2.rst, "Threads").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupType {
    /// The root of all cgroups, which has no such file.
    Root,
    /// Has processes.
    Domain,
    /// Has processes, whose threads can be spread over the threaded cgroups below.
    DomainThreaded,
    /// Has nothing, since it was made below a threaded cgroup, or beside one, and is not threaded itself.
    DomainInvalid,
    /// Has threads. Those of one process can be in several.
    Threaded,
}

impl CgroupType {
    /// That with this name, as the file has it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Domain, Self::DomainThreaded, Self::DomainInvalid, Self::Threaded]
            .into_iter()
            .find(|kind| kind.to_string() == name)
    }

    /// Whether a cgroup that is made in one of this type can have processes, as it is.
    pub fn has_domains_below(self) -> bool {
        matches!(self, Self::Root | Self::Domain)
    }
}

impl fmt::Display for CgroupType {
    /// As the file names it.
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
