//! `knobgate agent`: keeps policies on cgroups while these come and go.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use knobgate::ContainerPolicies;
use knobgate_agent::{Agent, AgentError, AgentHandle, AgentOptions, Notice, Reporter};
use knobgate_kernel::BlockedSignals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable;

/// Keep the policies of a directory on the cgroups that they apply to
///
/// Puts each policy on every cgroup that its selectors (`apply if`, docs/language.md) mean: those that are there, and those that come
/// into being. It watches the cgroups, the directory and the configuration, and does nothing while nothing happens. It puts back what
/// somebody takes away, unless that was `knobgate off`.
///
/// On SIGHUP, and when a file changes, it reads everything again. If a file has an error, nothing changes. SIGTERM and SIGINT end it.
/// However it ends, the policies stay in force.
///
/// Exit status: 0 if it was stopped; 1 if a policy or the configuration has errors; 2 if the arguments are wrong; 3 if this machine
/// cannot do it, or another agent runs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AgentCommand {
    /// The configuration; by default /etc/knobgate/agent.toml, if that is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of the policies, which are the files *.knob
    #[arg(long, value_name = "DIR", default_value = ContainerPolicies::DIRECTORY)]
    policies: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  knobgate agent
  knobgate agent --config agent.toml --policies policies.d";

/// Prints each notice as a line.
struct Lines;

impl Reporter for Lines {
    fn notice(&self, notice: &Notice) {
        Output.report(format_args!("{}: {}", notice.kind.name(), printable(&notice.text)));
    }

    fn attached(&self, _: Duration) {}

    fn reloaded(&self, _: Duration, _: bool) {}
}

impl AgentCommand {
    pub(crate) fn run(self, _: &Output) -> Result<ExitCode, Failure> {
        let signals = BlockedSignals::block(&[Signal::TERM, Signal::INT, Signal::HUP]);
        let signals = signals.map_err(|error| Failure::machine("cannot block signals").because(error))?;
        let mut options = AgentOptions::default();
        (options.policies, options.config) = (self.policies, self.config);
        let agent = Agent::start(options, Box::new(Lines)).map_err(failure)?;
        serve(&agent, &signals)
            .map_err(|error| Failure::machine("cannot wait for signals").because(error))?;
        agent.join().map_err(failure)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Hands signals on until the agent has ended.
fn serve(agent: &AgentHandle, signals: &BlockedSignals) -> io::Result<()> {
    loop {
        let (signal, ended) = (signals.as_fd(), agent.as_fd());
        let mut polled = [PollFd::new(&signal, PollFlags::IN), PollFd::new(&ended, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !polled[1].revents().is_empty() {
            return Ok(());
        }
        while let Some(info) = signals.read()? {
            match info.signal {
                Signal::HUP => agent.reload(),
                _ => agent.stop(),
            }
        }
    }
}

fn failure(error: AgentError) -> Failure {
    match error {
        AgentError::Policies(error) => Failure::bad("the agent does not start").because(error),
        error => Failure::machine("the agent cannot run").because(error),
    }
}
