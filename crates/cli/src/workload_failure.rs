//! Failures of looking for a workload by its name, and what to do about them.

use std::collections::BTreeSet;

use knobgate::workload::{Piece, Role, Workload, WorkloadName};
use knobgate::{FoundWorkload, WorkloadSearchError};
use knobgate_kernel::CgroupError;
use knobgate_policy::did_you_mean;

use crate::failure::Failure;
use crate::printable::printable_path;

/// How many names are listed.
const LISTED: usize = 8;

/// The failure if cgroups cannot be searched.
pub(crate) fn cannot_search(name: &WorkloadName, error: CgroupError) -> Failure {
    Failure::machine(format!("cannot look for {name}")).because(error)
}

/// The failure if there is no such workload, or if it is not clear which one is meant.
pub(crate) fn not_found(name: &WorkloadName, error: WorkloadSearchError) -> Failure {
    match error {
        WorkloadSearchError::Hierarchy(error) => cannot_search(name, error),
        WorkloadSearchError::NotFound { existing, claimed } => match &claimed[..] {
            [] => Failure::usage(format!("cannot find {name}")).because(instead(name, &existing)),
            claimed => Failure::usage(format!(
                "cannot find {name}: there is {}, but whoever has the cgroup above it may have made up that name; if you mean it, \
                 use --cgroup",
                places(claimed)
            )),
        },
        WorkloadSearchError::Several(found) => Failure::usage(format!(
            "{name} can be {}; name {}",
            places(&found),
            match name {
                WorkloadName::Container(_) => "it like that, by its id, or by its cgroup with --cgroup",
                _ => "its cgroup with --cgroup",
            }
        )),
        WorkloadSearchError::NoPodCgroup { containers } => Failure::usage(format!(
            "{name} has no cgroup of its own; name its containers: {}",
            places(&containers)
        )),
        error => Failure::machine(format!("cannot look for {name}")).because(error),
    }
}

/// `docker/web in /sys/fs/cgroup/docker/…, …`
fn places(found: &[FoundWorkload]) -> String {
    let place = |found: &FoundWorkload| {
        format!("{} in {}", label(&found.workload), printable_path(found.cgroup.path()))
    };
    listed(found.iter().map(place).collect())
}

fn label(workload: &Workload) -> String {
    String::from_utf8_lossy(&workload.label()).into_owned()
}

fn listed(mut texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(LISTED);
    texts.truncate(LISTED);
    let texts = texts.join(", ");
    if more > 0 { format!("{texts} and {more} more") } else { texts }
}

/// What else there is: a similar name, or all names.
fn instead(name: &WorkloadName, existing: &[FoundWorkload]) -> String {
    if let Some(near) = similar(name, existing) {
        return format!("did you mean {near}?");
    }
    let all: BTreeSet<String> = match name {
        // Names of containers are told apart by their engines.
        WorkloadName::Container(_) => payloads(existing).filter(|one| is_container(one)).map(label).collect(),
        _ => payloads(existing).flat_map(|one| names(name, one)).collect(),
    };
    let kind = match name {
        WorkloadName::Container(_) => "container",
        WorkloadName::Unit(_) => "unit",
        WorkloadName::Pod { .. } => "pod",
    };
    match all.len() {
        0 => format!("there is no {kind} that knobgate knows of; name the cgroup with --cgroup"),
        1 => format!("there is only {}", listed(all.into_iter().collect())),
        _ => format!("there are {}", listed(all.into_iter().collect())),
    }
}

/// The name of a workload that may have been meant.
pub(crate) fn similar(name: &WorkloadName, existing: &[FoundWorkload]) -> Option<String> {
    let wanted = match name {
        WorkloadName::Container(name) | WorkloadName::Unit(name) => name.clone(),
        WorkloadName::Pod { namespace, name } => format!("{namespace}/{name}"),
    };
    let existing: BTreeSet<String> = payloads(existing).flat_map(|one| names(name, one)).collect();
    did_you_mean(&wanted, existing.iter().map(String::as_str)).map(str::to_owned)
}

fn payloads(found: &[FoundWorkload]) -> impl Iterator<Item = &Workload> {
    found.iter().map(|found| &found.workload).filter(|one| one.role == Role::Payload)
}

fn is_container(workload: &Workload) -> bool {
    workload.container_id.is_some() || workload.container_name.is_some()
}

/// The names of a workload, of the kind that was asked for.
fn names(kind: &WorkloadName, workload: &Workload) -> Vec<String> {
    let text = |piece: &Option<Piece>| {
        piece.as_ref().map(|piece| String::from_utf8_lossy(piece.bytes()).into_owned())
    };
    let names = match kind {
        WorkloadName::Container(_) => vec![text(&workload.container_name), text(&workload.container_id)],
        WorkloadName::Unit(_) => vec![text(&workload.unit).or_else(|| text(&workload.slice))],
        WorkloadName::Pod { .. } => {
            let pod = text(&workload.namespace).zip(text(&workload.pod_name));
            vec![pod.map(|(namespace, name)| format!("{namespace}/{name}"))]
        }
    };
    names.into_iter().flatten().collect()
}
