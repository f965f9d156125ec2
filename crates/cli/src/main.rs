//! `knobgate`: policy over `/proc/sys` for Linux control groups.
//!
//! A thin layer over the crates: every subcommand is a module of [`commands`], which reads its arguments, calls
//! the crates, and prints. What several commands share is one idea a module:
//!
//! - [`policy_file`] reads a policy from a file or standard input and reports what is wrong with it;
//! - [`report`] draws diagnostics, with the line and carets under the place;
//! - [`json`] is what `--json` prints;
//! - [`output`] is standard output and standard error: plain in a pipe, coloured on a terminal;
//! - [`printable`] keeps what others wrote (policies, names, values) from driving the terminal;
//! - [`failure`] is how a command ends, and with which exit status.
#![forbid(unsafe_code)]

mod commands;
mod failure;
mod json;
mod json_diagnostic;
mod output;
mod policy_file;
mod printable;
mod report;
mod style;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use output::{ColorChoice, Output};

/// Policy over /proc/sys for Linux control groups
///
/// A policy says which knobs under /proc/sys the processes of a cgroup may read and write, and with which values.
/// Exit status: 0 if all is well, 1 if a policy or the verdict on it is bad, 2 if the arguments are, 3 if this
/// machine cannot do what was asked.
#[derive(Debug, Parser)]
#[command(name = "knobgate", version, about, max_term_width = 100, styles = style::HELP_TEXT)]
struct Cli {
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Cli { color, command } = Cli::parse();
    let output = Output::new(color);
    command.run(&output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit_code()
    })
}
