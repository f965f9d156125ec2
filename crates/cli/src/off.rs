//! Which policies are off, as text and JSON.

use knobgate::{Off, OffBy, OffError};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Output, chain};
use crate::printable::printable;
use crate::timestamp;

/// Which policies are off. If that is not known, it says so, and goes on as if none were: for commands that only show something.
pub(crate) fn shown(output: &Output) -> Off {
    Off::read().unwrap_or_else(|error| {
        output.warning(format!("cannot find out which policies are off: {}", chain(&error)));
        Off::default()
    })
}

/// What is off since when, by whom and why, and how it is on again.
pub(crate) fn describe(by: &OffBy) -> String {
    format!("{}; to end that: {}", what_since(by), by.remedy())
}

/// What is off since when, by whom and why.
pub(crate) fn what_since(by: &OffBy) -> String {
    let what = match by {
        OffBy::Name(name, _) => format!("\"{name}\" is off"),
        OffBy::All(_) => "all policies are off".to_owned(),
        // It says the rest, too.
        by => by.to_string(),
    };
    what + &since(by)
}

/// Since when, by whom and why: ` since 2026-11-29T12:04:31Z, by uid 1000 (reason)`.
pub(crate) fn since(by: &OffBy) -> String {
    let Some(note) = by.note() else { return String::new() };
    let since = note.since.map(|since| format!(" since {}", timestamp::seconds(since))).unwrap_or_default();
    let uid = note.uid.map(|uid| format!(", by uid {uid}")).unwrap_or_default();
    let reason = note.reason.as_ref().map(|reason| format!(" ({})", printable(reason))).unwrap_or_default();
    format!("{since}{uid}{reason}")
}

/// The failure of a command that would put something in force that is off.
pub(crate) fn failure(what: &str, by: &OffBy) -> Failure {
    Failure::machine(format!("cannot {what}")).because(describe(by))
}

impl From<OffError> for Failure {
    fn from(error: OffError) -> Self {
        let what = error.to_string();
        match error {
            OffError::LongReason { .. } => Self::usage(what),
            OffError::Io { source, .. } => Self::machine(what).because(source),
            _ => Self::machine(what),
        }
    }
}

/// Why something is off, for JSON.
#[derive(Debug, Serialize)]
pub(crate) struct OffReason {
    /// `boot` if the machine was started so, `all` if everything is off, `name` if it is off itself.
    by: &'static str,
    since: Option<String>,
    uid: Option<u32>,
    reason: Option<String>,
}

impl From<&OffBy> for OffReason {
    fn from(by: &OffBy) -> Self {
        let note = by.note().cloned().unwrap_or_default();
        Self {
            by: match by {
                OffBy::Name(..) => "name",
                OffBy::All(_) => "all",
                _ => "boot",
            },
            since: note.since.map(timestamp::seconds),
            uid: note.uid,
            reason: note.reason,
        }
    }
}
