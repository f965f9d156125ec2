//! The events that happen while a command runs: through a place for readers, with what was suppressed and lost.

mod memories;
mod observing;
mod reported;

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use knobgate::{Attachments, EventMemory, EventReader, EventReaderError, Observer};
use knobgate_compiler::EVENT_STATE_MAP;
use knobgate_events::{Event, Lost, StreamContent, StreamContext, StreamEvent, StreamItem};
use knobgate_kernel::{AttachmentName, BpfObjectError, Bpffs, PinDir, ProbeOutcome, probe_cached};

use crate::attachment_failure::without_memory;
use crate::attachment_names::WantedNames;
use crate::failure::Failure;
use crate::load_failure::cannot_load;
use crate::stream::cgroups::Cgroups;
use crate::timestamp::{WallClock, boot_id};
pub(crate) use memories::Look;
use memories::{Memories, PAUSE};
use observing::{HOLD, Observing};

/// How long events are collected after the first one, so that the kernel does not wake this process for each.
pub(crate) const BATCH: Duration = Duration::from_millis(20);

/// The events of some or all attachments, and of an observer.
#[derive(Debug)]
pub(crate) struct LiveEvents {
    reader: EventReader,
    known: Known,
    /// When it was last looked what was suppressed.
    looked: Instant,
    /// How many lost events have been said.
    said_lost: u64,
    /// How many events could not be decoded.
    undecodable: u64,
}

/// What is known about events beyond what programs send.
#[derive(Debug)]
struct Known {
    /// The attachments whose events are wanted.
    names: WantedNames,
    observing: Option<Observing>,
    memories: Memories,
    cgroups: Cgroups,
    boot_id: Option<String>,
}

impl LiveEvents {
    /// Starts to read the events of the attachments with these names, or of all of them, and those of an observer.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such attachment; [`Failure::Machine`].
    pub(crate) fn open(names: Vec<AttachmentName>, observer: Option<Observer>) -> Result<Self, Failure> {
        Self::open_with(names, observer, EventReader::DEFAULT_BYTES)
    }

