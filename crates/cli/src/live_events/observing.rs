//! The events of an observer among those of policies.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use knobgate::Observer;
use knobgate_events::{Event, RuleRef, StreamContent, StreamItem, Suppressed};
use knobgate_kernel::Hierarchy;
use knobgate_policy::{AccessKind, CheckOptions, Source, parse};

use super::reported::Reported;

/// How long an event of the observer waits for one of a policy that runs after it.
pub(super) const HOLD: Duration = Duration::from_millis(100);

/// How many events wait at most.
const WAITING_MAX: usize = 1 << 16;

/// How many cgroups are remembered.
const CGROUPS_MAX: usize = 1 << 16;

/// An observer, and the events that wait for others about the same access.
#[derive(Debug)]
pub(super) struct Observing {
    observer: Observer,
    is_on_root: bool,
    /// The origins of the programs that run after the observer.
    after: HashSet<u64>,
    /// Whether programs ran after it at the last look.
    others_follow: bool,
    reported: Reported,
    /// In the order in which they were sent, with those of policies among them. `None` is one that became superfluous.
    waiting: VecDeque<Option<StreamItem>>,
    /// The number of the first one.
    first: u64,
    /// The cgroups of which the observer has reported something.
    cgroups: HashSet<u64>,
}

impl Observing {
    pub(super) fn new(observer: Observer) -> Self {
        let root = Hierarchy::find().and_then(|hierarchy| hierarchy.root());
        Self {
            is_on_root: root.is_ok_and(|root| root.id() == observer.cgroup().id()),
            observer,
            after: HashSet::new(),
            others_follow: false,
            reported: Reported::default(),
            waiting: VecDeque::new(),
            first: 0,
            cgroups: HashSet::new(),
        }
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Looks which programs run after the observer. `origin` finds the memory of a program. Nothing is known of events that wait if
    /// there are some now, or were at the last look.
    pub(super) fn look(&mut self, mut origin: impl FnMut(u32) -> Option<u64>) {
        let followed = self.others_follow;
        self.others_follow = match self.observer.programs_after() {
            Ok(programs) => {
                self.after = programs.iter().filter_map(|&program| origin(program)).collect();
                !programs.is_empty()
            }
            Err(_) => true,
        };
        if followed || self.others_follow {
            for item in self.waiting.iter_mut().flatten() {
                if let StreamContent::Event(event) = &mut item.content {
                    event.event.outcome_unknown |= event.event.observer;
                }
            }
        }
    }

    /// Whether an event is to be shown, as far as is known. [`add`](Self::add) adds it then.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        if event.origin == self.observer.origin() {
            if self.cgroups.len() >= CGROUPS_MAX {
                self.cgroups.clear();
            }
            self.cgroups.insert(event.cgroup_id);
            let number = self.first + self.waiting.len() as u64;
            return self.reported.is_new(event, number, self.others_follow);
        }
        let superfluous = self.reported.policy_reports(event, self.after.contains(&event.origin));
        let index = superfluous.and_then(|number| number.checked_sub(self.first));
        if let Some(waiting) = index.and_then(|index| self.waiting.get_mut(index as usize)) {
            *waiting = None;
        }
        true
    }

    /// Adds an item after all others.
    pub(super) fn add(&mut self, item: StreamItem) {
        self.waiting.push_back(Some(item));
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first item, if it does not have to wait any more. `all` says that nothing waits.
    pub(super) fn next(&mut self, boot_time: u64, all: bool) -> Option<StreamItem> {
        loop {
            let waits = |item: &StreamItem| {
                let is_observers = item.event().is_some_and(|event| event.event.observer);
                is_observers && Duration::from_nanos(boot_time.saturating_sub(item.boot_time())) < HOLD
            };
            let first = self.waiting.front()?;
            if !all && self.others_follow && first.as_ref().is_some_and(waits) {
                return None;
            }
            self.first += 1;
            if let Some(item) = self.waiting.pop_front()? {
                return Some(item);
            }
        }
    }

    /// Whether the observer reports the accesses whose events a policy suppressed.
    pub(super) fn reports(&self, suppressed: &Suppressed) -> bool {
        let is_below = self.is_on_root || suppressed.cgroup_id.is_some_and(|id| self.cgroups.contains(&id));
        is_below && (self.observer.reads() || is_for_writes(suppressed))
    }
}

/// Whether it is known that a rule is for writes only.
fn is_for_writes(suppressed: &Suppressed) -> bool {
    let Some(rule) = &suppressed.rule else { return false };
    let text = match rule.rule {
        RuleRef::Default(kind) => return kind == AccessKind::Write,
        RuleRef::Rule(_) if rule.text.cut_from.is_some() => return false,
        RuleRef::Rule(_) => String::from_utf8_lossy(&rule.text.bytes),
    };
    // Whatever width the policy gives its knobs.
    ["", "width 64 **\n"].iter().any(|width| {
        let source = Source::new("rule", format!("policy rule\n{width}{text}\n"));
        let Ok(policy) = parse(source, &CheckOptions::default()) else { return false };
        let mut rules = policy.policy().rules().iter().peekable();
        rules.peek().is_some() && rules.all(|rule| !rule.kinds().contains(AccessKind::Read))
    })
}
