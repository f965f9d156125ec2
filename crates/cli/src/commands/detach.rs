//! `knobgate detach`: take an attached policy off.

/// Detach a policy
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The name of the attachment
    name: String,
}
