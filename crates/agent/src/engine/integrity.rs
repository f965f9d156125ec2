//! What somebody else has done to the links of policies.

use std::collections::BTreeSet;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use knobgate::kernel::{AttachmentName, Cgroup};
use knobgate::{AttachmentError, Finding, FindingKind, ForeignBy, versions_of};

use super::{Engine, attachments, chain, escaped};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};

impl Engine {
    /// Looks at all links, reports what is new, and repairs what can be.
    pub(super) fn check_integrity(&mut self) -> Result<(), AgentError> {
        let mut integrity = mem::take(&mut self.integrity);
        let mut attended = Ok(());
        let found = attachments().and_then(|attachments| {
            let between = &mut || {
                if attended.is_ok() {
                    attended = self.attend();
                }
            };
            let findings = integrity.pass_with(&attachments, between)?;
            Ok(findings.iter().cloned().collect::<BTreeSet<Finding>>())
        });
        self.integrity = integrity;
        attended?;
        let found: BTreeSet<Finding> = match found {
            Ok(found) => found,
            Err(error) => {
                self.cannot_look(&error);
                return Ok(());
            }
        };
        self.cannot_look = None;
        let before = mem::take(&mut self.findings);
        let mut left = BTreeSet::new();
        for finding in found {
            let is_new = !before.contains(&finding);
            if is_new {
                self.found(&finding);
            }
            // Whoever replaces the program again is found again, although that looks the same.
            if !self.put_right(&finding, is_new) {
                left.insert(finding);
            }
        }
        self.findings = left;
        Ok(())
    }

    /// Says that the attachments cannot be looked at, once for each reason.
    pub(super) fn cannot_look(&mut self, error: &AttachmentError) {
        let why = chain(error);
        if self.cannot_look.as_ref() != Some(&why) {
            let text = format!("cannot look at the attachments: {why}");
            self.cannot_look = Some(why);
            self.notice(Notice::new(NoticeKind::RepairFailed, text));
        }
    }

    /// Says that an attachment, or its link on a cgroup, cannot be looked at.
    fn not_examined(&mut self, name: &AttachmentName, cgroup: Option<&Path>, why: &str) {
        let on = cgroup.map(|path| format!(" on {}", escaped(path.as_os_str().as_bytes())));
        let text = format!(
            "cannot look at {name}{}, so it is not known whether it is in force there: {}",
            on.unwrap_or_default(),
            escaped(why)
        );
        let notice = Notice::new(NoticeKind::RepairFailed, text).with(NoticeField::Attachment, name);
        self.notice(match cgroup {
            Some(path) => notice.with(NoticeField::Cgroup, path.display()),
            None => notice,
        });
    }

