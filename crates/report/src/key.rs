//! Keys: everything by which entries of a list differ. Each part says how long it is, so that different entries have different keys.

use knobgate_events::{EventText, RuleRef, StreamItem, StreamWorkload};
use knobgate_policy::AccessKind;

use crate::kept::start;

/// Adds the start of a text, as much as is kept of it.
pub(crate) fn optional(key: &mut Vec<u8>, text: Option<&[u8]>) {
    whole(key, text.map(start));
}

/// Adds all of a text.
fn whole(key: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else { return key.push(0) };
    key.push(1);
    key.extend((text.len() as u64).to_le_bytes());
    key.extend(text);
}

fn text(key: &mut Vec<u8>, text: &EventText) {
    optional(key, Some(&text.bytes));
    let cut_from = text.cut_from.map_or(0, u64::from);
    key.extend(cut_from.max(text.bytes.len() as u64).to_le_bytes());
}

/// By what attachments and observers differ.
pub(crate) fn of_attachment(key: &mut Vec<u8>, item: &StreamItem, observer: bool) {
    optional(key, item.context.attachment.as_deref().map(str::as_bytes));
    optional(key, item.policy().map(str::as_bytes));
    key.push(observer.into());
}

/// By what knobs differ.
pub(crate) fn of_knob(key: &mut Vec<u8>, knob: &EventText) {
    text(key, knob);
    key.push(knob.cut_from.is_some().into());
}

/// By what rules differ.
pub(crate) fn of_rule(key: &mut Vec<u8>, item: &StreamItem) {
    of_attachment(key, item, false);
    let Some(rule) = item.rule() else { return };
    let (kind, index) = match rule.rule {
        RuleRef::Rule(index) => (0, index),
        RuleRef::Default(AccessKind::Read) => (1, 0),
        RuleRef::Default(AccessKind::Write) => (2, 0),
    };
    key.push(kind);
    key.extend(index.to_le_bytes());
    key.extend(rule.line.unwrap_or(0).to_le_bytes());
    text(key, &rule.text);
}

/// Everything on which the label of a workload depends.
pub(crate) fn of_context(key: &mut Vec<u8>, item: &StreamItem) {
    key.extend(item.cgroup_id().unwrap_or(0).to_le_bytes());
    whole(key, item.context.cgroup_path.as_deref());
    let boot = item.boot_id.as_deref().filter(|_| item.context.cgroup_path.is_none());
    whole(key, boot.map(str::as_bytes));
    let Some(workload) = &item.context.workload else { return };
    for level in workload.levels() {
        let StreamWorkload {
            engine,
            container,
            container_id,
            pod,
            pod_id,
            namespace,
            project,
            unit,
            slice,
            ..
        } = level;
        key.push(level.monitor.into());
        key.extend(level.user.map_or(u64::MAX, u64::from).to_le_bytes());
        for part in [engine, container, container_id, pod, pod_id, namespace, project, unit, slice] {
            whole(key, part.as_deref().map(str::as_bytes));
        }
    }
}
