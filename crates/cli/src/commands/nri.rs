//! `knobgate nri`: a plugin of containerd and CRI-O that has policies put on containers.

mod injected_hooks;
mod plugin;
mod start_check;

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_nri::{InvalidPluginId, PluginId, run};

use crate::failure::Failure;
use crate::hook_arguments::NamespacedHookArguments;
use crate::output::{Output, chain};
use injected_hooks::InjectedHooks;
use plugin::KnobgatePlugin;
use start_check::Policies;

/// Have policies put on the containers of containerd or CRI-O
///
/// Registers with the container runtime as a plugin of its Node Resource Interface (NRI), and stays until it is stopped. Each
/// container that is created then gets OCI hooks that run `knobgate oci-hook`: before its first instruction, they put the policies on it
/// that say that they apply to it. Before it starts, the plugin checks that they are there. A container is not started if that is
/// not so, or if the hook fails.
///
/// The hooks have the labels of the pod and of the container, so that policies can ask for them (`apply if label("tier") ==
/// "front"`). The sandbox of a pod, which runs nothing but a pause, gets no hooks.
///
/// The runtime goes on without a plugin that is killed, or that does not answer in time: containers that are created then run
/// without policies. Those that run have theirs already, and keep them. When the runtime restarts, the plugin registers again.
///
/// Privileges: root, CAP_SYS_ADMIN.
///
/// Exit status: it runs until it is stopped; 2 if the arguments are wrong, 3 if the runtime rejects the plugin, or its socket may not be
/// used.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Nri {
    /// The socket of the runtime for NRI plugins
    #[arg(long, value_name = "PATH", default_value = "/var/run/nri/nri.sock")]
    socket: PathBuf,
    /// Where this plugin stands among others: two digits; the runtime calls plugins in ascending order
    #[arg(long, value_name = "NN", default_value = "10")]
    index: String,
    /// The name of this plugin
    #[arg(long, default_value = "knobgate")]
    name: String,
    #[command(flatten)]
    hook: NamespacedHookArguments,
    /// Add no hooks: put the policies on a container when it starts. For runtimes that do not let plugins add hooks
    #[arg(long)]
    without_hooks: bool,
}

const EXAMPLES: &str = "Examples:
  knobgate nri
  knobgate nri --policies /etc/knobgate/policies.d --fail-open-namespace kube-system";

impl Nri {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let id = PluginId::new(&self.name, &self.index).map_err(|error| match error {
            InvalidPluginId::Index(_) => Failure::usage("--index").because(error),
            _ => Failure::usage("--name").because(error),
        })?;
        let hooks = match self.without_hooks {
            true => None,
            false => Some(InjectedHooks::of_this_program(&self.hook)?),
        };
        let policies = Policies::new(&self.hook.of_all, self.without_hooks);
        // The hook would say this about each container.
        match policies.read() {
            Err(error) => {
                output.warning(format!("no container starts until this is fixed: {}", chain(&error)));
            }
            Ok(policies) if policies.policies().is_empty() => {
                let directory = self.hook.of_all.policies.display();
                output.warning(format!(
                    "there is no policy in {directory}; containers start without until there is"
                ));
            }
            Ok(_) => {}
        }
        let mut plugin = KnobgatePlugin::new(hooks, policies, self.hook, self.socket.clone(), output);
        let error = run(&self.socket, &id, &mut plugin);
        Err(Failure::machine(self.socket.display().to_string()).because(error))
    }
}
