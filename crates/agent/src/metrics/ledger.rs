//! How often each rule decided, over all versions of its policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use knobgate::compiler::RuleHits;

/// How long a series stays after no program has its rule any more. A scrape in between gets its last value.
const KEPT: Duration = Duration::from_secs(3600);

/// The labels of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleLabels {
    /// Its place.
    pub(crate) rule: Arc<str>,
    /// What it does.
    pub(crate) verdict: &'static str,
    /// Whether there are accesses for which it cannot be evaluated.
    pub(crate) can_fail: bool,
}

/// The labels of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) verdict: &'static str,
}

/// The counts of all series. The kernel counts for each program anew, so this adds up the differences.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What was added already, by program.
    added: BTreeMap<u32, Vec<RuleHits>>,
    totals: BTreeMap<Series, Total>,
}

#[derive(Debug)]
struct Total {
    count: u64,
    seen: Instant,
}

/// The verdict of accesses for which the rule could not be evaluated.
const EVAL_ERROR: &str = "eval-error";

impl Ledger {
    /// Adds what a program has counted since the last time.
    pub(crate) fn add(
        &mut self,
        program: u32,
        policy: &Arc<str>,
        rules: &[RuleLabels],
        hits: Vec<RuleHits>,
        now: Instant,
    ) {
        let added = self.added.entry(program).or_default();
        added.resize(hits.len(), RuleHits::default());
        for ((labels, hits), added) in rules.iter().zip(&hits).zip(&*added) {
            let mut count = |verdict, count: u64| {
                let series = Series { policy: Arc::clone(policy), rule: Arc::clone(&labels.rule), verdict };
                let total = self.totals.entry(series).or_insert(Total { count: 0, seen: now });
                *total = Total { count: total.count + count, seen: now };
            };
            count(labels.verdict, hits.decided.saturating_sub(added.decided));
            if labels.can_fail {
                count(EVAL_ERROR, hits.eval_errors.saturating_sub(added.eval_errors));
            }
        }
        *added = hits;
    }

    /// Forgets a program that is gone. What it has counted stays.
    pub(crate) fn program_is_gone(&mut self, program: u32) {
        self.added.remove(&program);
    }

    /// Drops the series of rules that have been gone for long.
    pub(crate) fn drop_old(&mut self, now: Instant) {
        self.totals.retain(|_, total| now.saturating_duration_since(total.seen) < KEPT);
    }

    /// All series with their counts.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (&Series, u64)> {
        self.totals.iter().map(|(series, total)| (series, total.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(place: &str, verdict: &'static str) -> RuleLabels {
        RuleLabels { rule: place.into(), verdict, can_fail: true }
    }

    fn hits(decided: u64, eval_errors: u64) -> RuleHits {
        RuleHits { decided, eval_errors }
    }

    fn counts(ledger: &Ledger) -> Vec<(String, u64)> {
        let text = |(series, count): (&Series, u64)| (format!("{} {}", series.rule, series.verdict), count);
        ledger.totals().map(text).collect()
    }

    #[test]
    fn counts_go_on_when_a_version_is_replaced() {
        let (mut ledger, now, policy) = (Ledger::default(), Instant::now(), Arc::from("web"));
        ledger.add(1, &policy, &[rule("2", "deny")], vec![hits(5, 1)], now);
        ledger.add(1, &policy, &[rule("2", "deny")], vec![hits(7, 1)], now);
        ledger.add(2, &policy, &[rule("2", "deny"), rule("3", "allow")], vec![hits(0, 0), hits(9, 0)], now);
        ledger.add(1, &policy, &[rule("2", "deny")], vec![hits(8, 1)], now);
        ledger.program_is_gone(1);
        ledger.add(2, &policy, &[rule("2", "deny"), rule("3", "allow")], vec![hits(1, 0), hits(9, 0)], now);
        let expected = [("2 deny", 9), ("2 eval-error", 1), ("3 allow", 9), ("3 eval-error", 0)];
        assert_eq!(counts(&ledger), expected.map(|(series, count)| (series.to_owned(), count)));
    }

    #[test]
    fn a_rule_that_is_gone_has_a_series_for_an_hour() {
        let (mut ledger, now, policy) = (Ledger::default(), Instant::now(), Arc::from("web"));
        ledger.add(1, &policy, &[rule("2", "deny")], vec![hits(5, 0)], now);
        ledger.program_is_gone(1);
        ledger.drop_old(now + KEPT / 2);
        assert_eq!(counts(&ledger).len(), 2);
        ledger.drop_old(now + KEPT);
        assert_eq!(counts(&ledger), []);
    }
}
