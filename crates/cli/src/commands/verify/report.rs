//! The verifier's verdict as text.

use std::time::Duration;

use knobgate_kernel::{Rejection, VerifierLog, VerifierStats, VerifierVerdict};

use super::Verified;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::printable::{printable, printable_lines};
use crate::style::{ALLOW, DENY, DIM, HEADING};

/// How many lines of the log are printed without `--log`.
const TAIL: usize = 12;

pub(super) fn print(verified: &Verified<'_>, all_of_log: bool, output: &Output) -> Result<(), Failure> {
    let verification = &verified.verification;
    let row = |name: &str, text: String| {
        output.line(format_args!("  {DIM}{name:<12}{DIM:#}  {}", printable(&text)))
    };
    let (verdict, rejection) = match &verification.verdict {
        VerifierVerdict::Accepted { .. } => (format!("{ALLOW}accepted{ALLOW:#}"), None),
        VerifierVerdict::Rejected(rejection) => (format!("{DENY}rejected{DENY:#}"), Some(rejection)),
    };
    let (kind, name) = (verified.kind(), printable(verified.name()));
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    output.line(format_args!(
        "{HEADING}the {kind} \"{name}\"{HEADING:#} is {verdict} by the verifier of Linux {release}"
    ))?;
    if let Some(rejection) = rejection {
        row("reason", rejection.reason())?;
        for (name, text) in place(rejection) {
            row(name, text)?;
        }
    }
    for (name, text) in figures(verification.insns, &verification.stats) {
        row(name, text)?;
    }
    if let VerifierVerdict::Accepted { has_line_info: false, .. } = &verification.verdict {
        row("lines", "the kernel does not have its source lines".to_owned())?;
    }
    print_log(verified.log(), all_of_log, output)
}

/// The place of the rejection.
fn place(rejection: &Rejection) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some((file, entry)) = rejection.source() {
        rows.push(("source", format!("{file}:{}", entry.line)));
        rows.push(("", format!("  {}", entry.text)));
    }
    if let Some(insn) = rejection.insn() {
        rows.push(("at", format!("instruction {insn}")));
    }
    rows
}

/// The verifier's statistics, as far as the kernel reports them.
fn figures(insns: usize, stats: &VerifierStats) -> Vec<(&'static str, String)> {
    let mut rows = vec![("length", count(insns, "instruction"))];
    if let Some(processed) = stats.processed_insns {
        let limit = stats.insn_limit.map(|limit| format!(" of at most {limit}")).unwrap_or_default();
        rows.push(("processed", format!("{processed}{limit}")));
    }
    let states = [
        (stats.total_states, "in total"),
        (stats.peak_states, "at a time"),
        (stats.max_states_per_insn, "at one instruction"),
    ];
    let states: Vec<_> =
        states.into_iter().filter_map(|(count, what)| Some(format!("{} {what}", count?))).collect();
    if !states.is_empty() {
        rows.push(("states", states.join(", ")));
    }
    if !stats.stack_depths.is_empty() {
        let depths: Vec<_> = stats.stack_depths.iter().map(u32::to_string).collect();
        rows.push(("stack", format!("{} bytes", depths.join(" + "))));
    }
    if let Some(time) = stats.time {
        rows.push(("time", milliseconds(time)));
    }
    rows
}

fn milliseconds(time: Duration) -> String {
    format!("{}.{:03} ms", time.as_millis(), time.subsec_micros() % 1000)
}

fn print_log(log: Option<&VerifierLog>, all: bool, output: &Output) -> Result<(), Failure> {
    let Some(log) = log.filter(|log| !log.text().is_empty()) else { return Ok(()) };
    let lines = if all { log.text().lines().collect() } else { log.tail(TAIL) };
    let heading = match all {
        true if log.is_truncated() => "the verifier's log, of which a part is missing because it is too long",
        true => "the verifier's log",
        false => "the end of the verifier's log (--log prints all of it)",
    };
    output.line(format_args!("\n{heading}:"))?;
    for line in lines {
        output.line(format_args!("{DIM}  |{DIM:#} {}", printable_lines(line)))?;
    }
    output.line("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_the_kernel_does_not_report_are_left_out() {
        let none = figures(1, &VerifierStats::default());
        assert_eq!(none, [("length", "1 instruction".to_owned())]);
    }

    #[test]
    fn times_are_in_milliseconds() {
        for (time, text) in [(7, "0.007 ms"), (1_234, "1.234 ms"), (61_000_050, "61000.050 ms")] {
            assert_eq!(milliseconds(Duration::from_micros(time)), text);
        }
    }
}
