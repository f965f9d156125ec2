//! Putting policies on cgroups.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use knobgate::kernel::{Cgroup, CgroupError, LinkSource};
use knobgate::workload::{Engine, Workload};
use knobgate::{
    AttachmentError, ContainerError, ContainerPolicy, PolicyLink, WorkloadFields, name_of_versions,
    versions_of,
};

use super::link_table::{LinkRecord, LinkTable};
use super::retries::Retries;
use super::{ATTEND_AFTER, chain, escaped, plural};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};

/// Of how many cgroups at a time it is said that they are undecided.
const UNDECIDED_NAMED: usize = 100;

/// What was done to make all cgroups have the policies that apply to them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// How many links there are of the policies that are in force.
    links: usize,
    /// On how many cgroups an older version was replaced.
    moved: usize,
    /// From how many a policy was taken away.
    removed: usize,
    /// How many links came late.
    late: usize,
}

/// Whether policies apply to a cgroup.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// The policies that do, by their place.
    pub(super) applying: Vec<usize>,
    /// Those of which it cannot be told, each with what is not known.
    pub(super) unknown: Vec<(usize, String)>,
    /// Its runtime has yet to say whether it is a container of its own.
    is_unconfirmed: bool,
}

impl super::Engine {
    /// Puts the policies that apply to a cgroup there, unless a version of each is on it or above it. `seen_at` is when a new one was
    /// seen.
    pub(super) fn put(&mut self, id: u64, path: &Path, seen_at: Option<Instant>) {
        if let Some(workload) = self.workloads.look_up(self.cgroups.at_and_above(id), path) {
            let decisions = self.decide(id, path, &workload);
            self.put_decided(id, path, &workload, decisions, seen_at);
        }
    }

    /// The same for a cgroup of which it could not be told whether a policy applies.
    pub(super) fn put_undecided(&mut self, id: u64, path: &Path) {
        let Some(workload) = self.workloads.look_up(self.cgroups.at_and_above(id), path) else {
            return self.retries.forget(id);
        };
        // Still nothing shows that it is a container: there is nothing new to decide about.
        if workload.engine == Engine::None && self.retries.schedule(id, Instant::now()) {
            return;
        }
        let decisions = self.decide(id, path, &workload);
        self.put_decided(id, path, &workload, decisions, None);
    }

    /// Which policies apply to a cgroup.
    pub(super) fn decide(&self, id: u64, path: &Path, workload: &Workload) -> Decisions {
        let mut decisions = Decisions::default();
        let Some(name) = self.workloads.hierarchy().name(path) else { return decisions };
        let fields = WorkloadFields::of(workload);
        // A policy is on the topmost cgroup of a workload. On that of the machine, it would judge the agent, too.
        let is_top = fields.workload().path == name.as_os_str().as_bytes();
        if id == self.cgroups.root() || !is_top {
            let is_here = |one: &Workload| one.path == name.as_os_str().as_bytes();
            decisions.is_unconfirmed = fields.unconfirmed().is_some_and(is_here);
            return decisions;
        }
        for (place, policy) in self.set.policies.policies().iter().enumerate() {
            match policy.applies_to(&fields) {
                Ok(true) => decisions.applying.push(place),
                Ok(false) => {}
                Err(ContainerError::NotKnown { field, .. }) => decisions.unknown.push((place, field)),
                // It has no other.
                Err(error) => decisions.unknown.push((place, chain(&error))),
            }
        }
        decisions
    }

    fn put_decided(
        &mut self,
        id: u64,
        path: &Path,
        workload: &Workload,
        mut decisions: Decisions,
        seen_at: Option<Instant>,
    ) {
        let set = Arc::clone(&self.set);
        let policies = set.policies.policies();
        let lacks = |place: &usize| !self.is_on_or_above(&policies[*place], id);
        decisions.applying.retain(lacks);
        decisions.unknown.retain(|(place, _)| lacks(place));
        if !decisions.applying.is_empty() {
            self.attach(id, path, workload, &decisions.applying, seen_at);
        }
        if decisions.is_unconfirmed {
            // Somebody may have made up its name, so there is nothing to say if it stays so.
            self.retries.schedule(id, Instant::now());
            return;
        }
        self.note_undecided(id, path, workload, decisions.unknown);
    }

    fn is_on_or_above(&self, policy: &ContainerPolicy, id: u64) -> bool {
        let versions = name_of_versions(policy.name());
        let mut levels = self.cgroups.at_and_above(id);
        levels.any(|id| self.table.on(id).iter().any(|record| record.is_of(&versions)))
    }

