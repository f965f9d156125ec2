//! What a policy denies by its default, by knob: the classes of accesses that a review asks about.

use std::collections::BTreeMap;

use knobgate_events::{CallResult, Event, EventOutcome, StreamContent, StreamItem};
use knobgate_policy::{AccessKind, DecidedBy, KnobName, PolicyFile, Verdict};
use knobgate_replay::{Decider, Label, Recorded, Tally};

use crate::interfaces::{Interface, Leaf};
use crate::recorded::{Doubt, Lesson, RecordedAccess};
use crate::recording::Use;

/// Collects the accesses that a policy denies by its default, or would deny in audit mode.
///
/// Only events of policies with its name count. Each access is decided again by the policy as it is now, so that what was decided
/// since is not asked again.
#[derive(Debug)]
pub struct DeniedAccesses<'a> {
    file: &'a PolicyFile,
    decider: Decider<'a>,
    label: Label,
    /// The writes of a knob come after its reads.
    classes: BTreeMap<(KnobName, bool), DeniedClass>,
    left_out: LeftOut,
}

/// The accesses of one kind to one knob.
#[derive(Debug, Clone)]
pub struct DeniedClass {
    pub(crate) knob: KnobName,
    pub(crate) kind: AccessKind,
    pub(crate) tally: Tally,
    /// As if all had succeeded. What no rule can tell from others is doubtful.
    pub(crate) used: Use,
}

/// What a review does not ask about: how many events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LeftOut {
    /// Of other policies.
    pub other_policies: u64,
    /// Of accesses that the policy allows now.
    pub allowed: u64,
    /// Of accesses that rules of the policy decide, by the index of the rule: somebody has decided about them.
    pub by_rules: BTreeMap<usize, u64>,
    /// Of accesses whose verdict depends on what the events do not have.
    pub undecided: u64,
    /// Of knobs whose names were not recorded whole.
    pub unnamed: u64,
    /// That were counted and not sent, because of the limit of a rule.
    pub suppressed: u64,
    /// That were lost.
    pub lost: u64,
}

impl<'a> DeniedAccesses<'a> {
    /// None so far. `label` names the workload of an event.
    pub fn new(file: &'a PolicyFile, label: Label) -> Self {
        let decider = Decider::new(file.policy());
        Self { file, decider, label, classes: BTreeMap::new(), left_out: LeftOut::default() }
    }

    /// Adds the access of an event, if the policy has denied it, or would have.
    pub fn add(&mut self, item: &StreamItem) {
        match &item.content {
            StreamContent::Event(event) if event.event.policy == self.file.policy().name() => {
                self.add_event(item, &event.event);
            }
            StreamContent::Event(_) => self.left_out.other_policies += 1,
            StreamContent::Suppressed(suppressed) => {
                self.left_out.suppressed = self.left_out.suppressed.saturating_add(suppressed.count);
            }
            StreamContent::Lost(lost) => self.left_out.lost = self.left_out.lost.saturating_add(lost.count),
        }
    }

    fn add_event(&mut self, item: &StreamItem, event: &Event) {
        match event.outcome() {
            EventOutcome::WouldDeny(_) => {}
            // What another program denies is not for this policy to allow.
            EventOutcome::Denied(_) if event.denied_before.is_none() => {}
            _ => return,
        }
        let Ok(recorded) = Recorded::of(event) else {
            self.left_out.unnamed += 1;
            return;
        };
        let decided = self.decider.decide(&recorded);
        match (decided.by, decided.verdict()) {
            (_, Some(Verdict::Allow)) => self.left_out.allowed += 1,
            (Some(DecidedBy::Default(_)), _) => self.add_denied(item, event),
            (Some(DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. }), _) => {
                *self.left_out.by_rules.entry(rule).or_default() += 1;
            }
            (None, _) => self.left_out.undecided += 1,
        }
    }

    fn add_denied(&mut self, item: &StreamItem, event: &Event) {
        // The user decides as if it had succeeded, with all of its bytes.
        let access = RecordedAccess { event: event.clone(), result: CallResult::Returned(i64::MAX) };
        let Some(knob) = access.name() else { return };
        let lesson = access.lesson(&knob);
        let class =
            self.classes.entry((knob.clone(), event.kind == AccessKind::Write)).or_insert_with(|| {
                DeniedClass { knob, kind: event.kind, tally: Tally::default(), used: Use::default() }
            });
        class.tally.add(item, event, self.label);
        let (group, value) = match lesson {
            Lesson::Allow(value) => (&mut class.used.allowed, value),
            Lesson::Doubt(doubt, _) => (class.used.doubtful.entry(doubt).or_default(), None),
            Lesson::Failed(_) => return,
        };
        group.add(1, event.comm.as_deref(), value);
    }

    /// How many events are in no class, and why.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// The classes, by name. Those of interfaces come after those of `all` and `default`: a rule for all interfaces has to deny these,
    /// unless somebody has decided about them before.
    pub fn into_classes(self) -> Vec<DeniedClass> {
        let mut classes: Vec<DeniedClass> = self.classes.into_values().collect();
        classes.sort_by_cached_key(|class| match Leaf::of(&class.knob) {
            Some((leaf, interface)) => (leaf.glob(), interface == Interface::One, class.knob.to_string()),
            None => (class.knob.to_string(), false, String::new()),
        });
        classes
    }
}

impl DeniedClass {
    /// The knob.
    pub fn knob(&self) -> &KnobName {
        &self.knob
    }

    /// Whether it was read or written.
    pub fn kind(&self) -> AccessKind {
        self.kind
    }

    /// How often, when, and in which workloads.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The names of tasks, and whether there were more.
    pub fn tasks(&self) -> (Vec<&[u8]>, bool) {
        let groups = || std::iter::once(&self.used.allowed).chain(self.used.doubtful.values());
        let mut tasks: Vec<&[u8]> = groups().flat_map(|group| &group.comms).map(Vec::as_slice).collect();
        tasks.sort_unstable();
        tasks.dedup();
        (tasks, groups().any(|group| group.more_comms))
    }

    pub(crate) fn doubts(&self) -> impl Iterator<Item = (&Doubt, u64)> {
        self.used.doubtful.iter().map(|(doubt, group)| (doubt, group.count))
    }
}
