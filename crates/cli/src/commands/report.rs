//! `knobgate report`: recorded events as one HTML page.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use knobgate_report::{Aggregator, Head, write_page};

use crate::failure::Failure;
use crate::file_output::FileOutput;
use crate::limited::is_stdin;
use crate::output::Output;
use crate::{events_file, filter_argument, policy_file};

/// Make one HTML page of recorded events
///
/// Reads events as `watch --json` writes them, and counts them: by outcome, over time, by knob and workload, and by rule. The
/// page also has the values of each knob over time, and the first and the last event of those that are alike. It has everything
/// in itself, so it can be kept and sent as one file, and loads nothing. Browsers show all of it with JavaScript, and the summary
/// and the denials by rule without. A file that exists is replaced, once the page is complete. It needs no kernel and no privileges.
///
/// Privileges: none.
///
/// Exit status: 0 if the page was written, 2 if a file cannot be read or written, a line of it is wrong, or the arguments are.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Report {
    /// Events as `watch --json` writes them; `-` is standard input
    #[arg(required = true, value_name = "EVENTS")]
    events: Vec<PathBuf>,
    /// The page; `-` is standard output, as without this option
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Count only events for which this holds, such as `verdict == deny and knob matches net.**`, and those for which it
    /// cannot be evaluated
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

const EXAMPLES: &str = "Examples:
  knobgate report events.jsonl -o report.html
  knobgate report monday.jsonl tuesday.jsonl -o report.html
  knobgate report events.jsonl --filter 'outcome == denied' -o denied.html
  ssh host cat events.jsonl | knobgate report - -o report.html";

impl Report {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if self.events.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(Failure::usage("only one of the EVENTS can be standard input"));
        }
        if self.output.is_none() && io::stdout().is_terminal() {
            let help = "name a file with -o report.html, or redirect standard output";
            return Err(Failure::usage("a page is not printed to a terminal").because(help));
        }
        let file = self.output.as_deref().filter(|path| !is_stdin(path));
        let file = file.map(|path| FileOutput::new(path, &self.events)).transpose()?;
        let filter = self.filter.clone().map(|text| filter_argument::parse(text, output)).transpose();
        let filter = match filter {
            Ok(filter) => filter,
            Err(status) => return Ok(status),
        };

        let mut aggregator = Aggregator::new();
        for path in &self.events {
            events_file::for_each(path, output, |item| {
                if filter_argument::passes(filter.as_ref(), item) {
                    aggregator.add(item);
                }
            })?;
        }
        let report = aggregator.finish();
        let head = Head {
            sources: self.events.iter().map(|path| policy_file::name(path)).collect(),
            filter: self.filter,
            made: Some(SystemTime::now()),
        };
        match file {
            Some(file) => {
                file.write(|output| write_page(&report, &head, output))?;
                let name = self.output.as_deref().map(policy_file::name).unwrap_or_default();
                output.done(format_args!("{}: {}", crate::printable::printable(&name), report.headline()));
            }
            None => {
                let mut stdout = BufWriter::new(io::stdout().lock());
                write_page(&report, &head, &mut stdout).map_err(Failure::Output)?;
                stdout.flush().map_err(Failure::Output)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
