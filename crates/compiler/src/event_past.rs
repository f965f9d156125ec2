//! What a memory keeps of the rules and cgroups that it no longer has: those of removed cgroups and of replaced policies, after
//! they had to make room for others.

use knobgate_bpf::{MapDef, MapKind};
use knobgate_events::record;

use crate::events::{EventCounters, counters, map};

/// The name of the map with the [`PastCounters`] of each rule: a hash, by the number of the rule and that of its policy. Programs
/// do not use it.
pub const EVENT_PAST_MAP: &str = "event_past";

/// For how many rules there is room. The rest share one entry.
pub const EVENT_PAST_MAX: u32 = 256;

/// The key of the entry that the rules share for which there is no room.
const SHARED: [u8; 8] = [0xff; 8];

/// In a value, 4 bytes: the line, or 0.
const LINE: usize = counters::BYTES as usize;
/// In a value, 2 bytes: the length of the name of the policy.
const POLICY_LENGTH: usize = LINE + 4;
/// In a value, 2 bytes: the length of the text of the rule.
const RULE_LENGTH: usize = POLICY_LENGTH + 2;
/// In a value: the name of the policy.
const POLICY: usize = RULE_LENGTH + 2;
/// In a value: the text of the rule.
const RULE: usize = POLICY + record::POLICY_NAME_MAX;
/// Bytes of a value.
const BYTES: usize = (RULE + record::TEXT_MAX).next_multiple_of(8);

/// The counters of a rule for what the memory no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PastCounters {
    /// The name of the policy; empty if it is not known, or if these are several.
    pub policy: String,
    /// Its line in the policy.
    pub line: Option<u32>,
    /// The start of its text; empty if it is not known.
    pub rule: Vec<u8>,
    /// How many events there were, and when.
    pub counters: EventCounters,
}

impl PastCounters {
    /// The counters of this rule.
    pub fn new(policy: &str, line: Option<u32>, rule: &[u8], counters: EventCounters) -> Self {
        let kept = &rule[..rule.len().min(record::TEXT_MAX)];
        Self { policy: policy.to_owned(), line, rule: kept.to_owned(), counters }
    }

    /// Those in a value of [`EVENT_PAST_MAP`]; `None` if it is no such value.
    pub fn in_value(value: &[u8]) -> Option<Self> {
        let value: &[u8; BYTES] = value.try_into().ok()?;
        let length = |at: usize| u16::from_le_bytes([value[at], value[at + 1]]).into();
        let policy = value[POLICY..].get(..length(POLICY_LENGTH))?;
        let line = u32::from_le_bytes(*value[LINE..].first_chunk()?);
        Some(Self {
            policy: String::from_utf8_lossy(policy).into_owned(),
            line: (line != 0).then_some(line),
            rule: value[RULE..].get(..length(RULE_LENGTH))?.to_owned(),
            counters: *EventCounters::in_value(&value[..LINE]).first()?,
        })
    }

    /// As a value of [`EVENT_PAST_MAP`].
    pub fn to_value(&self) -> Vec<u8> {
        let mut value = vec![0; BYTES];
        let policy = &self.policy.as_bytes()[..self.policy.len().min(record::POLICY_NAME_MAX)];
        let rule = &self.rule[..self.rule.len().min(record::TEXT_MAX)];
        let EventCounters { sent, suppressed, first, last } = self.counters;
        for (number, at) in [
            (sent, counters::SENT),
            (suppressed, counters::SUPPRESSED),
            (first, counters::FIRST),
            (last, counters::LAST),
        ] {
            value[at as usize..][..8].copy_from_slice(&number.to_le_bytes());
        }
        value[LINE..POLICY_LENGTH].copy_from_slice(&self.line.unwrap_or(0).to_le_bytes());
        value[POLICY_LENGTH..RULE_LENGTH].copy_from_slice(&(policy.len() as u16).to_le_bytes());
        value[RULE_LENGTH..POLICY].copy_from_slice(&(rule.len() as u16).to_le_bytes());
        value[POLICY..][..policy.len()].copy_from_slice(policy);
        value[RULE..][..rule.len()].copy_from_slice(rule);
        value
    }

    /// These and others of the same rule.
    #[must_use]
    pub fn with(mut self, others: EventCounters) -> Self {
        let mine = &mut self.counters;
        let earlier = [mine.first, others.first].into_iter().filter(|&time| time != 0).min();
        *mine = EventCounters {
            sent: mine.sent.saturating_add(others.sent),
            suppressed: mine.suppressed.saturating_add(others.suppressed),
            first: earlier.unwrap_or(0),
            last: mine.last.max(others.last),
        };
        self
    }

    /// The key of a rule of a policy, both by their numbers.
    pub fn key(rule: u32, policy: u32) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&rule.to_le_bytes());
        key[4..].copy_from_slice(&policy.to_le_bytes());
        key
    }

    /// The key of the entry that the rules share for which there is no room.
    pub fn shared_key() -> [u8; 8] {
        SHARED
    }
}

/// The map, with room for the shared entry.
pub(crate) fn past_map() -> MapDef {
    map(EVENT_PAST_MAP, MapKind::Hash, SHARED.len() as u32, BYTES as u32, EVENT_PAST_MAX + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_everything() {
        let counters = EventCounters { sent: 3, suppressed: 4, first: 5, last: 6 };
        let past = PastCounters::new("web", Some(7), b"deny write **", counters);
        assert_eq!(PastCounters::in_value(&past.to_value()), Some(past.clone()));
        let long = PastCounters::new("web", None, &[b'x'; 1000], counters);
        let read = PastCounters::in_value(&long.to_value()).unwrap();
        assert_eq!((read.rule.len(), read.line), (record::TEXT_MAX, None));
        assert_eq!(PastCounters::in_value(&[0; 8]), None);
        let mut cut = past.to_value();
        cut[POLICY_LENGTH + 1] = 0xff;
        assert_eq!(PastCounters::in_value(&cut), None);
    }

    #[test]
    fn counters_add_up() {
        let counters = |sent, first, last| EventCounters { sent, suppressed: 1, first, last };
        let sum = PastCounters::new("p", None, b"", counters(1, 50, 60)).with(counters(2, 40, 45));
        assert_eq!(sum.counters, EventCounters { sent: 3, suppressed: 2, first: 40, last: 60 });
        let none = EventCounters::default();
        let sum = PastCounters::new("p", None, b"", none).with(counters(2, 40, 45));
        assert_eq!(sum.counters, counters(2, 40, 45));
    }
}
