//! What a policy remembers, by rule and cgroup.

use std::time::SystemTime;

use knobgate::compiler::{EventCounters, PastCounters};
use knobgate::{AttachedPolicy, MemoryEntry};
use knobgate_events::StreamItem;
use knobgate_events::json::to_json;
use knobgate_policy::filter::Filter;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::filter_argument::passes;
use crate::output::Output;
use crate::printable::{printable, printable_lines};
use crate::stream;
use crate::stream::length_of_stdout;
use crate::stream::line::{About, line};
use crate::stream::memory_items::MemoryItems;
use crate::stream::words::{self, Length};
use crate::style::{DIM, HEADING};
use crate::timestamp;

/// What a policy remembers.
pub(super) struct Remembered {
    attachment: String,
    entries: Vec<Entry>,
    /// How many entries the filter leaves out.
    hidden: usize,
    others: Vec<Others>,
    past: Vec<PastCounters>,
    /// Events that found no place in the memory.
    not_recorded: u64,
    /// Records that cannot be read.
    left_out: usize,
}

/// The events of a rule for one cgroup.
struct Entry {
    cgroup_id: u64,
    counters: EventCounters,
    first: Option<StreamItem>,
    /// `None` if it is the first one.
    last: Option<StreamItem>,
    first_time: Option<SystemTime>,
    last_time: Option<SystemTime>,
}

/// The events of a rule for all cgroups that came too late.
struct Others {
    line: Option<usize>,
    rule: String,
    counters: EventCounters,
}

impl Remembered {
    /// With a filter, only what that does not certainly leave out.
    pub(super) fn new(
        items: &mut MemoryItems<'_>,
        policy: Option<&AttachedPolicy>,
        filter: Option<&Filter>,
    ) -> Self {
        let memory = items.memory();
        let mut entries: Vec<Entry> = memory.entries.iter().map(|entry| Entry::new(items, entry)).collect();
        let in_all = entries.len();
        entries.retain(|entry| entry.example().is_none_or(|item| passes(filter, item)));
        entries.sort_by_key(|entry| (entry.rank(), std::cmp::Reverse(entry.counters.last)));
        let rules = policy.map(AttachedPolicy::rule_counters).unwrap_or_default();
        let others = memory.others.iter().enumerate().filter(|(_, counters)| total(counters) > 0);
        let others = others.map(|(index, &counters)| {
            let rule = rules.get(index);
            Others {
                line: rule.and_then(|rule| rule.line),
                rule: rule.map_or_else(|| format!("rule {}", index + 1), |rule| rule.text.clone()),
                counters,
            }
        });
        Self {
            attachment: items.attachment().to_owned(),
            hidden: in_all - entries.len(),
            entries,
            others: others.collect(),
            past: memory.past.clone(),
            not_recorded: memory.state.not_recorded,
            left_out: memory.left_out,
        }
    }

    pub(super) fn print(&self, output: &Output) -> Result<(), Failure> {
        let mut lines = output.lines();
        let length = length_of_stdout();
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                lines.line("")?;
            }
            lines.line(entry.heading(length))?;
            for (which, item) in [("first", &entry.first), ("last", &entry.last)] {
                if let Some(item) = item {
                    let date = item.time.map(timestamp::date).unwrap_or_default();
                    lines.line(format_args!(
                        "  {which:<5} {DIM}{date}{DIM:#} {}",
                        line(item, length, About::RuleAndCgroupAreKnown)
                    ))?;
                }
            }
        }
        lines.flush()?;
        if self.entries.is_empty() && self.others.is_empty() && self.past.is_empty() {
            let whose = if self.hidden > 0 { " of what was named, but of others" } else { "" };
            output.report(format_args!("{} has had no events{whose}", self.attachment));
        }
        for Others { line, rule, counters } in &self.others {
            let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
            output.note(format_args!(
                "{} of cgroups for which the memory had no room: {rule}{place}",
                events(counters)
            ));
        }
        for PastCounters { policy, line, rule, counters, .. } in &self.past {
            let rule = String::from_utf8_lossy(rule);
            let rule = if rule.is_empty() { "several rules".into() } else { printable_lines(&rule) };
            let place = line.map(|line| format!(" ({}:{line})", printable(policy))).unwrap_or_default();
            output.note(format_args!(
                "{} that had to make room, of removed cgroups or replaced policies: {rule}{place}",
                events(counters)
            ));
        }
        if self.not_recorded > 0 {
            output.note(format_args!(
                "{} more events are not remembered: too many happened at the same moment",
                self.not_recorded
            ));
        }
        if self.left_out > 0 {
            output.note(format_args!(
                "{} records were left out: they were just being written, or another version of knobgate has written them",
                self.left_out
            ));
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Value {
        let others = self.others.iter().map(|Others { line, rule, counters }| {
            json!({
                "line": line, "rule": rule,
                "sent": counters.sent, "suppressed": counters.suppressed,
            })
        });
        let past = self.past.iter().map(|PastCounters { policy, line, rule, counters, .. }| {
            json!({
                "policy": policy, "line": line, "rule": String::from_utf8_lossy(rule),
                "sent": counters.sent, "suppressed": counters.suppressed,
            })
        });
        json!({
            "name": self.attachment,
            "entries": self.entries.iter().map(Entry::to_json).collect::<Vec<_>>(),
            "others": others.collect::<Vec<_>>(),
            "past": past.collect::<Vec<_>>(),
            "not_recorded": self.not_recorded,
            "left_out": self.left_out,
        })
    }
}

