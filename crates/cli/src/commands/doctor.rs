//! `knobgate doctor`: what this machine can do.

/// Tell what this machine can do, and what a workload could do to get around a policy
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}
