//! `knobgate learn`: make the least policy of what a workload does.

mod duration;
mod recorded;
mod recorder;
mod review;
mod running;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgGroup;
use knobgate::workload::WorkloadName;
use knobgate::{Observation, ObservationError, ObservationLoss, ObserverError};
use knobgate_kernel::{BlockedSignals, Cgroup, Signal, knob_names};
use knobgate_learn::{LearnError, LearnOptions, Learnt, learn};
use knobgate_policy::terminal::escape;
use knobgate_policy::{KnobName, PolicyFile, limits};

use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::load_failure::{cannot_load, load_failure};
use crate::output::Output;
use crate::plural::count;
use crate::policy_file;
use crate::printable::{printable, printable_path};
use crate::target::{TARGETS, Target, TargetArgs};
use crate::{file_output, unified_diff};
use duration::Span;
use recorder::{Recorder, UntilExec};
use running::{Run, Running};

/// Watch a workload, and write the least policy that lets it do what it did
///
/// Runs a command in a cgroup of its own, as `run` does, or watches a cgroup for some time. Nothing is denied meanwhile.
/// The policy allows the writes below /proc/sys that succeeded, with the values that were written, and no others. It is in
/// audit mode, and has a test. Read it before you enforce it: a workload that is already compromised teaches what it likes.
///
/// A rule says in a comment how often and by whom its access was seen. What may not have succeeded, what no condition can tell
/// from other values, and what is a way out of a container becomes a comment with the reason. If two or more network interfaces
/// were given the same values, one rule is for all interfaces, and a comment says what else that admits.
///
/// With --cgroup, --pid, --container, --unit or --pod, it watches that cgroup and those below it, instead of a command.
///
/// With --review, it steps through what a policy in audit mode would have denied, and asks about each knob. The policy is written
/// only at the end. If the review ends early, what was decided goes to FILE.reviewed.
///
/// To see which accesses succeed takes Linux 6.1. While it runs, every system call on the machine takes some
/// 0.2 µs longer.
///
/// Privileges: root, CAP_SYS_ADMIN; with --from: none.
///
/// Exit status: 0 if the policy was written, or the review ended without a decision; 1 if events were lost (see --accept-loss), if
/// the policy to extend or to review has errors, or if the answers end before the review does; 2 for wrong arguments; 3 if this
/// machine cannot do it; 126 or 127 if the command cannot be started.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("target").args(TARGETS).multiple(true))]
pub(crate) struct Learn {
    /// The policy; `-` is standard output, and the command's own output then goes to standard error
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The name of the policy; by default that of the command, or of the cgroup
    #[arg(long, value_name = "NAME", conflicts_with = "merge")]
    name: Option<String>,
    /// Learn reads too; the policy then denies all others
    #[arg(long)]
    reads: bool,
    /// Admit numbers that are smaller or greater than those seen by so many per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    slack: u32,
    /// Ignore what happens before the first execve in the cgroup: the set-up of a container. The execve that starts COMMAND
    /// does not count, so that COMMAND itself has to execute something in its place
    #[arg(long)]
    ignore_until_exec: bool,
    /// Add to this policy what it does not allow yet, and print the difference to standard error; `-` is standard input
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
    /// Write a policy even if events were lost
    #[arg(long)]
    accept_loss: bool,
    /// How often to run the command
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000),
        conflicts_with = "target"
    )]
    runs: u32,
    #[command(flatten)]
    target: TargetArgs,
    /// For how long: 30s, 10m, 2h; by default until SIGINT or SIGTERM
    #[arg(long = "for", value_name = "TIME", requires = "target", conflicts_with = "command")]
    span: Option<Span>,
    /// Learn from a stream of events, as `watch --json` prints it, instead of a workload; `-` is standard input. It does not say
    /// which accesses succeeded, so all that were not denied become comments
    #[arg(
        long,
        value_name = "EVENTS",
        conflicts_with_all = ["command", "target", "runs", "span", "ignore_until_exec"]
    )]
    from: Option<PathBuf>,
    /// Ask about everything that this policy denies by its default, or would deny in audit mode, and add rules to it. The events
    /// are those that its attachments remember, or those of --from. Answers are lines of standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "command", "target", "runs", "span", "ignore_until_exec", "merge", "name", "out", "reads", "accept_loss"
        ]
    )]
    review: Option<PathBuf>,
    /// The command with its arguments
    #[arg(
        last = true,
        value_name = "COMMAND",
        required_unless_present_any = ["target", "from", "review"],
        conflicts_with = "target"
    )]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "Examples:
  knobgate learn -o web.knob -- nginx -g 'daemon off;'
  knobgate learn --runs 3 -o set-up.knob -- ./set-up-network
  knobgate learn --cgroup system.slice/web.service --for 10m -o web.knob
  knobgate learn --container shop-web-1 --for 10m -o shop.knob
  knobgate learn --merge web.knob -o web.knob -- ./upgrade
  knobgate learn --review web.knob
  knobgate watch --json web > events.jsonl; knobgate learn --from events.jsonl -o web.knob";

