//! What policies decide, as entries of the agent's log.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use knobgate::event::{EventOutcome, EventText, StreamContent, StreamEvent, StreamItem};
use knobgate_agent::Severity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::entry::Entry;
use super::log::Log;
use crate::failure::Failure;
use crate::live_events::{BATCH, LiveEvents, Look};
use crate::output::chain;
use crate::plural;
use crate::printable::printable;
use crate::stream::line;
use crate::stream::words::{self, Length};
use crate::timestamp::WallClock;

/// The size of the buffer for events: there is room for about 2500. The agent is to stay small.
const BUFFER: u32 = 1 << 20;
/// How long it waits until it tries again to read events.
const RETRY: Duration = Duration::from_secs(30);

/// How often it looks whether it reads the events of the policies that are attached now.
const CURRENT: Duration = Duration::from_secs(5);

/// Why no more events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The agent ends.
    Ended,
    /// Policies send their events to other places.
    Replaced,
}

/// The thread that reads events and logs them. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Decisions {
    /// Closed to end the thread.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Decisions {
    /// Starts to read the events of all attachments.
    ///
    /// # Errors
    /// [`Failure::Machine`] if there can be no more threads or descriptors.
    pub(super) fn log(log: Log) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::machine("cannot log what policies decide").because(error);
        let (ended, end) = io::pipe().map_err(cannot)?;
        let read = move || {
            let mut was_said = false;
            // It is said once: all places for readers may be taken for long.
            loop {
                match read(&log, &ended) {
                    Ok(Until::Ended) => return,
                    Ok(Until::Replaced) => {
                        let text = format!(
                            "decisions of the last {} s may be missing here, and knobgate log has them: the bpffs was mounted anew, or \
                             pins were removed",
                            CURRENT.as_secs()
                        );
                        log.write(unread(text));
                        continue;
                    }
                    Err(failure) if !was_said => {
                        let why = chain(&failure);
                        log.write(unread(format!("what policies decide is not logged: {}", printable(&why))));
                    }
                    Err(_) => {}
                }
                was_said = true;
                if wait(&[&ended], Some(RETRY)).is_none_or(|ready| ready[0]) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("decisions".to_owned()).spawn(read).map_err(cannot)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Logs events until the pipe is closed, or they are no longer those of all policies.
fn read(log: &Log, ended: &impl AsFd) -> Result<Until, Failure> {
    let mut events = LiveEvents::open_with(Vec::new(), None, BUFFER)?;
    if events.missing_programs() > 0 {
        let programs = plural::count(events.missing_programs(), "program");
        log.write(unread(format!(
            "the decisions of {programs} are missing here: all places for their readers are taken"
        )));
    }
    let mut looked = Instant::now();
    loop {
        let pause = CURRENT.saturating_sub(looked.elapsed());
        let pause = events.timeout().map_or(pause, |timeout| timeout.min(pause));
        let Some(ready) = wait(&[ended, &events], Some(pause)) else { return Ok(Until::Ended) };
        let [is_ended, has_events] = ready[..] else { return Ok(Until::Ended) };
        // A wake-up for each event would cost more than the event.
        let is_ended = is_ended || (has_events && wait(&[ended], Some(BATCH)).is_none_or(|ready| ready[0]));
        let mut until = is_ended.then_some(Until::Ended);
        if until.is_none() && looked.elapsed() >= CURRENT {
            looked = Instant::now();
            until = (!events.are_current()).then_some(Until::Replaced);
        }
        if until.is_some() {
            events.stop()?;
        }
        let look = if until.is_some() { Look::AtAll } else { Look::AtActive };
        events.read(look, WallClock::now(), &mut |item| {
            count(log, &item);
            log.write_decision(entry(&item));
            Ok(())
        })?;
        if let Some(until) = until {
            return Ok(until);
        }
    }
}

/// Waits until one of these can be read or is closed, and returns which. `None` if that is not possible.
fn wait(descriptors: &[&dyn AsFd], timeout: Option<Duration>) -> Option<Vec<bool>> {
    let timeout = timeout.map(Timespec::try_from).transpose().ok()?;
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|one| PollFd::from_borrowed_fd(one.as_fd(), PollFlags::IN)).collect();
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => return None,
    }
    Some(polled.iter().map(|one| !one.revents().is_empty()).collect())
}

fn count(log: &Log, item: &StreamItem) {
    match &item.content {
        StreamContent::Suppressed(suppressed) => {
            log.metrics().count_suppressed(item.policy().unwrap_or("?"), suppressed.count);
        }
        StreamContent::Lost(lost) => log.metrics().count_lost(lost.count),
        StreamContent::Event(_) => {}
    }
}

