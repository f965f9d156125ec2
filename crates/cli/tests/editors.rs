//! The language server in editors that are installed. Without one, its test is *ignored*.
#![allow(missing_docs)]

use std::fs;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// Each line begins with what Neovim was asked.
const EXPECTED: &[&str] = &[
    "codes: unknown-action unreachable-rule",
    "hover: `log`: asks for an event",
    "definition: 1",
    "fixed: allow  write vm.dirty_ratio",
    "formatted: allow write vm.dirty_ratio",
    "completed: ostype",
];

const POLICY: &str = "policy x
allow write kernel.**
alow  write vm.dirty_ratio
deny write kernel.hostname
deny write vm.drop_caches if new == \"\u{1f600}\" log
";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = match version() {
        None => Some("there is no nvim"),
        Some((0, 7..=9)) => None,
        // The script uses what later ones no longer have, and earlier ones not yet.
        Some(_) => Some("this is not Neovim 0.7, 0.8 or 0.9"),
    };
    let test = Trial::test("neovim", in_neovim);
    let test = match missing {
        Some(why) => test.with_kind(format!("ignored: {why}")).with_ignored_flag(true),
        None => test,
    };
    libtest_mimic::run(&arguments, vec![test]).exit_code()
}

/// The version of Neovim, if it is installed.
fn version() -> Option<(u32, u32)> {
    let output = Command::new("nvim").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.lines().next()?.strip_prefix("NVIM v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn in_neovim() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("x.knob"), POLICY)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/editors/neovim.lua");
    let output = Command::new("nvim")
        .args(["--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", &format!("luafile {script}")])
        .current_dir(directory.path())
        .env("KNOBGATE", env!("CARGO_BIN_EXE_knobgate"))
        .env("HOME", directory.path())
        .env("XDG_STATE_HOME", directory.path())
        .output()?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?.replace('\r', "");
    let mut lines = text.lines();
    for expected in EXPECTED {
        if !lines.any(|line| line.starts_with(expected)) {
            return Err(format!("no {expected:?} in\n{text}").into());
        }
    }
    if output.status.success() { Ok(()) } else { Err(text.into()) }
}
