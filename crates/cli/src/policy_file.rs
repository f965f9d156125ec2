//! Reading a policy: from a file or standard input, as text or as JSON.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use knobgate_policy::{CheckOptions, PolicyFile, Source, limits, parse};

use crate::failure::Failure;
use crate::output::Output;
use crate::report;

/// What `-` is called in messages.
const STDIN: &str = "<stdin>";

/// Reads and checks the policy at `path` (`-` is standard input), prints its errors and warnings, and returns it.
///
/// # Errors
/// [`Failure::Usage`] if the file cannot be read, [`Failure::Reported`] if the policy has errors.
pub(crate) fn load_policy(path: &Path, output: &Output) -> Result<PolicyFile, Failure> {
    let source = read_source(path)?;
    match parse(source.clone(), &CheckOptions::default()) {
        Ok(file) => {
            for warning in file.warnings() {
                output.report(report::render(warning, file.source()));
            }
            Ok(file)
        }
        Err(diagnostics) => {
            for diagnostic in &diagnostics {
                output.report(report::render(diagnostic, &source));
            }
            Err(Failure::Reported)
        }
    }
}

/// Reads the text at `path`; `-` is standard input.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read.
pub(crate) fn read_source(path: &Path) -> Result<Source, Failure> {
    let name = if path == Path::new("-") { STDIN.to_owned() } else { path.display().to_string() };
    let bytes =
        read_bytes(path).map_err(|error| Failure::usage(format!("cannot read {name}")).because(error))?;
    Ok(Source::from_bytes(name, &bytes))
}

/// One byte more than a policy may have, so that the checker sees that it is too large, and an endless file ends.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits::FILE_MAX as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
