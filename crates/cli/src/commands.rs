//! The subcommands, one module each.

mod check;
mod explain;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Check),
    Explain(explain::Explain),
}

impl Command {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Check(check) => check.run(output),
            Self::Explain(explain) => explain.run(output),
        }
    }
}
