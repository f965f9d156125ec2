//! `knobgate agent`: keeps policies on cgroups while these come and go.

mod decisions;
mod entry;
mod log;
mod log_queue;
mod otlp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use knobgate::{AgentConfig, ContainerPolicies};
use knobgate_agent::{Agent, AgentError, AgentOptions, RUN_DIRECTORY, Service};
use knobgate_kernel::BlockedSignals;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Failure;
use crate::output::Output;
use decisions::Decisions;
use log::Log;

/// Keep the policies of a directory on the cgroups that they apply to
///
/// Puts each policy on every cgroup that its selectors (`apply if`, docs/language.md) mean: those that are there, and those that come
/// into being. It watches the cgroups, the directory and the configuration, and does nothing while nothing happens. It puts back what
/// somebody takes away, unless that was `knobgate off`.
///
/// On SIGHUP, and when a file changes, it reads everything again. If a file has an error, nothing changes. SIGTERM and SIGINT end it.
/// However it ends, the policies stay in force.
///
/// Privileges: root, CAP_SYS_ADMIN.
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

impl AgentCommand {
    pub(crate) fn run(self, _: &Output) -> Result<ExitCode, Failure> {
        allow_descriptors();
        // Before there are threads.
        let signals = BlockedSignals::block(&Service::SIGNALS);
        let signals = signals.map_err(|error| Failure::machine("cannot block signals").because(error))?;
        let config = AgentConfig::read_or_default(self.config.as_deref());
        let config = config.map_err(|error| failure(error.into()))?;
        let service = Service::new();
        let (mut log, written) =
            Log::start(config.log_format, config.log_level, Arc::clone(service.metrics()))?;
        if let Some(endpoint) = &config.log_otlp {
            let file = self.config.as_deref().unwrap_or(Path::new(AgentConfig::PATH));
            log = otlp::with_collector(log, endpoint, file)?;
        }
        let mut options = AgentOptions::default();
        (options.policies, options.config) = (self.policies, self.config);
        let ended = serve(&service, options, &config, &log, &signals);
        drop((service, log));
        written.finish();
        ended
    }
}

/// Raises the limit of open descriptors as far as this process may: each policy takes about ten, and the usual limit of 1024 is for
/// programs that use select(2).
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // If that fails, the agent says later what it cannot open.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Runs the agent until it ends.
fn serve(
    service: &Service,
    options: AgentOptions,
    config: &AgentConfig,
    log: &Log,
    signals: &BlockedSignals,
) -> Result<ExitCode, Failure> {
    let agent = Agent::start(options, service.reporter(Box::new(log.clone()))).map_err(failure)?;
    let _decisions = Decisions::log(log.clone())?;
    let served = service.run(&agent, Path::new(RUN_DIRECTORY), config.metrics_listen, signals);
    served.map_err(|error| Failure::machine("the agent cannot be asked").because(error))?;
    agent.join().map_err(failure)?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: AgentError) -> Failure {
    match error {
        AgentError::Policies(error) => Failure::bad("the agent does not start").because(error),
        error => Failure::machine("the agent cannot run").because(error),
    }
}
