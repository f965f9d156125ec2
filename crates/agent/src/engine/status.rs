//! How things are.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;

use knobgate::kernel::AttachmentName;
use knobgate::policy::Mode;
use knobgate::{ContainerPolicy, Off, OffBy, name_of_versions, versions_of};

use super::link_table::LinkRecord;
use super::off::described;
use super::{Engine, escaped};
use crate::status::{LateCgroup, OffPolicy, PolicyStatus, Status, UndecidedCgroup};

/// How many late cgroups are listed, and how many undecided ones, each with its policies.
const LISTED_MAX: usize = 100;

impl Engine {
    pub(super) fn status(&mut self) -> Status {
        let (late, undecided) = (self.late_cgroups(), self.undecided_cgroups());
        Status { late, undecided, notices: self.journal.recent(), ..self.summary() }
    }

    /// The same without cgroups and notices.
    pub(super) fn summary(&self) -> Status {
        let late: HashSet<u64> = self.late_links().map(|(id, _)| id).collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            directory: self.files.directory().display().to_string(),
            policies: self.policy_statuses(),
            off: Off::read().unwrap_or_else(|_| self.off.clone()).reasons().iter().map(off_policy).collect(),
            last_reload: self.last_reload.clone(),
            cgroups: self.cgroups.len(),
            late_cgroups: late.len(),
            late: Vec::new(),
            undecided_cgroups: self.undecided.len(),
            undecided: Vec::new(),
            notices: Vec::new(),
        }
    }

    pub(super) fn policy_statuses(&self) -> Vec<PolicyStatus> {
        let counts = self.counts();
        let status = |policy: &ContainerPolicy| {
            let name = policy.version().name();
            let counts = counts.get(&*name_of_versions(policy.name()));
            let links = |is_current: bool| {
                let versions =
                    counts.into_iter().flatten().filter(|(other, _)| (**other == name) == is_current);
                versions.map(|(_, count)| count).sum()
            };
            PolicyStatus {
                name: policy.name().to_owned(),
                path: policy.path().display().to_string(),
                attachment: name.to_string(),
                audit: policy.mode() == Mode::Audit,
                cgroups: links(true),
                outdated: links(false),
                memory: 0,
            }
        };
        self.set.policies.policies().iter().map(status).collect()
    }

    /// How many cgroups have each version of each policy, by the name of its attachments before the hash.
    fn counts(&self) -> HashMap<&str, HashMap<&AttachmentName, usize>> {
        let mut counts: HashMap<&str, HashMap<&AttachmentName, usize>> = HashMap::new();
        for (_, record) in self.table.iter().filter(|(id, _)| self.cgroups.contains(*id)) {
            let versions = versions_of(&record.name).unwrap_or_default();
            *counts.entry(versions).or_default().entry(&record.name).or_default() += 1;
        }
        counts
    }

    fn late_links(&self) -> impl Iterator<Item = (u64, &LinkRecord)> {
        self.table.iter().filter(|(id, record)| record.origin.late && self.cgroups.contains(*id))
    }

    /// The oldest of them, as far as ids tell.
    fn late_cgroups(&self) -> Vec<LateCgroup> {
        let mut late: Vec<(u64, &LinkRecord)> = self.late_links().collect();
        late.sort_unstable_by_key(|(id, _)| *id);
        late.truncate(LISTED_MAX);
        let late = late.into_iter().map(|(id, record)| LateCgroup {
            cgroup: self.shown(id),
            workload: self.late.get(&id).cloned(),
            attachment: record.name.to_string(),
            before_agent: self.before.contains(&id),
        });
        let mut late: Vec<LateCgroup> = late.collect();
        late.sort_by(|one, other| (&one.cgroup, &one.attachment).cmp(&(&other.cgroup, &other.attachment)));
        late
    }

    /// The first of them: there can be as many as cgroups times policies.
    fn undecided_cgroups(&mut self) -> Vec<UndecidedCgroup> {
        let mut undecided = Vec::new();
        for &id in &self.undecided {
            let Some(path) = self.cgroups.path(id) else { continue };
            let Some(workload) = self.workloads.look_up(self.cgroups.at_and_above(id), &path) else {
                continue;
            };
            for (place, field) in self.decide(id, &path, &workload).unknown {
                let policy = self.set.policies.policies()[place].name().to_owned();
                undecided.push(UndecidedCgroup { cgroup: self.shown(id), policy, field });
            }
            if undecided.len() >= LISTED_MAX {
                break;
            }
        }
        undecided
    }

    /// The directory of a cgroup, escaped.
    fn shown(&self, id: u64) -> String {
        let path = self.cgroups.path(id).unwrap_or_default();
        escaped(path.as_os_str().as_bytes())
    }
}

fn off_policy(by: &OffBy) -> OffPolicy {
    let policy = match by {
        OffBy::Name(name, _) => Some(name.to_string()),
        _ => None,
    };
    OffPolicy { policy, text: described(by) }
}
