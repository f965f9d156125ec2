//! Which versions of policies are on which cgroups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use knobgate::kernel::{AttachmentName, LinkOrigin};
use knobgate::{NotListed, VersionLinks, versions_of};

/// The links of all versions of policies, as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    by_cgroup: HashMap<u64, Vec<LinkRecord>>,
    /// Each name once: there can be thousands of links.
    names: HashSet<Arc<AttachmentName>>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkRecord {
    pub(super) name: Arc<AttachmentName>,
    pub(super) origin: LinkOrigin,
}

impl LinkRecord {
    /// Whether it is that of a version of this policy, by the name of its attachments.
    pub(super) fn is_of(&self, versions: &str) -> bool {
        versions_of(&self.name) == Some(versions)
    }
}

impl LinkTable {
    /// All of these. What cannot be listed is as it was `before`.
    pub(super) fn of(versions: Vec<Result<VersionLinks, NotListed>>, before: &Self) -> Self {
        let mut table = Self::default();
        for version in versions {
            match version {
                Ok(VersionLinks { name, links, .. }) => {
                    links.into_iter().for_each(|(cgroup, origin)| table.add(cgroup, &name, origin));
                }
                Err(NotListed { name, .. }) => {
                    let known = before.iter().filter(|(_, record)| *record.name == name);
                    known.for_each(|(cgroup, record)| table.add(cgroup, &name, record.origin));
                }
            }
        }
        table
    }

    pub(super) fn add(&mut self, cgroup: u64, name: &AttachmentName, origin: LinkOrigin) {
        let name = match self.names.get(name) {
            Some(name) => Arc::clone(name),
            None => {
                let name = Arc::new(name.clone());
                self.names.insert(Arc::clone(&name));
                name
            }
        };
        let records = self.by_cgroup.entry(cgroup).or_default();
        records.retain(|record| record.name != name);
        records.push(LinkRecord { name, origin });
    }

    pub(super) fn remove(&mut self, cgroup: u64, name: &AttachmentName) {
        if let Some(records) = self.by_cgroup.get_mut(&cgroup) {
            records.retain(|record| *record.name != *name);
            if records.is_empty() {
                self.by_cgroup.remove(&cgroup);
            }
        }
    }

    /// Removes and returns all of a cgroup.
    pub(super) fn take(&mut self, cgroup: u64) -> Vec<LinkRecord> {
        self.by_cgroup.remove(&cgroup).unwrap_or_default()
    }

    /// Those on a cgroup.
    pub(super) fn on(&self, cgroup: u64) -> &[LinkRecord] {
        self.by_cgroup.get(&cgroup).map_or(&[], Vec::as_slice)
    }

    /// The cgroups with links.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = u64> {
        self.by_cgroup.keys().copied()
    }

    /// All, with their cgroups.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &LinkRecord)> {
        self.by_cgroup
            .iter()
            .flat_map(|(&cgroup, records)| records.iter().map(move |record| (cgroup, record)))
    }
}
