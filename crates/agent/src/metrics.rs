//! The metrics of the agent, in the text format of OpenMetrics. docs/metrics.md describes each.

mod ledger;
mod programs;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use knobgate::name_of_versions;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::notice::NoticeKind;
use crate::status::{PolicyStatus, Status};
use programs::Programs;

/// The metrics of the agent: what it counts itself, and what the kernel counts, which is read for each scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    scraped: Arc<Scraped>,
    /// So that there is one scrape at a time.
    scrape: Mutex<()>,
    notices: Family<Labels<&'static str, 2>, Counter>,
    reloads: Family<Labels<&'static str, 1>, Counter>,
    last_reload_success: Gauge<f64, AtomicU64>,
    attach_latency: Histogram,
    suppressed: Family<Labels<String, 1>, Counter>,
    lost: Counter,
    unlogged: Counter,
    #[cfg(feature = "otlp")]
    uncollected: Counter,
}

/// Labels with their values.
type Labels<V, const N: usize> = [(&'static str, V); N];

/// What is read for a scrape.
#[derive(Debug, Default)]
struct Scraped {
    programs: Mutex<Programs>,
    /// `None` if the engine does not answer.
    status: Mutex<Option<Status>>,
}

/// From 0.1 ms to 6.5 s.
fn latency_buckets() -> impl Iterator<Item = f64> {
    (0..17).map(|power| 0.0001 * f64::from(1u32 << power))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The media type of [`render`](Self::render).
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Metrics that are all at 0.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("knobgate"),
            scraped: Arc::default(),
            scrape: Mutex::default(),
            notices: Family::default(),
            reloads: Family::default(),
            last_reload_success: Gauge::default(),
            attach_latency: Histogram::new(latency_buckets()),
            suppressed: Family::default(),
            lost: Counter::default(),
            unlogged: Counter::default(),
            #[cfg(feature = "otlp")]
            uncollected: Counter::default(),
        };
        // A series that begins at 1 would hide the first one from rate().
        for kind in NoticeKind::ALL {
            drop(metrics.notices.get_or_create(&of_notice(kind)));
        }
        for accepted in [true, false] {
            drop(metrics.reloads.get_or_create(&of_reload(accepted)));
        }
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut self.registry;
        registry.register("build", "The version of the agent", version);
        registry.register("notices", "What the agent reported", self.notices.clone());
        registry.register("reloads", "How often the policies were read again", self.reloads.clone());
        registry.register_with_unit(
            "last_reload_success_timestamp",
            "When the policies were last read without an error, in seconds since 1970",
            Unit::Seconds,
            self.last_reload_success.clone(),
        );
        registry.register_with_unit(
            "attach_latency",
            "The time from the creation of a cgroup to its policy",
            Unit::Seconds,
            self.attach_latency.clone(),
        );
        registry.register(
            "events_suppressed",
            "Events that programs counted and did not send, since their rule had sent as many as it may",
            self.suppressed.clone(),
        );
        registry.register("events_lost", "Events that came too fast for the agent's log", self.lost.clone());
        registry.register(
            "log_lines_lost",
            "Lines that nobody took from the agent in time",
            self.unlogged.clone(),
        );
        #[cfg(feature = "otlp")]
        registry.register(
            "otlp_records_lost",
            "Entries of the log that the collector did not take",
            self.uncollected.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&self.scraped)));
        self
    }

    /// Counts a notice.
    pub fn count_notice(&self, kind: NoticeKind) {
        self.notices.get_or_create(&of_notice(kind)).inc();
    }

    /// Counts how long it took to put a policy on a new cgroup.
    pub fn count_attached(&self, latency: Duration) {
        self.attach_latency.observe(latency.as_secs_f64());
    }

    /// Counts a reload, and looks at the programs, so that nothing is missing of what those that are replaced have counted.
    pub fn count_reload(&self, accepted: bool) {
        self.reloads.get_or_create(&of_reload(accepted)).inc();
        if accepted {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_reload_success.set(now.as_secs_f64());
        }
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.look();
    }

    /// Counts events that the programs of a policy counted and did not send.
    pub fn count_suppressed(&self, policy: &str, events: u64) {
        self.suppressed.get_or_create(&[("policy", policy.to_owned())]).inc_by(events);
    }

    /// Counts events that were lost on the way to the agent's log.
    pub fn count_lost(&self, events: u64) {
        self.lost.inc_by(events);
    }

    /// Counts entries of the log that the collector did not take.
    #[cfg(feature = "otlp")]
    pub(crate) fn count_uncollected(&self, entries: u64) {
        self.uncollected.inc_by(entries);
    }

    /// How many entries of the log the collector did not take.
    #[cfg(feature = "otlp")]
    pub(crate) fn uncollected(&self) -> u64 {
        self.uncollected.get()
    }

    /// Counts a line of the log that nobody took.
    pub fn count_unlogged(&self) {
        self.unlogged.inc();
    }

    /// All of them, as text. `status` is what the engine says, if it answers.
    pub fn render(&self, status: Option<Status>) -> String {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.look();
        *self.scraped.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        let mut text = String::new();
        // A String takes everything.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// The same status with how much memory each policy takes.
    pub(crate) fn with_memory(&self, mut status: Status) -> Status {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.look();
        let memory = self.scraped.programs.lock().unwrap_or_else(PoisonError::into_inner).memory();
        for policy in &mut status.policies {
            policy.memory = memory.get(&*policy.name).copied().unwrap_or_default();
        }
        status
    }

    /// Reads what the kernel counts. What cannot be read stays as it was.
    fn look(&self) {
        let mut programs = self.scraped.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = programs.look();
        for policy in programs.policies() {
            drop(self.suppressed.get_or_create(&[("policy", policy.to_owned())]));
        }
    }
}

