//! `knobgate detach`: detach a policy.

use std::collections::HashSet;
use std::process::ExitCode;

use knobgate::{Attachments, CgroupRef};
use knobgate_kernel::AttachmentName;

use crate::attachment_names::{self, named};
use crate::cgroup_argument::describe_ids;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::target::TargetArgs;

/// Detach a policy
///
/// From then on it judges no access, even if its links are also pinned or held elsewhere.
///
/// With --cgroup, --pid, --container, --unit or --pod, which can be repeated, it is detached only from these cgroups. Detaching
/// from the last cgroup removes the attachment.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The name of the attachment, or of a policy for containers, which means all of its versions
    name: String,
    #[command(flatten)]
    targets: TargetArgs,
}

impl Detach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = named(&self.name)?;
        let targets = self.targets.find()?;
        let cgroups: Vec<CgroupRef> = targets.iter().map(|target| target.cgroup().clone()).collect();
        let (attachments, names) = attachment_names::find(name)?;
        let several = names.len() > 1;
        for name in names {
            let mut on = cgroups.clone();
            if several {
                // A cgroup has one version of a policy.
                let of_version: HashSet<u64> =
                    attachments.read(&name)?.cgroups.iter().map(|cgroup| cgroup.id).collect();
                on.retain(|cgroup| of_version.contains(&cgroup.id()));
                if on.is_empty() && !cgroups.is_empty() {
                    continue;
                }
            }
            detach(&attachments, &name, &on, output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn detach(
    attachments: &Attachments,
    name: &AttachmentName,
    cgroups: &[CgroupRef],
    output: &Output,
) -> Result<(), Failure> {
    let detached = attachments.detach(name, cgroups)?;
    if let Some(error) = detached.not_detached {
        output.warning(format!(
                "{error}; if another process holds the link of \"{name}\", its program runs until that process closes it"
            ));
    }
    let places = match &detached.from[..] {
        [] => None,
        [_] => Some(describe_ids(&detached.from)),
        several => Some(count(several.len(), "cgroup")),
    };
    output.done(match (places, detached.remaining) {
        (Some(places), 0) if !detached.is_gone => {
            format!("{name}: detached from {places}; it is for containers, and stays without any")
        }
        (Some(places), 0) => format!("{name}: detached from {places}"),
        (Some(places), left) => {
            format!("{name}: detached from {places}; it is still on {}", count(left, "cgroup"))
        }
        (None, _) => format!("{name}: removed; its cgroups were already gone"),
    });
    Ok(())
}
