//! The options of `oci-hook` that `nri` hands on to it.

use std::path::{Path, PathBuf, absolute};

use knobgate::ContainerPolicies;

use crate::failure::Failure;
use crate::printable::printable_path;

/// What the hook of a container is told.
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
    /// The same for the containers in this namespace of Kubernetes; can be repeated
    #[arg(long = "fail-open-namespace", value_name = "NAMESPACE")]
    pub(crate) fail_open_namespaces: Vec<String>,
}

impl HookArguments {
    /// The arguments for the hook, which runs in another directory.
    pub(crate) fn of_hook(&self) -> Result<Vec<String>, Failure> {
        let mut arguments = vec![format!("--policies={}", absolute_text(&self.policies)?)];
        if let Some(file) = &self.agent_config {
            arguments.push(format!("--agent-config={}", absolute_text(file)?));
        }
        if self.fail_open {
            arguments.push("--fail-open".to_owned());
        }
        let namespaces = self.fail_open_namespaces.iter();
        arguments.extend(namespaces.map(|namespace| format!("--fail-open-namespace={namespace}")));
        Ok(arguments)
    }

    /// Whether the containers of this namespace start without policies where these cannot be put on them.
    pub(crate) fn fails_open(&self, namespace: &str) -> bool {
        self.fail_open || self.fail_open_namespaces.iter().any(|open| open == namespace)
    }
}

/// An absolute path, as text: hooks have nothing else.
pub(crate) fn absolute_text(path: &Path) -> Result<String, Failure> {
    let failed = || format!("cannot hand {} on to a hook", printable_path(path));
    let path = absolute(path).map_err(|error| Failure::usage(failed()).because(error))?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| Failure::usage(format!("{}: it is not UTF-8", failed())))
}
