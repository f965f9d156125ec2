//! `knobgate run`: start a command under a policy.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use knobgate::{EventMemoryMaps, Off, OnDeparture, RunError, RunEvent, RunOutcome, Supervisor};
use knobgate_kernel::{BpfObjectError, Cgroup, LoadedProgram};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::bpf_token::BpfTokenArgs;
use crate::cgroup_argument::{cgroup_at, type_of};
use crate::deciding_hook::DecidingHook;
use crate::departure_report::DepartureReport;
use crate::event_summary;
use crate::failure::Failure;
use crate::off;
use crate::output::Output;
use crate::program_source::{ProgramSource, ProgramSourceArgs};

/// Run a command under a policy, from its first instruction on
///
/// Creates a cgroup, attaches the policy to it, and starts the command inside. The command inherits the privileges of knobgate;
/// unlike the policy, you can drop them (knobgate run … -- setpriv --reuid=1000 …).
///
/// The command has the terminal, standard streams, environment and process group of knobgate. Knobgate forwards INT,
/// TERM, HUP, QUIT, USR1, USR2, WINCH, TSTP and CONT to it, and waits for its end.
///
/// When the command ends, everything that still runs in its cgroup is killed, so that nothing outlives the policy: use
/// `attach`, not `run`, for a command that goes into the background. If knobgate is killed, everything in the cgroup is
/// killed too.
///
/// A process that moves to another cgroup leaves the policy. `run` does not prevent that. It warns at once, and again
/// at the end; with --strict it kills such a process, and everything that the process has started since. Container
/// engines and service managers move what they start: `knobgate run -- runc run …` enforces nothing in the container.
/// Instead, attach the policy to the cgroup in which the engine creates its containers (knobgate attach --cgroup
/// machine.slice), and they start under it.
///
/// At the end, `run` says what was denied, rewritten or could not be evaluated, as far as the policy's rules log.
///
/// Privileges: root, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; to say at the end what was denied: CAP_SYS_ADMIN; with
/// --bpf-token, those of a user namespace are enough.
///
/// Exit status: that of the command, or 128+n if signal n ended it; 127 if there is no such command, 126 if it cannot
/// be executed; 1 if the policy has errors, 2 for wrong arguments, 3 if this machine cannot enforce the policy, or the
/// policy is off (`knobgate off`). In these cases nothing was started. If knobgate can no longer supervise the command, it kills it: 137.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    source: ProgramSourceArgs,
    /// The cgroup in which to create one for the command: a path in the file system, or relative to the root of the
    /// hierarchy; by default the caller's own
    #[arg(long, value_name = "PARENT")]
    cgroup: Option<PathBuf>,
    /// Kill processes that leave the command's cgroup, and everything that they have started since
    #[arg(long)]
    strict: bool,
    /// Do not print at the end what was denied, rewritten or could not be evaluated
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    token: BpfTokenArgs,
    /// The command with its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let source = self.source.read(output)?;
        self.token.apply(output)?;
        let parent = parent(self.cgroup.as_deref(), "; choose one with --cgroup")?;
        let loaded = source.load(None, output)?;
        if let Some(by) = Off::read()?.of_policy(source.name()) {
            return Err(off::failure(&format!("run a command under {source}"), &by));
        }
        let memory = if self.quiet { None } else { memory_of(&loaded, output)? };
        let (program, arguments) = self.command.split_first().ok_or_else(|| Failure::usage("no command"))?;

        let supervisor = Supervisor::new()?;
        let on_departure = if self.strict { OnDeparture::Kill } else { OnDeparture::Report };
        let mut command = Command::new(program);
        command.args(arguments);
        let mut report = DepartureReport::default();
        let ran = supervisor.run(&mut command, loaded, &parent, on_departure, &mut |event| {
            print_event(event, &source, &mut report, output);
        });
        let status = match ran {
            Ok(RunOutcome { status, unsupervised, not_removed, departures, .. }) => {
                if let Some(error) = unsupervised {
                    output.failure(&error.into());
                }
                if let Some(error) = not_removed {
                    output.failure(&Failure::machine("cannot clean up after the command").because(error));
                }
                if let Some(departures) = departures {
                    report.end(&departures, on_departure, output);
                }
                if let Some(memory) = memory {
                    match memory.read() {
                        Ok(memory) => {
                            event_summary::print(&source.to_string(), source.policy_file(), &memory, output);
                        }
                        Err(error) => output.error(&error),
                    }
                }
                shell_status(status)
            }
            Err(RunError::Start(error)) => cannot_start(program, error, output)?,
            Err(error) => return Err(error.into()),
        };
        supervisor.keep_signals_blocked();
        Ok(ExitCode::from(status))
    }
}

