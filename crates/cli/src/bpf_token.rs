//! The BPF token of a command that loads programs in a user namespace.

use std::path::PathBuf;

use knobgate_bpf::MapKind;
use knobgate_kernel::{BpfToken, BpfTokenError, Delegation};

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable_path;

/// The maps of which policies send events.
const OF_EVENTS: [MapKind; 5] =
    [MapKind::Hash, MapKind::Array, MapKind::ArrayOfMaps, MapKind::Queue, MapKind::Ringbuf];

/// The argument that names it.
#[derive(Debug, clap::Args)]
pub(crate) struct BpfTokenArgs {
    /// In a user namespace: load with a BPF token of the bpffs mounted at PATH, which delegates that (Linux 6.9)
    #[arg(long, value_name = "PATH")]
    bpf_token: Option<PathBuf>,
}

impl BpfTokenArgs {
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.bpf_token.is_some()
    }

    /// Makes the token, and uses it for everything that this process loads.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the path is not that of a bpffs; [`Failure::Machine`] if there can be no token of it, or if it does
    /// not delegate programs for this hook.
    pub(crate) fn apply(&self, output: &Output) -> Result<(), Failure> {
        let Some(path) = &self.bpf_token else { return Ok(()) };
        let token = BpfToken::use_in_this_process(path).map_err(|error| {
            let what = format!("cannot use --bpf-token {}", printable_path(path));
            let failure = match error {
                BpfTokenError::NotBpffs { .. }
                | BpfTokenError::Open { .. }
                | BpfTokenError::NotItsRoot { .. } => Failure::usage(what),
                _ => Failure::machine(what),
            };
            failure.because(error)
        })?;
        let at = printable_path(token.bpffs());
        let lacks = token.lacks_for_programs();
        if !lacks.is_empty() {
            return Err(Failure::machine(format!("cannot load programs with --bpf-token {at}"))
                .because(format!("it does not delegate that; it has to be mounted with {}", list(&lacks))));
        }
        let without = [
            (token.lacks_for_maps(&OF_EVENTS), "policies may not load, and if they do, they send no events"),
            (
                token.lacks_for_line_info(),
                "policies have no line information, and very large ones do not load",
            ),
        ];
        for (lacks, consequence) in without {
            if !lacks.is_empty() {
                output.warning(format_args!("{at} is mounted without {}: {consequence}", list(&lacks)));
            }
        }
        Ok(())
    }
}

/// Options in words.
fn list(lacks: &[Delegation]) -> String {
    lacks.iter().map(Delegation::to_string).collect::<Vec<_>>().join(" and ")
}
