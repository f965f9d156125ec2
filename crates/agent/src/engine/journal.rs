//! What the engine reports.

use std::collections::VecDeque;
use std::time::Duration;

use crate::notice::{Notice, Severity};
use crate::reporter::Reporter;

/// How many notices the status has.
const RECENT_MAX: usize = 50;

/// Hands notices on, and keeps the last ones.
pub(super) struct Journal {
    reporter: Box<dyn Reporter>,
    recent: VecDeque<Notice>,
}

impl Journal {
    pub(super) fn new(reporter: Box<dyn Reporter>) -> Self {
        Self { reporter, recent: VecDeque::new() }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.reporter.notice(&notice);
        if notice.kind.severity() < Severity::Debug {
            self.recent.truncate(RECENT_MAX - 1);
            self.recent.push_front(notice);
        }
    }

    pub(super) fn attached(&self, latency: Duration) {
        self.reporter.attached(latency);
    }

    pub(super) fn reloaded(&self, took: Duration, accepted: bool) {
        self.reporter.reloaded(took, accepted);
    }

    /// The last notices that are more than a step, the newest last.
    pub(super) fn recent(&self) -> Vec<Notice> {
        self.recent.iter().rev().cloned().collect()
    }
}
