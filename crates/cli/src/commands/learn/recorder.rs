//! From what an observer sees to what is learnt.

use knobgate::Observed;
use knobgate_events::{CallResult, Event};
use knobgate_learn::{RecordedAccess, Recording};
use knobgate_policy::PolicyFile;

use crate::output::Output;

/// Records what an observer sees, from a point in time on.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    recording: Recording<'a>,
    until_exec: Option<UntilExec>,
    /// The process that was started as the command.
    command: Option<u32>,
    /// Since when accesses count, in nanoseconds of `CLOCK_BOOTTIME`.
    since: Option<u64>,
    ignored: u64,
}

/// Which execve ends what is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UntilExec {
    /// The first one.
    OfAnyProcess,
    /// The second one of the process that makes the first one: that only starts the command.
    AfterTheStart,
}

impl<'a> Recorder<'a> {
    /// Records for a new policy, or for what `merged` does not allow.
    pub(super) fn new(until_exec: Option<UntilExec>, merged: Option<&'a PolicyFile>) -> Self {
        let recording = merged.map_or_else(Recording::new, Recording::extending);
        Self { recording, until_exec, command: None, since: None, ignored: 0 }
    }

    pub(super) fn begin_run(&mut self) {
        self.recording.begin_run();
        (self.command, self.since) = (None, None);
    }

    pub(super) fn add(&mut self, observed: Observed) {
        match observed {
            Observed::Executed { pid, boot_time } => self.executed(pid, boot_time),
            Observed::Access { event, result } => {
                let counts =
                    self.until_exec.is_none() || self.since.is_some_and(|since| event.boot_time >= since);
                if counts {
                    self.access(*event, result);
                } else {
                    self.ignored += 1;
                }
            }
            _ => {}
        }
    }

    /// Adds an access, whenever it was.
    pub(super) fn access(&mut self, event: Event, result: CallResult) {
        self.recording.add(&RecordedAccess { event, result });
    }

    fn executed(&mut self, pid: u32, boot_time: u64) {
        let is_the_one = match (self.until_exec, self.command) {
            (None, _) => false,
            (Some(UntilExec::OfAnyProcess), _) => true,
            (Some(UntilExec::AfterTheStart), Some(command)) => command == pid,
            (Some(UntilExec::AfterTheStart), None) => {
                self.command = Some(pid);
                false
            }
        };
        if is_the_one {
            self.since.get_or_insert(boot_time);
        }
    }

    /// Reports what was ignored.
    pub(super) fn ignored(&self, output: &Output) {
        if self.ignored == 0 {
            return;
        }
        let ignored = self.ignored;
        match self.since {
            Some(_) => output.note(format_args!("ignored what came before the first execve: {ignored}×")),
            None => output.warning(format_args!(
                "ignored everything, {ignored}×: no execve came after the start (--ignore-until-exec)"
            )),
        }
    }

    pub(super) fn recording(&self) -> &Recording<'a> {
        &self.recording
    }
}
