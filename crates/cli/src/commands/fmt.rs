//! `knobgate fmt`: format policies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_policy::Source;

use crate::failure::{BAD, Failure, MACHINE, USAGE};
use crate::limited;
use crate::output::Output;
use crate::{file_output, plural, policy_file, report, unified_diff};

/// Format policies in place
///
/// A file is replaced atomically, and keeps its mode. A file with errors is not changed; the errors are reported. `-`
/// formats standard input to standard output.
///
/// Privileges: none.
///
/// Exit status: 0 for success, 1 if a policy has errors or, with --check, is not formatted, 2 if a file cannot be read,
/// 3 if one cannot be written.
#[derive(Debug, clap::Args)]
pub(crate) struct Fmt {
    /// Change nothing, and print what would change as a unified diff
    #[arg(long)]
    check: bool,
    /// Policy files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The result for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormatOutcome {
    AlreadyFormatted,
    Formatted,
    Differs,
    HasErrors,
}

impl Fmt {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let mut outcomes = Vec::new();
        let mut status = 0;
        for path in &self.files {
            match self.format(path, output) {
                Ok(outcome) => {
                    if matches!(outcome, FormatOutcome::Differs | FormatOutcome::HasErrors) {
                        status = status.max(BAD);
                    }
                    outcomes.push(outcome);
                }
                Err(failure @ Failure::Output(_)) => return Err(failure),
                Err(failure) => {
                    output.failure(&failure);
                    status = status.max(if let Failure::Machine { .. } = failure { MACHINE } else { USAGE });
                    outcomes.push(FormatOutcome::HasErrors);
                }
            }
        }
        let is_filter = !self.check && self.files.iter().all(|path| limited::is_stdin(path));
        if !is_filter {
            output.report(summary(&outcomes));
        }
        Ok(ExitCode::from(status))
    }

    fn format(&self, path: &Path, output: &Output) -> Result<FormatOutcome, Failure> {
        if policy_file::is_json(path) {
            let name = policy_file::name(path);
            return Err(Failure::usage(format!("{name} is JSON, and this formats the text of policies")));
        }
        let source = policy_file::read_source(path)?;
        let formatted = match knobgate_policy::format(&source) {
            Ok(formatted) => formatted,
            Err(error) => {
                for diagnostic in error.diagnostics() {
                    output.report(report::render(diagnostic, &source));
                    output.report("");
                }
                return Ok(FormatOutcome::HasErrors);
            }
        };
        let differs = formatted != source.text();
        match (self.check, differs) {
            (true, true) => self.show_difference(&source, &formatted, output),
            (true, false) => Ok(FormatOutcome::AlreadyFormatted),
            (false, _) if limited::is_stdin(path) => {
                output.raw(formatted.as_bytes())?;
                Ok(if differs { FormatOutcome::Formatted } else { FormatOutcome::AlreadyFormatted })
            }
            (false, true) => {
                file_output::replace(path, |file| file.write_all(formatted.as_bytes())).map_err(|error| {
                    Failure::machine(format!("cannot write {}", source.name())).because(error)
                })?;
                Ok(FormatOutcome::Formatted)
            }
            (false, false) => Ok(FormatOutcome::AlreadyFormatted),
        }
    }

    fn show_difference(
        &self,
        source: &Source,
        formatted: &str,
        output: &Output,
    ) -> Result<FormatOutcome, Failure> {
        for line in unified_diff::lines(source.name(), "formatted", source.text(), formatted) {
            output.line(line)?;
        }
        Ok(FormatOutcome::Differs)
    }
}

fn summary(outcomes: &[FormatOutcome]) -> String {
    let count = |wanted: FormatOutcome| outcomes.iter().filter(|&&outcome| outcome == wanted).count();
    let parts: Vec<String> = [
        (FormatOutcome::Formatted, "formatted"),
        (FormatOutcome::Differs, "would be formatted"),
        (FormatOutcome::AlreadyFormatted, "already formatted"),
        (FormatOutcome::HasErrors, "not changed because of errors"),
    ]
    .into_iter()
    .map(|(outcome, what)| (count(outcome), what))
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    format!("{}: {}", plural::count(outcomes.len(), "file"), parts.join(", "))
}
