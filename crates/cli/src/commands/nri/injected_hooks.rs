//! The hooks that a container gets.

use knobgate_nri::Adjustment;
use knobgate_nri::messages::{Container, Hook, Hooks, OptionalInt, PodSandbox};

use crate::failure::Failure;
use crate::hook_arguments::{NamespacedHookArguments, command_line, this_program};

/// The longest that a hook may take, in seconds: the kubelet waits for two minutes.
const TIMEOUT: i64 = 60;

/// The most bytes of labels that a hook gets. The kernel allows a program 128 KiB in one argument, and some 2 MiB in all.
const LABELS_MAX: usize = 64 << 10;

/// What the hooks of all containers have in common.
#[derive(Debug)]
pub(crate) struct InjectedHooks {
    /// This program.
    program: String,
    arguments: Vec<String>,
}

impl InjectedHooks {
    /// Hooks that run this program.
    pub(crate) fn of_this_program(arguments: &NamespacedHookArguments) -> Result<Self, Failure> {
        Ok(Self { program: this_program()?, arguments: arguments.of_hook()? })
    }

    /// Those of this container.
    ///
    /// # Errors
    ///
    /// Its labels cannot be handed on.
    pub(crate) fn of(&self, pod: &PodSandbox, container: &Container) -> Result<Adjustment, String> {
        let arguments = self.arguments.iter().cloned().chain(label_arguments(pod, container)?);
        // At its end, the hook only cleans up.
        Ok(Adjustment {
            hooks: Hooks { create_runtime: vec![self.hook(arguments)], poststop: vec![self.hook([])] },
        })
    }

    fn hook(&self, arguments: impl IntoIterator<Item = String>) -> Hook {
        Hook {
            path: self.program.clone(),
            args: command_line("knobgate", arguments),
            env: Vec::new(),
            timeout: Some(OptionalInt { value: TIMEOUT }),
        }
    }
}

/// The labels of the container, and those of its pod that it has not itself.
///
/// They are arguments and not annotations, which whoever makes a pod can also make up.
pub(crate) fn labels<'a>(
    pod: &'a PodSandbox,
    container: &'a Container,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let of_pod = pod.labels.iter().filter(|(key, _)| !container.labels.contains_key(*key));
    container.labels.iter().chain(of_pod).map(|(key, value)| (key.as_str(), value.as_str()))
}

fn label_arguments(pod: &PodSandbox, container: &Container) -> Result<Vec<String>, String> {
    let mut bytes = 0;
    let argument = |(key, value): (&str, &str)| {
        // The key of another label could be made up so.
        if key.contains('=') {
            return Err(format!("it has a label with `=` in its key, \"{key}\""));
        }
        bytes += key.len() + value.len();
        if bytes > LABELS_MAX {
            return Err(format!("it has more than {} KiB of labels", LABELS_MAX >> 10));
        }
        Ok(format!("--label={key}={value}"))
    };
    labels(pod, container).map(argument).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_labels(pod: &[(&str, &str)], container: &[(&str, &str)]) -> (PodSandbox, Container) {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        (
            PodSandbox { labels: map(pod), ..PodSandbox::default() },
            Container { labels: map(container), ..Container::default() },
        )
    }

    #[test]
    fn hooks_have_the_labels_of_the_container_before_those_of_the_pod() {
        let hooks = InjectedHooks {
            program: "/usr/bin/knobgate".to_owned(),
            arguments: vec!["--policies=/p".to_owned()],
        };
        let (pod, container) =
            with_labels(&[("tier", "front"), ("name", "pod's")], &[("name", "-x \n"), ("a", "")]);
        let adjustment = hooks.of(&pod, &container).unwrap();
        let [hook] = &adjustment.hooks.create_runtime[..] else { panic!("one hook") };
        assert_eq!(hook.path, "/usr/bin/knobgate");
        assert_eq!(adjustment.hooks.poststop[0].args, ["knobgate", "oci-hook"]);
        let labels = ["--label=a=", "--label=name=-x \n", "--label=tier=front"];
        assert_eq!(hook.args, [&["knobgate", "oci-hook", "--policies=/p"][..], &labels].concat());
    }

    #[test]
    fn labels_that_cannot_be_handed_on_are_errors() {
        let (pod, container) = with_labels(&[("tier=front", "x")], &[]);
        assert!(label_arguments(&pod, &container).unwrap_err().contains("with `=` in its key"));
        let long = "x".repeat(LABELS_MAX - 1);
        let (pod, container) = with_labels(&[("a", &long)], &[]);
        assert_eq!(label_arguments(&pod, &container).unwrap().len(), 1);
        let (pod, container) = with_labels(&[("a", &long)], &[("b", "")]);
        assert_eq!(label_arguments(&pod, &container).unwrap_err(), "it has more than 64 KiB of labels");
    }
}
