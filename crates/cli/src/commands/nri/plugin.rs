//! What the plugin answers.

use std::io::ErrorKind;
use std::path::PathBuf;

use knobgate_nri::messages::{Container, PodSandbox};
use knobgate_nri::{Adjustment, Events, Plugin, Rejection, Runtime, SessionError};

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

impl<C: StartCheck> Plugin for KnobgatePlugin<'_, C> {
    fn events(&self) -> Events {
        match self.hooks {
            Some(_) => Events::CREATE_CONTAINER | Events::START_CONTAINER,
            None => Events::START_CONTAINER,
        }
    }

    fn connected(&mut self, runtime: &Runtime) {
        self.output.note(format!("registered with {} {}", runtime.name, runtime.version));
    }

    fn disconnected(&mut self, why: &SessionError) {
        let hint = match why {
            SessionError::Connect(error) if error.kind() == ErrorKind::NotFound => {
                " (is there a runtime, and is NRI enabled in its configuration?)"
            }
            _ => "",
        };
        self.output.warning(format!(
            "{}: {}{hint}; trying again, and containers start without policies until then",
            self.socket.display(),
            chain(why)
        ));
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