    fn attach(
        &mut self,
        id: u64,
        path: &Path,
        workload: &Workload,
        places: &[usize],
        seen_at: Option<Instant>,
    ) {
        let set = Arc::clone(&self.set);
        let policies = set.policies.policies();
        let cgroup = match Cgroup::open(path) {
            Ok(cgroup) if cgroup.id() == id => cgroup,
            // It is gone already.
            Ok(_) | Err(CgroupError::NotFound { .. } | CgroupError::NotCgroup { .. }) => return,
            Err(error) => return self.attach_failed(id, path, None, chain(&error)),
        };
        let versions: Vec<_> = places.iter().map(|&place| policies[place].version()).collect();
        let linked = match self.links.link(&versions, &cgroup, LinkSource::Agent) {
            Ok(linked) => linked,
            Err(error) => return self.attach_failed(id, path, None, chain(&error)),
        };
        let latency = seen_at.map(|seen_at| seen_at.elapsed());
        let mut is_new = false;
        for (&place, linked) in places.iter().zip(linked) {
            let policy = &policies[place];
            match linked {
                Ok(PolicyLink::New { origin, limits }) => {
                    is_new = true;
                    // Where its version was removed meanwhile.
                    let limits: Vec<String> =
                        limits.iter().map(|limit| format!("{}: {limit}", policy.name())).collect();
                    self.report_limits(&limits);
                    self.table.add(id, policy.version().name(), origin);
                    self.watches.guard(&cgroup);
                    if let Some(latency) = latency {
                        self.journal.attached(latency);
                    }
                    let label = escaped(&workload.label());
                    let late = if origin.late { ", in which processes run already" } else { "" };
                    let text = format!("put the policy \"{}\" on {label}{late}", policy.name());
                    let notice = of_cgroup(Notice::new(NoticeKind::Attached, text), path, workload)
                        .with(NoticeField::Policy, policy.name())
                        .with(NoticeField::Attachment, policy.version().name());
                    if origin.late {
                        self.late.insert(id, label);
                    }
                    self.notice(notice);
                }
                Ok(PolicyLink::Present { name, origin }) => self.table.add(id, &name, origin),
                Ok(_) => {}
                Err(error) => {
                    self.attach_failed(id, path, Some(policy.name()), chain(&error));
                }
            }
        }
        if is_new && (workload.container_name.is_some() || workload.pod_name.is_some()) {
            // A name that is not remembered is no reason for anything.
            let _ = self.links.attachments().remember_workload(id, workload);
        }
    }

    /// Says that policies cannot be put on a cgroup, once. The check tries again.
    fn attach_failed(&mut self, id: u64, path: &Path, policy: Option<&str>, why: String) {
        let is_there = Cgroup::open(path).is_ok_and(|cgroup| cgroup.id() == id);
        if !is_there || !self.failing.insert(id) || self.failed_before.contains(&id) {
            return;
        }
        let shown = escaped(path.as_os_str().as_bytes());
        let what = policy.map_or_else(|| "policies".to_owned(), |policy| format!("the policy \"{policy}\""));
        let text = format!("cannot put {what} on {shown}: {why}");
        let mut notice =
            Notice::new(NoticeKind::AttachFailed, text).with(NoticeField::Cgroup, path.display());
        if let Some(policy) = policy {
            notice = notice.with(NoticeField::Policy, policy);
        }
        self.notice(notice);
    }

    /// Has a cgroup looked at again, or notes that it was looked at often enough.
    fn note_undecided(&mut self, id: u64, path: &Path, workload: &Workload, unknown: Vec<(usize, String)>) {
        if unknown.is_empty() {
            self.retries.forget(id);
            self.undecided.remove(&id);
            return;
        }
        if self.retries.schedule(id, Instant::now()) {
            return;
        }
        // Where nothing shows that an engine has made it, it is no container.
        if workload.engine == Engine::None || !self.undecided.insert(id) {
            return;
        }
        // Whoever may make cgroups can have them look like containers.
        if let Some(more @ 1..) = self.undecided.len().checked_sub(UNDECIDED_NAMED) {
            if more == 1 {
                let text = "there are more such cgroups, of which only knobgate status has the names";
                self.notice(Notice::new(NoticeKind::Undecided, text));
            }
            return;
        }
        let label = escaped(&workload.label());
        let set = Arc::clone(&self.set);
        for (place, field) in unknown {
            let policy = set.policies.policies()[place].name();
            let text = format!(
                "cannot tell whether the policy \"{policy}\" applies to {label}: it looks at {field}, which is not known"
            );
            let notice = Notice::new(NoticeKind::Undecided, text).with(NoticeField::Policy, policy);
            self.notice(of_cgroup(notice, path, workload));
        }
    }

