//! Accesses and decisions as JSON. Rules and lines count from 1.

use knobgate_policy::{AccessKind, Expected, PolicyFile};
use serde::Serialize;

use crate::json::Bytes;

/// An access.
#[derive(Serialize)]
pub(crate) struct JsonAccess<'a> {
    kind: &'static str,
    knob: String,
    new: Option<Bytes<'a>>,
    old: Option<Bytes<'a>>,
    pos: u64,
    uid: u32,
    gid: u32,
    comm: Bytes<'a>,
    /// The network namespace that owns the knob, if it is stated: `host` or `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
}

impl<'a> From<&'a knobgate_policy::Access> for JsonAccess<'a> {
    fn from(access: &'a knobgate_policy::Access) -> Self {
        Self {
            kind: match access.kind() {
                AccessKind::Read => "read",
                AccessKind::Write => "write",
            },
            knob: access.knob.to_string(),
            new: access.new.as_deref().map(Bytes::from),
            old: access.old.as_deref().map(Bytes::from),
            pos: access.pos,
            uid: access.task.uid,
            gid: access.task.gid,
            comm: Bytes::from(access.task.comm.as_slice()),
            netns: access.knob_netns.map(|netns| netns.to_string()),
        }
    }
}

/// An actual or expected verdict. The errno is absent if any is expected.
#[derive(Serialize)]
pub(crate) struct JsonVerdict<'a> {
    verdict: &'static str,
    errno: Option<String>,
    value: Option<Bytes<'a>>,
}

impl<'a> From<&'a knobgate_policy::Verdict> for JsonVerdict<'a> {
    fn from(verdict: &'a knobgate_policy::Verdict) -> Self {
        use knobgate_policy::Verdict::{Allow, Deny, Rewrite};
        let (verdict, errno, value) = match verdict {
            Allow => ("allow", None, None),
            Deny(errno) => ("deny", Some(errno.to_string()), None),
            Rewrite(value) => ("set", None, Some(Bytes::from(value.as_slice()))),
        };
        Self { verdict, errno, value }
    }
}

impl<'a> From<&'a Expected> for JsonVerdict<'a> {
    fn from(expected: &'a Expected) -> Self {
        let (verdict, errno, value) = match expected {
            Expected::Allow => ("allow", None, None),
            Expected::Deny(errno) => ("deny", errno.map(|errno| errno.to_string()), None),
            Expected::Set(text) => ("set", None, Some(Bytes::from(text.as_bytes()))),
        };
        Self { verdict, errno, value }
    }
}

/// A rule of a policy.
#[derive(Serialize)]
pub(crate) struct JsonRule<'a> {
    number: usize,
    /// What has it, if the policy includes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: Option<usize>,
    text: Option<&'a str>,
}

impl<'a> JsonRule<'a> {
    /// The rule with this index.
    pub(crate) fn of(file: &'a PolicyFile, rule: usize) -> Self {
        let place = file.rule_place(rule);
        Self {
            number: rule + 1,
            file: place.map(|place| place.name).filter(|name| *name != file.source().name()),
            line: place.map(|place| place.line),
            text: file.rule_text(rule),
        }
    }
}
