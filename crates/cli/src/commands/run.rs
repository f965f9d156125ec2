//! `knobgate run`: start a command under a policy.

use std::ffi::OsString;
use std::path::PathBuf;

/// Run a command under a policy, from its first instruction on
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The policy; `-` is standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The cgroup below which a new one is made for the command; by default the caller's own
    #[arg(long, value_name = "PARENT")]
    cgroup: Option<PathBuf>,
    /// The command with its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}