/// The entry of an item.
fn entry(item: &StreamItem) -> Entry {
    let (severity, kind) = match &item.content {
        StreamContent::Event(event) => match event.event.outcome() {
            EventOutcome::Denied(_) => (Severity::Warning, &DENIED),
            EventOutcome::Rewritten => (Severity::Info, &REWRITTEN),
            EventOutcome::WouldDeny(_) => (Severity::Info, &WOULD_DENY),
            EventOutcome::WouldRewrite => (Severity::Info, &WOULD_REWRITE),
            EventOutcome::Allowed | EventOutcome::Unknown => (Severity::Info, &ALLOWED),
        },
        StreamContent::Suppressed(_) => (Severity::Info, &SUPPRESSED),
        StreamContent::Lost(_) => (Severity::Warning, &LOST),
    };
    let entry = Entry {
        at: item.time.unwrap_or_else(SystemTime::now),
        severity,
        kind: kind.name,
        message_id: kind.message_id,
        text: line::sentence(item),
        fields: Vec::new(),
    };
    let entry = entry
        .with("KNOBGATE_POLICY", item.policy())
        .with("KNOBGATE_ATTACHMENT", item.context.attachment.as_deref())
        .with("KNOBGATE_RULE", rule(item))
        .with("KNOBGATE_WORKLOAD", words::workload(item, Length::Full))
        .with("KNOBGATE_CGROUP", item.context.cgroup_path.as_deref());
    match &item.content {
        StreamContent::Event(event) => with_access(entry, event),
        StreamContent::Suppressed(suppressed) => {
            entry.with("KNOBGATE_COUNT", Some(suppressed.count.to_string()))
        }
        StreamContent::Lost(lost) => entry.with("KNOBGATE_COUNT", Some(lost.count.to_string())),
    }
}

/// `web:4`: the attachment has a field of its own.
fn rule(item: &StreamItem) -> Option<String> {
    let mut item = item.clone();
    item.context.attachment = None;
    words::rule(&item)
}

fn with_access(entry: Entry, stream_event: &StreamEvent) -> Entry {
    let event = &stream_event.event;
    let value = |text: &Option<EventText>| text.as_ref().map(|text| text.bytes.trim_ascii_end().to_vec());
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let errno = match event.outcome() {
        EventOutcome::Denied(errno) | EventOutcome::WouldDeny(errno) => Some(words::errno(errno)),
        _ => None,
    };
    let stored = value(&event.stored).or_else(|| stream_event.replacement.clone());
    entry
        .with("SYSCTL", Some(words::knob(&event.knob)))
        .with("KNOBGATE_ACCESS", Some(words::access(event.kind)))
        .with("OLDVALUE", value(&event.old))
        .with("NEWVALUE", value(&event.new))
        .with("KNOBGATE_STORED", stored.map(|stored| stored.trim_ascii_end().to_vec()))
        .with("KNOBGATE_ERRNO", errno)
        .with("OBJECT_PID", number(event.pid))
        .with("OBJECT_COMM", event.comm.as_deref())
        .with("OBJECT_UID", number(event.uid))
}

/// The entry that events are not read, and why.
fn unread(text: String) -> Entry {
    Entry {
        at: SystemTime::now(),
        severity: Severity::Warning,
        kind: UNREAD.name,
        message_id: UNREAD.message_id,
        text,
        fields: Vec::new(),
    }
}

/// A kind of entry, beside those of notices.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) message_id: &'static str,
}

const DENIED: Kind = Kind { name: "denied", message_id: "a245f9adefa444c8ace5b1b5628d1bfa" };
const REWRITTEN: Kind = Kind { name: "rewritten", message_id: "48c8cf5b18ac4e208885347c95e12533" };
const WOULD_DENY: Kind = Kind { name: "would-deny", message_id: "499d946a9f79434790c33e716ff55bba" };
const WOULD_REWRITE: Kind = Kind { name: "would-rewrite", message_id: "a39f585bf7d64df883e19a6eeed81f9d" };
const ALLOWED: Kind = Kind { name: "allowed", message_id: "0b9bdb86a13a4784a00f35803d19a32a" };
const SUPPRESSED: Kind = Kind { name: "suppressed", message_id: "4ce7f10c305442fcb58f78906fae56de" };
const LOST: Kind = Kind { name: "lost", message_id: "dcc4c0aad7534b53b58915453ef11a64" };
pub(super) const UNLOGGED: Kind = Kind { name: "unlogged", message_id: "e505d8aa19cd43bb8bd69dda7f0a2b64" };
const UNREAD: Kind = Kind { name: "unread", message_id: "ff98fc85f91d4013bebc6993fa5ccc6a" };

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_page_and_the_catalogue_have_all_kinds_of_decisions() {
        let file = |name: &str| {
            std::fs::read_to_string(format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
        };
        let (page, catalogue) = (file("docs/agent.md"), file("packaging/journald/knobgate.catalog"));
        let kinds =
            [DENIED, REWRITTEN, WOULD_DENY, WOULD_REWRITE, ALLOWED, SUPPRESSED, LOST, UNREAD, UNLOGGED];
        let ids: HashSet<&str> = kinds.iter().map(|kind| kind.message_id).collect();
        assert_eq!(ids.len(), kinds.len());
        for Kind { name, message_id } in kinds {
            assert!(page.contains(&format!("\n| `{name}` | ")), "{name} is not on the page");
            assert!(
                catalogue.contains(&format!("\n-- {message_id}\nSubject: ")),
                "{name} is not in the catalogue"
            );
        }
    }
}
