//! The results of a policy's tests.

use std::fmt;

use knobgate_policy::{Expected, PolicyFile, Verdict};

use crate::{DecideError, Decided, Mismatch};

/// The results of all tests that ran.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestReport {
    /// The tests, in the order of the policy.
    pub tests: Vec<TestOutcome>,
}

/// The result of one test.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestOutcome {
    /// The name of the source that contains it.
    pub file: String,
    /// Its index in [`Policy::tests`](knobgate_policy::Policy::tests).
    pub test: usize,
    /// Its name.
    pub name: String,
    /// Its steps, in order. All of them ran.
    pub steps: Vec<StepOutcome>,
}

/// The result of one step of a test.
#[derive(Debug)]
#[non_exhaustive]
pub struct StepOutcome {
    /// Its index in [`Test::steps`](knobgate_policy::Test::steps).
    pub step: usize,
    /// The line of the source that it begins on, counted from 1.
    pub line: usize,
    /// What was expected.
    pub expected: Expected,
    /// What was decided.
    pub result: Result<Decided, DecideError>,
}

impl TestReport {
    /// Whether all tests passed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(TestOutcome::passed)
    }
}

impl TestOutcome {
    pub(crate) fn of(
        file: &PolicyFile,
        test: usize,
        results: impl Iterator<Item = Result<Decided, DecideError>>,
    ) -> Self {
        let stated = &file.policy().tests()[test];
        let line = |step| file.step_place(test, step).map_or(0, |place| place.line);
        let outcome = |(step, result)| StepOutcome {
            step,
            line: line(step),
            expected: stated.steps[step].expected().clone(),
            result,
        };
        let place = file.test_span(test).map(|span| file.source().place(span.start));
        let file = place.map_or(file.source().name(), |place| place.name).to_owned();
        let name = stated.name.clone();
        Self { file, test, name, steps: results.enumerate().map(outcome).collect() }
    }

    /// Whether all its steps passed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(StepOutcome::passed)
    }
}

impl StepOutcome {
    /// Whether what was decided is what was expected.
    pub fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(|decided| is_as_expected(&self.expected, decided.verdict()))
    }

    /// The mismatch, if there is one.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        self.result.as_ref().err()?.mismatch()
    }
}

fn is_as_expected(expected: &Expected, verdict: &Verdict) -> bool {
    match (expected, verdict) {
        (Expected::Allow, Verdict::Allow) | (Expected::Deny(None), Verdict::Deny(_)) => true,
        (Expected::Deny(Some(errno)), Verdict::Deny(found)) => errno == found,
        (Expected::Set(text), Verdict::Rewrite(bytes)) => text.as_bytes() == bytes,
        _ => false,
    }
}

/// The steps that failed, one per line: `web.knob:7: "the backlog stays in bounds" expects deny EPERM, but it is allow`.
impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for test in &self.tests {
            for step in test.steps.iter().filter(|step| !step.passed()) {
                write!(f, "{}:{}: \"{}\" expects {}, but ", test.file, step.line, test.name, step.expected)?;
                match &step.result {
                    Ok(decided) => writeln!(f, "it is {}", decided.verdict())?,
                    Err(why) => writeln!(f, "{why}")?,
                }
            }
        }
        Ok(())
    }
}
