//! Where the agent's log goes: standard error, or the journal.
//!
//! A thread writes it. So whoever does not read standard error cannot stop the agent: what finds no room is counted, and dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use knobgate::{LogFormat, LogLevel};
#[cfg(feature = "otlp")]
use knobgate_agent::OtlpExporter;
use knobgate_agent::{Metrics, Notice, Reporter, Severity};

use super::entry::Entry;
use crate::failure::Failure;
use crate::journal;

/// How many entries wait for their reader.
const WAITING_MAX: usize = 1024;
/// How long the end of the agent waits until everything is written.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// The log of the agent.
#[derive(Debug, Clone)]
pub(super) struct Log {
    entries: SyncSender<Entry>,
    level: Severity,
    metrics: Arc<Metrics>,
    #[cfg(feature = "otlp")]
    collector: Option<Arc<OtlpExporter>>,
}

/// The thread that writes.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// Closed when everything is written.
    written: Receiver<()>,
}

/// In which form entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Journal,
}

impl Log {
    /// Starts to write a log.
    ///
    /// # Errors
    /// [`Failure::Machine`] if there can be no more threads.
    pub(super) fn start(
        format: LogFormat,
        level: LogLevel,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, LogWriter), Failure> {
        let form = match format {
            LogFormat::Auto if journal::is_standard_error() => Form::Journal,
            LogFormat::Auto | LogFormat::Text => Form::Text,
            LogFormat::Json => Form::Json,
            LogFormat::Journald => Form::Journal,
        };
        let level = match level {
            LogLevel::Error => Severity::Error,
            LogLevel::Warn => Severity::Warning,
            LogLevel::Info => Severity::Info,
            LogLevel::Debug => Severity::Debug,
        };
        let (entries, waiting) = sync_channel::<Entry>(WAITING_MAX);
        let (alive, written) = channel::<()>();
        let of_thread = Arc::clone(&metrics);
        let write = move || {
            let _alive = alive;
            for entry in waiting {
                if !form.write(&entry) {
                    of_thread.count_unlogged();
                }
            }
        };
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write);
        thread.map_err(|error| {
            Failure::machine("cannot start the thread that writes the log").because(error)
        })?;
        let log = Self {
            entries,
            level,
            metrics,
            #[cfg(feature = "otlp")]
            collector: None,
        };
        Ok((log, LogWriter { written }))
    }

    /// The same log, which a collector gets, too.
    #[cfg(feature = "otlp")]
    pub(super) fn with_collector(self, exporter: OtlpExporter) -> Self {
        Self { collector: Some(Arc::new(exporter)), ..self }
    }

    /// Writes an entry, if it is severe enough. Never waits.
    pub(super) fn write(&self, entry: Entry) {
        if entry.severity > self.level {
            return;
        }
        #[cfg(feature = "otlp")]
        if let Some(collector) = &self.collector {
            collector.send((&entry).into());
        }
        if self.entries.try_send(entry).is_err() {
            self.metrics.count_unlogged();
        }
    }

    /// Where what the log could not take is counted.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl LogWriter {
    /// Waits until everything is written, for a moment, once all [`Log`]s are dropped.
    pub(super) fn finish(self) {
        // What is not written by then is lost with the process.
        let _ = self.written.recv_timeout(FLUSHED_WITHIN);
    }
}

impl Form {
    /// Whether it was written.
    fn write(self, entry: &Entry) -> bool {
        let line = match self {
            Self::Text => entry.text_line(),
            Self::Json => entry.json_line(),
            Self::Journal => return journal::send(entry.priority(), &entry.text, &entry.journal_fields()),
        };
        io::stderr().lock().write_all((line + "\n").as_bytes()).is_ok()
    }
}

impl Reporter for Log {
    fn notice(&self, notice: &Notice) {
        self.write(Entry::from(notice));
    }

    fn attached(&self, _: Duration) {}

    fn reloaded(&self, _: Duration, _: bool) {}
}
