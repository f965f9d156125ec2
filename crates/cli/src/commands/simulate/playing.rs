//! Playing one scenario.

use knobgate_hook::machine::Coverage;
use knobgate_kernel::{BlockedSignals, Cgroup, CgroupError, Hierarchy, MachineLock, Signal};
use knobgate_scenario::{Details, Line, Play, Scenario};
use rustix::fs::{Access, access};
use serde::Serialize;

use super::mismatch_text;
use super::scenario_file::ScenarioFile;
use super::test_point::{TestPoint, TestResult};
use super::verify_command::verify_command;
use crate::deciding_hook::DecidingHook;
use crate::failure::{BAD, Failure, MACHINE, USAGE};
use crate::json;
use crate::load_failure::cannot_load;
use crate::output::{Output, chain};
use crate::printable::{printable, printable_lines};

/// The exit status if the hook in user space does not model what a program needs.
const NOT_MODELLED: u8 = 5;

/// A scenario that was played.
#[derive(Debug)]
pub(super) struct Played {
    /// The name of the file.
    pub(super) name: String,
    pub(super) points: Vec<TestPoint>,
    pub(super) status: Status,
    /// The hook that has decided, if it was played.
    pub(super) hook: Option<DecidingHook>,
    pub(super) coverage: Coverage,
}

/// How it went. The last one counts of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Status {
    /// All steps were as they expect.
    #[default]
    Good,
    /// A program needs what is not modelled.
    NotModelled,
    /// A step was not as it expects, or the scenario has errors.
    Bad,
    /// The file cannot be read.
    CannotRead,
    /// This machine cannot play it.
    Machine,
    /// This signal has stopped it.
    Stopped(u8),
}

impl Status {
    pub(super) fn exit_status(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::NotModelled => NOT_MODELLED,
            Self::Bad => BAD,
            Self::CannotRead => USAGE,
            Self::Machine => MACHINE,
            Self::Stopped(signal) => 128 + signal,
        }
    }
}

impl Played {
    fn new(file: &ScenarioFile) -> Self {
        let (points, status, hook, coverage) = Default::default();
        Self { name: file.name.clone(), points, status, hook, coverage }
    }

    /// A scenario of which no step was played.
    pub(super) fn not_played(file: &ScenarioFile, why: &str) -> Self {
        let points = match &file.scenario {
            Ok(scenario) => TestPoint::not_played(scenario, 0, why),
            Err(_) => Vec::new(),
        };
        let point =
            || TestPoint { name: "the scenario".to_owned(), result: TestResult::Error(why.to_owned()) };
        let points = if points.is_empty() { vec![point()] } else { points };
        Self { points, ..Self::new(file) }
    }
}

/// Plays a scenario.
pub(super) fn play(player: Player<'_>, on_kernel: bool) -> Result<Played, Failure> {
    let played = if on_kernel { player.on_kernel() } else { player.on_model() };
    played.or_else(|failure| {
        if let Failure::Output(_) = failure {
            return Err(failure);
        }
        player.output.failure(&failure);
        let status = if failure.exit_code() == BAD.into() { Status::Bad } else { Status::Machine };
        Ok(Played { status, ..Played::not_played(player.file, &chain(&failure)) })
    })
}

/// What a scenario is played with.
#[derive(Clone, Copy)]
pub(super) struct Player<'a> {
    pub(super) file: &'a ScenarioFile,
    pub(super) scenario: &'a Scenario,
    /// Whether its lines are printed, and if so, whether with the name of the file.
    pub(super) shows: Option<bool>,
    /// Whether its coverage is asked for.
    pub(super) covers: bool,
    pub(super) output: &'a Output,
}

/// A line with the file that it belongs to.
#[derive(Serialize)]
struct LineOf<'a> {
    scenario: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

