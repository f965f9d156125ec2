//! `knobgate runtime`: an OCI runtime that starts containers under their policies, in front of another one.

mod arguments;
mod bundle;
mod json_object;
mod runtime_log;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use knobgate::{ContainerError, Off, WorkloadFields, planned_workload};

use crate::failure::{BAD, Failure};
use crate::hook_arguments::{HookArguments, command_line, this_program};
use crate::journal::{self, Priority};
use crate::output::{Output, chain};
use crate::printable::printable;
use arguments::{Arguments, Start};
use bundle::{Bundle, Changes, Hook};
use runtime_log::RuntimeLog;

/// Start containers under their policies, for engines that have no hooks: an OCI runtime in front of runc or crun
///
/// An engine calls it instead of its runtime, with the same arguments. Where these start a container (create, run, restore), it
/// adds hooks to the container's bundle that run `knobgate oci-hook`. Then it executes the runtime with the same arguments. All
/// else is the runtime's own.
///
/// With --writable-proc-sys, /proc/sys is no longer read-only in containers to which a policy applies that is enforced and denies
/// writes by default, unless that policy is off (`knobgate off`). The hook then lets no such container start without that policy. Without it, a policy can only restrict
/// containers that may write to /proc/sys anyway.
///
/// Privileges: none; the runtime needs its own, and the hooks those of `oci-hook`.
///
/// Exit status: that of the runtime; 1 if the container must not start, with one line on standard error and in the runtime's log.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Runtime {
    /// The runtime to execute: a name in PATH, or a path
    #[arg(long, value_name = "RUNTIME", default_value = "runc")]
    runtime: OsString,
    #[command(flatten)]
    hook: HookArguments,
    /// Make /proc/sys writable where a policy says what may be written
    #[arg(long, conflicts_with = "fail_open")]
    writable_proc_sys: bool,
    /// The arguments of the runtime
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  knobgate runtime --runtime runc -- run --bundle web web-1

In /etc/docker/daemon.json, for `docker run --runtime knobgate`:
  {\"runtimes\": {\"knobgate\": {\"path\": \"/usr/bin/knobgate\", \"runtimeArgs\": [\"runtime\", \"--runtime\", \"runc\", \"--\"]}}}";

impl Runtime {
    pub(crate) fn run(self, output: &Output) -> ExitCode {
        let arguments = Arguments::parse(&self.arguments);
        let log = RuntimeLog::of(&arguments);
        let prepared = arguments.start().map_err(Failure::usage).and_then(|start| match start {
            Some(start) => self.prepare(&start, &log),
            None => Ok(()),
        });
        match prepared {
            Ok(()) => {}
            Err(failure) if self.hook.fail_open => {
                let said = format!(
                    "the container starts unjudged, because knobgate fails open: {}",
                    chain(&failure)
                );
                say(Priority::Warning, &said, &log);
                output.warning(said);
            }
            Err(failure) => return report(&failure, &log, output),
        }
        let error = Command::new(&self.runtime).args(&self.arguments).exec();
        let what = format!("cannot execute the runtime {}", self.runtime.display());
        report(&Failure::machine(what).because(error), &log, output)
    }

    /// Adds the hooks to the bundle.
    fn prepare(&self, start: &Start<'_>, log: &RuntimeLog) -> Result<(), Failure> {
        let bundle = Bundle::read(start.bundle, start.config)?;
        let is_writable = self.writable_proc_sys && self.has_default_deny(start)?;
        if is_writable {
            for obstacle in bundle.read_only_below_proc_sys() {
                say(Priority::Warning, &format!("knobgate leaves {obstacle} as it is"), log);
            }
        }
        let hook = Hook { path: this_program()?, args: command_line(Hook::NAME, self.hook.of_hook()?) };
        let changes = Changes { hook, writable_proc_sys: is_writable };
        bundle.change(&changes)
    }

    /// Whether a policy applies to the container that is enforced, denies writes by default, and is not off.
    fn has_default_deny(&self, start: &Start<'_>) -> Result<bool, Failure> {
        let off = Off::read();
        if off.as_ref().is_ok_and(|off| off.all().is_some()) {
            return Ok(false);
        }
        let cannot = |error: ContainerError| Failure::bad("cannot make /proc/sys writable").because(error);
        let policies = self.hook.read_policies().map_err(cannot)?;
        let workload = planned_workload(text("the id", start.id)?, start.bundle).map_err(cannot)?;
        let applying = policies.applying_to(&WorkloadFields::of(&workload)).map_err(cannot)?;
        let mut denying = applying.into_iter().filter(|policy| policy.denies_writes_by_default()).peekable();
        if denying.peek().is_none() {
            return Ok(false);
        }
        let off = off?;
        Ok(denying.any(|policy| off.of(policy.version().name()).is_none()))
    }
}

fn report(failure: &Failure, log: &RuntimeLog, output: &Output) -> ExitCode {
    say(Priority::Error, &format!("knobgate: {}", chain(failure)), log);
    output.failure(failure);
    ExitCode::from(BAD)
}

/// Says something where engines and administrators read it.
fn say(priority: Priority, message: &str, log: &RuntimeLog) {
    log.write(priority, message);
    journal::send(priority, &printable(message), &[], None);
}

/// Text for JSON, which has no other.
fn text<'a>(what: &str, text: &'a OsStr) -> Result<&'a str, Failure> {
    text.to_str().ok_or_else(|| Failure::usage(format!("{what} {} is not UTF-8", text.display())))
}
