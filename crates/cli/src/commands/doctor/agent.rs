//! The agent, and the policies that it puts on cgroups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use knobgate::{AgentConfig, ContainerPolicies, OpenToOthers};
use knobgate_agent::{AskError, Status};

use super::finding::Finding;
use crate::output::chain;
use crate::plural::count;

pub(super) fn examine() -> Vec<Finding> {
    let directory = Path::new(ContainerPolicies::DIRECTORY);
    let mut opened = BTreeSet::from([directory.to_owned(), PathBuf::from(AgentConfig::PATH)]);
    let config = AgentConfig::read_or_default(None);
    let policies = config.and_then(|config| ContainerPolicies::read_with(directory, config, &mut opened));
    let open = OpenToOthers::among(opened.iter().map(PathBuf::as_path));
    let count = policies.as_ref().map_or(1, |policies| policies.policies().len());
    vec![agent(Status::ask(), count), files(directory, policies.map_err(|error| chain(&error)), &open)]
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

fn files(directory: &Path, policies: Result<ContainerPolicies, String>, open: &[OpenToOthers]) -> Finding {
    let what = "policies.d";
    match policies {
        Ok(policies) => {
            let found = match policies.policies().len() {
                0 => format!("no policies in {}", directory.display()),
                1 => format!("1 policy in {}", directory.display()),
                several => format!("{several} policies in {}", directory.display()),
            };
            match open {
                [] => Finding::ok(what, found),
                [first, ..] => {
                    let more = match open.len() - 1 {
                        0 => String::new(),
                        more => format!(", and {more} more"),
                    };
                    Finding::less(what, found, format!("others than root can change them: {first}{more}"))
                }
            }
        }
        Err(error) => Finding::less(
            what,
            "cannot be used",
            format!("no agent starts, and a container with the hook starts only if that fails open: {error}"),
        ),
    }
}
