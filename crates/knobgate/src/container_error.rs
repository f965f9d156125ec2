//! Why a policy cannot be put on a container.

use std::io;
use std::path::PathBuf;

use knobgate_compiler::CompileError;
use knobgate_kernel::CgroupError;
use knobgate_policy::ParseError;

use crate::attachment_error::AttachmentError;
use crate::denied_sysctl::DeniedSysctl;

/// Why it cannot be found out which policies apply to a container, or why they cannot be put on it. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The state that the runtime gave to the hook is unusable.
    #[error("cannot use the state of the container on standard input: {why}")]
    State {
        /// Why.
        why: String,
    },
    /// The container's bundle is unusable.
    #[error("cannot read the configuration of the container {}: {why}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A policy has errors.
    #[error(transparent)]
    Policy(#[from] ParseError),
    /// A line of a file is wrong.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A file of the policies is too large.
    #[error("{}: it has more than {} MiB", path.display(), most >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that it may have.
        most: usize,
    },
    /// Nothing says to which containers a policy applies.
    #[error(
        "{}: nothing says to which containers the policy \"{policy}\" applies; add `apply if …` to it, or apply-if to \
         agent.toml",
        path.display()
    )]
    AppliesToNothing {
        /// The file.
        path: PathBuf,
        /// The name of the policy.
        policy: String,
    },
    /// Two policies would have the same attachments.
    #[error(
        "{} and {} have policies that cannot be told apart by their names, \"{policy}\" and \"{other}\"; rename one",
        path.display(),
        other_path.display()
    )]
    SameName {
        /// The file of the first.
        path: PathBuf,
        /// Its name.
        policy: String,
        /// The file of the second.
        other_path: PathBuf,
        /// Its name.
        other: String,
    },
    /// Something that a selector looks at is not known of the container.
    #[error(
        "cannot find out whether the policy \"{policy}\" applies to the container: it looks at {field}, which is not known here"
    )]
    NotKnown {
        /// The name of the policy.
        policy: String,
        /// What is not known.
        field: String,
    },
    /// The container has no first process.
    #[error("the container {id} has no process")]
    NoProcess {
        /// Its id.
        id: String,
    },
    /// The hook runs too late.
    #[error("the container {id} runs already; this hook belongs to the stage createRuntime")]
    Running {
        /// Its id.
        id: String,
    },
    /// Its cgroup cannot be found.
    #[error("cannot find the cgroup of the container {id}")]
    Cgroup {
        /// Its id.
        id: String,
        /// Why.
        source: CgroupError,
    },
    /// The container has no cgroup of its own.
    #[error(
        "the container {id} has no cgroup of its own: it is in {}, {why}; give it one (linux.cgroupsPath), or a policy for \
         it would judge others, too",
        path.display()
    )]
    SharedCgroup {
        /// Its id.
        id: String,
        /// The directory of the cgroup.
        path: PathBuf,
        /// What else is there.
        why: &'static str,
    },
    /// A policy denies a knob that the runtime is going to write.
    #[error(transparent)]
    DeniedSysctl(#[from] Box<DeniedSysctl>),
    /// No policy on the container denies writes by default, and that is required.
    #[error(
        "no policy on the container {container} has `default write deny` and is enforced, and its runtime requires one; \
         these apply: {applying}"
    )]
    NoDefaultDeny {
        /// The label of the container.
        container: String,
        /// The names of the policies that apply.
        applying: String,
    },
    /// A policy cannot be compiled for this kernel.
    #[error("{place}: cannot compile the policy")]
    NotCompiled {
        /// The file, with the line of the rule if it is one's fault.
        place: String,
        /// Why.
        source: CompileError,
    },
    /// The policies cannot be attached.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
}
