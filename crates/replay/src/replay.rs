//! Events, counted by what would be different under another policy.

use foldhash::HashMap;
use knobgate_diff::VerdictKind;
use knobgate_events::{
    Event, EventOutcome, EventRule, EventText, EventVerdict, StreamContent, StreamEvent, StreamItem,
    StreamWorkload,
};
use knobgate_policy::{AccessKind, DecidedBy, Policy, Verdict};

use crate::decide::Decider;
use crate::outcome::{Compared, Outcome, compare, without_knob};
use crate::recorded::{Recorded, Unknown};
use crate::seen::Seen;
use crate::tally::{Label, Tally};

/// The most bytes that classes take.
pub const CLASSES_BYTES_MAX: usize = 16 << 20;

/// What a class takes beside its texts.
const CLASS_BYTES: usize = 2048;

/// Counts events by what would be different under a policy.
#[derive(Debug)]
pub struct Replay<'a> {
    decider: Decider<'a>,
    label: Label,
    classes: Vec<Class>,
    by_key: HashMap<Key, usize>,
    bytes: usize,
    seen: Seen<Place>,
    report: Report,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The classes by outcome, and those with the most events first.
    pub classes: Vec<Class>,
    /// How many events of each [outcome](Outcome::ALL) found no room in `classes`.
    pub further: [u64; Outcome::ALL.len()],
    /// How many events were counted and not sent, because of the limit of their rule.
    pub suppressed: u64,
    /// How many events were lost.
    pub lost: u64,
    /// How many events are of accesses that passed, rewritten or not, or may have.
    pub passed: u64,
    events: [u64; Outcome::ALL.len()],
    possible: [bool; Outcome::ALL.len()],
}

/// Accesses to one knob that were decided by one rule, and would be decided by one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// What would be different.
    pub outcome: Outcome,
    /// The first event of the class, which has the knob, the kind of the access, the verdict and the rule.
    pub example: StreamItem,
    /// What the policy decides.
    pub now: Now,
    /// How many events there were.
    pub tally: Tally,
}

/// What the policy decides about a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// This.
    Decided {
        /// The verdict on the example.
        verdict: Verdict,
        /// What decides; `None` if that depends on what is unknown, and the verdict does not.
        by: Option<DecidedBy>,
    },
    /// It depends on what the events do not have.
    Unknown {
        /// What that is.
        unknown: Vec<Unknown>,
        /// The outcomes that are possible.
        may_be: Vec<Outcome>,
    },
}

/// Where an event is counted.
#[derive(Debug, Clone, Copy)]
struct Place {
    outcome: Outcome,
    class: Option<usize>,
    may_be: u8,
}

/// Accesses with the same key are in the same class.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    outcome: Outcome,
    knob: (Vec<u8>, Option<u32>),
    kind: AccessKind,
    policy: String,
    rule: (knobgate_events::RuleRef, Option<u32>, Vec<u8>, bool),
    old: (EventVerdict, EventOutcome),
    new: NewKey,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum NewKey {
    Decided(VerdictKind, Option<(Option<usize>, bool)>),
    Unknown(Vec<Unknown>, Vec<Outcome>),
}

impl<'a> Replay<'a> {
    /// Replays events under `policy`, as if its mode were to enforce.
    pub fn new(policy: &'a Policy, label: Label) -> Self {
        Self {
            decider: Decider::new(policy),
            label,
            classes: Vec::new(),
            by_key: HashMap::default(),
            bytes: 0,
            seen: Seen::new(),
            report: Report::default(),
        }
    }

    /// Counts an item of a stream.
    pub fn add(&mut self, item: &StreamItem) {
        match &item.content {
            StreamContent::Event(event) => self.add_event(item, event),
            StreamContent::Suppressed(suppressed) => {
                self.report.suppressed = self.report.suppressed.saturating_add(suppressed.count);
            }
            StreamContent::Lost(lost) => self.report.lost = self.report.lost.saturating_add(lost.count),
        }
    }

    fn add_event(&mut self, item: &StreamItem, event: &StreamEvent) {
        let place = match self.seen.find(event) {
            Some(place) => place,
            None => {
                let place = self.place(item, event);
                self.seen.insert(place);
                place
            }
        };
        let report = &mut self.report;
        report.events[place.outcome as usize] += 1;
        report.passed += u64::from(!matches!(event.event.outcome(), EventOutcome::Denied(_)));
        for outcome in Outcome::ALL {
            report.possible[outcome as usize] |= place.may_be & bit(outcome) != 0;
        }
        match place.class {
            Some(class) => self.classes[class].tally.add(item, &event.event, self.label),
            None => report.further[place.outcome as usize] += 1,
        }
    }

