//! `knobgate detach`: detach a policy.

use std::collections::HashSet;
use std::process::ExitCode;

use knobgate::{AttachmentError, Attachments, CgroupRef, LinksOf, versions_of};
use knobgate_kernel::{AttachmentName, LinkSource};

use crate::attachment_names::{self, named};
use crate::cgroup_argument::describe_ids;
use crate::failure::Failure;
use crate::link_source;
use crate::output::Output;
use crate::plural::count;
use crate::target::TargetArgs;

/// Detach a policy
///
/// From then on it judges no access, even if its links are also pinned or held elsewhere.
///
/// With --cgroup, --pid, --container, --unit or --pod, which can be repeated, it is detached only from these cgroups. Detaching
/// from the last cgroup removes the attachment.
///
/// Only what was attached by hand, with `knobgate attach`, is detached. What the agent, a hook of an OCI runtime or the NRI plugin
/// has put on a cgroup stays, unless --source says otherwise. They may put it back: `knobgate off` keeps them from it.
///
/// Privileges: root.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Detach {
    /// The name of the attachment, or of a policy for containers, which means all of its versions
    name: String,
    #[command(flatten)]
    targets: TargetArgs,
    /// Detach what was attached by this
    #[arg(long, value_name = "SOURCE", default_value = "hand")]
    source: SourceArgument,
}

const EXAMPLES: &str = "\
Examples:
  knobgate detach web
  knobgate detach web --unit nginx
  knobgate detach web --container shop-web-1 --source hook";

/// Who has put a program on a cgroup.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SourceArgument {
    /// Somebody, with `knobgate attach`
    Hand,
    /// The agent
    Agent,
    /// A hook of an OCI runtime
    Hook,
    /// The NRI plugin
    Nri,
    /// Whoever it was
    Any,
}

impl From<SourceArgument> for LinksOf {
    fn from(argument: SourceArgument) -> Self {
        match argument {
            SourceArgument::Hand => Self::Source(LinkSource::Hand),
            SourceArgument::Agent => Self::Source(LinkSource::Agent),
            SourceArgument::Hook => Self::Source(LinkSource::Hook),
            SourceArgument::Nri => Self::Source(LinkSource::Nri),
            SourceArgument::Any => Self::Any,
        }
    }
}

impl Detach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = named(&self.name)?;
        let of = self.source.into();
        let targets = self.targets.find()?;
        let cgroups: Vec<CgroupRef> = targets.iter().map(|target| target.cgroup().clone()).collect();
        let (attachments, names) = attachment_names::find(name.clone())?;
        if let [name] = &names[..] {
            detach(&attachments, name, &cgroups, of, output)?;
            return Ok(ExitCode::SUCCESS);
        }
        // Each version is on cgroups of its own, unless a policy was edited while a container with it was started.
        let on = |version: &AttachmentName| {
            let on = attachments.read(version)?.cgroups.into_iter().map(|cgroup| cgroup.id);
            Ok::<HashSet<u64>, AttachmentError>(on.collect())
        };
        let versions = names.iter().map(|version| Ok((version, on(version)?)));
        let versions = versions.collect::<Result<Vec<_>, AttachmentError>>()?;
        if let Some(cgroup) =
            cgroups.iter().find(|cgroup| versions.iter().all(|(_, on)| !on.contains(&cgroup.id())))
        {
            let attached_to = versions.iter().flat_map(|(_, on)| on.iter().copied()).collect();
            return Err(AttachmentError::NotOnCgroup { name, cgroup: cgroup.clone(), attached_to }.into());
        }
        let mut of_others = None;
        for (version, on) in versions {
            let of_version: Vec<_> =
                cgroups.iter().filter(|cgroup| on.contains(&cgroup.id())).cloned().collect();
            if cgroups.is_empty() || !of_version.is_empty() {
                match detach(&attachments, version, &of_version, of, output) {
                    Err(error @ AttachmentError::OfOthers { .. }) => of_others = of_others.or(Some(error)),
                    detached => detached?,
                }
            }
        }
        of_others.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
    }
}

fn detach(
    attachments: &Attachments,
    name: &AttachmentName,
    cgroups: &[CgroupRef],
    of: LinksOf,
    output: &Output,
) -> Result<(), AttachmentError> {
    let is_pinned = attachments.read(name).is_ok_and(|state| state.is_pinned);
    let detached = attachments.detach(name, cgroups, of)?;
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
            let by: Vec<_> =
                detached.remaining_sources.iter().map(|&source| link_source::by(source)).collect();
            let by = match by[..] == [link_source::by(LinkSource::Hand)] {
                true => String::new(),
                false => format!(", {}", by.join(" and ")),
            };
            format!("{name}: detached from {places}; it is still on {}{by}", count(left, "cgroup"))
        }
        (None, _) if is_pinned && versions_of(name).is_none() => {
            format!("{name}: its pin is removed; units that systemd has started with it keep it until they are stopped")
        }
        (None, _) => format!("{name}: removed; its cgroups were already gone"),
    });
    Ok(())
}
