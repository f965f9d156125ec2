//! How many tests passed and failed.

use knobgate_policy_test::{StepOutcome, TestOutcome};

use super::tested_file::{NotRun, TestedFile};
use crate::failure::{BAD, BUG, USAGE};
use crate::{plural, style};

/// Counts for all files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct TestTally {
    pub(super) files: usize,
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Files with errors, including policies that the kernel does not support.
    pub(super) wrong: usize,
    pub(super) unreadable: usize,
    /// Tests and files with a mismatch between language and program.
    pub(super) mismatches: usize,
}

impl TestTally {
    pub(super) fn of(all: &[TestedFile]) -> Self {
        let mut tally = Self { files: all.len(), ..Self::default() };
        for file in all {
            match &file.ran {
                Ok(ran) => ran.tests.iter().for_each(|test| tally.count(test)),
                Err(NotRun::Unreadable(_)) => tally.unreadable += 1,
                Err(NotRun::Wrong(_)) => tally.wrong += 1,
                Err(NotRun::Bug(_)) => tally.mismatches += 1,
            }
        }
        tally
    }

    fn count(&mut self, test: &TestOutcome) {
        if test.passed() {
            self.passed += 1;
        } else if has_mismatch(test) {
            self.mismatches += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Whether there were no tests.
    pub(super) fn is_without_tests(&self) -> bool {
        self.passed + self.failed + self.mismatches == 0
    }

    /// Whether everything passed.
    pub(super) fn is_fine(&self) -> bool {
        self.status() == 0
    }

    /// The exit status.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self { mismatches: 1.., .. } => BUG,
            Self { unreadable: 1.., .. } => USAGE,
            Self { failed: 1.., .. } | Self { wrong: 1.., .. } => BAD,
            _ => 0,
        }
    }

    /// The counts in words.
    pub(super) fn summary(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str, suffix: &str, style: anstyle::Style| {
            if count > 0 {
                parts.push(format!("{style}{}{suffix}{style:#}", plural::count(count, what)));
            }
        };
        part(self.passed, "test", " passed", style::ALLOW);
        part(self.failed, "test", " failed", style::ERROR);
        part(self.mismatches, "bug", " in knobgate", style::ERROR);
        part(self.wrong, "file", " with errors", style::ERROR);
        part(self.unreadable, "unreadable file", "", style::ERROR);
        let found = if parts.is_empty() { "no tests".to_owned() } else { parts.join(", ") };
        format!("{}: {found}", plural::count(self.files, "file"))
    }
}

/// Whether this test has a mismatch between language and program.
pub(super) fn has_mismatch(test: &TestOutcome) -> bool {
    test.steps.iter().any(|step| StepOutcome::mismatch(step).is_some())
}
