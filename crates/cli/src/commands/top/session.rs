//! Waits for events, keys and signals, and draws.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use knobgate_kernel::{BlockedSignals, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::process::kill_current_process_group;

use super::attachments::AttachmentWatch;
use super::earlier::Counted;
use super::keys::KeyDecoder;
use super::model::{Model, Moment, Request};
use super::screen::Screen;
use crate::failure::Failure;
use crate::live_events::{BATCH, LiveEvents, Look};
use crate::timestamp::WallClock;

/// How often it is looked what is attached and gone, and the rates are drawn again.
const TICK: Duration = Duration::from_secs(1);
/// How often events are drawn at most.
const FRAME: Duration = Duration::from_millis(100);
/// How long it is waited for the rest of a key's sequence.
const KEY: Duration = Duration::from_millis(50);

/// The signals that end the command, or that are about the terminal.
pub(super) const SIGNALS: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::CONT,
    Signal::WINCH,
];

/// What goes on until somebody quits.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) events: LiveEvents,
    pub(super) attachments: AttachmentWatch,
    pub(super) model: Model,
    /// The events that the model counts already.
    pub(super) counted: Counted,
    pub(super) signals: BlockedSignals,
    /// Blocked as well, except while this process lets itself be stopped.
    pub(super) stops: Option<BlockedSignals>,
}

pub(super) fn moment(clock: WallClock) -> Option<Moment> {
    Some(Moment { boot_time: clock.boot_time(), wall: clock.at(clock.boot_time())? })
}

/// Blocks the signal that stops this process.
pub(super) fn block_stops() -> io::Result<BlockedSignals> {
    BlockedSignals::block(&[Signal::TSTP])
}

/// What there is to do.
#[derive(Debug, Default)]
struct Woken {
    events: bool,
    keys: bool,
    is_terminal_gone: bool,
}

impl Session {
    /// Runs until somebody quits, or a signal ends it.
    ///
    /// # Errors
    /// [`Failure::Machine`], [`Failure::Output`].
    pub(super) fn run(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let cannot_wait = |error: io::Error| Failure::machine("cannot wait for events").because(error);
        let mut keys = KeyDecoder::default();
        let (mut ticked, mut drawn, mut key_at) = (None::<Instant>, None::<Instant>, Instant::now());
        let mut is_stale = true;
        loop {
            if ticked.is_none_or(|ticked| ticked.elapsed() >= TICK) {
                ticked = Some(Instant::now());
                self.tick()?;
                is_stale = true;
            }
            if is_stale && drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
                screen.draw(&mut self.model).map_err(Failure::Output)?;
                (is_stale, drawn) = (false, Some(Instant::now()));
            }

            let until = |start: Option<Instant>, time: Duration| {
                time.saturating_sub(start.map_or(time, |start| start.elapsed()))
            };
            let mut timeout = until(ticked, TICK);
            timeout = if is_stale { timeout.min(until(drawn, FRAME)) } else { timeout };
            timeout = if keys.is_waiting() { timeout.min(until(Some(key_at), KEY)) } else { timeout };
            let woken = self.wait(timeout).map_err(cannot_wait)?;

            while let Some(signal) = self.signals.read().map_err(cannot_wait)? {
                match signal.signal {
                    Signal::WINCH => {}
                    // The shell may have changed its modes.
                    Signal::CONT => screen.take_again().map_err(Failure::Output)?,
                    _ => return Ok(()),
                }
                (is_stale, drawn) = (true, None);
            }
            let stop = self.stops.as_ref().map(BlockedSignals::read).transpose().map_err(cannot_wait)?;
            if stop.flatten().is_some() {
                self.suspend(screen)?;
                (is_stale, drawn) = (true, None);
            }
            if woken.is_terminal_gone {
                return Ok(());
            }
            if woken.events {
                self.read_events()?;
                is_stale = true;
            }
            let mut pressed = Vec::new();
            if woken.keys {
                let mut bytes = [0; 1024];
                match read(io::stdin(), &mut bytes) {
                    // The terminal has gone.
                    Ok(0) | Err(Errno::IO) => return Ok(()),
                    Ok(count) => pressed = keys.keys(&bytes[..count]),
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(error) => return Err(Failure::machine("cannot read keys").because(error)),
                }
                key_at = Instant::now();
            } else if keys.is_waiting() && key_at.elapsed() >= KEY {
                pressed.extend(keys.end());
            }
            for key in pressed {
                (is_stale, drawn) = (true, None);
                match self.model.key(key) {
                    Some(Request::Quit) => return Ok(()),
                    Some(Request::Suspend) => self.suspend(screen)?,
                    None => {}
                }
            }
        }
    }

    fn wait(&self, timeout: Duration) -> io::Result<Woken> {
        let stdin = io::stdin();
        let stops = self.stops.as_ref().unwrap_or(&self.signals);
        let mut descriptors = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stops.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN),
        ];
        wait_for(&mut descriptors, timeout)?;
        let is_woken_by_events = descriptors[..3].iter().all(|descriptor| descriptor.revents().is_empty())
            && !descriptors[3].revents().is_empty();
        if is_woken_by_events {
            // More will come.
            wait_for(&mut descriptors[..3], BATCH)?;
        }
        let [keys, _, _, events] = descriptors.map(|descriptor| descriptor.revents());
        Ok(Woken {
            events: !events.is_empty(),
            keys: keys.contains(PollFlags::IN),
            is_terminal_gone: !keys.contains(PollFlags::IN)
                && keys.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
        })
    }

    fn read_events(&mut self) -> Result<(), Failure> {
        let Self { events, model, counted, .. } = self;
        events.read(Look::AtActive, WallClock::now(), &mut |item| {
            if !counted.has(&item) {
                model.item(item);
            }
            Ok(())
        })
    }

    /// Finds out what has changed beside events.
    fn tick(&mut self) -> Result<(), Failure> {
        self.read_events()?;
        if let Some(moment) = moment(WallClock::now()) {
            self.model.tick(moment);
        }
        self.model.attached(self.attachments.look());
        let cgroups = self.events.cgroups();
        let is_gone = |(id, path): &(u64, Option<&[u8]>)| {
            cgroups.is_gone(*id, path.map(|path| Path::new(OsStr::from_bytes(path))))
        };
        let gone: HashSet<u64> = self.model.cgroups().filter(is_gone).map(|(id, _)| id).collect();
        let policies = self.events.gone(self.model.policies());
        self.model.gone(&gone, &policies);
        if self.events.undecodable() > 0 {
            self.model.missing.insert(
                "some events cannot be read: the program that sends them is of another version of knobgate; attach its policy again"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Gives the terminal back, and lets this process be stopped, as Ctrl-Z does elsewhere. Returns when it continues.
    fn suspend(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::machine("cannot suspend").because(error);
        screen.give_back();
        self.stops = None;
        // Whoever started this, such as a script, is in the same group, and stops too. If no shell is there to continue it, the kernel
        // ignores this.
        kill_current_process_group(Signal::TSTP).map_err(|error| cannot(error.into()))?;
        self.stops = Some(block_stops().map_err(cannot)?);
        screen.take_again().map_err(Failure::Output)
    }
}

/// Waits for any of these, for so long.
fn wait_for(descriptors: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(descriptors, Some(&timeout)) {
        Ok(_) => {}
        // It was stopped, and continues.
        Err(Errno::INTR) => descriptors.iter_mut().for_each(PollFd::clear_revents),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
