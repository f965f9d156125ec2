//! Reading a policy: from a file or standard input, as text or as JSON.

use std::path::Path;

use knobgate::IncludedFiles;
use knobgate_policy::{
    CheckOptions, Diagnostic, JsonDiagnostic, PolicyFile, Source, limits, parse, parse_json,
};

use crate::failure::Failure;
use crate::limited::{self, is_stdin};
use crate::output::Output;
use crate::report;

/// A policy that was read, with or without errors.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The text that the diagnostics are about.
    pub(crate) source: Source,
    /// The policy, if it has no errors.
    pub(crate) file: Option<PolicyFile>,
    /// Errors and warnings.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The errors of a JSON policy, which have no place in a text.
    pub(crate) json_errors: Vec<JsonDiagnostic>,
}

/// Reads and checks the policy at `path`, prints its errors and warnings, and returns it. `-` is standard input. A
/// policy in JSON, whose name ends in `.json`, is converted to text, to which later messages refer. A policy on standard input
/// cannot include files: what their paths are relative to would be a guess.
///
/// # Errors
/// [`Failure::Usage`] if the file cannot be read, [`Failure::Reported`] if the policy has errors.
pub(crate) fn load_policy(path: &Path, output: &Output) -> Result<PolicyFile, Failure> {
    let checked = check_policy(path, &CheckOptions::default())?;
    checked.report(output);
    checked.file.ok_or(Failure::Reported)
}

/// Reads and checks the policy at `path`, as [`load_policy`] does, and prints nothing.
///
/// # Errors
/// [`Failure::Usage`] if the file cannot be read.
pub(crate) fn check_policy(path: &Path, options: &CheckOptions<'_>) -> Result<Checked, Failure> {
    let source = read_source(path)?;
    let checked = |file: PolicyFile| Checked {
        source: file.source().clone(),
        diagnostics: file.warnings().to_vec(),
        json_errors: Vec::new(),
        file: Some(file),
    };
    Ok(if is_json(path) {
        let as_text = format!("{} (as text)", source.name());
        match parse_json(&as_text, source.text(), options) {
            Ok(file) => checked(file),
            Err(error) => Checked {
                source,
                file: None,
                diagnostics: Vec::new(),
                json_errors: error.into_iter().collect(),
            },
        }
    } else {
        let files = (!is_stdin(path)).then(|| IncludedFiles::of(path));
        let options = files.as_ref().map_or(*options, |files| options.includes(files));
        match parse(source, &options) {
            Ok(file) => checked(file),
            Err(error) => Checked {
                source: error.text().clone(),
                file: None,
                diagnostics: error.into_iter().collect(),
                json_errors: Vec::new(),
            },
        }
    })
}

impl Checked {
    /// Prints errors and warnings, each followed by an empty line.
    pub(crate) fn report(&self, output: &Output) {
        for diagnostic in &self.diagnostics {
            output.report(format_args!("{}\n", report::render(diagnostic, &self.source)));
        }
        for error in &self.json_errors {
            output.report(format_args!("{}\n", report::render_json_error(error, &self.source)));
        }
    }
}

/// Reads the text at `path`; `-` is standard input.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read.
pub(crate) fn read_source(path: &Path) -> Result<Source, Failure> {
    let name = name(path);
    let bytes = limited::read(path, limits::FILE_MAX)
        .map_err(|error| Failure::usage(format!("cannot read {name}")).because(error))?;
    Ok(Source::from_bytes(name, &bytes))
}

/// The name of the file at `path` in messages.
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// Checks that a policy in text may be written to `path`: in a file for JSON, nobody could read it.
///
/// # Errors
/// [`Failure::Usage`] if it has the name of a policy in JSON.
pub(crate) fn check_is_for_text(path: &Path) -> Result<(), Failure> {
    if is_json(path) {
        let place = name(path);
        let help =
            "a file whose name ends in .json is read as JSON, and the policy is text; call it NAME.knob";
        return Err(Failure::usage(format!("cannot write {place}")).because(help));
    }
    Ok(())
}

/// Whether the file at `path` is a policy in JSON.
pub(crate) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
