//! Steps that expect something, as test points.

use knobgate_scenario::{Mismatch, Outcome, Scenario};

/// A step that expects something, or a scenario that was not played.
#[derive(Debug)]
pub(super) struct TestPoint {
    /// What it is, in a few words.
    pub(super) name: String,
    pub(super) result: TestResult,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum TestResult {
    Passed,
    /// The place of the step, and what is not as expected.
    Failed {
        place: String,
        mismatches: Vec<Mismatch>,
    },
    /// The step expects nothing on this kernel.
    OtherKernel,
    /// It was not played, or has no result, for this reason.
    Error(String),
}

impl TestPoint {
    /// `None`: the step expects nothing.
    pub(super) fn new(file: &str, scenario: &Scenario, step: usize, outcome: Outcome) -> Option<Self> {
        let result = match outcome {
            Outcome::Passed => TestResult::Passed,
            Outcome::OtherKernel => TestResult::OtherKernel,
            Outcome::Failed(mismatches) => {
                let (line, column) = scenario.place(step).unwrap_or((0, 0));
                TestResult::Failed { place: format!("{file}:{line}:{column}"), mismatches }
            }
            Outcome::NotModelled(why) => TestResult::Error(why),
            _ => return None,
        };
        Some(Self { name: name(scenario, step), result })
    }

    /// A step that expects nothing, and has no result.
    pub(super) fn error(scenario: &Scenario, step: usize, why: &str) -> Self {
        Self { name: name(scenario, step), result: TestResult::Error(why.to_owned()) }
    }

    /// The steps from this one on that expect something, and were not played.
    pub(super) fn not_played(scenario: &Scenario, first: usize, why: &str) -> Vec<Self> {
        let rest = (first..scenario.steps()).filter(|&step| scenario.expects(step));
        rest.map(|step| Self::error(scenario, step, why)).collect()
    }
}

fn name(scenario: &Scenario, step: usize) -> String {
    format!("step {step}: {}", scenario.describe(step))
}
