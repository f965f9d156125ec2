//! `knobgate`: controls what the processes of a cgroup may read and write under `/proc/sys`.
//!
//! A thin layer over the library `knobgate` and the crates below it. Every subcommand is a module of [`commands`],
//! which reads its arguments, calls the crates, and prints. Commands share these modules:
//!
//! - [`policy_file`] reads a policy from a file or standard input and reports its errors;
//! - [`program_source`] reads what to attach: a policy, or a program from an object;
//! - [`bpf_token`] is about loading programs in a user namespace;
//! - [`settings_file`] reads files of settings, and reports the errors of their lines;
//! - [`events_file`] reads recorded events, [`mod@live_events`] those that happen now, and [`memories`] those that attached policies
//!   remember; [`filter_argument`] chooses among them;
//! - [`knob_value`] reads a knob of this machine;
//! - [`file_output`] writes files, all of one or nothing;
//! - [`report`] renders diagnostics, with the line and carets under the place;
//! - [`json`] prints JSON, [`json_decision`] and [`json_diagnostic`] have its objects for accesses and errors;
//! - [`sarif`] writes findings about policies for code scanning;
//! - [`output`] is standard output and standard error: plain in a pipe, coloured on a terminal;
//! - [`mod@printable`] escapes untrusted text (policies, names, values) for the terminal;
//! - [`mod@decider`] says which rule of a file decides;
//! - [`deciding_hook`] reports which hook decides, and [`profile_limit`] what the kernel of a profile cannot do;
//!   [`not_compiled`] has the errors of policies that a kernel does not support;
//! - [`mod@target`] finds what a command is about: the cgroups of paths, processes and workloads ([`cgroup_argument`],
//!   [`workload_failure`]), and [`attachment_names`] resolves names of attachments;
//! - [`filter_argument`] reads filters of events, and [`workload_filter`] makes one for workloads;
//! - [`load_failure`] and [`attachment_failure`] suggest what to do when a program cannot be loaded or attached;
//! - [`stream`] prints events;
//! - [`departure_report`] is about processes that leave the policy of `run`;
//! - [`unified_diff`] prints what changes in a text;
//! - [`journal`] sends messages to systemd's journal;
//! - [`link_source`] says who put a program on a cgroup, and [`mod@off`] which policies are off;
//! - [`timestamp`] writes the kernel's time as a date;
//! - [`failure`] has the failures of commands and their exit statuses.
#![forbid(unsafe_code)]

mod attachment_failure;
mod attachment_names;
mod bpf_token;
mod cgroup_argument;
mod commands;
mod decider;
mod deciding_hook;
mod departure_report;
#[cfg(test)]
mod documented_commands;
mod event_summary;
mod events_file;
mod failure;
mod file_output;
mod filter_argument;
mod hook_arguments;
mod journal;
mod json;
mod json_decision;
mod json_diagnostic;
mod junit_output;
mod knob_value;
mod limited;
mod link_source;
mod live_events;
mod load_failure;
mod memories;
mod not_compiled;
mod off;
mod output;
mod plural;
mod policy_file;
mod printable;
mod profile_limit;
mod program_source;
mod report;
mod sarif;
mod settings_file;
mod stream;
mod style;
mod target;
mod timestamp;
mod unified_diff;
mod workload_failure;
mod workload_filter;

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use output::{ColorChoice, Output};
use printable::printable;

/// Control what the processes of a cgroup may read and write under /proc/sys
///
/// A policy says which knobs they may read and write, and with which values.
///
/// Exit status: 0 for success, 1 if a policy or the verdict on it is bad, 2 if the arguments are wrong, 3 if this machine
/// cannot do what was asked, 4 for a bug in knobgate.
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
    let Cli { color, command } = Cli::try_parse().unwrap_or_else(|error| escaped(error).exit());
    let output = Output::new(color);
    command.run(&output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit_code()
    })
}

/// The same error with terminal controls escaped: clap quotes arguments verbatim. An argument that needs escaping is
/// still wrong afterwards, except for one that is not UTF-8, which clap does not quote.
fn escaped(error: clap::Error) -> clap::Error {
    let escaped = std::env::args_os().map(|argument| printable(argument.as_bytes()).into_owned());
    Cli::try_parse_from(escaped).err().unwrap_or(error)
}
