//! Where the agent's log goes: standard error, or the journal.
//!
//! A thread writes it. So whoever does not read standard error cannot stop the agent: what finds no room is dropped, counted, and said
//! when there is room again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use knobgate::{LogFormat, LogLevel};
#[cfg(feature = "otlp")]
use knobgate_agent::OtlpExporter;
use knobgate_agent::{Metrics, Notice, Reporter, Severity};

use super::decisions::UNLOGGED;
use super::entry::Entry;
use super::log_queue::{Class, Lost, Next, Sender, queue};
use crate::failure::Failure;
use crate::journal;
use crate::plural::count;

/// How long the journal is waited for if it does not take a notice at once. Decisions may have filled it up.
const JOURNAL_WITHIN: Duration = Duration::from_secs(30);
/// How long the end of the agent waits until everything is written.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// The log of the agent.
#[derive(Debug, Clone)]
pub(super) struct Log {
    entries: Sender<Entry>,
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
        let (entries, waiting) = queue::<Entry>();
        let (alive, written) = channel::<()>();
        let of_thread = Arc::clone(&metrics);
        let write = move || {
            let _alive = alive;
            while let Some(next) = waiting.next() {
                let is_written = match &next {
                    Next::Entry(entry, class) => form.write(entry, *class),
                    Next::Lost(lost) => form.write(&unlogged(*lost), Class::Notice),
                };
                match next {
                    _ if is_written => waiting.written(),
                    Next::Entry(_, class) => {
                        waiting.failed(class);
                        of_thread.count_unlogged();
                    }
                    Next::Lost(lost) => waiting.not_said(lost),
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

    /// Writes what the agent has to say, if it is severe enough. Never waits.
    pub(super) fn write(&self, entry: Entry) {
        self.send(entry, Class::Notice);
    }

    /// Writes what a policy decided. However many of them there are, they take no room from other entries.
    pub(super) fn write_decision(&self, entry: Entry) {
        self.send(entry, Class::Decision);
    }

    fn send(&self, entry: Entry, class: Class) {
        if entry.severity > self.level {
            return;
        }
        #[cfg(feature = "otlp")]
        if let Some(collector) = &self.collector {
            match class {
                Class::Notice => collector.send((&entry).into()),
                Class::Decision => collector.send_decision((&entry).into()),
            }
        }
        if !self.entries.send(entry, class) {
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
    fn write(self, entry: &Entry, class: Class) -> bool {
        let line = match self {
            Self::Text => entry.text_line(),
            Self::Json => entry.json_line(),
            Self::Journal => {
                let within = (class == Class::Notice).then_some(JOURNAL_WITHIN);
                return journal::send(entry.priority(), &entry.text, &entry.journal_fields(), within);
            }
        };
        io::stderr().lock().write_all((line + "\n").as_bytes()).is_ok()
    }
}

/// The entry that others were lost.
fn unlogged(lost: Lost) -> Entry {
    let what = [(lost.notices, "notice"), (lost.decisions, "decision")];
    let what: Vec<String> = what
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| count(usize::try_from(number).unwrap_or(usize::MAX), what))
        .collect();
    let entry = Entry {
        at: SystemTime::now(),
        severity: Severity::Warning,
        kind: UNLOGGED.name,
        message_id: UNLOGGED.message_id,
        text: format!("{} are missing in the log, since nobody took them in time", what.join(" and ")),
        fields: Vec::new(),
    };
    entry.with("KNOBGATE_COUNT", Some((lost.notices + lost.decisions).to_string()))
}

impl Reporter for Log {
    fn notice(&self, notice: &Notice) {
        self.write(Entry::from(notice));
    }

    fn attached(&self, _: Duration) {}

    fn reloaded(&self, _: Duration, _: bool) {}
}
