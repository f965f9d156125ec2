//! What is taken out of force by `knobgate off`.

use std::collections::BTreeSet;
use std::path::Path;

use knobgate::{Off, OffBy};

use super::{Engine, chain, escaped};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeField, NoticeKind};
use crate::rfc_3339::seconds;

impl Engine {
    /// Begins to watch what is off.
    pub(super) fn watch_off(&mut self) {
        // Without, the check sees it.
        let _ = self.off_watch.watch(Some(Path::new(Off::DIRECTORY)), []);
        match Off::read() {
            Ok(off) => self.report_off(off),
            Err(error) => {
                let text = format!(
                    "cannot find out what is off, so no policy is put on a cgroup: {}",
                    chain(&error)
                );
                self.notice(Notice::new(NoticeKind::AttachFailed, text));
            }
        }
    }

    /// Looks at what is off again, and puts in force what is on again: also if nothing has changed, since something can have been off
    /// for a moment. What is off was taken away by whoever did that.
    pub(super) fn off_changed(&mut self) -> Result<(), AgentError> {
        self.has_off_changed = false;
        self.watch_off();
        self.settle_all().map(drop)
    }

    fn report_off(&mut self, off: Off) {
        let key = |by: &OffBy| match by {
            OffBy::Name(name, _) => Some(name.to_string()),
            _ => None,
        };
        let names = |off: &Off| off.reasons().iter().map(key).collect::<BTreeSet<_>>();
        let (before, now) = (names(&self.off), names(&off));
        for by in off.reasons().iter().filter(|by| !before.contains(&key(by))) {
            let notice = Notice::new(NoticeKind::Off, described(by));
            self.notice(with_policy(notice, key(by)));
        }
        for name in before.difference(&now) {
            let what =
                name.as_ref().map_or_else(|| "all policies are".to_owned(), |name| format!("\"{name}\" is"));
            let notice = Notice::new(NoticeKind::On, format!("{what} on again"));
            self.notice(with_policy(notice, name.clone()));
        }
        self.off = off;
    }
}

/// What is off, since when, by whom, and why.
pub(super) fn described(by: &OffBy) -> String {
    let Some(note) = by.note() else { return escaped(&by.to_string()) };
    let what = match by {
        OffBy::Name(name, _) => format!("\"{name}\" is off"),
        _ => "all policies are off".to_owned(),
    };
    let since = note.since.map(|at| format!(" since {}", seconds(at))).unwrap_or_default();
    let uid = note.uid.map(|uid| format!(", by uid {uid}")).unwrap_or_default();
    let reason = note.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    escaped(&format!("{what}{since}{uid}{reason}"))
}

fn with_policy(notice: Notice, name: Option<String>) -> Notice {
    match name {
        Some(name) => notice.with(NoticeField::Policy, name),
        None => notice,
    }
}