impl Entry {
    fn new(items: &mut MemoryItems<'_>, entry: &MemoryEntry) -> Self {
        let MemoryEntry { cgroup_id, counters, first, last, .. } = entry;
        let is_first = |time: u64| first.as_ref().is_some_and(|first| first.boot_time == time);
        let last = last.as_ref().filter(|last| !is_first(last.boot_time));
        let mut item = |event: &knobgate_events::Event| items.item(event.clone());
        Self {
            cgroup_id: *cgroup_id,
            counters: *counters,
            first: first.as_ref().map(&mut item),
            last: last.map(&mut item),
            first_time: items.time(counters.first),
            last_time: items.time(counters.last),
        }
    }

    /// Any of its events.
    fn example(&self) -> Option<&StreamItem> {
        self.last.as_ref().or(self.first.as_ref())
    }

    /// What matters most comes first.
    fn rank(&self) -> u8 {
        let events = [&self.first, &self.last].into_iter().flatten().filter_map(StreamItem::event);
        events.map(|event| stream::rank(event.event.outcome())).min().unwrap_or(UNREADABLE)
    }

    /// `deny write kernel.core_pattern (tour:7)`, and below `docker/web-1: 41 events, 31 of them suppressed, the last one at …`
    fn heading(&self, length: Length) -> String {
        let example = self.example();
        let rule =
            example.and_then(StreamItem::rule).map(|rule| &*rule.text.bytes).map(String::from_utf8_lossy);
        let rule = rule.as_deref().map_or_else(|| "a rule that cannot be read".into(), printable_lines);
        let place = example.and_then(words::rule).map(|place| format!(" ({place})")).unwrap_or_default();
        let who = example.and_then(|item| words::workload(item, length));
        let who = who.unwrap_or_else(|| format!("cgroup {}", self.cgroup_id));
        // The last event that is remembered need not be the last one.
        let shown = self.example().map_or(0, StreamItem::boot_time);
        let last = self.last_time.filter(|_| self.counters.last > shown);
        let last = last.map(|time| {
            format!(", the last one at {} {} UTC", timestamp::date(time), timestamp::time_of_day(time))
        });
        format!(
            "{HEADING}{rule}{HEADING:#}{place}\n  {who}: {}{}",
            events(&self.counters),
            last.unwrap_or_default()
        )
    }

    fn to_json(&self) -> Value {
        // What is written here can be read.
        let event = |item: &StreamItem| serde_json::from_str::<Value>(&to_json(item)).ok();
        let first = self.first.as_ref().and_then(event);
        let last = self.last.as_ref().and_then(event).or_else(|| first.clone());
        let path = self.example().and_then(|item| item.context.cgroup_path.as_deref());
        json!({
            "cgroup": { "id": self.cgroup_id, "path": path.map(printable) },
            "sent": self.counters.sent,
            "suppressed": self.counters.suppressed,
            "first_time": self.first_time.map(timestamp::rfc_3339),
            "last_time": self.last_time.map(timestamp::rfc_3339),
            "first": first,
            "last": last,
        })
    }
}

/// The rank of a rule of which no event can be read: among those that may matter.
const UNREADABLE: u8 = 2;

fn total(counters: &EventCounters) -> u64 {
    counters.sent + counters.suppressed
}

/// `41 events, 31 of them suppressed`
fn events(counters: &EventCounters) -> String {
    let total = total(counters);
    let plural = if total == 1 { "" } else { "s" };
    match counters.suppressed {
        0 => format!("{total} event{plural}"),
        suppressed => format!("{total} event{plural}, {suppressed} of them suppressed"),
    }
}
