//! `knobgate`: policy over `/proc/sys` for Linux control groups.
//!
//! A thin layer over the library `knobgate` and the crates below it: every subcommand is a module of [`commands`], which
//! reads its arguments, calls them, and prints. What several commands share is one idea a module:
//!
//! - [`policy_file`] reads a policy from a file or standard input and reports what is wrong with it;
//! - [`program_source`] reads what is to be attached: a policy, or a program from an object;
//! - [`report`] draws diagnostics, with the line and carets under the place;
//! - [`json`] is what `--json` prints, [`json_decision`] and [`json_diagnostic`] what is in it of accesses and of errors;
//! - [`output`] is standard output and standard error: plain in a pipe, coloured on a terminal;
//! - [`mod@printable`] keeps what others chose (policies, names, values) from driving the terminal;
//! - [`deciding_hook`] says which hook decides, and [`profile_limit`] what the kernel of a profile cannot do;
//!   [`not_compiled`] is about policies that no kernel, or not this one, can have;
//! - [`cgroup_argument`] is the cgroups that the user named;
//! - [`load_failure`] and [`attachment_failure`] say what to do when a program cannot be loaded or attached;
//! - [`departure_report`] is about processes that leave the policy of `run`;
//! - [`timestamp`] writes the kernel's time as a date;
//! - [`failure`] is how a command ends, and with which exit status.
#![forbid(unsafe_code)]

mod attachment_failure;
mod cgroup_argument;
mod commands;
mod deciding_hook;
mod departure_report;
mod failure;
mod json;
mod json_decision;
mod json_diagnostic;
mod limited;
mod load_failure;
mod not_compiled;
mod output;
mod plural;
mod policy_file;
mod printable;
mod profile_limit;
mod program_source;
mod report;
mod style;
mod timestamp;

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use output::{ColorChoice, Output};
use printable::printable;

/// Policy over /proc/sys for Linux control groups
///
/// A policy says which knobs under /proc/sys the processes of a cgroup may read and write, and with which values.
/// Exit status: 0 if all is well, 1 if a policy or the verdict on it is bad, 2 if the arguments are, 3 if this
/// machine cannot do what was asked, 4 if knobgate contradicts itself, which is a bug of it.
#[derive(Debug, Parser)]
#[command(name = "knobgate", version, about, max_term_width = 100, styles = style::HELP_TEXT)]
struct Cli {
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 100)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Cli { color, command } = Cli::try_parse().unwrap_or_else(|error| harmless(error).exit());
    let output = Output::new(color);
    command.run(&output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit_code()
    })
}

/// The same error without what a terminal would obey: clap quotes arguments as they are. Escaping makes no wrong argument
/// right, except ones that are not UTF-8, which are not quoted.
fn harmless(error: clap::Error) -> clap::Error {
    let escaped = std::env::args_os().map(|argument| printable(argument.as_bytes()).into_owned());
    Cli::try_parse_from(escaped).err().unwrap_or(error)
}
