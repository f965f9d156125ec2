//! `knobgate lsp`: a language server for editors.

use std::fs::canonicalize;
use std::io::{BufReader, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate::IncludedFiles;
use knobgate_lsp::{Environment, Exit, serve_streams};
use knobgate_policy::{Diagnostic, IncludeLoader, KnobName, PolicyFile};

use super::check;
use crate::failure::{BAD, Failure};
use crate::knob_value::KnobValue;
use crate::output::Output;

/// Serve an editor that speaks the Language Server Protocol, on standard input and output
///
/// The editor gets the errors and warnings of `knobgate check` with their fixes, the layout of `knobgate fmt`, completion, what is
/// known about a knob, and the places of rules. Files that a policy includes are taken from the editor if they are open there. The
/// values of knobs that hold secrets, or that do something when they are read, are not read.
///
/// Privileges: none.
///
/// Exit status: 0 if the editor shut the server down first, 1 if it did not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Lsp {
    /// The policies are for other machines: neither compare their patterns with the knobs of this one, nor show its values
    #[arg(long)]
    any_machine: bool,
}

const EXAMPLES: &str = "docs/editors.md has the configuration of Neovim, Helix and Visual Studio Code.";

impl Lsp {
    pub(crate) fn run(self, _: &Output) -> Result<ExitCode, Failure> {
        let machine = Machine { any: self.any_machine };
        match serve_streams(BufReader::new(stdin()), stdout(), &machine) {
            Exit::Orderly => Ok(ExitCode::SUCCESS),
            Exit::Abrupt => Ok(ExitCode::from(BAD)),
        }
    }
}

/// This machine, or any.
#[derive(Debug)]
struct Machine {
    any: bool,
}

impl Environment for Machine {
    fn knobs(&self) -> Option<Vec<KnobName>> {
        (!self.any).then(check::knobs_of_this_machine)
    }

    fn value(&self, knob: &KnobName) -> Result<Vec<u8>, String> {
        match KnobValue::read(knob) {
            KnobValue::Value(value) => Ok(value),
            KnobValue::NoSuchKnob => Err("there is no such knob".to_owned()),
            KnobValue::WriteOnly => Err("it is write-only".to_owned()),
            KnobValue::Unreadable(error) => Err(format!("it cannot be read: {error}")),
        }
    }

    fn check(&self, file: &PolicyFile) -> Option<Diagnostic> {
        check::compile_error(file)
    }

    fn files(&self, policy: &Path) -> Box<dyn IncludeLoader> {
        Box::new(IncludedFiles::of(policy))
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        canonicalize(path).ok()
    }
}
