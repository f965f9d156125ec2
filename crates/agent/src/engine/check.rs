//! The periodic check of what no event reports.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use knobgate::kernel::AttachmentName;
use knobgate::{AttachmentError, Off, PinWatch, PolicyLinks, versions_of};

use super::link_table::LinkTable;
use super::{Engine, attachments, escaped};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};

/// How long after pins have gone the links are looked at. Whoever removes one often removes several.
const PIN_PAUSE: Duration = Duration::from_millis(50);
/// How often the links are looked at if pins go all the time: they also do when cgroups are removed.
const PIN_INTERVAL: Duration = Duration::from_secs(1);

/// How many cgroups are looked at again that were looked at often enough.
const AGAIN_MAX: usize = 100;

impl Engine {
    pub(super) fn check(&mut self) -> Result<(), AgentError> {
        if self.changed.is_none() && (self.is_reload_due || self.files.have_changed()) {
            self.files_changed();
        }
        if Off::read().is_ok_and(|off| off != self.off) {
            self.off_changed()?;
        }
        if self.cgroups.lacking().is_some() {
            self.rescan()?;
            self.report_lacking();
        }
        if self.pin_watch.is_none() {
            self.watch_pins();
        }
        self.failed_before = std::mem::take(&mut self.failing);
        match self.check_links() {
            Ok(()) => self.check_integrity()?,
            Err(error) => self.cannot_look(&error),
        }
        for id in self.failed_before.clone() {
            if let Some(path) = self.cgroups.path(id) {
                self.put(id, &path, None);
            }
        }
        for id in self.retries.again(AGAIN_MAX) {
            match self.cgroups.path(id) {
                Some(path) => self.put_undecided(id, &path),
                None => self.retries.forget(id),
            }
        }
        self.check_watches();
        Ok(())
    }

    /// Compares the links with those that there were, and puts back what is gone.
    pub(super) fn check_links(&mut self) -> Result<(), AttachmentError> {
        (self.links_at, self.links_checked) = (None, Some(Instant::now()));
        let attachments = attachments()?;
        // The bpffs may have been mounted anew.
        if !attachments.is_same_as(self.links.attachments())? {
            self.links = PolicyLinks::new(attachments);
            self.watch_pins();
        }
        let now = LinkTable::of(self.links.origins()?, &self.table);
        // What is taken off is off before its links go. So this is read after them.
        let off = Off::read().unwrap_or_else(|_| self.off.clone());
        let before = std::mem::replace(&mut self.table, now);
        if !self.gone_since(&before, &off).is_empty() {
            // A pin that a hook renames can be missing in a list (readdir(3)).
            self.table = LinkTable::of(self.links.origins()?, &before);
        }
        self.unpin_removed();
        // What was off for a moment was taken away on purpose, and is put back when that is attended to.
        self.has_off_changed |= self.off_watch.read().unwrap_or(false);
        if self.has_off_changed {
            return Ok(());
        }
        let gone = self.gone_since(&before, &off);
        gone.into_iter().for_each(|(id, name)| self.vanished(id, &name));
        Ok(())
    }

    /// The links that there were, and are not any more.
    fn gone_since(&self, before: &LinkTable, off: &Off) -> Vec<(u64, Arc<AttachmentName>)> {
        let gone = before.iter().filter(|(id, record)| {
            let is_there = |versions| self.table.on(*id).iter().any(|other| other.is_of(versions));
            self.cgroups.contains(*id)
                && off.of(&record.name).is_none()
                && !versions_of(&record.name).is_some_and(is_there)
        });
        gone.map(|(id, record)| (id, Arc::clone(&record.name))).collect()
    }

    /// Begins to watch the pins.
    pub(super) fn watch_pins(&mut self) {
        // Without, the check sees what happens to them.
        self.pin_watch = PinWatch::new(self.links.attachments()).ok();
    }

    /// Reads what has happened to pins. The links are looked at soon, and not for each of many.
    pub(super) fn read_pin_events(&mut self) {
        let Some(watch) = &mut self.pin_watch else { return };
        match watch.read() {
            Ok(true) if self.links_at.is_none() => {
                let now = Instant::now();
                let soon = now + PIN_PAUSE;
                self.links_at = Some(self.links_checked.map_or(soon, |at| soon.max(at + PIN_INTERVAL)));
            }
            Ok(_) => {}
            Err(_) => self.pin_watch = None,
        }
    }

    /// Unpins what is left of cgroups that are gone.
    pub(super) fn unpin_removed(&mut self) {
        let hierarchy = self.workloads.hierarchy();
        let is_gone = |id: u64| !self.cgroups.contains(id) && hierarchy.was_removed(id).unwrap_or(false);
        let gone: Vec<u64> = self.table.cgroups().filter(|&id| is_gone(id)).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// A link is gone, and its cgroup is not.
    fn vanished(&mut self, id: u64, name: &AttachmentName) {
        let Some(path) = self.cgroups.path(id) else { return };
        let shown = escaped(path.as_os_str().as_bytes());
        let about = |kind, text| {
            Notice::new(kind, text)
                .with(NoticeField::Attachment, name)
                .with(NoticeField::Cgroup, path.display())
        };
        let text = format!("somebody has taken {name} away from {shown}");
        self.notice(about(NoticeKind::LinkVanished, text));
        if self.set.repair {
            self.put_again(id, &path, name);
        }
    }

    /// Puts a policy on a cgroup again that somebody has taken away from it.
    pub(super) fn put_again(&mut self, id: u64, path: &Path, name: &AttachmentName) {
        let shown = escaped(path.as_os_str().as_bytes());
        let about = |kind, text| {
            Notice::new(kind, text)
                .with(NoticeField::Attachment, name)
                .with(NoticeField::Cgroup, path.display())
        };
        self.put(id, path, None);
        let versions = versions_of(name).unwrap_or_default();
        let put = self.table.on(id).iter().find(|record| record.is_of(versions)).cloned();
        if let Some(record) = put {
            let text = format!("put {} back on {shown}", record.name);
            self.notice(about(NoticeKind::Repaired, text));
        } else if self.failing.contains(&id) {
            let text = format!("cannot put {name} back on {shown}; this is tried again");
            self.notice(about(NoticeKind::RepairFailed, text));
        }
    }
}
