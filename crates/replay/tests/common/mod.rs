//! Events, as lines of JSON.
#![allow(dead_code, missing_docs)]

use knobgate_events::StreamItem;
use knobgate_events::json::StreamReader;
use knobgate_policy::{Access, CheckOptions, DecidedBy, Decision, KnobName, Policy, Source, Verdict, parse};
use serde_json::{Value, json};

/// The longest text that programs record.
const TEXT_MAX: usize = 256;

pub(crate) fn policy(rules: &str) -> Policy {
    let text = format!("policy p\n{rules}\n");
    let file = parse(Source::new("p.knob", text), &CheckOptions::default());
    file.unwrap_or_else(|error| panic!("{rules}: {error}")).into_policy()
}

pub(crate) fn knob(name: &str) -> KnobName {
    KnobName::parse(name).unwrap()
}

/// The event that a program sends about an access, all of which it can see.
pub(crate) fn event(access: &Access, decision: &Decision) -> Value {
    let rule = match decision.by {
        DecidedBy::Rule(rule) => json!({ "index": rule, "text": text(b"rule") }),
        DecidedBy::EvalError { rule, error } => {
            json!({ "index": rule, "text": text(b"rule"), "eval_error": true, "reason": error.to_string() })
        }
        DecidedBy::Default(kind) => json!({ "default": kind.to_string(), "text": text(b"") }),
    };
    let mut event = json!({
        "schema": "knobgate.events", "version": 1, "type": "event", "sequence": 1, "boot_time": 1,
        "policy": "p", "mode": "enforce", "access": access.kind().to_string(), "position": access.pos as u32,
        "knob": { "text": "" }, "rule": rule, "cgroup": { "id": 1 },
        "task": { "uid": access.task.uid, "gid": access.task.gid, "comm": name(&access.task.comm) },
    });
    event["knob"] = name(access.knob.as_bytes());
    // The hook shows no value if it is empty.
    for (member, value) in [("new", &access.new), ("old", &access.old)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            event[member] = text(value);
        }
    }
    event["verdict"] = match &decision.verdict {
        Verdict::Allow => "allow".into(),
        Verdict::Deny(errno) => {
            event["errno"] = errno.to_string().into();
            "deny".into()
        }
        Verdict::Rewrite(value) => {
            event["stored"] = text(value);
            "rewrite".into()
        }
    };
    event
}

fn text(bytes: &[u8]) -> Value {
    let kept = &bytes[..bytes.len().min(TEXT_MAX)];
    let mut text = name(kept);
    if kept.len() < bytes.len() {
        text["length"] = bytes.len().min(4096).into();
    }
    text
}

/// An object with any bytes.
fn name(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |number: u32| char::from(DIGITS[number as usize & 63]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0, |number, at| number << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            text.push(if at > chunk.len() { '=' } else { digit(number >> (18 - 6 * at)) });
        }
    }
    text
}

pub(crate) fn item(event: &Value) -> StreamItem {
    let line = event.to_string();
    let item = StreamReader::new(line.as_bytes()).next().unwrap();
    item.unwrap_or_else(|error| panic!("{line}: {error}"))
}
