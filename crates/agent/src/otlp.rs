//! The log of the agent for a collector, in OTLP over HTTP.
//!
//! A thread of its own sends it, in batches. What cannot be sent is kept and tried again, as long as there is room for it: the rest is
//! dropped and counted. So a collector that is down, or slow, costs memory up to a limit, and holds nobody up.

mod post;
mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use knobgate::OtlpEndpoint;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::metrics::Metrics;
use crate::notice::Severity;
use post::{Answer, post};
use request::Batch;

/// How many entries wait to be sent.
const WAITING_MAX: usize = 2048;
/// How much of that decisions leave for notices. Anybody whom a policy judges can have any number of decisions logged, and must not keep
/// what the agent itself has to say from the collector.
const FOR_NOTICES: usize = 1024;
/// How many entries are sent at once.
const BATCH_MAX: usize = 256;
/// How long entries are gathered after the first one.
const GATHERED_WITHIN: Duration = Duration::from_millis(200);
/// The pause after a failure. It doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The shortest one that a collector can ask for. Otherwise, one that asks for none would keep this busy.
const ASKED_MIN: Duration = Duration::from_millis(100);
/// The longest pause, also if the collector asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the end waits until everything is sent.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpRecord {
    /// When it happened.
    pub at: SystemTime,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: the name of the event.
    pub kind: &'static str,
    /// The same in words.
    pub text: String,
    /// The details, with the names of their attributes.
    pub attributes: Vec<(String, String)>,
}

impl OtlpRecord {
    /// An entry without details.
    pub fn new(at: SystemTime, severity: Severity, kind: &'static str, text: String) -> Self {
        Self { at, severity, kind, text, attributes: Vec::new() }
    }
}

/// What becomes of the entries. It is said when that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collected {
    /// The collector does not take them, for this reason. They are sent again.
    Failing(String),
    /// The collector rejects some of them for good, for this reason. It is said until it takes some again.
    Rejected(String),
    /// The collector takes them again, after so many were lost.
    Again(u64),
}

/// Sends entries to a collector until it is dropped.
#[derive(Debug)]
pub struct OtlpExporter {
    entries: Option<mpsc::Sender<OtlpRecord>>,
    metrics: Arc<Metrics>,
    /// Closed when everything is sent, or was given up.
    sent: Mutex<Receiver<()>>,
}

impl OtlpExporter {
    /// Starts to send. What becomes of it is told to `say`, which must be quick.
    ///
    /// # Errors
    ///
    /// There can be no more threads or descriptors.
    pub fn start(
        endpoint: OtlpEndpoint,
        metrics: Arc<Metrics>,
        say: impl Fn(Collected) + Send + 'static,
    ) -> io::Result<Self> {
        let (entries, waiting) = mpsc::channel(WAITING_MAX);
        let (alive, sent) = channel::<()>();
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let sender = Sender {
            endpoint,
            metrics: Arc::clone(&metrics),
            say: Box::new(say),
            said: None,
            lost_before: 0,
            pause: PAUSE_MIN,
        };
        let send = move || {
            let _alive = alive;
            runtime.block_on(sender.send_all(waiting));
            runtime.shutdown_background();
        };
        thread::Builder::new().name("otlp".to_owned()).spawn(send)?;
        Ok(Self { entries: Some(entries), metrics, sent: Mutex::new(sent) })
    }

    /// Sends what the agent has to say. Never waits: what finds no room is counted, and dropped.
    pub fn send(&self, entry: OtlpRecord) {
        self.send_leaving(0, entry);
    }

    /// Sends what a policy decided. However many of them there are, there is room left for what the agent has to say.
    pub fn send_decision(&self, entry: OtlpRecord) {
        self.send_leaving(FOR_NOTICES, entry);
    }

    /// Sends an entry if there is room for more than so many others.
    fn send_leaving(&self, room: usize, entry: OtlpRecord) {
        let entries = self.entries.as_ref().filter(|entries| entries.capacity() > room);
        if entries.is_none_or(|entries| entries.try_send(entry).is_err()) {
            self.metrics.count_uncollected(1);
        }
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        self.entries = None;
        // What is not sent by then is lost with the process.
        let _ = self.sent.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(FLUSHED_WITHIN);
    }
}

/// What was said last, if it was not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Failing,
    Rejected,
}

/// The thread that sends.
struct Sender {
    endpoint: OtlpEndpoint,
    metrics: Arc<Metrics>,
    say: Box<dyn Fn(Collected) + Send>,
    said: Option<Said>,
    /// How many entries were lost when the collector took some last.
    lost_before: u64,
    pause: Duration,
}

impl Sender {
    async fn send_all(mut self, mut waiting: mpsc::Receiver<OtlpRecord>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if waiting.recv_many(&mut batch, 1).await == 0 {
                return;
            }
            // An entry seldom comes alone.
            let rest = async {
                while batch.len() < BATCH_MAX && waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {}
            };
            let _ = timeout(GATHERED_WITHIN, rest).await;
            for entries in batch.chunks(BATCH_MAX) {
                self.send(&Batch::of(entries), &waiting).await;
            }
            batch.clear();
        }
    }

    /// Sends a batch until the collector takes or rejects it. At the end of the agent it tries once.
    async fn send(&mut self, batch: &Batch, waiting: &mpsc::Receiver<OtlpRecord>) {
        loop {
            let (error, pause) = match post(&self.endpoint, batch.bytes()).await {
                Answer::Taken => return self.taken(),
                Answer::Rejected { entries, why } => {
                    let all = batch.entries();
                    self.metrics.count_uncollected(entries.map_or(all, |entries| entries.min(all)));
                    return self.not_taken(Said::Rejected, why);
                }
                Answer::Later { why, pause } => (why, pause),
            };
            self.not_taken(Said::Failing, error);
            if waiting.is_closed() {
                return self.metrics.count_uncollected(batch.entries());
            }
            let asked = pause.map(|pause| pause.clamp(ASKED_MIN, PAUSE_MAX));
            sleep(asked.unwrap_or(self.pause)).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    fn taken(&mut self) {
        self.pause = PAUSE_MIN;
        let lost = self.metrics.uncollected();
        if self.said.take().is_some() {
            (self.say)(Collected::Again(lost - self.lost_before));
        }
        self.lost_before = lost;
    }

    fn not_taken(&mut self, said: Said, why: String) {
        if self.said.replace(said) != Some(said) {
            (self.say)(match said {
                Said::Failing => Collected::Failing(why),
                Said::Rejected => Collected::Rejected(why),
            });
        }
    }
}
