//! The periodic check of what no event reports.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use knobgate::kernel::AttachmentName;
use knobgate::{AttachmentError, Attachments, Off, PolicyLinks, versions_of};

use super::link_table::LinkTable;
use super::{Engine, chain, escaped};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};

impl Engine {
    pub(super) fn check(&mut self) -> Result<(), AgentError> {
        if self.changed.is_none() && self.files.have_changed() {
            self.files_changed();
        }
        if Off::read().is_ok_and(|off| off != self.off) {
            self.off_changed()?;
        }
        if self.cgroups.lacking().is_some() {
            self.rescan()?;
            self.report_lacking();
        }
        self.failed_before = std::mem::take(&mut self.failing);
        if let Err(error) = self.check_links() {
            let text = format!("cannot look at the attachments: {}", chain(&error));
            self.notice(Notice::new(NoticeKind::RepairFailed, text));
        }
        for id in self.failed_before.clone() {
            if let Some(path) = self.cgroups.path(id) {
                self.put(id, &path, None);
            }
        }
        Ok(())
    }

    /// Compares the links with those that there were, and puts back what is gone.
    fn check_links(&mut self) -> Result<(), AttachmentError> {
        let attachments = Attachments::create()?;
        // The bpffs may have been mounted anew.
        if !attachments.is_same_as(self.links.attachments())? {
            self.links = PolicyLinks::new(attachments);
        }
        let now = LinkTable::of(self.links.origins()?);
        let before = std::mem::replace(&mut self.table, now);
        self.unpin_removed();
        let gone = before.iter().filter(|(id, record)| {
            let is_there = |versions| self.table.on(*id).iter().any(|other| other.is_of(versions));
            self.cgroups.contains(*id)
                && self.off.of(&record.name).is_none()
                && !versions_of(&record.name).is_some_and(is_there)
        });
        let gone: Vec<_> = gone.map(|(id, record)| (id, Arc::clone(&record.name))).collect();
        gone.into_iter().for_each(|(id, name)| self.vanished(id, &name));
        Ok(())
    }

    /// Unpins what is left of cgroups that are gone.
    fn unpin_removed(&mut self) {
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
        if !self.set.repair {
            return;
        }
        self.put(id, &path, None);
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
