//! How things are.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use knobgate::policy::Mode;
use knobgate::{ContainerPolicy, Off, OffBy, name_of_versions};

use super::{Engine, escaped};
use crate::status::{LateCgroup, OffPolicy, PolicyStatus, Status, UndecidedCgroup};

impl Engine {
    pub(super) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            directory: self.files.directory().display().to_string(),
            policies: self.set.policies.policies().iter().map(|policy| self.policy_status(policy)).collect(),
            off: Off::read().unwrap_or_else(|_| self.off.clone()).reasons().iter().map(off_policy).collect(),
            last_reload: self.last_reload.clone(),
            cgroups: self.cgroups.len(),
            late: self.late_cgroups(),
            undecided: self.undecided_cgroups(),
            notices: self.journal.recent(),
        }
    }

    fn policy_status(&self, policy: &ContainerPolicy) -> PolicyStatus {
        let (versions, name) = (name_of_versions(policy.name()), policy.version().name());
        let links =
            self.table.iter().filter(|(id, record)| record.is_of(&versions) && self.cgroups.contains(*id));
        let (mut cgroups, mut outdated) = (0, 0);
        for (_, record) in links {
            if *record.name == *name { cgroups += 1 } else { outdated += 1 }
        }
        PolicyStatus {
            name: policy.name().to_owned(),
            path: policy.path().display().to_string(),
            attachment: name.to_string(),
            audit: policy.mode() == Mode::Audit,
            cgroups,
            outdated,
            memory: 0,
        }
    }

    fn late_cgroups(&self) -> Vec<LateCgroup> {
        let late = self.table.iter().filter(|(id, record)| record.origin.late && self.cgroups.contains(*id));
        let late = late.map(|(id, record)| LateCgroup {
            cgroup: self.shown(id),
            workload: self.late.get(&id).cloned(),
            attachment: record.name.to_string(),
            before_agent: self.before.contains(&id),
        });
        let mut late: Vec<LateCgroup> = late.collect();
        late.sort_by(|one, other| (&one.cgroup, &one.attachment).cmp(&(&other.cgroup, &other.attachment)));
        late
    }

    fn undecided_cgroups(&self) -> Vec<UndecidedCgroup> {
        let named: BTreeMap<String, &Vec<(String, String)>> =
            self.undecided.iter().map(|(id, unknown)| (self.shown(*id), unknown)).collect();
        let one = |cgroup: &String, (policy, field): &(String, String)| UndecidedCgroup {
            cgroup: cgroup.clone(),
            policy: policy.clone(),
            field: field.clone(),
        };
        named
            .iter()
            .flat_map(|(cgroup, unknown)| unknown.iter().map(|unknown| one(cgroup, unknown)))
            .collect()
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
    OffPolicy { policy, text: escaped(&by.to_string()) }
}
