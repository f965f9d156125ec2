//! What systemd is told: sd_notify(3). Elsewhere, nothing happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// What systemd knows.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    is_reloading: AtomicBool,
}

impl Systemd {
    /// The agent does its work.
    pub(crate) fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    /// The policies are going to be read again.
    pub(crate) fn reloading(&self) {
        self.is_reloading.store(true, Ordering::Relaxed);
        // `Type=notify-reload` compares it with when it sent the signal.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
    }

    /// They were read.
    pub(crate) fn reloaded(&self) {
        if self.is_reloading.swap(false, Ordering::Relaxed) {
            self.ready();
        }
    }

    /// The agent ends.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// What `systemctl status` shows: one line.
    pub(crate) fn status(&self, text: &str) {
        notify(&[NotifyState::Status(&text.replace('\n', " "))]);
    }

    /// The agent works.
    pub(crate) fn feed_watchdog(&self) {
        notify(&[NotifyState::Watchdog]);
    }

    /// How often systemd wants to hear that it works.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Whoever does not listen does not need to know.
    let _ = sd_notify::notify(state);
}
