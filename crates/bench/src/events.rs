//! What it costs that a policy reports what it decides.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use knobgate::{EventReader, EventReaders};
use knobgate_compiler::{EventOptions, compile_with_events};
use knobgate_kernel::{LoadOptions, LoadedProgram, load, probe_cached};
use knobgate_policy::{CheckOptions, Source, parse};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::accesses::{LONG, SHORT};
use crate::pairs::{Access, Attached, take_turns};
use crate::stage::Stage;
use crate::statistics::Spread;

/// How long the reader lets events come together.
const BATCH: Duration = Duration::from_millis(10);

/// A denial, and how many times as long it takes if it is reported.
#[derive(Debug)]
pub(crate) struct Denials {
    /// The access.
    pub(crate) access: Access,
    /// Nanoseconds if it is not reported (`nolog`).
    pub(crate) unlogged: Spread,
    /// If nobody reads the event.
    pub(crate) unread: Spread,
    /// If one reader reads it.
    pub(crate) read: Spread,
    /// If the limit of the rule is reached, and the event is suppressed.
    pub(crate) suppressed: Spread,
}

/// Times denials, and starts a thread that reads events.
///
/// # Errors
///
/// Programs of this kernel cannot send events, or something fails.
pub(crate) fn denials(stage: &Stage) -> Result<Vec<Denials>, Box<dyn Error>> {
    [SHORT, LONG].into_iter().map(|knob| denials_of(stage, knob)).collect()
}

fn denials_of(stage: &Stage, knob: &'static str) -> Result<Denials, Box<dyn Error>> {
    let access = Access { knob, new: Some("1000\n"), is_denied: true };
    let program = |log: &str| denying(knob, log);
    let (unlogged, unread, read, suppressed) =
        (program("nolog")?, program("log(all)")?, program("log(all)")?, program("log(1/s)")?);
    // A program that is loaded like this has places for readers of its own.
    let readers = EventReaders::of(&read)?.ok_or("the program sends no events")?;
    let mut reader = EventReader::open(vec![readers], EventReader::DEFAULT_BYTES)?;
    let is_over = AtomicBool::new(false);
    stage.stay_on_one_cpu()?;
    let times = thread::scope(|scope| {
        scope.spawn(|| {
            // Where there is only one, it takes turns with the accesses.
            let _ = stage.stay_on_other_cpus();
            while !is_over.load(Ordering::Relaxed) {
                wait(&reader);
                // As `watch` does, so that not every event wakes it.
                thread::sleep(BATCH);
                reader.for_each(drop);
            }
        });
        let programs = [&unlogged, &unread, &read, &suppressed].map(|loaded| Attached::Here(&loaded.program));
        let times = take_turns(stage, access, &programs);
        is_over.store(true, Ordering::Relaxed);
        times
    })?;
    let [of_unlogged, unread, read, suppressed] = &times[..] else { return Err("four programs".into()) };
    Ok(Denials {
        access,
        unlogged: of_unlogged.nanoseconds(),
        unread: unread.ratio_to(of_unlogged),
        read: read.ratio_to(of_unlogged),
        suppressed: suppressed.ratio_to(of_unlogged),
    })
}

/// Waits until there are events, but not for long.
fn wait(reader: &EventReader) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    // A signal is as good as an event.
    let _ = poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&timeout));
}

/// A policy that denies writes of the knob, with this word about its events.
fn denying(knob: &str, log: &str) -> Result<LoadedProgram, Box<dyn Error>> {
    let text = format!("policy denying\ndefault write allow\ndeny write {} {log}\n", knob.replace('/', "."));
    let policy = parse(Source::new("denying.knob", text), &CheckOptions::default())?;
    let probes = probe_cached();
    let features = probes.event_features().ok_or("programs of this kernel cannot send events")?;
    let options = EventOptions { features, observer: false };
    let compiled = compile_with_events(&policy, &probes.features(), &options)?;
    Ok(load(compiled.program(), &LoadOptions::default())?)
}
