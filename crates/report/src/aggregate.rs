//! Counts the items of a stream, in memory that does not depend on how many there are.

use std::collections::hash_map::Entry;
use std::time::SystemTime;

use foldhash::HashMap;
use knobgate_events::terminal::escape;
use knobgate_events::words::{self, Length};
use knobgate_events::{Event, EventText, StreamContent, StreamEvent, StreamItem, Suppressed};

use crate::class::{CLASSES_MAX, Class, ClassKey};
use crate::counts::{Counts, decided, outcome};
use crate::history::{Change, History};
use crate::interner::Interner;
use crate::kept::{kept, label};
use crate::key;
use crate::moment::Span;
use crate::report::{Attachment, Boot, Cell, Further, Knob, Report, Rule, Workload};
use crate::timeline::Timeline;

/// How many bytes each list has. Values have the most: they are what differs.
const BOOTS_BYTES: usize = 256 << 10;
const ATTACHMENTS_BYTES: usize = 512 << 10;
const KNOBS_BYTES: usize = 6 << 20;
const WORKLOADS_BYTES: usize = 2 << 20;
const RULES_BYTES: usize = 3 << 20;
const HISTORIES_BYTES: usize = 8 << 20;
/// The most bytes of contexts whose workload is known.
const CONTEXTS_BYTES: usize = 2 << 20;
/// The most pairs of a knob and a workload.
const CELLS_MAX: usize = 40_000;

/// How much later than the last event of its boot one may be by the wall clock, but not since the boot, or the other way round,
/// in nanoseconds. The clocks are read one after the other.
const CLOCKS_DIFFER: i128 = 1_000_000_000;

/// Counts the items of streams.
#[derive(Debug)]
pub struct Aggregator {
    totals: Totals,
    timeline: Timeline,
    boots: Interner<(Boot, Option<i128>)>,
    attachments: Interner<Attachment>,
    knobs: Interner<Knob>,
    workloads: Interner<Workload>,
    /// The workload of everything that a label depends on. If there are too many, it starts again.
    contexts: HashMap<Box<[u8]>, Option<u32>>,
    contexts_bytes: usize,
    cells: HashMap<(Option<u32>, Option<u32>), Counts>,
    rules: Interner<Rule>,
    classes: HashMap<ClassKey, usize>,
    class_list: Vec<Class>,
    /// How many bytes are left for the values of knobs.
    room_for_values: usize,
    further: Further,
    /// The key at hand.
    key: Vec<u8>,
}

#[derive(Debug, Default)]
struct Totals {
    events: Counts,
    suppressed: u64,
    lost: u64,
    span: Span,
    without_time: u64,
    clock_changes: u64,
}

impl Aggregator {
    /// Without any items.
    pub fn new() -> Self {
        Self {
            totals: Totals::default(),
            timeline: Timeline::new(),
            boots: Interner::new(BOOTS_BYTES),
            attachments: Interner::new(ATTACHMENTS_BYTES),
            knobs: Interner::new(KNOBS_BYTES),
            workloads: Interner::new(WORKLOADS_BYTES),
            contexts: HashMap::default(),
            contexts_bytes: 0,
            cells: HashMap::default(),
            rules: Interner::new(RULES_BYTES),
            classes: HashMap::default(),
            class_list: Vec::new(),
            room_for_values: HISTORIES_BYTES,
            further: Further::default(),
            key: Vec::new(),
        }
    }

    /// Counts an item.
    pub fn add(&mut self, item: &StreamItem) {
        self.totals.span.add(item.time);
        self.totals.without_time += u64::from(item.time.is_none());
        self.add_to_boot(item);
        match &item.content {
            StreamContent::Event(event) => self.add_event(item, event),
            StreamContent::Suppressed(suppressed) => self.add_suppressed(item, suppressed),
            StreamContent::Lost(lost) => {
                self.totals.lost = self.totals.lost.saturating_add(lost.count);
                if let Some(time) = item.time {
                    self.timeline.add_lost(time, lost.count);
                }
            }
        }
    }

