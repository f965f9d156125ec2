//! `knobgate check`: are these policies right?

use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::{BAD, Failure};
use crate::output::Output;
use crate::policy_file::load_policy;

/// Check policies: errors, warnings, what they can mean on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Policy files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let mut bad = 0;
        for file in &self.files {
            match load_policy(file, output) {
                Ok(_) => {}
                Err(Failure::Reported) => bad += 1,
                Err(failure) => return Err(failure),
            }
        }
        Ok(ExitCode::from(if bad > 0 { BAD } else { 0 }))
    }
}
