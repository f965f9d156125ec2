//! The events that happen while the command runs.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use knobgate::{Attachments, EventReader, EventReaderError, Observer};
use knobgate_compiler::EVENT_STATE_MAP;
use knobgate_events::{Event, Lost, StreamContent, StreamContext, StreamEvent, StreamItem};
use knobgate_kernel::{
    AttachmentName, BlockedSignals, BpfObjectError, Bpffs, PinDir, ProbeOutcome, Signal, probe_cached,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::memories::{Look, Memories, PAUSE};
use super::reported::Reported;
use crate::attachment_failure::without_memory;
use crate::failure::Failure;
use crate::output::Output;
use crate::plural::count;
use crate::stream::cgroups::Cgroups;
use crate::stream::printer::Printer;
use crate::timestamp::{WallClock, boot_id};

/// How long events are collected after the first one, so that the kernel does not wake this process for each.
const BATCH: Duration = Duration::from_millis(20);

/// Shows the events of the attachments with these names, or of all of them, and those of an observer.
///
/// # Errors
/// [`Failure::Usage`] if there is no such attachment; [`Failure::Machine`].
pub(super) fn show(
    names: Vec<AttachmentName>,
    observer: Option<Observer>,
    printer: Printer,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let cannot = || Failure::machine("cannot read events");
    let attachments = match Attachments::create() {
        Ok(attachments) => Some(attachments),
        // The observer does without attachments.
        Err(_) if observer.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    for (name, attachments) in names.iter().zip(attachments.iter().cycle()) {
        let state = attachments.read(name)?;
        if !state.maps.iter().any(|map| map.info().name == EVENT_STATE_MAP) {
            return Err(without_memory(name, &state));
        }
    }
    let probes = probe_cached();
    if probes.event_features().is_none() {
        let why = match probes.events {
            ProbeOutcome::Unknown(why) => format!(" ({why})"),
            ProbeOutcome::Yes | ProbeOutcome::No => String::new(),
        };
        return Err(cannot().because(format!(
            "this kernel's programs cannot send any{why}; knobgate show has the counters of each rule"
        )));
    }
    // Blocked before there is anything to sum up.
    let signals =
        BlockedSignals::block(&[Signal::INT, Signal::TERM]).map_err(|error| cannot().because(error))?;
    let pins = Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs));
    let memories = Memories::find(pins.ok().flatten());
    let mut readers = match &attachments {
        Some(attachments) => attachments.event_readers()?,
        None => Vec::new(),
    };
    if let Some(observer) = &observer {
        readers.extend(observer.readers().map_err(|error| cannot().because(error))?);
    }
    let reader =
        EventReader::open(readers, EventReader::DEFAULT_BYTES).map_err(|error| cannot().because(error))?;
    if reader.full() > 0 {
        output.warning(format_args!(
            "{} that were loaded before the first `watch` have eight readers already; their events are missing here",
            count(reader.full(), "program")
        ));
    }
    let whose = match &names[..] {
        [] if observer.is_some() => "all attachments and of the observer".to_owned(),
        [] => "all attachments".to_owned(),
        names => names.iter().map(AttachmentName::as_str).collect::<Vec<_>>().join(", "),
    };
    output.note(format_args!("showing the events of {whose}, until Ctrl-C"));

    let mut live = Live {
        names,
        observer: observer.map(|observer| (observer, Reported::default())),
        printer,
        memories,
        cgroups: Cgroups::new(),
        boot_id: boot_id(),
        looked: Instant::now(),
        said_lost: 0,
        unreadable: 0,
        shown: 0,
        suppressed: 0,
        lost: 0,
        is_done: false,
    };
    if live.run(reader, &signals, output)? {
        output.note(live.summary());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is shown, and what has been.
#[derive(Debug)]
struct Live {
    /// The attachments whose events are shown; all if empty.
    names: Vec<AttachmentName>,
    observer: Option<(Observer, Reported)>,
    printer: Printer,
    memories: Memories,
    cgroups: Cgroups,
    boot_id: Option<String>,
    /// When it was last looked what was suppressed.
    looked: Instant,
    /// How many lost events have been said.
    said_lost: u64,
    /// How many events could not be decoded.
    unreadable: u64,
    shown: u64,
    suppressed: u64,
    lost: u64,
    /// Whether as many were shown as were asked for.
    is_done: bool,
}

impl Live {
    /// Shows events until a signal, which is `true`, or until there are enough.
    fn run(
        &mut self,
        mut reader: EventReader,
        signals: &BlockedSignals,
        output: &Output,
    ) -> Result<bool, Failure> {
        let cannot = |error: io::Error| Failure::machine("cannot wait for events").because(error);
        loop {
            let timeout = self.memories.are_active().then(|| PAUSE.saturating_sub(self.looked.elapsed()));
            match wait(&reader, signals, timeout).map_err(cannot)? {
                WokenBy::Signal => break,
                WokenBy::ClosedOutput => return Err(Failure::Output(io::ErrorKind::BrokenPipe.into())),
                WokenBy::Events if wait_for_signal(signals, BATCH).map_err(cannot)? => break,
                WokenBy::Events | WokenBy::Timeout => {}
            }
            self.show_events(&mut reader, Look::AtActive, output)?;
            if self.is_done {
                return Ok(false);
            }
        }
        reader.stop().map_err(cannot_read)?;
        self.show_events(&mut reader, Look::AtAll, output)?;
        Ok(true)
    }

    /// Shows what has come in.
    fn show_events(&mut self, reader: &mut EventReader, look: Look, output: &Output) -> Result<(), Failure> {
        let clock = WallClock::now();
        let (mut result, mut unreadable) = (Ok(()), 0);
        reader.for_each(|event| match event {
            Ok(event) if result.is_ok() => result = self.event(event, clock),
            Ok(_) => {}
            Err(_) => unreadable += 1,
        });
        result?;
        if unreadable > 0 && self.unreadable == 0 {
            output.warning(
                "some events cannot be read: the program that sends them is of another version of knobgate; attach its policy \
                 again",
            );
        }
        self.unreadable += unreadable;
        if look == Look::AtAll || (self.memories.are_active() && self.looked.elapsed() >= PAUSE) {
            self.looked = Instant::now();
            self.unsent(look, unreadable, reader, clock)?;
        } else {
            self.lost(unreadable, reader, clock)?;
        }
        self.printer.flush()
    }

    fn event(&mut self, event: Event, clock: WallClock) -> Result<(), Failure> {
        let (origin, cgroup_id) = (event.origin, event.cgroup_id);
        let attachment = self.memories.name(origin).cloned();
        self.memories.saw_event(origin);
        if !self.is_wanted(attachment.as_ref(), event.observer) && !self.is_observed(origin) {
            return Ok(());
        }
        if let Some((_, reported)) = &mut self.observer
            && !reported.is_new(&event)
        {
            return Ok(());
        }
        let remembered = || self.memories.cgroup_path(origin, cgroup_id);
        let context = self.cgroups.context(cgroup_id, remembered);
        let attachment = attachment.map(|name| name.to_string());
        let content = StreamContent::Event(Box::new(StreamEvent::from(event)));
        self.shown += u64::from(self.print(StreamContext { attachment, ..context }, content, clock)?);
        Ok(())
    }

    /// Shows how many events were suppressed and lost.
    fn unsent(
        &mut self,
        look: Look,
        unreadable: u64,
        reader: &EventReader,
        clock: WallClock,
    ) -> Result<(), Failure> {
        let unsent = self.memories.unsent(look, clock.boot_time());
        for (origin, observes, suppressed) in unsent.suppressed {
            let attachment = self.memories.name(origin).cloned();
            if !self.is_wanted(attachment.as_ref(), observes) {
                continue;
            }
            self.suppressed += suppressed.count;
            let context = match suppressed.cgroup_id {
                Some(id) => self.cgroups.context(id, || self.memories.cgroup_path(origin, id)),
                None => StreamContext::default(),
            };
            let attachment = attachment.map(|name| name.to_string());
            let context = StreamContext { attachment, ..context };
            self.print(context, StreamContent::Suppressed(Box::new(suppressed)), clock)?;
        }
        let mut unrecorded = 0;
        for (origin, count) in unsent.unrecorded.into_iter().filter(|&(_, count)| count > 0) {
            let attachment = self.memories.name(origin).cloned();
            unrecorded += if self.is_wanted(attachment.as_ref(), false) { count } else { 0 };
        }
        self.lost(unrecorded + unreadable, reader, clock)
    }

    /// Shows how many events were lost: so many, and those that the reader does not have.
    fn lost(&mut self, others: u64, reader: &EventReader, clock: WallClock) -> Result<(), Failure> {
        let lost = reader.lost().map_err(|error: BpfObjectError| cannot_read(error.into()))?;
        let count = lost.saturating_sub(self.said_lost) + others;
        self.said_lost = lost;
        if count == 0 {
            return Ok(());
        }
        self.lost += count;
        let content = StreamContent::Lost(Lost { boot_time: clock.boot_time(), count });
        self.print(StreamContext::default(), content, clock).map(drop)
    }

    /// Prints an item, if the filter lets it. Returns whether it did.
    fn print(
        &mut self,
        context: StreamContext,
        content: StreamContent,
        clock: WallClock,
    ) -> Result<bool, Failure> {
        let boot_id = self.boot_id.clone();
        let mut item = StreamItem { sequence: 0, time: None, boot_id, context, content };
        item.time = clock.at(item.boot_time());
        if self.is_done || !self.printer.shows(&item) {
            return Ok(false);
        }
        self.is_done = self.printer.print_next(&mut item)?.is_break();
        Ok(true)
    }

    /// Whether it is the observer's.
    fn is_observed(&self, origin: u64) -> bool {
        self.observer.as_ref().is_some_and(|(observer, _)| observer.origin() == origin)
    }

    fn is_wanted(&self, attachment: Option<&AttachmentName>, observes: bool) -> bool {
        match attachment {
            _ if self.names.is_empty() => !observes,
            Some(name) => self.names.contains(name),
            None => false,
        }
    }

    fn summary(&self) -> String {
        let events = if self.shown == 1 { "event" } else { "events" };
        format!("{} {events} shown, {} suppressed, {} lost", self.shown, self.suppressed, self.lost)
    }
}

fn cannot_read(error: EventReaderError) -> Failure {
    Failure::machine("cannot read events").because(error)
}

/// Why a wait ended.
enum WokenBy {
    Events,
    Signal,
    ClosedOutput,
    Timeout,
}

fn wait(reader: &EventReader, signals: &BlockedSignals, timeout: Option<Duration>) -> io::Result<WokenBy> {
    let stdout = io::stdout();
    let mut descriptors = [
        PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        // Whoever reads it may go away while there are no events.
        PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
    ];
    let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut descriptors, timeout.as_ref()) {
        // It was stopped, and continues.
        Err(Errno::INTR) => return Ok(WokenBy::Timeout),
        polled => polled?,
    };
    let [events, signal, output] = descriptors.map(|descriptor| descriptor.revents());
    Ok(match () {
        () if !signal.is_empty() && signals.read()?.is_some() => WokenBy::Signal,
        () if output.intersects(PollFlags::ERR | PollFlags::HUP) => WokenBy::ClosedOutput,
        () if !events.is_empty() => WokenBy::Events,
        () => WokenBy::Timeout,
    })
}

/// Waits for this long, or until there is a signal, which is `true`.
fn wait_for_signal(signals: &BlockedSignals, time: Duration) -> io::Result<bool> {
    let mut descriptors = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut descriptors, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(signals.read()?.is_some())
}
