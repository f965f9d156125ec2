//! Reading the policies again.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use knobgate::{ContainerError, ContainerPolicy, Off};

use super::policy_files::PolicySet;
use super::{Engine, chain, escaped, plural};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};
use crate::status::ReloadStatus;

impl Engine {
    /// Reads everything again, and puts it in force if nothing is wrong.
    pub(super) fn reload(&mut self) -> Result<(), AgentError> {
        let began = Instant::now();
        let read = self.files.read();
        self.report_unwatched_files();
        self.report_open_to_others();
        let read = match read {
            Ok(set) => self.prepare(&set)?.map(|limits| (set, limits)),
            Err(error) => Err(error),
        };
        let (set, limits) = match read {
            Ok(read) => read,
            Err(error) => {
                self.reject(&error, began);
                return Ok(());
            }
        };
        self.is_reload_due = false;
        self.set = Arc::new(set);
        self.links.keep(self.set.policies.policies().iter().map(ContainerPolicy::version));
        self.last_reload = ReloadStatus { at: SystemTime::now(), error: None };
        let settled = self.settle_all()?;
        self.remove_unused_versions();
        self.check_at = self.check_at.min(Instant::now() + self.set.check_interval);
        self.journal.reloaded(began.elapsed(), true);
        let count = self.set.policies.policies().len();
        let text = format!(
            "read {count} {} in {}: {settled}",
            plural(count, "policy", "policies"),
            escaped(&self.files.directory().display().to_string()),
        );
        self.notice(Notice::new(NoticeKind::Reloaded, text).with(NoticeField::Count, count));
        self.report_limits(&limits);
        self.report_outdated();
        self.watch_knobs();
        Ok(())
    }

    fn reject(&mut self, error: &ContainerError, began: Instant) {
        let why = chain(error);
        self.is_reload_due = matches!(error, ContainerError::Attachment(_));
        let was_said = self.is_reload_due && self.last_reload.error.as_ref() == Some(&why);
        let text = match self.is_reload_due {
            true => format!(
                "the policies cannot be put in force now, so nothing is done; this is tried again: {why}"
            ),
            false => format!("the policies have changed, and have an error, so nothing is done: {why}"),
        };
        self.last_reload = ReloadStatus { at: SystemTime::now(), error: Some(why) };
        self.journal.reloaded(began.elapsed(), false);
        if !was_said {
            self.notice(Notice::new(NoticeKind::ReloadRejected, text));
        }
    }

    /// Makes the attachments of all policies. Outside is why the agent cannot go on, and inside why this set cannot be used.
    pub(super) fn prepare(
        &mut self,
        set: &PolicySet,
    ) -> Result<Result<Vec<String>, ContainerError>, AgentError> {
        let off = Off::read().unwrap_or_default();
        let mut limits = Vec::new();
        for policy in set.policies.policies() {
            // Whoever switches it off may do so because of its program.
            if off.of(policy.version().name()).is_none() {
                match policy.prepare(&mut self.links) {
                    Ok(found) => {
                        limits.extend(found.iter().map(|limit| format!("{}: {limit}", policy.name())));
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            self.attend()?;
        }
        Ok(Ok(limits))
    }

    /// Removes the versions that are on no cgroup any more. What cannot be removed is left to the next time.
    pub(super) fn remove_unused_versions(&mut self) {
        let _ = self.links.attachments().remove_unused_versions();
    }

    /// Says which policies are in force in another version than that of the file, because somebody else has put them there.
    pub(super) fn report_outdated(&mut self) {
        let statuses = self.policy_statuses();
        for status in statuses.into_iter().filter(|status| status.outdated > 0) {
            let count = status.outdated;
            let text = format!(
                "{count} {} an older version of the policy \"{}\", which the agent has not put there; {} it until {} removed",
                plural(count, "cgroup has", "cgroups have"),
                status.name,
                plural(count, "it keeps", "they keep"),
                plural(count, "it is", "they are"),
            );
            let notice = Notice::new(NoticeKind::Outdated, text)
                .with(NoticeField::Policy, &status.name)
                .with(NoticeField::Attachment, &status.attachment)
                .with(NoticeField::Count, count);
            self.notice(notice);
        }
    }

    pub(super) fn report_limits(&mut self, limits: &[String]) {
        for limit in limits {
            self.notice(Notice::new(NoticeKind::Stricter, escaped(limit)));
        }
    }

    /// Says that others than root can change the files, whenever that is not as it was.
    pub(super) fn report_open_to_others(&mut self) {
        const NAMED_MAX: usize = 5;
        let found = self.files.open_to_others();
        if found == self.open_to_others {
            return;
        }
        if !found.is_empty() {
            let named: Vec<String> =
                found.iter().take(NAMED_MAX).map(|one| escaped(&one.to_string())).collect();
            let more = match found.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let text = format!("others than root can change the policies: {}{more}", named.join(", "));
            let notice = Notice::new(NoticeKind::OpenToOthers, text).with(NoticeField::Count, found.len());
            self.notice(notice.with(NoticeField::Path, found[0].path.display()));
        }
        self.open_to_others = found;
    }

    /// Says that changes of files are only seen by the check.
    pub(super) fn report_unwatched_files(&mut self) {
        if let Some(error) = self.files.unwatched() {
            let text = format!(
                "the policies cannot be watched, so changes are only looked for every {} s: {error}; if there can be no more \
                 watches, raise the sysctl fs.inotify.max_user_watches",
                self.set.check_interval.as_secs()
            );
            self.notice(Notice::new(NoticeKind::EventsLost, text));
        }
    }
}
