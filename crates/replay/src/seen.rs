//! Equal accesses are decided once.

use foldhash::HashMap;
use knobgate_events::{EventRule, EventText, EventVerdict, RuleRef, StreamEvent};
use knobgate_policy::{AccessKind, Mode};

/// The most bytes of keys.
const BYTES_MAX: usize = 4 << 20;

/// What each entry takes beside its key.
const ENTRY_BYTES: usize = 64;

/// What became of accesses, by all that it depends on. If there are too many, it starts again.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    by_key: HashMap<Box<[u8]>, T>,
    bytes: usize,
    /// The key of the event at hand.
    key: Vec<u8>,
}

impl<T: Copy> Seen<T> {
    pub(crate) fn new() -> Self {
        Self { by_key: HashMap::default(), bytes: 0, key: Vec::new() }
    }

    /// What became of an equal access. If there was none, [`insert`](Self::insert) adds this one.
    pub(crate) fn find(&mut self, event: &StreamEvent) -> Option<T> {
        self.key.clear();
        write_key(&mut self.key, event);
        self.by_key.get(&self.key[..]).copied()
    }

    /// Adds the event that was not found.
    pub(crate) fn insert(&mut self, value: T) {
        self.bytes += self.key.len() + ENTRY_BYTES;
        if self.bytes > BYTES_MAX {
            self.by_key.clear();
            self.bytes = self.key.len() + ENTRY_BYTES;
        }
        self.by_key.insert(self.key.as_slice().into(), value);
    }
}

/// Everything of an event on which its class depends. Each part says how long it is, so that different events have different keys.
fn write_key(key: &mut Vec<u8>, StreamEvent { event, replacement, .. }: &StreamEvent) {
    text(key, &event.knob);
    key.push(u8::from(event.kind == AccessKind::Write) | u8::from(event.secret) << 1);
    key.extend(event.position.to_le_bytes());
    for value in [&event.old, &event.new, &event.stored] {
        optional(key, value.as_ref(), text);
    }
    optional(key, replacement.as_deref(), bytes);
    for id in [event.uid, event.gid] {
        optional(key, id, |key, id| key.extend(id.to_le_bytes()));
    }
    optional(key, event.comm.as_deref(), bytes);
    match event.verdict {
        EventVerdict::Allow => key.push(0),
        EventVerdict::Rewrite => key.push(1),
        EventVerdict::Deny(errno) => {
            key.push(2);
            key.extend(errno.number().to_le_bytes());
        }
    }
    key.push(u8::from(event.mode == Mode::Audit) | u8::from(event.outcome_unknown) << 1);
    optional(key, event.denied_before, |key, errno| key.extend(errno.to_le_bytes()));
    bytes(key, event.policy.as_bytes());
    rule(key, &event.rule);
}

/// The rule of an event.
fn rule(key: &mut Vec<u8>, rule: &EventRule) {
    match rule.rule {
        RuleRef::Rule(index) => {
            key.push(0);
            key.extend(index.to_le_bytes());
        }
        RuleRef::Default(kind) => key.push(1 + u8::from(kind == AccessKind::Write)),
    }
    optional(key, rule.line, |key, line| key.extend(line.to_le_bytes()));
    key.push(rule.eval_error.into());
    text(key, &rule.text);
}

fn optional<V>(key: &mut Vec<u8>, value: Option<V>, write: impl Fn(&mut Vec<u8>, V)) {
    key.push(value.is_some().into());
    value.into_iter().for_each(|value| write(key, value));
}

fn text(key: &mut Vec<u8>, text: &EventText) {
    bytes(key, &text.bytes);
    optional(key, text.cut_from, |key, whole| key.extend(whole.to_le_bytes()));
}

fn bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend((bytes.len() as u64).to_le_bytes());
    key.extend(bytes);
}
