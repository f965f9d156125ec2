//! `knobgate list`: what is attached.

/// List what is attached
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Print one JSON object per attachment
    #[arg(long)]
    json: bool,
}