/// What is not known of a workload.
#[derive(Debug, Clone, Copy, Default)]
struct Loss {
    /// How many accesses were lost, or not recorded.
    accesses: u64,
    /// How many results of system calls were lost.
    results: u64,
}

/// How much of a command line a comment has.
const TITLE_MAX: usize = 200;

impl Learn {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if let Some(policy) = &self.review {
            return review::run(policy, self.from.as_deref(), self.slack, output);
        }
        let merged = self.merge.as_deref().map(|path| load_extendable(path, output)).transpose()?;
        let target = self.target.find_one("learn watches one cgroup")?;
        target.as_ref().map_or(Ok(()), Target::check_is_not_all)?;
        let name = self.name.clone().unwrap_or_else(|| self.default_name(target.as_ref()));
        knobgate_policy::Policy::new(name.as_str()).map_err(|source| no_name(&name, source))?;
        self.check_out()?;
        let until_exec = match (self.ignore_until_exec, &target) {
            (false, _) => None,
            (true, Some(_)) => Some(UntilExec::OfAnyProcess),
            (true, None) => Some(UntilExec::AfterTheStart),
        };
        let mut recorder = Recorder::new(until_exec, merged.as_ref());
        let loss = match (&target, &self.from) {
            (Some(target), _) => self.watch(&target.open()?, &mut recorder, output)?,
            (None, Some(path)) => recorded::read(path, self.reads, &mut recorder, output)?,
            (None, None) => match self.running().run(&mut recorder, output)? {
                Run::Ended(loss) => loss,
                Run::NotStarted(status) => return Ok(ExitCode::from(status)),
            },
        };
        self.report_loss(loss, output)?;
        recorder.ignored(output);