    fn add_event(&mut self, item: &StreamItem, event: &StreamEvent) {
        let (outcome, _) = outcome(&event.event);
        self.totals.events.add(outcome);
        if let Some(time) = item.time {
            self.timeline.add_event(time, outcome);
        }
        match self.attachment(item, event.event.observer) {
            Some(attachment) => attachment.events.add(outcome),
            None => self.further.attachments += 1,
        }
        let workload = self.workload(item);
        let knob = self.knob(&event.event);
        match workload {
            Some(workload) => self.workloads.entry(workload).events.add(outcome),
            None => self.further.workloads += 1,
        }
        match knob {
            Some(knob) => {
                let knob = self.knobs.entry(knob);
                knob.events.add(outcome);
                if let Some(change) = Change::of(event, item.time, workload, outcome) {
                    knob.history.add(change, &mut self.room_for_values);
                }
            }
            None => self.further.knobs += 1,
        }
        self.cell(knob, workload).add(outcome);
        let rule = if event.event.observer { Some(None) } else { self.rule(item).map(Some) };
        match rule {
            Some(Some(rule)) => {
                let rule = self.rules.entry(rule);
                rule.decided.add(decided(&event.event));
                rule.eval_errors += u64::from(event.event.rule.eval_error);
                rule.span.add(item.time);
            }
            Some(None) => {}
            None => self.further.rules += 1,
        }
        match (knob, workload, rule) {
            (Some(knob), Some(workload), Some(rule)) => {
                self.add_to_class(ClassKey::new(event, knob, workload, rule), item, event);
            }
            _ => self.further.classes += 1,
        }
    }

    fn add_suppressed(&mut self, item: &StreamItem, suppressed: &Suppressed) {
        let count = suppressed.count;
        let add = |to: &mut u64| *to = to.saturating_add(count);
        add(&mut self.totals.suppressed);
        if let Some(time) = item.time {
            self.timeline.add_suppressed(time, count);
        }
        if let Some(attachment) = self.attachment(item, false) {
            add(&mut attachment.suppressed);
        }
        if suppressed.rule.is_some()
            && let Some(rule) = self.rule(item)
        {
            let rule = self.rules.entry(rule);
            add(&mut rule.suppressed);
            rule.span.add(item.time);
        }
    }

    fn add_to_boot(&mut self, item: &StreamItem) {
        self.key.clear();
        key::optional(&mut self.key, item.boot_id.as_deref().map(str::as_bytes));
        let make = || {
            let id = item.boot_id.as_deref().map(escaped);
            let texts = id.as_ref().map_or(0, String::len);
            ((Boot { id, events: 0, span: Span::default() }, None), texts)
        };
        let Some(number) = self.boots.number(&self.key, make) else {
            self.further.boots += 1;
            return;
        };
        let (boot, difference) = self.boots.entry(number);
        boot.events += u64::from(item.event().is_some());
        boot.span.add(item.time);
        if let Some(now) = item.time.map(|time| since_1970(time) - i128::from(item.boot_time())) {
            let before = difference.replace(now);
            let is_set = before.is_some_and(|before| before.abs_diff(now) > CLOCKS_DIFFER as u128);
            self.totals.clock_changes += u64::from(is_set && item.boot_id.is_some());
        }
    }

    fn attachment(&mut self, item: &StreamItem, observer: bool) -> Option<&mut Attachment> {
        self.key.clear();
        key::of_attachment(&mut self.key, item, observer);
        let make = || {
            let (name, policy) =
                (item.context.attachment.as_deref().map(escaped), item.policy().map(escaped));
            let texts = [&name, &policy].into_iter().flatten().map(String::len).sum();
            let (events, span) = (Counts::default(), Span::default());
            (Attachment { name, policy, observer, events, suppressed: 0, span }, texts)
        };
        let number = self.attachments.number(&self.key, make)?;
        let attachment = self.attachments.entry(number);
        attachment.span.add(item.time);
        Some(attachment)
    }

    fn knob(&mut self, event: &Event) -> Option<u32> {
        self.key.clear();
        key::of_knob(&mut self.key, &event.knob);
        let make = || {
            let path = kept(&event.knob);
            let texts = path.bytes.len();
            (Knob { path, events: Counts::default(), history: History::default() }, texts)
        };
        self.knobs.number(&self.key, make)
    }

