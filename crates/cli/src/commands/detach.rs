//! `knobgate detach`: take an attached policy off.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_kernel::{BpffsError, PinnedLink};

use crate::attachments::{Lock, cannot, describe_cgroups, open_attachment, open_pins, parse_name};
use crate::chosen_cgroup::{ChosenCgroup, cgroup_at, places};
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;

/// Detach a policy
///
/// From then on it judges no access, wherever it was pinned or held besides.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The name of the attachment
    name: String,
    /// Take it off this cgroup alone; can be repeated. With the last one the attachment goes
    #[arg(long = "cgroup", value_name = "PATH")]
    cgroups: Vec<PathBuf>,
}

impl Detach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let name = parse_name(&self.name)?;
        let chosen =
            self.cgroups.iter().map(|path| cgroup_at(path).map(|cgroup| ChosenCgroup::from(&cgroup)));
        let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
        let pins = open_pins()?;
        let lock = pins.as_ref().map(Lock::take).transpose()?;
        let attachment = open_attachment(pins.as_ref(), &name, "detach")?;
        let failed = |error: BpffsError| cannot("detach", &name).because(error);
        let links = attachment.unpin_dead().map_err(failed)?;
        let chosen_ids: HashSet<u64> = chosen.iter().map(ChosenCgroup::id).collect();
        let (off, left): (Vec<PinnedLink>, Vec<PinnedLink>) =
            links.into_iter().partition(|link| chosen.is_empty() || chosen_ids.contains(&link.cgroup_id));
        let on: HashSet<u64> = off.iter().map(|link| link.cgroup_id).collect();
        if let Some(other) = chosen.iter().find(|cgroup| !on.contains(&cgroup.id())) {
            return Err(Failure::usage(format!(
                "the attachment \"{name}\" is not on {}; it is on {}",
                places(std::slice::from_ref(other)),
                describe_cgroups(off.iter().chain(&left).map(|link| link.cgroup_id))
            )));
        }

        let places = match &off[..] {
            [] => None,
            [only] => Some(describe_cgroups([only.cgroup_id])),
            off => Some(count(off.len(), "cgroup")),
        };
        let (mut not_detached, mut done) = (None, 0);
        let in_part = |error: BpffsError, done: usize| match done {
            0 => failed(error),
            done => cannot("detach", &name)
                .because(format!("it is off {} now, but {error}", count(done, "cgroup"))),
        };
        for link in &off {
            // Linux before 5.9 has no detaching; there it goes with its pin.
            match attachment.link(link.cgroup_id).map_err(|error| in_part(error, done))?.detach() {
                Ok(()) => done += 1,
                Err(error) => not_detached = not_detached.or(Some(error)),
            }
            attachment.unpin(link.cgroup_id).map_err(|error| in_part(error, done))?;
        }
        if left.is_empty()
            && let Some(pins) = &pins
        {
            pins.remove(&name).map_err(|error| in_part(error, done))?;
        }
        drop(lock);
        if let Some(error) = not_detached {
            output.warning(format!(
                "{error}; if somebody else holds the link of \"{name}\", it stays in force"
            ));
        }
        output.done(match (places, left.len()) {
            (Some(places), 0) => format!("{name}: detached from {places}"),
            (Some(places), left) => {
                format!("{name}: detached from {places}; it is still on {}", count(left, "cgroup"))
            }
            (None, _) => format!("{name}: removed; what it was on was gone already"),
        });
        Ok(ExitCode::SUCCESS)
    }
}
