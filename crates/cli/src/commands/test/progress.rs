//! A bar on standard error while the tests of many policies run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far it is, in files. Shown on a terminal, and only if it takes long.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// What is over before this needs no bar.
const LONG: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new(files: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} files") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    /// One file more is done.
    pub(super) fn step(&self) {
        if self.bar.is_hidden() && self.started.elapsed() > LONG {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
