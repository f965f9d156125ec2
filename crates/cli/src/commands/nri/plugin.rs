//! What the plugin answers.

use std::io::ErrorKind;
use std::path::PathBuf;

use knobgate_nri::messages::{Container, PodSandbox};
use knobgate_nri::{Adjustment, Events, Plugin, Rejection, Runtime, SessionError};
use sd_notify::NotifyState;

use super::injected_hooks::InjectedHooks;
use super::start_check::StartCheck;
use crate::hook_arguments::NamespacedHookArguments;
use crate::output::{Output, chain};
use crate::plural::count;
use crate::printable::printable;

/// Adds hooks to containers, and checks what they did.
pub(crate) struct KnobgatePlugin<'a, C> {
    /// `None` if the runtime does not want them.
    hooks: Option<InjectedHooks>,
    check: C,
    arguments: NamespacedHookArguments,
    socket: PathBuf,
    output: &'a Output,
}

impl<'a, C: StartCheck> KnobgatePlugin<'a, C> {
    pub(crate) fn new(
        hooks: Option<InjectedHooks>,
        check: C,
        arguments: NamespacedHookArguments,
        socket: PathBuf,
        output: &'a Output,
    ) -> Self {
        Self { hooks, check, arguments, socket, output }
    }

    /// Does not let the container go on, and says so, unless containers like it start all the same.
    fn failed(&self, pod: &PodSandbox, container: &Container, why: &str) -> Result<(), Rejection> {
        let who = format!("{}/{}/{}", pod.namespace, pod.name, container.name);
        if self.arguments.fails_open(Some(&pod.namespace)) {
            self.output.warning(format!("the container {who} starts without its policies: {why}"));
            return Ok(());
        }
        self.output.warning(format!("the container {who} does not start: {why}"));
        Err(Rejection::new(printable(&format!("knobgate: {why}"))))
    }
}

/// Tells systemd that the plugin is up, and what `systemctl status` shows. It is up even without a runtime: nothing should wait longer
/// for it than it takes to ask a runtime that is there.
fn systemd_status(said: &str) {
    // Whoever does not listen does not need to know.
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&printable(said))]);
}

impl<C: StartCheck> Plugin for KnobgatePlugin<'_, C> {
    fn events(&self) -> Events {
        match self.hooks {
            Some(_) => Events::CREATE_CONTAINER | Events::START_CONTAINER,
            None => Events::START_CONTAINER,
        }
    }

    fn connected(&mut self, runtime: &Runtime) {
        let said = format!("registered with {} {}", runtime.name, runtime.version);
        systemd_status(&said);
        self.output.note(said);
    }

    fn disconnected(&mut self, why: &SessionError) {
        let hint = match why {
            SessionError::Connect(error) if error.kind() == ErrorKind::NotFound => {
                " (is there a runtime, and is NRI enabled in its configuration?)"
            }
            _ => "",
        };
        let said = format!(
            "{}: {}{hint}; trying again, and containers start without policies until then",
            self.socket.display(),
            chain(why)
        );
        systemd_status(&said);
        self.output.warning(said);
    }

    fn synchronize(&mut self, _: &[PodSandbox], containers: &[Container]) {
        if !containers.is_empty() {
            let there = count(containers.len(), "container");
            self.output.note(format!("there before, and left as they are: {there}"));
        }
    }

    fn create_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<Adjustment, Rejection> {
        let Some(hooks) = &self.hooks else { return Ok(Adjustment::default()) };
        match hooks.of(pod, container) {
            Ok(adjustment) => Ok(adjustment),
            Err(why) => self.failed(pod, container, &why).map(|()| Adjustment::default()),
        }
    }

    fn start_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        match self.check.check(pod, container) {
            Ok(off) => {
                for by in off {
                    let who = format!("{}/{}/{}", pod.namespace, pod.name, container.name);
                    self.output.warning(format!("the container {who} starts without a policy: {by}"));
                }
                Ok(())
            }
            Err(why) => self.failed(pod, container, &why),
        }
    }
}
