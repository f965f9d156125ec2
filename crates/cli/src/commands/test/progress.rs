//! A progress bar on standard error while the tests of many policies run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress in files. Shown only on a terminal, and only if it takes long.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// The bar appears after this time.
const DELAY: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new(files: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} files") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    /// One more file is done.
    pub(super) fn step(&self) {
        if self.bar.is_hidden() && self.started.elapsed() > DELAY {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(1);
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