    /// The class of an event, which is made if there is room.
    fn place(&mut self, item: &StreamItem, event: &StreamEvent) -> Place {
        let (compared, decided) = match Recorded::of(&event.event) {
            Ok(recorded) => {
                let decided = self.decider.decide(&recorded);
                (compare(event, &decided), Some(decided))
            }
            Err(_) => (without_knob(event), None),
        };
        let Compared { outcome, may_be, unknown } = compared;
        let bits = may_be.iter().fold(0, |bits, &outcome| bits | bit(outcome));
        let by = decided.as_ref().and_then(|decided| decided.by);
        let now = match decided.as_ref().and_then(|decided| decided.verdict()) {
            Some(verdict) if outcome != Outcome::Unknown => Now::Decided { verdict: verdict.clone(), by },
            _ => Now::Unknown { unknown, may_be },
        };
        let key = key(outcome, &event.event, &now);
        let class = self.by_key.get(&key).copied().or_else(|| {
            let bytes = CLASS_BYTES + 2 * texts(item, event);
            if self.bytes + bytes > CLASSES_BYTES_MAX {
                return None;
            }
            self.bytes += bytes;
            self.by_key.insert(key, self.classes.len());
            self.classes.push(Class { outcome, example: item.clone(), now, tally: Tally::default() });
            Some(self.classes.len() - 1)
        });
        Place { outcome, class, may_be: bits }
    }

    /// All of it.
    pub fn finish(self) -> Report {
        let mut classes = self.classes;
        // Those with as many events stay in the order of their first ones.
        classes.sort_by_key(|class| (class.outcome, std::cmp::Reverse(class.tally.events)));
        Report { classes, ..self.report }
    }
}

impl Report {
    /// How many events had this outcome.
    pub fn events(&self, outcome: Outcome) -> u64 {
        self.events[outcome as usize]
    }

    /// Whether an event has or may have this outcome.
    pub fn may_be(&self, outcome: Outcome) -> bool {
        self.possible[outcome as usize]
    }
}

fn bit(outcome: Outcome) -> u8 {
    1 << outcome as u8
}

fn key(outcome: Outcome, event: &Event, now: &Now) -> Key {
    let EventRule { rule, line, text, eval_error, .. } = &event.rule;
    Key {
        outcome,
        knob: (event.knob.bytes.clone(), event.knob.cut_from),
        kind: event.kind,
        policy: event.policy.clone(),
        rule: (*rule, *line, text.bytes.clone(), *eval_error),
        old: (event.verdict, event.outcome()),
        new: match now {
            Now::Decided { verdict, by } => {
                let by = by.map(|by| match by {
                    DecidedBy::Rule(rule) => (Some(rule), true),
                    DecidedBy::EvalError { rule, .. } => (Some(rule), false),
                    DecidedBy::Default(_) => (None, true),
                });
                NewKey::Decided(verdict.into(), by)
            }
            Now::Unknown { unknown, may_be } => NewKey::Unknown(unknown.clone(), may_be.clone()),
        },
    }
}

/// How many bytes the texts of an event have.
fn texts(item: &StreamItem, StreamEvent { event, eval_error, replacement }: &StreamEvent) -> usize {
    let text = |text: &Option<EventText>| text.as_ref().map_or(0, |text| text.bytes.len());
    let string = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let context = &item.context;
    let of_level = |level: &StreamWorkload| {
        let StreamWorkload {
            engine,
            container,
            container_id,
            pod,
            pod_id,
            namespace,
            image,
            project,
            service,
            unit,
            slice,
            ..
        } = level;
        let texts =
            [engine, container, container_id, pod, pod_id, namespace, image, project, service, unit, slice];
        size_of_val(level) + texts.into_iter().map(string).sum::<usize>()
    };
    let levels = context.workload.iter().flat_map(StreamWorkload::levels);
    let workload: usize = levels.map(of_level).sum();
    let values = text(&event.old) + text(&event.new) + text(&event.stored);
    let names = event.knob.bytes.len() + event.policy.len() + event.rule.text.bytes.len();
    let task = event.comm.as_ref().map_or(0, Vec::len);
    let reconstructed = string(eval_error) + replacement.as_ref().map_or(0, Vec::len);
    let of_context =
        string(&context.attachment) + context.cgroup_path.as_ref().map_or(0, Vec::len) + workload;
    values + names + task + reconstructed + of_context + string(&item.boot_id)
}