impl Player<'_> {
    fn on_model(self) -> Result<Played, Failure> {
        let profile = self.scenario.profile().copied().unwrap_or_default();
        let hook = DecidingHook::UserSpace(profile);
        self.output.note(format_args!("decided by {hook}"));
        let cannot = |error| Failure::bad("cannot play the scenario").because(error);
        let mut play = self.scenario.play_on_model().map_err(cannot)?;
        let mut played = self.run(&mut play, hook, || Ok(None))?;
        played.coverage = play.coverage().unwrap_or_default();
        if self.covers {
            let names: Vec<_> = play.without_lines().map(|name| format!("\"{name}\"")).collect();
            if !names.is_empty() {
                self.output.note(format_args!(
                    "no coverage of {}: without line information, which clang writes with -g",
                    names.join(", ")
                ));
            }
        }
        Ok(played)
    }

    fn on_kernel(self) -> Result<Played, Failure> {
        let Self { scenario, output, .. } = self;
        let hook = DecidingHook::of_this_machine();
        output.note(format_args!("decided by {hook}"));
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
        let lock = Scenario::lock_machine(|holder| match holder {
            Some(holder) => output.note(format_args!("waiting for another scenario, of {holder}")),
            None => output.note("waiting for another scenario to end"),
        });
        let lock: MachineLock = lock.map_err(|error| cannot().because(error))?;

        // Blocked until all knobs have been restored.
        let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
        let blocked = BlockedSignals::block(&signals).map_err(|error| cannot().because(error))?;
        let mut play = scenario.play_on_kernel(&parent, &lock).map_err(|error| cannot().because(error))?;
        let stopped = || {
            let taken = blocked.read().map_err(|error| Failure::machine("cannot continue").because(error))?;
            Ok(taken.map(|blocked| blocked.signal))
        };
        let played = self.run(&mut play, hook, stopped);
        play.finish()
            .map_err(|error| Failure::machine("cannot clean up after the scenario").because(error))?;
        played
    }

    /// Plays all steps, until `stopped` returns a signal.
    fn run(
        self,
        play: &mut Play<'_>,
        hook: DecidingHook,
        stopped: impl Fn() -> Result<Option<Signal>, Failure>,
    ) -> Result<Played, Failure> {
        let Self { file, scenario, output, .. } = self;
        let mut played = Played { hook: Some(hook), ..Played::new(file) };
        let directory = file.directory();
        play.set_verify_command(move |program| verify_command(&directory, program));
        let mut next = 0;
        let why = loop {
            play.take_remarks().iter().for_each(|remark| self.note(remark));
            if let Some(signal) = stopped()? {
                output.warning("stopped by a signal; the remaining steps were not played");
                played.status = Status::Stopped(signal.as_raw() as u8);
                break "a signal stopped the scenario";
            }
            let Some(line) = play.next() else { break "the kernel would have crashed before" };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    output.failure(&Failure::machine("cannot continue").because(error));
                    played.status = Status::Machine;
                    break "the scenario could not be continued";
                }
            };
            next = line.step + 1;
            self.show(&line)?;
            let status = self.warn(&line);
            played.status = played.status.max(status);
            if let Some(point) = TestPoint::new(&file.name, scenario, line.step, play.outcome(&line)) {
                if let TestResult::Failed { place, mismatches } = &point.result {
                    played.status = played.status.max(Status::Bad);
                    output.failure(&Failure::bad(format!("{place}: {}: not as expected", point.name)));
                    let lines = mismatch_text::lines(mismatches);
                    lines.iter().for_each(|line| output.report(format_args!("  {}", printable(line))));
                }
                played.points.push(point);
            } else if status != Status::Good {
                played.points.push(TestPoint::error(scenario, line.step, &without_result(&line.details)));
            }
        };
        played.points.extend(TestPoint::not_played(scenario, next, why));
        Ok(played)
    }

    fn show(&self, line: &Line) -> Result<(), Failure> {
        match self.shows {
            Some(true) => self.output.line(json::line(&LineOf { scenario: &self.file.name, line })),
            Some(false) => self.output.line(json::line(line)),
            None => Ok(()),
        }
    }

    /// Says what a line means for the program.
    fn warn(&self, Line { step, details, .. }: &Line) -> Status {
        let output = self.output;
        match details {
            Details::Fault { .. } => {
                output.warning(format_args!(
                    "step {step}: the program was stopped, because the hook in user space cannot go on here; the kernel may reject it, or run it"
                ));
                Status::Bad
            }
            Details::Crash { .. } => {
                output.warning(format_args!(
                    "step {step}: this kernel would crash here; the remaining steps were not played"
                ));
                Status::Bad
            }
            Details::NotModelled { not_modelled } => {
                output.warning(format_args!(
                    "step {step} is not modelled by the hook in user space: {not_modelled}; play it on the kernel (--on-kernel)"
                ));
                Status::NotModelled
            }
            Details::Skipped { .. } => Status::NotModelled,
            _ => Status::Good,
        }
    }

    /// A remark, which may have several lines.
    fn note(&self, remark: &str) {
        let (first, rest) = remark.split_once('\n').unwrap_or((remark, ""));
        self.output.note(first);
        if !rest.is_empty() {
            self.output.report(printable_lines(rest));
        }
    }
}

/// Why such a line is no result.
fn without_result(details: &Details) -> String {
    match details {
        Details::Fault { fault: why } | Details::Crash { crash: why } => why.clone(),
        Details::NotModelled { not_modelled: why } | Details::Skipped { skipped: why } => {
            format!("not modelled: {why}")
        }
        _ => String::new(),
    }
}

/// The root of the hierarchy, where no policy of a parent applies. If this process may create no cgroup there, its own.
fn parent() -> Result<Cgroup, CgroupError> {
    let root = Hierarchy::find()?.root()?;
    match access(root.path(), Access::WRITE_OK) {
        Ok(()) => Ok(root),
        Err(_) => Cgroup::of_this_process(),
    }
}
