//! The command: arguments in, text and exit status out. The tests need no privileges, and only knobs that every machine
//! has.
//!
//! The output is compared with `tests/snapshots`. To rewrite them: `SNAPSHOTS=overwrite cargo test -p knobgate-cli
//! --test cli`.
#![allow(missing_docs)]

mod agent;
mod check;
mod colours;
mod compile;
mod diff;
mod documentation;
mod drift;
mod explain;
mod fmt;
mod hostile;
mod import;
mod includes;
mod knobs;
mod learn;
mod links;
mod lint;
mod lsp;
mod nri;
mod packaging;
mod presets;
mod replay;
mod report;
mod sarif;
mod simulate;
mod simulate_watch;
mod test;
mod top;
mod troubleshooting;
mod unhook;
mod verify;
mod watch;

use std::fmt::Write;
use std::fs;

use snapbox::cmd::Command;
use snapbox::data::DataFormat;
use snapbox::{Assert, Data};
use tempfile::TempDir;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// `knobgate` in `tests/policies`, with an empty environment.
fn knobgate<const N: usize>(args: [&str; N]) -> Command {
    Command::new(env!("CARGO_BIN_EXE_knobgate"))
        .env_clear()
        .current_dir(format!("{TESTS}/policies"))
        .args(args)
}

/// A tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// Asserts that the output and exit statuses of `commands` match `tests/snapshots/NAME.txt`.
#[track_caller]
fn snapshot<const N: usize>(name: &str, commands: [Command; N]) {
    let mut printed = String::new();
    for command in commands {
        let output = command.output().unwrap();
        for (stream, bytes) in [("standard output", output.stdout), ("standard error", output.stderr)] {
            if !bytes.is_empty() {
                let text = String::from_utf8(bytes).unwrap();
                writeln!(printed, "[{stream}]\n{}", text.trim_end_matches('\n')).unwrap();
            }
        }
        writeln!(printed, "[exit status {}]", output.status.code().unwrap()).unwrap();
    }
    let path = format!("{TESTS}/snapshots/{name}.txt");
    let expected = Data::read_from(path.as_ref(), Some(DataFormat::Text)).raw();
    Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV).eq(printed, expected);
}
