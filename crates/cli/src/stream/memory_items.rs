//! What a policy remembers of its events, as items of a stream.

use std::collections::BTreeMap;
use std::time::SystemTime;

use knobgate::EventMemory;
use knobgate_events::{Event, StreamContent, StreamContext, StreamEvent, StreamItem};

use super::cgroups::Cgroups;
use crate::timestamp::{WallClock, boot_id};

/// Makes items of the events of a memory.
#[derive(Debug)]
pub(crate) struct MemoryItems<'a> {
    attachment: &'a str,
    memory: &'a EventMemory,
    clock: WallClock,
    boot_id: Option<String>,
    cgroups: Cgroups,
}

impl<'a> MemoryItems<'a> {
    /// Of the memory of this attachment.
    pub(crate) fn new(attachment: &'a str, memory: &'a EventMemory) -> Self {
        let (clock, boot_id) = (WallClock::now(), boot_id());
        Self { attachment, memory, clock, boot_id, cgroups: Cgroups::new() }
    }

    pub(crate) fn attachment(&self) -> &'a str {
        self.attachment
    }

    pub(crate) fn memory(&self) -> &'a EventMemory {
        self.memory
    }

    /// The moment at so many nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) fn time(&self, boot_time: u64) -> Option<SystemTime> {
        self.clock.at(boot_time)
    }

    /// Every event that the memory has, once, by time.
    pub(crate) fn all(&mut self) -> Vec<StreamItem> {
        let entries = self.memory.entries.iter().flat_map(|entry| [&entry.first, &entry.last]).flatten();
        let key = |event: &'a Event| ((event.boot_time, event.tid, event.cgroup_id), event);
        let events: BTreeMap<_, &Event> = entries.chain(&self.memory.recent).map(key).collect();
        events.into_values().map(|event| self.item(event.clone())).collect()
    }

    /// An event of it.
    pub(crate) fn item(&mut self, event: Event) -> StreamItem {
        let (boot_time, context) = (event.boot_time, self.context(event.cgroup_id));
        StreamItem {
            sequence: 1,
            time: self.time(boot_time),
            boot_id: self.boot_id.clone(),
            context,
            content: StreamContent::Event(Box::new(StreamEvent::from(event))),
        }
    }

    /// What is known about a cgroup that it remembers.
    pub(crate) fn context(&mut self, cgroup_id: u64) -> StreamContext {
        let remembered = || self.memory.cgroups.get(&cgroup_id).cloned();
        let context = self.cgroups.context(cgroup_id, remembered);
        StreamContext { attachment: Some(self.attachment.to_owned()), ..context }
    }
}
