//! `knobgate simulate`: play a scenario.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use knobgate_kernel::{BlockedSignals, Cgroup, CgroupError, Hierarchy, RunningKernel, Signal};
use knobgate_scenario::{Details, Mismatch, Outcome, Play, Scenario};
use rustix::fs::{Access, access};

use crate::deciding_hook::DecidingHook;
use crate::failure::{BAD, Failure};
use crate::json;
use crate::limited;
use crate::load_failure::cannot_load;
use crate::output::Output;
use crate::policy_file;

/// Play a scenario: load and attach programs, read and write knobs, and print the results
///
/// A scenario is a JSON document with knobs, programs, cgroups and steps. It is played on the hook in user space, which
/// needs no root and changes nothing, or with `--on-kernel` on the running kernel, as root. Each step prints one line
/// of JSON, and the lines are the same on both. docs/simulate.md describes the format; schemas/scenario.schema.json is
/// its schema.
///
/// On the running kernel, the scenario uses the machine's own knobs. It sets their values, and restores them at the
/// end, also after SIGINT and SIGTERM. Use `unshare --net --uts --ipc` to keep the machine's knobs out of it.
///
/// Privileges: none; with --on-kernel: root, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON.
///
/// Exit status: 0 if all steps were played and were as they expect, whatever their results otherwise; 1 if a step was not
/// as it expects, if the scenario has errors, if a program in user space did what no verifier allows, or if the kernel
/// would have crashed; 2 if a file cannot be read; 3 if this machine cannot play it; 128+n if signal n ended it.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// The scenario; `-` is standard input
    #[arg(value_name = "SCENARIO.json")]
    scenario: PathBuf,
    /// Play it on the running kernel
    #[arg(long)]
    on_kernel: bool,
}

impl Simulate {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let (name, scenario) = (policy_file::name(&self.scenario), self.read(output)?);
        if self.on_kernel { on_kernel(&name, &scenario, output) } else { on_model(&name, &scenario, output) }
    }

    fn read(&self, output: &Output) -> Result<Scenario, Failure> {
        let name = policy_file::name(&self.scenario);
        let cannot_read = |error| Failure::usage(format!("cannot read {name}")).because(error);
        let bytes = limited::read(&self.scenario, Scenario::TEXT_MAX).map_err(cannot_read)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("cannot read {name}: it is not UTF-8")))?;
        // Paths in it are relative to it.
        let directory = self.scenario.parent().unwrap_or(Path::new(""));
        let mut read = |file: &str| limited::read_file(&directory.join(file), Scenario::FILE_MAX);
        let scenario = match self.on_kernel {
            true => Scenario::parse_for(&text, &mut read, &RunningKernel::default()),
            false => Scenario::parse(&text, &mut read),
        };
        scenario.map_err(|errors| {
            for error in errors {
                output.failure(&Failure::bad(format!("{name}: {error}")));
            }
            Failure::Reported
        })
    }
}

fn on_model(name: &str, scenario: &Scenario, output: &Output) -> Result<ExitCode, Failure> {
    let profile = scenario.profile().copied().unwrap_or_default();
    output.note(format_args!("decided by {}", DecidingHook::UserSpace(profile)));
    let mut play =
        scenario.play_on_model().map_err(|error| Failure::bad("cannot play the scenario").because(error))?;
    print(name, scenario, &mut play, output, || Ok(None))
}

fn on_kernel(name: &str, scenario: &Scenario, output: &Output) -> Result<ExitCode, Failure> {
    output.note(format_args!("decided by {}", DecidingHook::of_this_machine()));
    if let Some(profile) = scenario.profile() {
        output.note(format_args!(
            "the profile of the scenario, {profile}, only applies to the hook in user space"
        ));
    }
    let cannot = || Failure::machine("cannot play the scenario on the running kernel");
    if let Some(why) = cannot_load() {
        return Err(cannot().because(why));
    }
    let parent = parent().map_err(|error| cannot().because(error))?;

    // Blocked until all knobs have been restored.
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
    let blocked = BlockedSignals::block(&signals).map_err(|error| cannot().because(error))?;
    let mut play = scenario.play_on_kernel(&parent).map_err(|error| cannot().because(error))?;
    let stopped = || {
        let taken = blocked.read().map_err(|error| Failure::machine("cannot continue").because(error))?;
        Ok(taken.map(|blocked| blocked.signal))
    };
    let printed = print(name, scenario, &mut play, output, stopped);
    play.finish().map_err(|error| Failure::machine("cannot clean up after the scenario").because(error))?;
    printed
}

/// Prints the lines of a play, until `stopped` returns a signal.
fn print(
    name: &str,
    scenario: &Scenario,
    play: &mut Play<'_>,
    output: &Output,
    stopped: impl Fn() -> Result<Option<Signal>, Failure>,
) -> Result<ExitCode, Failure> {
    let mut bad = false;
    loop {
        for remark in play.take_remarks() {
            output.note(remark);
        }
        if let Some(signal) = stopped()? {
            output.warning("stopped by a signal; the remaining steps were not played");
            return Ok(ExitCode::from(128 + signal.as_raw() as u8));
        }
        let Some(line) = play.next() else { break };
        let line = line.map_err(|error| Failure::machine("cannot continue").because(error))?;
        output.line(json::line(&line))?;
        if let Outcome::Failed(mismatches) = play.outcome(&line) {
            bad = true;
            output.error(&Failure::bad(unexpected(name, scenario, line.step, &mismatches)));
        }
        match line.details {
            Details::Fault { .. } => {
                bad = true;
                output.warning(format_args!(
                    "step {}: the program did what the kernel's verifier does not allow; the kernel would have rejected it",
                    line.step
                ));
            }
            Details::Crash { .. } => {
                bad = true;
                output.warning(format_args!(
                    "step {}: this kernel would crash here; the remaining steps were not played",
                    line.step
                ));
            }
            _ => {}
        }
    }
    Ok(ExitCode::from(if bad { BAD } else { 0 }))
}

/// What is not as a step expects, member by member.
fn unexpected(name: &str, scenario: &Scenario, step: usize, mismatches: &[Mismatch]) -> String {
    let place = scenario.place(step).map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    let mut text = format!("{name}{place}: step {step}, {}, is not as expected", scenario.describe(step));
    for Mismatch { member, expected, found, .. } in mismatches {
        let nothing = || "nothing".to_owned();
        let (expected, found) =
            (expected.clone().unwrap_or_else(nothing), found.clone().unwrap_or_else(nothing));
        text += &format!("\n  {member}: expected {expected}, found {found}");
    }
    text
}

/// The root of the hierarchy, where no policy of a parent applies. If this process may create no cgroup there, its own.
fn parent() -> Result<Cgroup, CgroupError> {
    let root = Hierarchy::find()?.root()?;
    match access(root.path(), Access::WRITE_OK) {
        Ok(()) => Ok(root),
        Err(_) => Cgroup::of_this_process(),
    }
}