/// What the program will remember of its events. Without the privilege for it, there is a warning.
fn memory_of(loaded: &LoadedProgram, output: &Output) -> Result<Option<EventMemoryMaps>, Failure> {
    match EventMemoryMaps::of(loaded) {
        Ok(memory) => Ok(memory),
        Err(error @ BpfObjectError::NotPermitted { .. }) => {
            output.warning(format_args!("there will be no summary of what was denied: {error}"));
            Ok(None)
        }
        Err(error) => Err(Failure::machine("cannot use the memory of events").because(error)),
    }
}

/// The cgroup in which to create one for a command: that at `path`, or the caller's own. `help` is what else to do.
pub(super) fn parent(path: Option<&Path>, help: &str) -> Result<Cgroup, Failure> {
    let cannot_use_own = || Failure::machine(format!("cannot create a cgroup in the caller's own{help}"));
    let parent = match path {
        Some(path) => cgroup_at(path)?,
        None => Cgroup::of_this_process().map_err(|error| cannot_use_own().because(error))?,
    };
    let kind = type_of(&parent)?;
    if kind.has_domain_children() {
        return Ok(parent);
    }
    let why = format!(
        "the cgroup.type of {} is \"{kind}\", and no process can be in a cgroup that is created there",
        parent.path().display()
    );
    Err(match path {
        Some(_) => {
            Failure::usage("cannot create a cgroup in this one; choose another with --cgroup").because(why)
        }
        None => cannot_use_own().because(why),
    })
}

fn print_event(event: RunEvent<'_>, source: &ProgramSource, report: &mut DepartureReport, output: &Output) {
    match event {
        RunEvent::NotTracked(error) => {
            output.note(format_args!("processes that leave the policy cannot be reported: {error}"));
        }
        RunEvent::Ready => output.note(source.on(&DecidingHook::of_this_machine())),
        RunEvent::Departed { departure, killed } => report.add(departure, killed, output),
        RunEvent::TrackingFailed(error) => output.error(error),
        RunEvent::GuardReplaced => {
            output.warning("the guard of the command's cgroup was killed, and has been replaced");
        }
        _ => {}
    }
}

/// The exit status that a shell gives for a command that ended like this.
fn shell_status(status: ExitStatus) -> u8 {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match status.signal() {
        Some(signal) => byte(signal).saturating_add(128),
        None => status.code().map_or(u8::MAX, byte),
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let what = match error {
            RunError::Departures(_) => format!("{error} (--strict)"),
            _ => error.to_string(),
        };
        let failure = Self::machine(what);
        match error {
            RunError::Signals(source) | RunError::Start(source) | RunError::Wait(source) => {
                failure.because(source)
            }
            RunError::Cgroup(source) => failure.because(source),
            RunError::Attach(source) => failure.because(source),
            RunError::Guard(source) | RunError::Unguarded(source) => failure.because(source),
            RunError::Departures(source) => failure.because(source),
            _ => failure,
        }
    }
}

/// The exit status that shells give for a command that cannot be started, unless its cgroup is the reason.
pub(super) fn cannot_start(program: &OsStr, error: io::Error, output: &Output) -> Result<u8, Failure> {
    const NOT_FOUND: u8 = 127;
    const NOT_EXECUTABLE: u8 = 126;
    let status = match find_command(program) {
        CommandLookup::Nothing => NOT_FOUND,
        CommandLookup::NotExecutable => NOT_EXECUTABLE,
        CommandLookup::Executable if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        CommandLookup::Executable if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            NOT_EXECUTABLE
        }
        CommandLookup::Executable => {
            let what = format!("cannot start {} in a cgroup of its own", program.display());
            return Err(Failure::machine(what).because(error));
        }
    };
    output.failure(&Failure::usage(format!("cannot start {}", program.display())).because(error));
    Ok(status)
}

enum CommandLookup {
    Nothing,
    NotExecutable,
    Executable,
}

/// Looks for a command where exec looks.
fn find_command(program: &OsStr) -> CommandLookup {
    let look = |path: &Path| {
        if !path.exists() {
            CommandLookup::Nothing
        } else if path.is_file() && access(path, Access::EXEC_OK).is_ok() {
            CommandLookup::Executable
        } else {
            CommandLookup::NotExecutable
        }
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return look(Path::new(program));
    }
    let mut best = CommandLookup::Nothing;
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        match look(&directory.join(program)) {
            CommandLookup::Executable => return CommandLookup::Executable,
            CommandLookup::NotExecutable => best = CommandLookup::NotExecutable,
            CommandLookup::Nothing => {}
        }
    }
    best
}
