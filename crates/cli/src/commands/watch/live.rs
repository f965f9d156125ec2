//! The events that happen while the command runs.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use knobgate::Observer;
use knobgate_events::{StreamContent, StreamItem};
use knobgate_kernel::{AttachmentName, BlockedSignals, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::live_events::{BATCH, LiveEvents, Look};
use crate::output::Output;
use crate::plural::count;
use crate::stream::printer::Printer;
use crate::timestamp::WallClock;

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
    // Blocked before there is anything to sum up.
    let signals = BlockedSignals::block(&[Signal::INT, Signal::TERM])
        .map_err(|error| Failure::machine("cannot read events").because(error))?;
    let mut events = LiveEvents::open(names, observer)?;
    if events.missing_programs() > 0 {
        output.warning(format_args!(
            "the events of {} are missing here: all places for their readers are taken",
            count(events.missing_programs(), "program")
        ));
    }
    output.note(format_args!("showing the events of {}, until Ctrl-C", events.whose()));

    let mut shown = Shown { printer, shown: Counts::default(), hidden: 0, is_done: false };
    if shown.run(&mut events, &signals, output)? {
        output.note(shown.summary());
    }
    Ok(ExitCode::SUCCESS)
}

/// How many events there were.
#[derive(Debug, Default)]
struct Counts {
    events: u64,
    suppressed: u64,
    lost: u64,
}

/// What has been shown.
#[derive(Debug)]
struct Shown {
    printer: Printer,
    shown: Counts,
    /// How many events the filter has hidden, with those that were suppressed or lost.
    hidden: u64,
    /// Whether as many were shown as were asked for.
    is_done: bool,
}

impl Shown {
    /// Shows events until a signal, which is `true`, or until there are enough.
    fn run(
        &mut self,
        events: &mut LiveEvents,
        signals: &BlockedSignals,
        output: &Output,
    ) -> Result<bool, Failure> {
        let cannot = |error: io::Error| Failure::machine("cannot wait for events").because(error);
        loop {
            match wait(events, signals, events.timeout()).map_err(cannot)? {
                WokenBy::Signal => break,
                WokenBy::ClosedOutput => return Err(Failure::Output(io::ErrorKind::BrokenPipe.into())),
                WokenBy::Events if wait_for_signal(signals, BATCH).map_err(cannot)? => break,
                WokenBy::Events | WokenBy::Timeout => {}
            }
            self.show_events(events, Look::AtActive, output)?;
            if self.is_done {
                return Ok(false);
            }
        }
        events.stop()?;
        self.show_events(events, Look::AtAll, output)?;
        Ok(true)
    }

    /// Shows what has come in.
    fn show_events(&mut self, events: &mut LiveEvents, look: Look, output: &Output) -> Result<(), Failure> {
        let undecodable = events.undecodable();
        events.read(look, WallClock::now(), &mut |item| self.item(item))?;
        if undecodable == 0 && events.undecodable() > 0 {
            output.warning(
                "some events cannot be read: the program that sends them is of another version of knobgate; attach its policy \
                 again",
            );
        }
        self.printer.flush()
    }

    /// Prints an item, if the filter lets it.
    fn item(&mut self, mut item: StreamItem) -> Result<(), Failure> {
        let is_shown = self.printer.shows(&item);
        let (count, more) = match &item.content {
            StreamContent::Event(_) => (&mut self.shown.events, 1),
            StreamContent::Suppressed(suppressed) => (&mut self.shown.suppressed, suppressed.count),
            StreamContent::Lost(lost) => (&mut self.shown.lost, lost.count),
        };
        let count = if is_shown { count } else { &mut self.hidden };
        *count = count.saturating_add(more);
        if is_shown && !self.is_done {
            self.is_done = self.printer.print_next(&mut item)?.is_break();
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let Counts { events, suppressed, lost } = &self.shown;
        let noun = if *events == 1 { "event" } else { "events" };
        let hidden = if self.printer.has_filter() {
            format!(", {} hidden by the filter", self.hidden)
        } else {
            String::new()
        };
        format!("{events} {noun} shown, {suppressed} suppressed, {lost} lost{hidden}")
    }
}

/// Why a wait ended.
enum WokenBy {
    Events,
    Signal,
    ClosedOutput,
    Timeout,
}

fn wait(events: &LiveEvents, signals: &BlockedSignals, timeout: Option<Duration>) -> io::Result<WokenBy> {
    let stdout = io::stdout();
    let mut descriptors = [
        PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
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