    /// Makes all cgroups have the policies that apply to them, in the version of the file: at the start, and after a reload. What was
    /// interrupted is finished by that.
    pub(super) fn settle_all(&mut self) -> Result<Settled, AgentError> {
        if !self.set.repair {
            // What was detached is pinned still, and looks as if it were there. With repair, the check puts it back, and says so.
            // What cannot be unpinned stays as it was.
            let _ = self.links.unpin_all_detached();
        }
        self.table = LinkTable::of(self.links.origins()?, &self.table);
        self.unpin_removed();
        self.undecided.clear();
        self.retries = Retries::default();
        let mut settled = Settled::default();
        for (count, id) in self.cgroups.ids().into_iter().enumerate() {
            let Some(path) = self.cgroups.path(id) else { continue };
            self.settle(id, &path, &mut settled);
            if count % ATTEND_AFTER == 0 {
                self.attend()?;
            }
        }
        for policy in self.set.policies.policies() {
            let of_policy = |(_, record): &(u64, &LinkRecord)| record.is_of(&name_of_versions(policy.name()));
            let links = self.table.iter().filter(of_policy).filter(|(id, _)| self.cgroups.contains(*id));
            for (_, record) in links {
                settled.links += 1;
                settled.late += usize::from(record.origin.late);
            }
        }
        Ok(settled)
    }

    fn settle(&mut self, id: u64, path: &Path, settled: &mut Settled) {
        let Some(workload) = self.workloads.look_up(self.cgroups.at_and_above(id), path) else { return };
        let decisions = self.decide(id, path, &workload);
        let own = self.table.on(id).iter().filter(|record| record.origin.source == LinkSource::Agent);
        let own: Vec<_> = own.map(|record| record.name.clone()).collect();
        let set = Arc::clone(&self.set);
        let policies = set.policies.policies();
        for name in own {
            let versions = versions_of(&name).unwrap_or_default();
            let place = policies.iter().position(|policy| name_of_versions(policy.name()) == versions);
            let applies = place.is_some_and(|place| decisions.applying.contains(&place));
            let is_unknown =
                place.is_some_and(|place| decisions.unknown.iter().any(|(one, _)| *one == place));
            let policy = place.map(|place| &policies[place]);
            // A hook may have put another version on a container that the agent has seen before. That one stays.
            let has_other = self
                .table
                .on(id)
                .iter()
                .any(|record| record.is_of(versions) && record.origin.source != LinkSource::Agent);
            match policy {
                // Its engine may have forgotten the name that it had.
                Some(policy) if (applies || is_unknown) && !has_other => {
                    if *policy.version().name() == *name {
                        continue;
                    }
                    let Ok(cgroup) = Cgroup::open(path) else { continue };
                    match self.links.move_to(policy.version(), &name, &cgroup, LinkSource::Agent) {
                        Ok(Some(origin)) => {
                            settled.moved += 1;
                            self.table.remove(id, &name);
                            self.table.add(id, policy.version().name(), origin);
                        }
                        // It is off, and not there.
                        Ok(_) | Err(AttachmentError::Off { .. }) => {}
                        Err(error) => {
                            self.attach_failed(id, path, Some(policy.name()), chain(&error));
                        }
                    }
                }
                _ => match self.links.attachments().unlink(&name, id, LinkSource::Agent) {
                    Ok(_) => {
                        settled.removed += 1;
                        self.table.remove(id, &name);
                        if self.table.on(id).is_empty() {
                            self.late.remove(&id);
                        }
                    }
                    Err(error) => {
                        let shown = escaped(path.as_os_str().as_bytes());
                        let text = format!("cannot take {name} away from {shown}: {}", chain(&error));
                        let notice = Notice::new(NoticeKind::AttachFailed, text)
                            .with(NoticeField::Attachment, &*name)
                            .with(NoticeField::Cgroup, path.display());
                        self.notice(notice);
                    }
                },
            }
        }
        if self.table.on(id).iter().any(|record| record.origin.late) {
            self.late.insert(id, escaped(&workload.label()));
        }
        self.put_decided(id, path, &workload, decisions, None);
    }
}

/// A notice about a cgroup and what is in it.
fn of_cgroup(notice: Notice, path: &Path, workload: &Workload) -> Notice {
    notice
        .with(NoticeField::Cgroup, path.display())
        .with(NoticeField::Workload, String::from_utf8_lossy(&workload.label()))
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { links, moved, removed, late } = *self;
        write!(f, "{links} {}", plural(links, "link", "links"))?;
        for (count, what) in [(late, "late"), (moved, "moved to a new version"), (removed, "taken away")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