    fn workload(&mut self, item: &StreamItem) -> Option<u32> {
        self.key.clear();
        key::of_context(&mut self.key, item);
        if let Some(&number) = self.contexts.get(self.key.as_slice()) {
            return number;
        }
        let text = workload_label(item);
        let text = label(&text);
        let make = || (Workload { label: text.to_string(), events: Counts::default() }, text.len());
        let number = self.workloads.number(text.as_bytes(), make);
        self.contexts_bytes += self.key.len() + 64;
        if self.contexts_bytes > CONTEXTS_BYTES {
            self.contexts.clear();
            self.contexts_bytes = self.key.len() + 64;
        }
        self.contexts.insert(self.key.as_slice().into(), number);
        number
    }

    fn cell(&mut self, knob: Option<u32>, workload: Option<u32>) -> &mut Counts {
        let is_full = self.cells.len() >= CELLS_MAX;
        if is_full && knob.is_some() && workload.is_some() && !self.cells.contains_key(&(knob, workload)) {
            // There are not many of these.
            self.further.cells += 1;
            return self.cells.entry((knob, None)).or_default();
        }
        self.cells.entry((knob, workload)).or_default()
    }

    fn rule(&mut self, item: &StreamItem) -> Option<u32> {
        self.key.clear();
        key::of_rule(&mut self.key, item);
        let make = || {
            let place = words::rule(item).map(|place| label(&place).into_owned()).unwrap_or_default();
            let text = item.rule().map(|rule| rule_text(&kept(&rule.text))).unwrap_or_default();
            let texts = place.len() + text.len();
            let (decided, span) = (Counts::default(), Span::default());
            (Rule { place, text, decided, eval_errors: 0, suppressed: 0, span }, texts)
        };
        self.rules.number(&self.key, make)
    }

    fn add_to_class(&mut self, key: ClassKey, item: &StreamItem, event: &StreamEvent) {
        let is_full = self.class_list.len() >= CLASSES_MAX;
        match self.classes.entry(key) {
            Entry::Occupied(class) => self.class_list[*class.get()].add(item, event),
            Entry::Vacant(_) if is_full => self.further.classes += 1,
            Entry::Vacant(place) => {
                place.insert(self.class_list.len());
                self.class_list.push(Class::new(key, item, event));
            }
        }
    }

    /// All of it.
    pub fn finish(self) -> Report {
        let Totals { events, suppressed, lost, span, without_time, clock_changes } = self.totals;
        let number = |number: Option<u32>| number.map(|number| number as usize);
        let cell =
            |((knob, workload), events)| Cell { knob: number(knob), workload: number(workload), events };
        let mut cells: Vec<Cell> = self.cells.into_iter().map(cell).collect();
        cells.sort_by_key(|cell| (cell.knob.unwrap_or(usize::MAX), cell.workload.unwrap_or(usize::MAX)));
        Report {
            events,
            suppressed,
            lost,
            span,
            without_time,
            clock_changes,
            boots: self.boots.into_entries().into_iter().map(|(boot, _)| boot).collect(),
            attachments: self.attachments.into_entries(),
            timeline: self.timeline,
            knobs: self.knobs.into_entries(),
            workloads: self.workloads.into_entries(),
            cells,
            rules: self.rules.into_entries(),
            classes: self.class_list,
            further: self.further,
        }
    }
}

impl Default for Aggregator {
    fn default() -> Self {
        Self::new()
    }
}

/// A name for the page.
fn escaped(name: &str) -> String {
    label(&escape(name)).into_owned()
}

/// What runs in the cgroup of an item. The id of a cgroup says nothing about another boot, or another machine.
fn workload_label(item: &StreamItem) -> String {
    let named = words::workload_of(&item.context, None, Length::Full);
    named.unwrap_or_else(|| match (item.cgroup_id(), &item.boot_id) {
        (Some(id), Some(boot)) => format!("cgroup {id} of boot {}", escape(boot)),
        (Some(id), None) => format!("cgroup {id}"),
        (None, _) => String::new(),
    })
}

/// The text of a rule for the page.
fn rule_text(text: &EventText) -> String {
    let ellipsis = if text.cut_from.is_some() { "…" } else { "" };
    format!("{}{ellipsis}", escape(&text.bytes))
}

/// Nanoseconds since 1970, or before it.
fn since_1970(time: SystemTime) -> i128 {
    let nanoseconds = |duration: std::time::Duration| duration.as_nanos() as i128;
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanoseconds(after),
        Err(before) => -nanoseconds(before.duration()),
    }
}
