//! From lines to items.

use std::borrow::Cow;

use knobgate_policy::{Errno, KnobName};

use super::document::{EventDocument, HeadDocument, LostDocument, SuppressedDocument};
use super::parts::{RuleDocument, TaskDocument, VerdictDocument};
use super::text::{NameDocument, TextDocument};
use super::time::TimeDocument;
use super::{SCHEMA, VERSION};
use crate::event::{Event, EventRule, EventText, EventVerdict, RuleRef, Totals};
use crate::stream::{Lost, StreamContent, StreamContext, StreamEvent, StreamItem, Suppressed};
use crate::workload::StreamWorkload;

/// What is wrong with a line.
#[derive(Debug)]
pub(super) struct LineError {
    /// The byte of the line, from 1, if one place is wrong.
    pub(super) column: Option<usize>,
    pub(super) message: String,
    /// Whether it is the start of a line.
    pub(super) is_start: bool,
}

impl From<String> for LineError {
    fn from(message: String) -> Self {
        Self { column: None, message, is_start: false }
    }
}

impl From<serde_json::Error> for LineError {
    fn from(error: serde_json::Error) -> Self {
        let message = error.to_string();
        // The error counts the lines of what it was given, which is one.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        let column = Some(error.column()).filter(|&column| column > 0);
        Self { column, message, is_start: error.is_eof() }
    }
}

/// The item of a line; `None` if it has a type that only a later version knows.
pub(super) fn item(line: &str) -> Result<Option<StreamItem>, LineError> {
    if !line.trim_start().starts_with('{') {
        return Err("it is not a JSON object".to_owned().into());
    }
    let head = head(line).map_err(|error| {
        let mut error = LineError::from(error);
        if error.message == "missing field `schema`" {
            error.message +=
                "; `watch --json` and `log NAME --recent --json` print events, `log NAME --json` does not";
        }
        error
    })?;
    if head.schema != SCHEMA {
        return Err(format!("the schema is {:?}, not \"{SCHEMA}\"", head.schema).into());
    }
    match &*head.r#type {
        "event" => event(serde_json::from_str(line)?),
        "suppressed" => suppressed(serde_json::from_str(line)?),
        "lost" => Ok(lost(serde_json::from_str(line)?)),
        _ if head.version > VERSION => return Ok(None),
        other => Err(format!("the type is {other:?}; the types are \"event\", \"suppressed\" and \"lost\"")),
    }
    .map(Some)
    .map_err(LineError::from)
}

