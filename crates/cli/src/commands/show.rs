//! `knobgate show`: one attachment in full.

/// Show one attachment: its policy, its cgroup, its counters
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The name of the attachment
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}
