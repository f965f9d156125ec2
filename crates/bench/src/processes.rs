//! What the command takes as a whole process.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use knobgate_bench::PolicyText;

use crate::attaching::{self, Attaching};
use crate::stage::Stage;
use crate::statistics::Spread;
use crate::timing::{milliseconds, time};

const ROUNDS: usize = 21;

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Processes {
    /// `knobgate check` on 10,000 rules.
    pub(crate) check: Spread,
    /// What `knobgate run -- true` takes longer than `true`.
    pub(crate) run: Spread,
    /// `true`.
    pub(crate) command: Spread,
    /// `knobgate attach`.
    pub(crate) attaching: Attaching,
}

/// Times `knobgate`, which is built before.
///
/// # Errors
///
/// It cannot be built, or fails.
pub(crate) fn measure(stage: &Stage) -> Result<Processes, Box<dyn Error>> {
    let knobgate = build()?;
    let policies = tempfile::tempdir()?;
    let (large, small) = (policies.path().join("large.knob"), policies.path().join("small.knob"));
    std::fs::write(&large, PolicyText::of_literals(10_000, "read write", "").text())?;
    std::fs::write(&small, PolicyText::of_literals(10, "read write", "").text())?;

    let (mut check, mut run, mut command) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // The rules are about network interfaces that are not here, which would all be warned of.
        let mut check_large = Command::new(&knobgate);
        check_large.args(["check", "--any-machine"]).arg(&large);
        check.push(milliseconds(time(&mut check_large)?));
        let alone = time(&mut Command::new("true"))?;
        let inside =
            time(Command::new(&knobgate).args(["run", "--policy"]).arg(&small).args(["--", "true"]))?;
        run.push(milliseconds(inside) - milliseconds(alone));
        command.push(milliseconds(alone));
    }
    let attaching = attaching::measure(&knobgate, stage)?;
    Ok(Processes { check: Spread::of(check), run: Spread::of(run), command: Spread::of(command), attaching })
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "knobgate-cli"])
        .stdin(Stdio::null())
        .status()?;
    let here = std::env::current_exe()?;
    let knobgate = here.parent().unwrap_or(Path::new(".")).join("knobgate");
    if status.success() && knobgate.is_file() { Ok(knobgate) } else { Err("knobgate cannot be built".into()) }
}