    /// The same with a buffer of so many bytes, as [`EventReader::open`] takes them. It counts as memory of this process.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_with(
        names: Vec<AttachmentName>,
        observer: Option<Observer>,
        bytes: u32,
    ) -> Result<Self, Failure> {
        let cannot = || Failure::machine("cannot read events");
        let attachments = match Attachments::create() {
            Ok(attachments) => Some(attachments),
            // The observer does without attachments.
            Err(_) if observer.is_some() => None,
            Err(error) => return Err(error.into()),
        };
        let (mut found, mut wanted) = (Vec::new(), WantedNames::default());
        if let Some(attachments) = &attachments {
            wanted = WantedNames::find(&names, attachments)?;
            for name in &names {
                found.extend(attachments.resolve(name)?);
            }
            for name in &found {
                let state = attachments.read(name)?;
                if !state.maps.iter().any(|map| map.info().name == EVENT_STATE_MAP) {
                    return Err(without_memory(name, &state));
                }
            }
        }
        let probes = probe_cached();
        if probes.event_features().is_none() {
            if let Some(why) = cannot_load() {
                return Err(cannot().because(why));
            }
            let why = match probes.events {
                ProbeOutcome::Unknown(why) => format!(" ({why})"),
                ProbeOutcome::Yes | ProbeOutcome::No => String::new(),
            };
            return Err(cannot().because(format!(
                "this kernel's programs cannot send any{why}; knobgate show has the counters of each rule"
            )));
        }
        let pins = Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs));
        let memories = Memories::find(pins.ok().flatten());
        let mut readers = match &attachments {
            // What a policy has reported is not shown again as the observer's.
            Some(attachments) if observer.is_some() => attachments.event_readers(&[])?,
            Some(attachments) => attachments.event_readers(&found)?,
            None => Vec::new(),
        };
        if let Some(observer) = &observer {
            readers.extend(observer.readers().map_err(|error| cannot().because(error))?);
        }
        let reader = EventReader::open(readers, bytes).map_err(|error| cannot().because(error))?;
        let known = Known {
            names: wanted,
            observing: observer.map(Observing::new),
            memories,
            cgroups: Cgroups::new(),
            boot_id: boot_id(),
        };
        Ok(Self { reader, known, looked: Instant::now(), said_lost: 0, undecodable: 0 })
    }

    /// Whose events these are, in words.
    pub(crate) fn whose(&self) -> String {
        match &self.known.names {
            names if !names.are_all() => names.names(),
            _ if self.known.observing.is_some() => "all attachments and of the observer".to_owned(),
            _ => "all attachments".to_owned(),
        }
    }

    /// The attachments whose events these are.
    pub(crate) fn names(&self) -> &WantedNames {
        &self.known.names
    }

    /// How many programs have no place for this reader, so that their events are missing.
    pub(crate) fn missing_programs(&self) -> usize {
        self.reader.full()
    }

    /// Whether these are the events of the policies that are attached now: not if the bpffs was mounted anew, or pins were removed.
    pub(crate) fn are_current(&self) -> bool {
        Attachments::create().map_or(true, |attachments| attachments.are_read_by(&self.reader))
    }

    /// How many events could not be decoded so far. They count as lost.
    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// What is known about cgroups.
    pub(crate) fn cgroups(&mut self) -> &mut Cgroups {
        &mut self.known.cgroups
    }

    /// Takes what the memory of a program had when it was read for said: what was suppressed until then is not given out.
    pub(crate) fn said(&mut self, program: u32, memory: &EventMemory) {
        self.known.memories.said(program, memory);
    }

    /// Which of the memories with these origins have no program any more.
    pub(crate) fn gone(&mut self, origins: impl Iterator<Item = u64>) -> HashSet<u64> {
        self.known.memories.gone(origins)
    }

    /// How long until [`read`](Self::read) has to be called, even if there are no events: to look what was suppressed, or to give out
    /// those that wait.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let look = self.known.memories.are_active().then(|| PAUSE.saturating_sub(self.looked.elapsed()));
        let wait = self.known.observing.as_ref().filter(|observing| !observing.is_empty()).map(|_| HOLD);
        look.into_iter().chain(wait).min()
    }

    /// Gives up the place of the reader. Events that were sent can still be read.
    ///
    /// # Errors
    /// [`Failure::Machine`].
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        self.reader.stop().map_err(cannot_read)
    }

    /// Gives out what has come in, in the order in which it was sent, and then what was suppressed and lost. Stops at the first failure
    /// of `consume`.
    ///
    /// # Errors
    /// [`Failure::Machine`], and those of `consume`.
    pub(crate) fn read(
        &mut self,
        look: Look,
        clock: WallClock,
        consume: &mut dyn FnMut(StreamItem) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut result, mut undecodable) = (Ok(()), 0);
        self.known.look_who_follows();
        self.reader.for_each(|event| match event {
            Ok(event) if result.is_ok() => result = self.known.event(event, clock, consume),
            Ok(_) => {}
            Err(_) => undecodable += 1,
        });
        result?;
        self.known.look_who_follows();
        self.known.give_out(clock, look == Look::AtAll, consume)?;
        self.undecodable += undecodable;
        let mut lost = undecodable;
        if look == Look::AtAll || (self.known.memories.are_active() && self.looked.elapsed() >= PAUSE) {
            self.looked = Instant::now();
            lost += self.known.unsent(look, clock, consume)?;
        }
        // And those that the reader does not have.
        let in_all = self.reader.lost().map_err(|error: BpfObjectError| cannot_read(error.into()))?;
        lost += in_all.saturating_sub(std::mem::replace(&mut self.said_lost, in_all));
        if lost == 0 {
            return Ok(());
        }
        let content = StreamContent::Lost(Lost { boot_time: clock.boot_time(), count: lost });
        consume(self.known.item(StreamContext::default(), content, clock))
    }
}