        let knobs = knobs_of_this_machine()?;
        let title = self.title(target.as_ref(), recorder.recording().runs());
        let options =
            LearnOptions { name: &name, title: &title, reads: self.reads, slack: self.slack, knobs: &knobs };
        let learnt = learn(recorder.recording(), &options).map_err(no_policy)?;
        self.write(&learnt, merged.as_ref(), output)?;
        Ok(ExitCode::SUCCESS)
    }

    fn running(&self) -> Running<'_> {
        Running {
            command: &self.command,
            runs: self.runs,
            reads: self.reads,
            needs_execve: self.ignore_until_exec,
            // The policy goes to standard output.
            moves_output: is_stdin(&self.out),
        }
    }

    /// Watches a cgroup until the time is over, or until a signal.
    fn watch(&self, cgroup: &Cgroup, recorder: &mut Recorder<'_>, output: &Output) -> Result<Loss, Failure> {
        let cannot_wait = |error: io::Error| Failure::machine("cannot wait for events").because(error);
        let signals = BlockedSignals::block(&ENDING)
            .map_err(|error| Failure::machine("cannot block signals").because(error))?;
        let mut observation = Observation::of(cgroup, self.reads).map_err(cannot_observe)?;
        if let Some(error) = observation.not_traced() {
            if self.ignore_until_exec {
                return Err(no_execve().because(error.to_string()));
            }
            not_traced(error, output);
        }
        let until = match self.span {
            Some(Span(span)) => Instant::now().checked_add(span),
            None => None,
        };
        output.note(format_args!(
            "watching {}{}",
            printable_path(cgroup.path()),
            if until.is_some() { "" } else { " until SIGINT" }
        ));
        recorder.begin_run();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let is_signalled = observation.wait(&[signals.as_fd()], left).map_err(cannot_wait)?;
            observation.take(&mut |observed| recorder.add(observed));
            if is_signalled || left == Some(Duration::ZERO) {
                break;
            }
        }
        while signals.read().map_err(cannot_wait)?.is_some() {}
        let ObservationLoss { accesses, results, .. } =
            observation.end(&mut |observed| recorder.add(observed)).map_err(cannot_observe)?;
        Ok(Loss { accesses, results })
    }

    fn report_loss(&self, loss: Loss, output: &Output) -> Result<(), Failure> {
        if loss.results > 0 {
            let results = count(loss.results as usize, "result");
            output.warning(format_args!(
                "lost up to {results} of system calls; the accesses are comments in the policy"
            ));
        }
        if loss.accesses == 0 {
            return Ok(());
        }
        let lost = format!(
            "lost {}, so the policy may deny what the workload needs",
            count(loss.accesses as usize, "event")
        );
        if self.accept_loss {
            output.warning(lost);
            return Ok(());
        }
        Err(Failure::bad(lost).because("learn again from a shorter run, or accept that with --accept-loss"))
    }

    /// Where the policy goes has to be known to work before hours of watching.
    fn check_out(&self) -> Result<(), Failure> {
        if is_stdin(&self.out) {
            return Ok(());
        }
        policy_file::check_is_for_text(&self.out)?;
        let place = policy_file::name(&self.out);
        let directory = match self.out.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let error = match directory.metadata() {
            Ok(metadata) if metadata.is_dir() && !self.out.is_dir() => return Ok(()),
            Ok(metadata) if metadata.is_dir() => io::Error::from(io::ErrorKind::IsADirectory),
            Ok(_) => io::Error::from(io::ErrorKind::NotADirectory),
            Err(error) => error,
        };
        Err(Failure::usage(format!("cannot write {place}")).because(error))
    }

    fn write(&self, learnt: &Learnt, merged: Option<&PolicyFile>, output: &Output) -> Result<(), Failure> {
        learnt.notes.iter().for_each(|note| output.note(note));
        let text = learnt.file.source().text();
        if let Some(old) = merged.map(PolicyFile::source) {
            unified_diff::lines(old.name(), "with what was seen", old.text(), text)
                .iter()
                .for_each(|line| output.report(line));
        }
        if is_stdin(&self.out) {
            return output.raw(for_stdout(text).as_bytes());
        }
        let place = policy_file::name(&self.out);
        if let Err(error) = file_output::replace(&self.out, |file| file.write_all(text.as_bytes())) {
            // It may have taken hours.
            output.raw(for_stdout(text).as_bytes())?;
            let what = format!("cannot write {place}; the policy is on standard output");
            return Err(Failure::usage(what).because(error));
        }
        let added = if merged.is_some() { "added " } else { "" };
        output.done(format_args!("{}: {added}{}", printable(&place), count(learnt.rules, "rule")));
        Ok(())
    }

    /// What is observed, for a comment.
    fn title(&self, target: Option<&Target>, runs: u32) -> String {
        let what = match (target, &self.from) {
            (Some(Target::Workload(name, _)), _) => name.to_string(),
            (Some(target), _) => format!("the cgroup {}", target.cgroup().path().display()),
            (None, Some(path)) => format!("the events in {}", policy_file::name(path)),
            (None, None) => {
                let words: Vec<String> = self.command.iter().map(|word| word.display().to_string()).collect();
                let line = words.join(" ");
                let shown = &line[..line.floor_char_boundary(TITLE_MAX)];
                format!("`{shown}{}`", if shown.len() < line.len() { " …" } else { "" })
            }
        };
        if runs > 1 { format!("{what} in {runs} runs") } else { what }
    }

    /// The name of the command or cgroup, with `-` for what names of policies do not contain.
    fn default_name(&self, target: Option<&Target>) -> String {
        let path = match (target, &self.from) {
            (Some(Target::Workload(WorkloadName::Container(name) | WorkloadName::Unit(name), _)), _) => {
                Path::new(name)
            }
            (Some(Target::Workload(WorkloadName::Pod { name, .. }, _)), _) => Path::new(name),
            (Some(target), _) => target.cgroup().path(),
            (None, Some(path)) => path.as_path(),
            (None, None) => Path::new(self.command.first().map_or("".as_ref(), OsString::as_os_str)),
        };
        let name = path
            .file_stem()
            .filter(|_| !is_stdin(path))
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let allowed =
            |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let name: String = name.chars().map(allowed).take(limits::POLICY_NAME_MAX).collect();
        if name.is_empty() { "learnt".to_owned() } else { name }
    }
}

