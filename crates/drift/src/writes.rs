//! The last writes of a knob.

use knobgate_events::{EventOutcome, EventText, StreamEvent, StreamItem};

/// Whether a write is where the running value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explains {
    /// It wrote the running value.
    Yes,
    /// It wrote another one: the knob rejected that, or was written again, and no event says so.
    No,
    /// What it wrote was not recorded, or not as a whole.
    Unknown,
    /// Whether it passed is not known: an observer saw it.
    MayHaveBeenDenied,
}

/// A write of a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// The event.
    pub item: StreamItem,
    /// Whether the running value is the one that it wrote.
    pub explains: Explains,
}

/// The writes that events report of a knob that has drifted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Writes {
    /// The last one that passed, or may have.
    pub last: Option<Write>,
    /// The last one that passed and explains the running value, if that is an earlier one.
    pub explaining: Option<Write>,
    /// The last one of the configured value that was denied, if none passed after it.
    pub denied: Option<StreamItem>,
    /// When one passed for the last time, for certain.
    passed: u64,
}

impl Writes {
    /// Adds a write.
    pub(crate) fn add(
        &mut self,
        item: &StreamItem,
        event: &StreamEvent,
        is_running: impl Fn(&[u8]) -> bool,
        is_configured: impl Fn(&[u8]) -> bool,
    ) {
        let time = event.event.boot_time;
        let is_newer = |known: Option<&StreamItem>| known.is_none_or(|known| known.boot_time() <= time);
        let last = self.last.as_ref().map(|write| &write.item);
        if let EventOutcome::Denied(_) = event.event.outcome() {
            let value = whole(event.event.new.as_ref());
            if value.is_some_and(is_configured) && is_newer(self.denied.as_ref()) && self.passed <= time {
                self.denied = Some(item.clone());
            }
            return;
        }
        let explains = match (event.event.outcome(), event.written()) {
            (EventOutcome::Unknown, _) => Explains::MayHaveBeenDenied,
            (_, None) => Explains::Unknown,
            (_, Some(value)) if is_running(value) => Explains::Yes,
            (_, Some(_)) => Explains::No,
        };
        let write = || Write { item: item.clone(), explains };
        if explains != Explains::MayHaveBeenDenied {
            self.passed = self.passed.max(time);
            self.denied.take_if(|denied| denied.boot_time() < time);
        }
        let explaining = self.explaining.as_ref().map(|write| &write.item);
        if is_newer(last) {
            // The one that was the last one may be the one that explains.
            if let Some(last) = self.last.take_if(|last| last.explains == Explains::Yes) {
                self.explaining = Some(last);
            }
            if explains == Explains::Yes {
                self.explaining = None;
            }
            self.last = Some(write());
        } else if explains == Explains::Yes
            && self.last.as_ref().is_some_and(|last| last.explains != Explains::Yes)
            && is_newer(explaining)
        {
            self.explaining = Some(write());
        }
    }
}

fn whole(text: Option<&EventText>) -> Option<&[u8]> {
    text.filter(|text| text.cut_from.is_none()).map(|text| &*text.bytes)
}
