//! `knobgate man`: the manual page.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Print the manual page, of the program or of a command
///
/// For example `knobgate man explain | man -l -`.
///
/// Privileges: none.
#[derive(Debug, clap::Args)]
pub(crate) struct ManPage {
    /// The command
    command: Option<String>,
}

impl ManPage {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let mut program = Cli::command();
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => program
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| Failure::usage(format!("there is no command `{name}`")))?,
        };
        let mut text = Vec::new();
        Man::new(page).render(&mut text).map_err(Failure::Output)?;
        output.raw(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
