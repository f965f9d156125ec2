//! The options of `oci-hook` that the commands which add it to containers hand on to it.

use std::env::current_exe;
use std::path::{Path, PathBuf, absolute};

use knobgate::{ContainerError, ContainerPolicies};

use crate::failure::Failure;
use crate::printable::printable_path;

/// What the hook of every container is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HookArguments {
    /// The directory of the policies, which are the files *.knob
    #[arg(long, value_name = "DIR", default_value = ContainerPolicies::DIRECTORY)]
    pub(crate) policies: PathBuf,
    /// What the administrator says about these policies: to which containers they apply, and in which mode; by default
    /// /etc/knobgate/agent.toml, if that is there
    #[arg(long, value_name = "FILE")]
    pub(crate) agent_config: Option<PathBuf>,
    /// Let every container start, also one on which its policies cannot be put; that is said each time
    #[arg(long)]
    pub(crate) fail_open: bool,
}

/// The same, where the namespace of a container is known.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NamespacedHookArguments {
    #[command(flatten)]
    pub(crate) of_all: HookArguments,
    /// The same for the containers in this namespace of Kubernetes; can be repeated
    #[arg(long = "fail-open-namespace", value_name = "NAMESPACE")]
    pub(crate) fail_open_namespaces: Vec<String>,
}

impl HookArguments {
    /// The subcommand of knobgate that is the hook.
    pub(crate) const COMMAND: &str = "oci-hook";

    /// The policies, as they are now.
    pub(crate) fn read_policies(&self) -> Result<ContainerPolicies, ContainerError> {
        ContainerPolicies::read(&self.policies, self.agent_config.as_deref())
    }

    /// The options as arguments for the hook, which runs in another directory.
    pub(crate) fn of_hook(&self) -> Result<Vec<String>, Failure> {
        let mut arguments = vec![format!("--policies={}", absolute_text(&self.policies)?)];
        if let Some(file) = &self.agent_config {
            arguments.push(format!("--agent-config={}", absolute_text(file)?));
        }
        if self.fail_open {
            arguments.push("--fail-open".to_owned());
        }
        Ok(arguments)
    }
}

impl NamespacedHookArguments {
    /// The options as arguments for the hook, which runs in another directory.
    pub(crate) fn of_hook(&self) -> Result<Vec<String>, Failure> {
        let namespaces = self.fail_open_namespaces.iter();
        let mut arguments = self.of_all.of_hook()?;
        arguments.extend(namespaces.map(|namespace| format!("--fail-open-namespace={namespace}")));
        Ok(arguments)
    }

    /// Whether the containers of this namespace, if it is known, start without policies where these cannot be put on them.
    pub(crate) fn fails_open(&self, namespace: Option<&str>) -> bool {
        let is_open = |namespace: &str| self.fail_open_namespaces.iter().any(|open| open == namespace);
        self.of_all.fail_open || namespace.is_some_and(is_open)
    }
}

/// The command line of the hook: the arguments of [`this_program`], the first of which is `name`.
pub(crate) fn command_line(name: &str, options: impl IntoIterator<Item = String>) -> Vec<String> {
    [name, HookArguments::COMMAND].map(str::to_owned).into_iter().chain(options).collect()
}

/// The path of this program, which is the hook.
pub(crate) fn this_program() -> Result<String, Failure> {
    let program = current_exe();
    let program = program.map_err(|error| Failure::machine("cannot find this program").because(error))?;
    let text = absolute_text(&program)?;
    match program.exists() {
        true => Ok(text),
        false => Err(Failure::machine(format!("{text} is gone, and hooks could not run it"))),
    }
}

/// An absolute path, as text: hooks have nothing else.
fn absolute_text(path: &Path) -> Result<String, Failure> {
    let failed = || format!("cannot hand {} on to a hook", printable_path(path));
    let path = absolute(path).map_err(|error| Failure::usage(failed()).because(error))?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| Failure::usage(format!("{}: it is not UTF-8", failed())))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: NamespacedHookArguments,
    }

    #[test]
    fn arguments_for_the_hook_mean_the_same() {
        for written in [
            &[][..],
            &["--policies=/p q"],
            &["--policies", "/-p", "--agent-config=/a=b", "--fail-open"],
            &["--fail-open-namespace=-x", "--fail-open-namespace", "kube-system"],
        ] {
            let parse = |written: &[String]| {
                let words = ["oci-hook".to_owned()].into_iter().chain(written.iter().cloned());
                Command::try_parse_from(words).expect("arguments").arguments
            };
            let first = parse(&written.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
            let handed_on = parse(&first.of_hook().expect("text"));
            assert_eq!(format!("{handed_on:?}"), format!("{first:?}"), "{written:?}");
        }
    }

    #[test]
    fn a_relative_path_becomes_an_absolute_one() {
        let written = ["x", "--policies=p.d", "--agent-config=a.toml"];
        let arguments = Command::try_parse_from(written).expect("arguments").arguments.of_hook();
        let here = std::env::current_dir().expect("a directory");
        let expected = ["--policies=", "--agent-config="].iter().zip(["p.d", "a.toml"]);
        let expected: Vec<_> =
            expected.map(|(option, file)| format!("{option}{}", here.join(file).display())).collect();
        assert_eq!(arguments.expect("text"), expected);
    }
}
