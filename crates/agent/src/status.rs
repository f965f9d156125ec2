//! How things are, as `knobgate status` shows it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::notice::Notice;

/// How things are with the agent and its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of the agent.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started.
    #[serde(with = "crate::rfc_3339")]
    pub started_at: SystemTime,
    /// The directory of the policies.
    pub directory: String,
    /// The policies that the agent puts on cgroups.
    pub policies: Vec<PolicyStatus>,
    /// What is out of force.
    pub off: Vec<OffPolicy>,
    /// The last time that the policies were read.
    pub last_reload: ReloadStatus,
    /// How many cgroups are watched.
    pub cgroups: usize,
    /// In how many cgroups processes ran before a policy was on them.
    pub late_cgroups: usize,
    /// Those, with each policy, but no more than a hundred of them. Reading all attachments shows the others.
    pub late: Vec<LateCgroup>,
    /// For how many cgroups it cannot be told whether a policy applies.
    pub undecided_cgroups: usize,
    /// The first of those, with each policy: about a hundred.
    pub undecided: Vec<UndecidedCgroup>,
    /// The last notices that are more than a step, the newest last.
    pub notices: Vec<Notice>,
}

/// A policy that the agent puts on cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The attachment of the version in the file.
    pub attachment: String,
    /// Whether it only reports: `mode audit`.
    pub audit: bool,
    /// How many cgroups have the version in the file.
    pub cgroups: usize,
    /// How many cgroups have an older one.
    pub outdated: usize,
    /// How many bytes of kernel memory its programs and their maps take, those of other versions that are attached included. The
    /// [`Service`](crate::Service) knows, and the engine says 0.
    pub memory: u64,
}

/// A policy that was taken out of force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OffPolicy {
    /// Its name; `None` if it is about all.
    pub policy: Option<String>,
    /// Who did it, when, and why, in words.
    pub text: String,
}

/// The last time that the policies were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// When.
    #[serde(with = "crate::rfc_3339")]
    pub at: SystemTime,
    /// What was wrong; `None` if they are in force.
    pub error: Option<String>,
}

/// A cgroup in which processes ran before a policy was on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LateCgroup {
    /// The cgroup, with what is not printable escaped.
    pub cgroup: String,
    /// What people call the workload in it, if they have a name for it.
    pub workload: Option<String>,
    /// The attachment.
    pub attachment: String,
    /// Whether the cgroup was there before the agent: otherwise its processes were faster.
    pub before_agent: bool,
}

/// A cgroup for which it cannot be told whether a policy applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UndecidedCgroup {
    /// The cgroup, with what is not printable escaped.
    pub cgroup: String,
    /// The policy.
    pub policy: String,
    /// What the policy looks at, and what is not known.
    pub field: String,
}
