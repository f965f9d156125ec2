//! Counts what the agent reports, and hands it on.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;
use crate::notice::{Notice, NoticeKind};
use crate::reporter::Reporter;
use crate::systemd::Systemd;

/// Counts what the agent reports, tells systemd, and hands it on to the log.
pub(crate) struct ServiceReporter {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) systemd: Arc<Systemd>,
    pub(crate) log: Box<dyn Reporter>,
}

impl Reporter for ServiceReporter {
    fn notice(&self, notice: &Notice) {
        self.metrics.count_notice(notice.kind);
        match notice.kind {
            NoticeKind::Started
            | NoticeKind::Reloaded
            | NoticeKind::ReloadRejected
            | NoticeKind::Off
            | NoticeKind::On => self.systemd.status(&notice.text),
            _ => {}
        }
        self.log.notice(notice);
    }

    fn attached(&self, latency: Duration) {
        self.metrics.count_attached(latency);
        self.log.attached(latency);
    }

    fn reloaded(&self, took: Duration, accepted: bool) {
        self.metrics.count_reload(accepted);
        self.systemd.reloaded();
        self.log.reloaded(took, accepted);
    }
}
