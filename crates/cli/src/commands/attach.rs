//! `knobgate attach`: put a policy on a cgroup, to stay.

use std::path::PathBuf;

/// Attach a policy to a cgroup; it stays until it is detached
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The cgroup: its path below the cgroup mount, or in the file system
    #[arg(long, value_name = "PATH", required_unless_present = "pid", conflicts_with = "pid")]
    cgroup: Option<PathBuf>,
    /// The cgroup that this process is in
    #[arg(long)]
    pid: Option<u32>,
    /// What the attachment is called; by default the policy's name
    #[arg(long)]
    name: Option<String>,
}