/// Loads a policy to which rules can be added.
///
/// # Errors
/// Those of [`policy_file::load_policy`], and [`Failure::Usage`] if it includes others.
fn load_extendable(path: &Path, output: &Output) -> Result<PolicyFile, Failure> {
    let file = policy_file::load_policy(path, output)?;
    if file.source().includes_others() {
        let what = format!("cannot add rules to {}, which includes others", file.source().name());
        return Err(Failure::usage(what).because(
            "the place of a new rule could be in any of them; learn a policy of its own, and copy its rules",
        ));
    }
    Ok(file)
}

/// The same policy without what a terminal interprets: the one that was merged has comments and texts that somebody else chose. The
/// ends of its lines stay.
fn for_stdout(policy: &str) -> String {
    let line = |line: &str| match line.strip_suffix('\r') {
        Some(line) => escape(line.as_bytes()) + "\r",
        None => escape(line.as_bytes()),
    };
    policy.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The signals that end watching or a review, and that end all further runs.
const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// # Errors
/// [`Failure::Machine`].
fn knobs_of_this_machine() -> Result<Vec<KnobName>, Failure> {
    let names = knob_names()
        .map_err(|error| Failure::machine("cannot list the knobs of this machine").because(error))?;
    Ok(names.into_iter().filter_map(|name| KnobName::from_path(name).ok()).collect())
}

fn not_traced(error: &knobgate_kernel::SyscallResultsError, output: &Output) {
    output.warning(format_args!(
        "it is not known which accesses succeed, so that all of them are comments in the policy: {error}"
    ));
}

fn no_execve() -> Failure {
    Failure::machine("cannot trace execve, which --ignore-until-exec needs")
}

fn cannot_observe(error: ObservationError) -> Failure {
    let what = Failure::machine(error.to_string());
    match error {
        // Without the privilege, nobody can find out what programs can do.
        ObservationError::Observer(ObserverError::NoEvents) => match cannot_load() {
            Some(why) => Failure::machine("cannot load the observer").because(why),
            None => what,
        },
        ObservationError::Observer(ObserverError::Load(error)) => load_failure(what, error),
        ObservationError::Observer(ObserverError::Parse(error)) => Failure::bug(error.to_string()),
        ObservationError::Observer(ObserverError::Compile(error)) => what.because(error),
        ObservationError::Observer(ObserverError::Maps(error)) => what.because(error),
        ObservationError::Observer(ObserverError::Attach(error)) => what.because(error),
        ObservationError::Reader(error) => what.because(error),
        ObservationError::Object(error) => what.because(error),
        ObservationError::Attach(error) => what.because(error),
        _ => what,
    }
}

fn no_policy(error: LearnError) -> Failure {
    match error {
        LearnError::Name { name, source } => no_name(&name, source),
        error => Failure::bad("cannot make a policy").because(error),
    }
}

fn no_name(name: &str, source: knobgate_policy::PolicyError) -> Failure {
    Failure::usage(format!("`{name}` is no name for a policy; give one with --name")).because(source)
}