fn of_notice(kind: NoticeKind) -> Labels<&'static str, 2> {
    [("kind", kind.name()), ("severity", kind.severity().name())]
}

fn of_reload(accepted: bool) -> Labels<&'static str, 1> {
    [("result", if accepted { "accepted" } else { "rejected" })]
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        decisions(&programs, &mut encoder)?;
        let cgroups = programs
            .cgroups
            .iter()
            .map(|((policy, source), &count)| ([("policy", &**policy), ("source", source)], count));
        gauges(&mut encoder, "attached_cgroups", "The cgroups that a policy is on", None, cgroups)?;
        let memory = programs.memory();
        let memory = memory.iter().map(|(policy, &bytes)| (of_policy(policy), bytes));
        let help = "The kernel's memory that the programs of a policy and their maps take";
        gauges(&mut encoder, "bpf_memory", help, Some(&Unit::Bytes), memory)?;
        drop(programs);
        of_status(self.status.lock().unwrap_or_else(PoisonError::into_inner).as_ref(), &mut encoder)
    }
}

fn decisions(programs: &Programs, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Accesses that a rule of an attached policy decided.";
    let mut family = encoder.encode_descriptor("decisions", help, None, MetricType::Counter)?;
    for (series, count) in programs.ledger.totals() {
        let labels = [("policy", &*series.policy), ("rule", &*series.rule), ("verdict", series.verdict)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

/// What the engine says. If it says nothing, there are no series of this but `knobgate_up`.
fn of_status(status: Option<&Status>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let up = [([], u64::from(status.is_some()))];
    gauges(encoder, "up", "Whether the engine of the agent answers", None, up.into_iter())?;
    let Some(status) = status else { return Ok(()) };
    let is_off = |policy: &PolicyStatus| {
        let versions = name_of_versions(&policy.name);
        let is_it = |off: &str| off == versions || off == policy.attachment;
        status.off.iter().any(|off| off.policy.as_deref().is_none_or(is_it))
    };
    let all_off = status.off.iter().any(|off| off.policy.is_none());
    let policies = || status.policies.iter().map(|policy| (of_policy(&policy.name), policy));
    let off = policies().map(|(labels, policy)| (labels, u64::from(is_off(policy))));
    gauges(encoder, "policy_off", "Whether a policy is out of force by `knobgate off`", None, off)?;
    let outdated = policies().map(|(labels, policy)| (labels, policy.outdated as u64));
    let help = "The cgroups that have another version of a policy than the one in its file";
    gauges(encoder, "outdated_cgroups", help, None, outdated)?;
    for (name, help, value) in [
        ("all_off", "Whether all policies are out of force by `knobgate off`", u64::from(all_off)),
        ("watched_cgroups", "The cgroups that the agent watches", status.cgroups as u64),
        (
            "late_cgroups",
            "The cgroups whose processes ran before a policy was on them",
            status.late_cgroups as u64,
        ),
        (
            "undecided_cgroups",
            "The cgroups for which it cannot be told whether a policy applies",
            status.undecided_cgroups as u64,
        ),
        (
            "last_reload_successful",
            "Whether the policies had no error when they were last read",
            u64::from(status.last_reload.error.is_none()),
        ),
    ] {
        gauges(encoder, name, help, None, [([], value)].into_iter())?;
    }
    Ok(())
}

fn of_policy(policy: &str) -> Labels<&str, 1> {
    [("policy", policy)]
}

fn gauges<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    series: impl Iterator<Item = (Labels<&'a str, N>, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, &format!("{help}."), unit, MetricType::Gauge)?;
    for (labels, value) in series {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match N {
            0 => family.encode_gauge(&value)?,
            _ => family.encode_family(&labels)?.encode_gauge(&value)?,
        }
    }
    Ok(())
}