/// The first members of a line.
fn head(line: &str) -> Result<HeadDocument<'_>, serde_json::Error> {
    // A line as it is written here is not parsed twice.
    const FIRST: &str = r#"{"schema":"knobgate.events","version":1,"type":""#;
    const _: () = assert!(VERSION == 1);
    match line.strip_prefix(FIRST).and_then(|rest| rest.split_once('"')) {
        Some((r#type, _)) => {
            Ok(HeadDocument { schema: SCHEMA.into(), version: VERSION, r#type: r#type.into() })
        }
        None => serde_json::from_str(line),
    }
}

fn event(document: EventDocument<'_>) -> Result<StreamItem, String> {
    let verdict = match (document.verdict, document.errno) {
        (VerdictDocument::Allow, None) => EventVerdict::Allow,
        (VerdictDocument::Rewrite, None) => EventVerdict::Rewrite,
        (VerdictDocument::Deny, Some(errno)) => EventVerdict::Deny(
            Errno::from_number(errno.0.into())
                .ok_or_else(|| format!("no errno has the number {}", errno.0))?,
        ),
        (VerdictDocument::Deny, None) => {
            return Err("the verdict is \"deny\", and there is no \"errno\"".to_owned());
        }
        (_, Some(_)) => return Err("there is an \"errno\", but the verdict is not \"deny\"".to_owned()),
    };
    let TaskDocument { pid, tid, uid, gid, comm } = document.task;
    let eval_error = document.rule.reason.as_ref().map(|reason| reason.clone().into_owned());
    let event = Event {
        boot_time: document.boot_time,
        cgroup_id: document.cgroup.id,
        pid,
        tid,
        uid,
        gid,
        comm: comm.map(NameDocument::bytes).transpose()?,
        namespaces: document.namespaces.map(Into::into),
        knob: knob(document.knob)?,
        kind: document.access.into(),
        position: document.position,
        secret: document.secret,
        old: text(document.old)?,
        new: text(document.new)?,
        stored: text(document.stored)?,
        verdict,
        mode: document.mode.into(),
        denied_before: document.denied_before.map(|errno| errno.0),
        policy: document.policy.into_owned(),
        rule: rule(document.rule)?,
        observer: document.observer,
        outcome_unknown: document.outcome_unknown,
        declares_widths: document.declares_widths,
        origin: document.origin,
        totals: Totals { sent: document.totals.sent, suppressed: document.totals.suppressed },
    };
    let replacement = document.replacement.map(TextDocument::bytes).transpose()?;
    Ok(StreamItem {
        sequence: document.sequence,
        time: document.time.map(TimeDocument::time),
        boot_id: document.boot_id.map(Cow::into_owned),
        context: context(document.attachment, document.cgroup.path, document.workload)?,
        content: StreamContent::Event(Box::new(StreamEvent { event, eval_error, replacement })),
    })
}

fn suppressed(document: SuppressedDocument<'_>) -> Result<StreamItem, String> {
    let (cgroup_id, cgroup_path) = document.cgroup.map(|cgroup| (cgroup.id, cgroup.path)).unzip();
    let suppressed = Suppressed {
        boot_time: document.boot_time,
        policy: document.policy.map(Cow::into_owned),
        rule: document.rule.map(rule).transpose()?,
        cgroup_id,
        origin: document.origin,
        count: document.count,
    };
    Ok(StreamItem {
        sequence: document.sequence,
        time: document.time.map(TimeDocument::time),
        boot_id: document.boot_id.map(Cow::into_owned),
        context: context(document.attachment, cgroup_path.flatten(), document.workload)?,
        content: StreamContent::Suppressed(Box::new(suppressed)),
    })
}

fn lost(document: LostDocument<'_>) -> StreamItem {
    StreamItem {
        sequence: document.sequence,
        time: document.time.map(TimeDocument::time),
        boot_id: document.boot_id.map(Cow::into_owned),
        context: StreamContext::default(),
        content: StreamContent::Lost(Lost { boot_time: document.boot_time, count: document.count }),
    }
}

fn context(
    attachment: Option<Cow<'_, str>>,
    cgroup_path: Option<NameDocument<'_>>,
    workload: Option<Cow<'_, StreamWorkload>>,
) -> Result<StreamContext, String> {
    Ok(StreamContext {
        attachment: attachment.map(Cow::into_owned),
        cgroup_path: cgroup_path.map(NameDocument::bytes).transpose()?,
        workload: workload.map(Cow::into_owned),
    })
}

fn rule(document: RuleDocument<'_>) -> Result<EventRule, String> {
    let rule = match (document.index, document.default) {
        (Some(index), None) => RuleRef::Rule(index),
        (None, Some(kind)) => RuleRef::Default(kind.into()),
        _ => return Err("a rule has either \"index\" or \"default\"".to_owned()),
    };
    let text = document.text.try_into()?;
    Ok(EventRule { rule, line: document.line, text, eval_error: document.eval_error })
}

fn text(document: Option<TextDocument<'_>>) -> Result<Option<EventText>, String> {
    document.map(TryInto::try_into).transpose()
}

fn knob(document: NameDocument<'_>) -> Result<EventText, String> {
    match document {
        NameDocument::Plain(name) => {
            let name = KnobName::parse(&*name).map_err(|error| format!("\"knob\" is not a name: {error}"))?;
            Ok(EventText { bytes: name.as_bytes().to_vec(), cut_from: None })
        }
        NameDocument::Bytes(path) => path.try_into(),
    }
}
