//! Items of the events that a policy remembers.

use knobgate::EventMemory;
use knobgate_events::{StreamContent, StreamContext, StreamEvent, StreamItem};

use super::cgroups::Cgroups;
use crate::timestamp::WallClock;

/// Makes items of the events of a memory.
pub(crate) struct MemoryItems<'a> {
    pub(crate) attachment: &'a str,
    pub(crate) memory: &'a EventMemory,
    pub(crate) clock: WallClock,
    pub(crate) boot_id: Option<String>,
    pub(crate) cgroups: &'a mut Cgroups,
}

impl MemoryItems<'_> {
    pub(crate) fn item(&mut self, event: StreamEvent) -> StreamItem {
        let (boot_time, context) = (event.event.boot_time, self.context(event.event.cgroup_id));
        StreamItem {
            sequence: 1,
            time: self.clock.at(boot_time),
            boot_id: self.boot_id.clone(),
            context,
            content: StreamContent::Event(Box::new(event)),
        }
    }

    pub(crate) fn context(&mut self, cgroup_id: u64) -> StreamContext {
        let remembered = || self.memory.cgroups.get(&cgroup_id).cloned();
        let context = self.cgroups.context(cgroup_id, remembered);
        StreamContext { attachment: Some(self.attachment.to_owned()), ..context }
    }
}
