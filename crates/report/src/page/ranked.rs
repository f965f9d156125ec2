//! What of a report is on the page, and what is put together as other.

use std::cmp::Reverse;

use crate::class::Class;
use crate::counts::{Counts, index};
use crate::report::{Report, Rule};

/// The most knobs and workloads that have a row or a column of their own.
const KNOBS_MAX: usize = 60;
const WORKLOADS_MAX: usize = 24;
/// The most rules, classes, and knobs with values.
const RULES_MAX: usize = 200;
const CLASSES_MAX: usize = 500;
const VALUES_MAX: usize = 100;

/// The first ones of a list, and how many there are of the rest.
#[derive(Debug)]
pub(super) struct Ranked {
    /// The numbers of those on the page.
    pub(super) shown: Vec<usize>,
    /// How many more are known.
    pub(super) others: usize,
}

impl Ranked {
    /// Of `count` entries, those with the largest keys; those with the same key stay in their order.
    fn new<K: Ord>(numbers: impl Iterator<Item = usize>, most: usize, key: impl Fn(usize) -> K) -> Self {
        let mut shown: Vec<usize> = numbers.collect();
        shown.sort_by_key(|&number| Reverse(key(number)));
        let others = shown.len().saturating_sub(most);
        shown.truncate(most);
        Self { shown, others }
    }
}

/// The knobs with the most events.
pub(super) fn knobs(report: &Report) -> Ranked {
    Ranked::new(0..report.knobs.len(), KNOBS_MAX, |knob| report.knobs[knob].events.total())
}

/// The workloads with the most events.
pub(super) fn workloads(report: &Report) -> Ranked {
    Ranked::new(0..report.workloads.len(), WORKLOADS_MAX, |workload| {
        report.workloads[workload].events.total()
    })
}

/// The rules that denied most, or rewrote most, and so on.
pub(super) fn rules(report: &Report) -> Ranked {
    let key = |rule: &Rule| {
        let [denied, rewritten, would_deny, would_rewrite, allowed, _unknown] = rule.decided.as_array();
        (denied, would_deny, rewritten, would_rewrite, allowed, rule.suppressed)
    };
    Ranked::new(0..report.rules.len(), RULES_MAX, |rule| key(&report.rules[rule]))
}

/// The classes by outcome, and those with the most events first.
pub(super) fn classes(report: &Report) -> Ranked {
    let key = |class: &Class| (Reverse(index(class.key.outcome)), class.events);
    Ranked::new(0..report.classes.len(), CLASSES_MAX, |class| key(&report.classes[class]))
}

/// The knobs that showed values, those with the most changes first.
pub(super) fn with_values(report: &Report) -> Ranked {
    let has_values = |&knob: &usize| report.knobs[knob].history.changes().next().is_some();
    let key = |knob: usize| {
        let history = &report.knobs[knob].history;
        (history.changes().count(), history.events())
    };
    Ranked::new((0..report.knobs.len()).filter(has_values), VALUES_MAX, key)
}

/// The cells of the matrix by row and column. The number after the last one is that of the others.
pub(super) fn cells(report: &Report, knobs: &Ranked, workloads: &Ranked) -> Vec<(usize, usize, Counts)> {
    let places = |ranked: &Ranked, entries: usize| {
        let mut places = vec![ranked.shown.len(); entries];
        ranked.shown.iter().enumerate().for_each(|(place, &number)| places[number] = place);
        places
    };
    let rows = places(knobs, report.knobs.len());
    let columns = places(workloads, report.workloads.len());
    let width = workloads.shown.len() + 1;
    let mut counts = vec![Counts::default(); (knobs.shown.len() + 1) * width];
    for cell in &report.cells {
        let row = cell.knob.map_or(knobs.shown.len(), |knob| rows[knob]);
        let column = cell.workload.map_or(workloads.shown.len(), |workload| columns[workload]);
        counts[row * width + column].add_all(&cell.events);
    }
    let cells = counts.into_iter().enumerate().filter(|(_, counts)| counts.total() > 0);
    cells.map(|(place, counts)| (place / width, place % width, counts)).collect()
}