    fn found(&mut self, finding: &Finding) {
        let Finding { cgroup, attachments, kind, .. } = finding;
        let [name, ..] = &attachments[..] else { return };
        if let FindingKind::NotExamined { why } = kind {
            return self.not_examined(name, cgroup.as_deref(), why);
        }
        let Some(path) = cgroup else { return };
        let shown = escaped(path.as_os_str().as_bytes());
        let about = |kind, text| {
            Notice::new(kind, text)
                .with(NoticeField::Attachment, name)
                .with(NoticeField::Cgroup, path.display())
        };
        match kind {
            FindingKind::Detached { .. } => {
                let text = format!("somebody has detached the link of {name} from {shown}");
                self.notice(about(NoticeKind::LinkVanished, text));
            }
            FindingKind::Replaced { program, .. } => {
                let text = format!(
                    "somebody has replaced the program of {name} on {shown} with program {} ({}), loaded by uid {}",
                    program.id,
                    escaped(&program.name),
                    program.loaded_by
                );
                let notice = about(NoticeKind::LinkReplaced, text)
                    .with(NoticeField::ProgramId, program.id)
                    .with(NoticeField::ProgramName, &program.name)
                    .with(NoticeField::Uid, program.loaded_by);
                self.notice(notice);
            }
            FindingKind::NotEffective { program_id, .. } => {
                let text = format!("the program of {name} is on {shown}, and does not run there");
                let notice = about(NoticeKind::LinkReplaced, text).with(NoticeField::ProgramId, program_id);
                self.notice(notice);
            }
            FindingKind::Foreign { program, attached_to, by } => {
                let how = match by {
                    ForeignBy::Link(id) => format!("by link {id}"),
                    ForeignBy::Mode(mode) => format!("in {mode} mode"),
                };
                let text = format!(
                    "program {} ({}), loaded by uid {}, is attached to {} {how}, and can overrule {name} on {shown}",
                    program.id,
                    escaped(&program.name),
                    program.loaded_by,
                    escaped(attached_to.as_os_str().as_bytes()),
                );
                let notice = about(NoticeKind::ForeignProgram, text)
                    .with(NoticeField::OtherCgroup, attached_to.display())
                    .with(NoticeField::ProgramId, program.id)
                    .with(NoticeField::ProgramName, &program.name)
                    .with(NoticeField::Uid, program.loaded_by);
                self.notice(notice);
            }
            // The table has these, too, with what is off.
            _ => {}
        }
    }

    /// Puts back a link that was detached, or the program of one where it was replaced. What fails is tried each time, and said once.
    /// Returns whether there is nothing left to do.
    fn put_right(&mut self, finding: &Finding, is_new: bool) -> bool {
        let Finding { cgroup_id, cgroup: Some(path), attachments, kind, .. } = finding else { return false };
        let Some(name) = attachments.first() else { return false };
        match kind {
            FindingKind::Replaced { .. } => self.restore(path, name, is_new),
            FindingKind::Detached { .. } => self.put_back(*cgroup_id, path, name, is_new),
            _ => false,
        }
    }

    /// Puts a policy back whose link was detached, and is pinned still.
    fn put_back(&mut self, id: u64, path: &Path, name: &Arc<AttachmentName>, is_new: bool) -> bool {
        let is_ours = versions_of(name).is_some_and(|versions| self.is_policy(versions));
        if !self.set.repair || !is_ours || self.off.of(name).is_some() {
            return false;
        }
        if !self.table.on(id).iter().any(|record| record.name == *name) {
            return false;
        }
        if let Err(error) = self.links.unpin_detached(name, id) {
            if is_new {
                let shown = escaped(path.as_os_str().as_bytes());
                let text =
                    format!("cannot put {name} back on {shown}; this is tried again: {}", chain(&error));
                let notice = Notice::new(NoticeKind::RepairFailed, text)
                    .with(NoticeField::Attachment, name)
                    .with(NoticeField::Cgroup, path.display());
                self.notice(notice);
            }
            return false;
        }
        self.table.remove(id, name);
        self.put_again(id, path, name);
        true
    }

    fn restore(&mut self, path: &Path, name: &AttachmentName, is_new: bool) -> bool {
        if !self.set.repair || !versions_of(name).is_some_and(|versions| self.is_policy(versions)) {
            return false;
        }
        let shown = escaped(path.as_os_str().as_bytes());
        let restored = match Cgroup::open(path) {
            Ok(cgroup) => self.links.restore(name, &cgroup),
            // It is gone.
            Err(_) => return false,
        };
        let is_restored = restored.is_ok();
        let (kind, text) = match restored {
            Ok(()) => (NoticeKind::Repaired, format!("put the program of {name} back on {shown}")),
            Err(error) => {
                let text = format!("cannot put the program of {name} back on {shown}: {}", chain(&error));
                (NoticeKind::RepairFailed, text)
            }
        };
        let notice = Notice::new(kind, text)
            .with(NoticeField::Attachment, name)
            .with(NoticeField::Cgroup, path.display());
        if is_new || is_restored {
            self.notice(notice);
        }
        is_restored
    }
}
