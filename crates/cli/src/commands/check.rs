//! `knobgate check`: check policies for errors.

mod findings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_hook::Profile;
use knobgate_policy::{CheckOptions, Diagnostic, KnobName, PolicyFile, Severity};

use crate::failure::{BAD, Failure, USAGE};
use crate::output::{Output, chain};
use crate::policy_file::{self, Checked};
use crate::{json, json_diagnostic, not_compiled, plural, style};
use findings::Findings;

/// Check policies, and report all errors and warnings
///
/// Prints the errors and warnings of every file, then a summary. Patterns that match no knob get a warning: neither one of this
/// machine nor one that `knobgate knobs` lists. So do rules that never do what they say. Files whose names end in `.json` are policies in JSON.
///
/// Privileges: none.
///
/// Exit status: 0 if no policy has an error (warnings do not count), 1 if one has, 2 if a file cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Policy files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The policies are for other machines: warn of knobs that only this machine is known to have
    #[arg(long)]
    any_machine: bool,
    /// The format of the errors and warnings
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text on standard error, and a summary
    Text,
    /// One JSON object per error or warning
    Json,
    /// One SARIF 2.1.0 document, for code scanning
    Sarif,
}

/// Counts for all files.
#[derive(Default)]
struct Tally {
    files: usize,
    errors: usize,
    warnings: usize,
    unreadable: usize,
}

impl Check {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let knobs = if self.any_machine { Vec::new() } else { knobs_of_this_machine() };
        let options = CheckOptions::default().knobs(&knobs);
        let mut tally = Tally::default();
        let format = if self.json { Format::Json } else { self.format };
        let mut findings = Findings::default();
        for path in &self.files {
            tally.files += 1;
            match check(path, &options) {
                Ok(checked) => {
                    tally.count(&checked);
                    match format {
                        Format::Text => checked.report(output),
                        Format::Json => {
                            for object in json_diagnostic::objects(&checked) {
                                output.line(json::line(&object))?;
                            }
                        }
                        Format::Sarif => findings.add(path, checked),
                    }
                }
                Err(failure) => {
                    tally.unreadable += 1;
                    output.failure(&failure);
                    findings.unreadable.push(chain(&failure));
                }
            }
        }
        match format {
            Format::Text => output.line(tally.summary())?,
            Format::Json => {}
            Format::Sarif => output.line(findings.log())?,
        }
        Ok(ExitCode::from(match tally {
            Tally { unreadable: 1.., .. } => USAGE,
            Tally { errors: 1.., .. } => BAD,
            _ => 0,
        }))
    }
}

impl Tally {
    fn count(&mut self, checked: &Checked) {
        let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        let errors = checked.diagnostics.iter().filter(is_error).count();
        self.errors += errors + checked.json_errors.len();
        self.warnings += checked.diagnostics.len() - errors;
    }

    fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (count, what, style) in [
            (self.errors, "error", style::ERROR),
            (self.warnings, "warning", style::WARNING),
            (self.unreadable, "unreadable file", style::ERROR),
        ] {
            if count > 0 {
                parts.push(format!("{style}{}{style:#}", plural::count(count, what)));
            }
        }
        let found = if parts.is_empty() { "no errors".to_owned() } else { parts.join(", ") };
        format!("{}: {found}", plural::count(self.files, "file"))
    }
}

/// Reads, checks and compiles the policy at `path`.
fn check(path: &Path, options: &CheckOptions<'_>) -> Result<Checked, Failure> {
    let mut checked = policy_file::check_policy(path, options)?;
    if let Some(error) = checked.file.as_ref().and_then(compile_error) {
        checked.diagnostics.push(error);
        checked.file = None;
    }
    Ok(checked)
}

/// Why a policy without other errors cannot be compiled, for any kernel.
pub(super) fn compile_error(file: &PolicyFile) -> Option<Diagnostic> {
    let newest = Profile::default();
    let error = knobgate_compiler::compile(file, &newest.features()).err()?;
    Some(not_compiled::diagnostic(&error, file, newest))
}

/// The names below `/proc/sys`. None where there is no such directory: the catalogue has names, too.
pub(super) fn knobs_of_this_machine() -> Vec<KnobName> {
    let names = knobgate_kernel::knob_names().unwrap_or_default();
    names.into_iter().filter_map(|name| KnobName::from_path(name).ok()).collect()
}
