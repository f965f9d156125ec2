//! Whether the policies of a container are on it.

use std::time::Duration;

use knobgate::{Attachments, ContainerError, ContainerPolicies, ContainerPolicy, Off, StartingContainer};
use knobgate_kernel::LinkSource;
use knobgate_nri::messages::{Container, PodSandbox};

use super::injected_hooks::labels;
use crate::hook_arguments::HookArguments;
use crate::output::chain;

/// How long the plugin waits for whoever changes attachments. After two seconds, the runtime goes on without the plugin, and starts
/// containers without policies.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is done about a container that is about to start. It has a cgroup, and its process waits.
pub(crate) trait StartCheck {
    /// Which of its policies are off, each with the reason; or why it must not start.
    fn check(&mut self, pod: &PodSandbox, container: &Container) -> Result<Vec<String>, String>;
}

/// The policies in a directory, which is read for each container.
#[derive(Debug)]
pub(crate) struct Policies {
    arguments: HookArguments,
    /// Whether they are put on it now, where no hook has done so.
    puts_them_on: bool,
}

impl Policies {
    pub(crate) fn new(arguments: &HookArguments, puts_them_on: bool) -> Self {
        Self { arguments: arguments.clone(), puts_them_on }
    }

    pub(crate) fn read(&self) -> Result<ContainerPolicies, ContainerError> {
        self.arguments.read_policies()
    }

    fn put_on(
        container: &StartingContainer,
        applying: &[&ContainerPolicy],
        are_off: &mut Vec<String>,
    ) -> Result<(), String> {
        let attachments = Attachments::create().map_err(|error| chain(&error))?.with_patience(PATIENCE);
        let linked = container.link(&attachments, applying, LinkSource::Nri);
        let linked = linked.map_err(|error| chain(&error))?;
        are_off.extend(linked.off.iter().map(|(_, by)| by.to_string()));
        Ok(())
    }

    fn are_on(container: &StartingContainer, applying: &[&ContainerPolicy]) -> Result<(), String> {
        let cgroup = container.cgroup().map_err(|error| chain(&error))?;
        let attachments = Attachments::open().map_err(|error| chain(&error))?;
        for policy in applying {
            let is_on = attachments.as_ref().map(|attachments| policy.is_on(attachments, &cgroup));
            if !is_on.transpose().map_err(|error| chain(&error))?.unwrap_or(false) {
                return Err(format!(
                    "the policy \"{}\" is not on it: either it was created while this plugin was not registered, or its \
                     OCI runtime runs no hooks",
                    policy.name()
                ));
            }
        }
        Ok(())
    }
}

impl StartCheck for Policies {
    fn check(&mut self, pod: &PodSandbox, container: &Container) -> Result<Vec<String>, String> {
        let off = Off::read().map_err(|error| chain(&error));
        if let Some(by) = off.as_ref().ok().and_then(Off::all) {
            return Ok(vec![by.to_string()]);
        }
        let policies = self.read().map_err(|error| chain(&error))?;
        if policies.policies().is_empty() {
            return Ok(Vec::new());
        }
        let annotations = container.annotations.clone().into_iter().collect();
        let cgroups_path = container.linux.as_ref().map(|linux| &*linux.cgroups_path);
        let cgroups_path = cgroups_path.filter(|path| !path.is_empty());
        let starting = StartingContainer::created(&container.id, container.pid, &annotations, cgroups_path);
        let mut starting = starting.map_err(|error| chain(&error))?;
        starting.set_labels(labels(pod, container).map(|(key, value)| (key.to_owned(), value.to_owned())));
        let mut applying = policies.applying_to(&starting.fields()).map_err(|error| chain(&error))?;
        if applying.is_empty() {
            return Ok(Vec::new());
        }
        // If that is not known, only the containers to which policies apply do not start.
        let off = off?;
        let mut are_off = Vec::new();
        applying.retain(|policy| {
            let by = off.of(policy.version().name());
            are_off.extend(by.as_ref().map(ToString::to_string));
            by.is_none()
        });
        if applying.is_empty() {
            return Ok(are_off);
        }
        if self.puts_them_on {
            Self::put_on(&starting, &applying, &mut are_off)?;
        } else {
            Self::are_on(&starting, &applying)?;
        }
        Ok(are_off)
    }
}
