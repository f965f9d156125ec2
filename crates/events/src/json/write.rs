//! From items to lines.

use std::borrow::Cow;

use knobgate_policy::KnobName;

use super::document::{EventDocument, LineDocument, LostDocument, SuppressedDocument};
use super::parts::{
    CgroupDocument, ErrnoDocument, OutcomeDocument, RuleDocument, TaskDocument, TotalsDocument,
    VerdictDocument,
};
use super::text::{NameDocument, TextDocument};
use super::time::TimeDocument;
use super::{SCHEMA, VERSION};
use crate::event::{EventOutcome, EventRule, EventText, EventVerdict, RuleRef};
use crate::stream::{StreamContent, StreamEvent, StreamItem, Suppressed};
use crate::terminal::escape_json;

/// The item as a line of JSON, without the newline. Everything that a terminal would interpret is escaped.
pub fn to_json(item: &StreamItem) -> String {
    let line = match &item.content {
        StreamContent::Event(event) => LineDocument::Event(Box::new(event_document(item, event))),
        StreamContent::Suppressed(suppressed) => {
            LineDocument::Suppressed(Box::new(suppressed_document(item, suppressed)))
        }
        StreamContent::Lost(lost) => LineDocument::Lost(LostDocument {
            schema: SCHEMA.into(),
            version: VERSION,
            r#type: "lost".into(),
            sequence: item.sequence,
            time: item.time.and_then(TimeDocument::new),
            boot_time: lost.boot_time,
            boot_id: item.boot_id.as_deref().map(Into::into),
            count: lost.count,
        }),
    };
    // Documents have string keys and no floats, so this cannot fail.
    escape_json(serde_json::to_string(&line).unwrap_or_default())
}

fn event_document<'a>(item: &'a StreamItem, stream_event: &'a StreamEvent) -> EventDocument<'a> {
    let StreamEvent { event, eval_error, replacement } = stream_event;
    let (verdict, errno) = match event.verdict {
        EventVerdict::Allow => (VerdictDocument::Allow, None),
        EventVerdict::Deny(errno) => (VerdictDocument::Deny, Some(errno.into())),
        EventVerdict::Rewrite => (VerdictDocument::Rewrite, None),
    };
    let outcome = match event.outcome() {
        EventOutcome::Allowed => Some(OutcomeDocument::Allowed),
        EventOutcome::Denied(_) => Some(OutcomeDocument::Denied),
        EventOutcome::Rewritten => Some(OutcomeDocument::Rewritten),
        EventOutcome::WouldDeny(_) => Some(OutcomeDocument::WouldDeny),
        EventOutcome::WouldRewrite => Some(OutcomeDocument::WouldRewrite),
        EventOutcome::Unknown => None,
    };
    let cgroup_path = item.context.cgroup_path.as_deref().map(Into::into);
    EventDocument {
        schema: SCHEMA.into(),
        version: VERSION,
        r#type: "event".into(),
        sequence: item.sequence,
        time: item.time.and_then(TimeDocument::new),
        boot_time: event.boot_time,
        boot_id: item.boot_id.as_deref().map(Into::into),
        attachment: item.context.attachment.as_deref().map(Into::into),
        policy: (&*event.policy).into(),
        mode: event.mode.into(),
        observer: event.observer,
        outcome_unknown: event.outcome_unknown,
        declares_widths: event.declares_widths,
        verdict,
        errno,
        outcome,
        denied_before: event.denied_before.map(ErrnoDocument),
        access: event.kind.into(),
        knob: knob_document(&event.knob),
        position: event.position,
        secret: event.secret,
        old: event.old.as_ref().map(Into::into),
        new: event.new.as_ref().map(Into::into),
        stored: event.stored.as_ref().map(Into::into),
        replacement: replacement.as_deref().map(TextDocument::of_bytes),
        rule: RuleDocument { reason: eval_error.as_deref().map(Into::into), ..rule_document(&event.rule) },
        task: TaskDocument {
            pid: event.pid,
            tid: event.tid,
            uid: event.uid,
            gid: event.gid,
            comm: event.comm.as_deref().map(Into::into),
        },
        namespaces: event.namespaces.map(Into::into),
        cgroup: CgroupDocument { id: event.cgroup_id, path: cgroup_path },
        workload: item.context.workload.as_ref().map(Cow::Borrowed),
        totals: TotalsDocument { sent: event.totals.sent, suppressed: event.totals.suppressed },
        origin: event.origin,
    }
}

fn suppressed_document<'a>(item: &'a StreamItem, suppressed: &'a Suppressed) -> SuppressedDocument<'a> {
    let path = || item.context.cgroup_path.as_deref().map(Into::into);
    SuppressedDocument {
        schema: SCHEMA.into(),
        version: VERSION,
        r#type: "suppressed".into(),
        sequence: item.sequence,
        time: item.time.and_then(TimeDocument::new),
        boot_time: suppressed.boot_time,
        boot_id: item.boot_id.as_deref().map(Into::into),
        attachment: item.context.attachment.as_deref().map(Into::into),
        policy: suppressed.policy.as_deref().map(Into::into),
        rule: suppressed.rule.as_ref().map(rule_document),
        cgroup: suppressed.cgroup_id.map(|id| CgroupDocument { id, path: path() }),
        workload: item.context.workload.as_ref().map(Cow::Borrowed),
        origin: suppressed.origin,
        count: suppressed.count,
    }
}

fn rule_document(rule: &EventRule) -> RuleDocument<'_> {
    let (index, default) = match rule.rule {
        RuleRef::Rule(index) => (Some(index), None),
        RuleRef::Default(kind) => (None, Some(kind.into())),
    };
    let text = (&rule.text).into();
    RuleDocument { index, default, line: rule.line, text, eval_error: rule.eval_error, reason: None }
}

fn knob_document(knob: &EventText) -> NameDocument<'_> {
    match KnobName::from_path(&*knob.bytes) {
        Ok(name) if knob.cut_from.is_none() => NameDocument::Plain(name.to_string().into()),
        _ => NameDocument::Bytes(knob.into()),
    }
}
