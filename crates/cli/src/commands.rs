//! The subcommands, one module each.

mod agent;
mod attach;
mod check;
mod compile;
mod completions;
mod detach;
mod diff;
mod doctor;
mod drift;
mod explain;
mod fmt;
mod import;
mod knobs;
mod learn;
mod lint;
mod list;
mod log;
mod lsp;
mod man;
mod nri;
mod oci_hook;
mod off;
mod on;
mod presets;
mod replay;
mod report;
mod run;
mod runtime;
mod show;
mod simulate;
mod status;
mod systemd_dropin;
mod test;
mod top;
mod unhook;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// The subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Check),
    Fmt(fmt::Fmt),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Test(test::Test),
    Import(import::Import),
    Presets(presets::Presets),
    Knobs(knobs::Knobs),
    Lint(lint::Lint),
    Lsp(lsp::Lsp),
    Drift(drift::Drift),
    Compile(compile::Compile),
    Simulate(simulate::Simulate),
    Attach(attach::Attach),
    Detach(detach::Detach),
    #[command(name = "off")]
    TurnOff(off::TurnOff),
    #[command(name = "on")]
    TurnOn(on::TurnOn),
    List(list::List),
    Show(show::Show),
    Status(status::StatusCommand),
    Top(top::Top),
    Watch(watch::Watch),
    Log(log::Log),
    Replay(replay::Replay),
    Report(report::Report),
    Doctor(doctor::Doctor),
    Run(run::Run),
    Runtime(runtime::Runtime),
    Agent(agent::AgentCommand),
    Learn(learn::Learn),
    OciHook(oci_hook::OciHook),
    Nri(nri::Nri),
    SystemdDropin(systemd_dropin::SystemdDropin),
    Unhook(unhook::Unhook),
    Verify(verify::Verify),
    Completions(completions::Completions),
    Man(man::ManPage),
}

impl Command {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Check(check) => check.run(output),
            Self::Fmt(fmt) => fmt.run(output),
            Self::Explain(explain) => explain.run(output),
            Self::Diff(diff) => diff.run(output),
            Self::Test(test) => test.run(output),
            Self::Import(import) => import.run(output),
            Self::Presets(presets) => presets.run(output),
            Self::Knobs(knobs) => knobs.run(output),
            Self::Lint(lint) => lint.run(output),
            Self::Lsp(lsp) => lsp.run(output),
            Self::Drift(drift) => drift.run(output),
            Self::Compile(compile) => compile.run(output),
            Self::Simulate(simulate) => simulate.run(output),
            Self::Attach(attach) => attach.run(output),
            Self::Detach(detach) => detach.run(output),
            Self::TurnOff(off) => off.run(output),
            Self::TurnOn(on) => on.run(output),
            Self::List(list) => list.run(output),
            Self::Show(show) => show.run(output),
            Self::Status(status) => status.run(output),
            Self::Top(top) => top.run(output),
            Self::Watch(watch) => watch.run(output),
            Self::Log(log) => log.run(output),
            Self::Replay(replay) => replay.run(output),
            Self::Report(report) => report.run(output),
            Self::Doctor(doctor) => doctor.run(output),
            Self::Run(run) => run.run(output),
            Self::Agent(agent) => agent.run(output),
            Self::Runtime(runtime) => Ok(runtime.run(output)),
            Self::Learn(learn) => learn.run(output),
            Self::OciHook(hook) => Ok(hook.run(output)),
            Self::Nri(nri) => nri.run(output),
            Self::SystemdDropin(dropin) => dropin.run(output),
            Self::Unhook(unhook) => unhook.run(output),
            Self::Verify(verify) => verify.run(output),
            Self::Completions(completions) => completions.run(output),
            Self::Man(man) => man.run(output),
        }
    }
}
