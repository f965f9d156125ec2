//! What was decided in a review that ended early: a file beside the policy.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use knobgate_learn::Review;
use knobgate_policy::PolicyFile;

use super::difference;
use crate::output::Output;
use crate::plural::count;
use crate::policy_file;

/// How many such files a policy can have.
const FILES_MAX: u32 = 100;

/// Writes the policy with what was decided to a new file beside it, and says so. `events` are those of the review, if they are in a file.
pub(super) fn keep(
    path: &Path,
    events: Option<&Path>,
    old: &PolicyFile,
    review: &Review<'_>,
    output: &Output,
) {
    if review.rules() == 0 {
        return;
    }
    let (name, rules) = (policy_file::name(path), count(review.rules(), "rule"));
    match write_new(path, review.file().source().text()) {
        Ok(kept) => {
            let kept = policy_file::name(&kept);
            let from = events.map(|events| format!(" --from {}", policy_file::name(events)));
            output.note(format_args!(
                "what was decided ({rules}) is in {kept}; to go on: knobgate learn --review {kept}{}",
                from.unwrap_or_default()
            ));
        }
        Err(error) => {
            output.warning(format_args!(
                "what was decided ({rules}) cannot be written to a file beside {name}: {error}; it is:"
            ));
            difference(review, old).iter().for_each(|line| output.report(line));
        }
    }
}

/// Writes `text` to `FILE.reviewed`, or `FILE.reviewed.2` and so on: other files, and what links lead to, stay as they are.
fn write_new(path: &Path, text: &str) -> io::Result<PathBuf> {
    // Nobody can read it who cannot read the policy.
    let mode = path.metadata().map_or(0o600, |metadata| metadata.permissions().mode() & 0o666);
    let mut number = 1;
    loop {
        let mut kept = path.as_os_str().to_owned();
        kept.push(".reviewed");
        if number > 1 {
            kept.push(format!(".{number}"));
        }
        match File::options().write(true).create_new(true).mode(mode).open(&kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < FILES_MAX => number += 1,
            opened => {
                let mut file = opened?;
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                // Half a policy may allow more than the whole one.
                written.inspect_err(|_| drop(fs::remove_file(&kept)))?;
                return Ok(PathBuf::from(kept));
            }
        }
    }
}
