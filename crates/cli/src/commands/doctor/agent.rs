//! The agent, and the policies that it puts on cgroups.

use std::path::Path;

use knobgate::ContainerPolicies;
use knobgate_agent::{AskError, Status};

use super::finding::Finding;
use crate::output::chain;
use crate::plural::count;

pub(super) fn examine() -> Vec<Finding> {
    let directory = Path::new(ContainerPolicies::DIRECTORY);
    let policies = ContainerPolicies::read(directory, None);
    let count = policies.as_ref().map_or(1, |policies| policies.policies().len());
    vec![agent(Status::ask(), count), files(directory, policies.map_err(|error| chain(&error)))]
}

/// `policies` is how many there are for an agent.
fn agent(asked: Result<Status, AskError>, policies: usize) -> Finding {
    let what = "agent";
    let status = match asked {
        Ok(status) => status,
        Err(AskError::NoAgent) if policies == 0 => {
            return Finding::ok(what, "none").so("there are no policies for it");
        }
        Err(AskError::NoAgent) => {
            return Finding::less(
                what,
                "none",
                "the policies for cgroups that come and go are put on containers whose runtime has the hook, and on nothing else: \
                 knobgate agent",
            );
        }
        Err(error) => return Finding::less(what, "unknown", chain(&error)),
    };
    let found = format!("process {}, watches {}", status.pid, count(status.cgroups, "cgroup"));
    if let Some(error) = &status.last_reload.error {
        return Finding::less(
            what,
            found,
            format!("its policies are those from before the last change: {error}"),
        );
    }
    if status.undecided_cgroups > 0 {
        let cgroups = count(status.undecided_cgroups, "cgroup");
        return Finding::less(
            what,
            found,
            format!("it cannot tell whether a policy applies to {cgroups}: knobgate status"),
        );
    }
    Finding::ok(what, found)
}

fn files(directory: &Path, policies: Result<ContainerPolicies, String>) -> Finding {
    let what = "policies.d";
    match policies {
        Ok(policies) => {
            let found = match policies.policies().len() {
                0 => format!("no policies in {}", directory.display()),
                1 => format!("1 policy in {}", directory.display()),
                several => format!("{several} policies in {}", directory.display()),
            };
            Finding::ok(what, found)
        }
        Err(error) => Finding::less(
            what,
            "cannot be used",
            format!("no agent starts, and a container with the hook starts only if that fails open: {error}"),
        ),
    }
}