impl Known {
    fn event(
        &mut self,
        event: Event,
        clock: WallClock,
        consume: &mut dyn FnMut(StreamItem) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (origin, cgroup_id) = (event.origin, event.cgroup_id);
        let attachment = self.memories.name(origin).cloned();
        self.memories.saw_event(origin);
        if !self.is_wanted(attachment.as_ref(), event.observer) && !self.is_observed(origin) {
            return Ok(());
        }
        if self.observing.as_mut().is_some_and(|observing| !observing.is_new(&event)) {
            return Ok(());
        }
        let context = self.context(attachment.as_ref(), origin, Some(cgroup_id));
        let content = StreamContent::Event(Box::new(StreamEvent::from(event)));
        let item = self.item(context, content, clock);
        let Some(observing) = &mut self.observing else { return consume(item) };
        observing.add(item);
        if observing.is_full() {
            self.look_who_follows();
            self.give_out(clock, true, consume)?;
        }
        Ok(())
    }

    /// Looks which programs run after the observer, if there is one.
    fn look_who_follows(&mut self) {
        let Self { observing, memories, .. } = self;
        if let Some(observing) = observing {
            observing.look(|program| memories.origin(program));
        }
    }

    /// Gives out the events that waited long enough, or `all` of them.
    fn give_out(
        &mut self,
        clock: WallClock,
        all: bool,
        consume: &mut dyn FnMut(StreamItem) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(observing) = &mut self.observing else { return Ok(()) };
        while let Some(item) = observing.next(clock.boot_time(), all) {
            consume(item)?;
        }
        Ok(())
    }

    /// Gives out how many events were suppressed. Returns how many were lost.
    fn unsent(
        &mut self,
        look: Look,
        clock: WallClock,
        consume: &mut dyn FnMut(StreamItem) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let unsent = self.memories.unsent(look, clock.boot_time());
        for (origin, observes, suppressed) in unsent.suppressed {
            let attachment = self.memories.name(origin).cloned();
            // What the observer reports is not missing.
            let is_reported = self.observing.as_ref().is_some_and(|observing| observing.reports(&suppressed));
            if is_reported || !self.is_wanted(attachment.as_ref(), observes) {
                continue;
            }
            let context = self.context(attachment.as_ref(), origin, suppressed.cgroup_id);
            consume(self.item(context, StreamContent::Suppressed(Box::new(suppressed)), clock))?;
        }
        let mut unrecorded = 0;
        for (origin, count) in unsent.unrecorded.into_iter().filter(|&(_, count)| count > 0) {
            let attachment = self.memories.name(origin).cloned();
            unrecorded += if self.is_wanted(attachment.as_ref(), false) { count } else { 0 };
        }
        Ok(unrecorded)
    }

    fn context(
        &mut self,
        attachment: Option<&AttachmentName>,
        origin: u64,
        cgroup_id: Option<u64>,
    ) -> StreamContext {
        let Self { memories, cgroups, .. } = self;
        let context = cgroup_id.map(|id| cgroups.context(id, || memories.cgroup_path(origin, id)));
        StreamContext { attachment: attachment.map(ToString::to_string), ..context.unwrap_or_default() }
    }

    fn item(&self, context: StreamContext, content: StreamContent, clock: WallClock) -> StreamItem {
        let mut item =
            StreamItem { sequence: 0, time: None, boot_id: self.boot_id.clone(), context, content };
        item.time = clock.at(item.boot_time());
        item
    }

    /// Whether it is the observer's.
    fn is_observed(&self, origin: u64) -> bool {
        self.observing.as_ref().is_some_and(|observing| observing.observer().origin() == origin)
    }

    fn is_wanted(&self, attachment: Option<&AttachmentName>, observes: bool) -> bool {
        match attachment {
            _ if self.names.are_all() => !observes,
            Some(name) => self.names.contains(name),
            None => false,
        }
    }
}

impl AsFd for LiveEvents {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn cannot_read(error: EventReaderError) -> Failure {
    Failure::machine("cannot read events").because(error)
}
