//! The results as JUnit XML.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::mismatch_text;
use super::playing::Played;
use super::test_point::{TestPoint, TestResult};
use crate::failure::Failure;
use crate::junit_output;
use crate::printable::{printable, printable_lines};

/// The document: a test suite for each file, a test case for each step that expects something. A scenario that cannot be
/// played is a case with an error.
pub(super) fn document(all: &[Played]) -> Result<Vec<u8>, Failure> {
    let mut report = Report::new("knobgate simulate");
    for played in all {
        let mut suite = TestSuite::new(&*printable(&played.name));
        if let Some(hook) = &played.hook {
            suite.add_property(("hook", &*printable(&hook.to_string())));
        }
        suite.add_test_cases(played.points.iter().map(|point| case(&played.name, point)));
        report.add_test_suite(suite);
    }
    junit_output::document(&report)
}

fn case(file: &str, TestPoint { name, result }: &TestPoint) -> TestCase {
    let status = match result {
        TestResult::Passed => TestCaseStatus::success(),
        TestResult::OtherKernel => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("it expects nothing on this kernel");
            status
        }
        TestResult::Error(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            let (first, rest) = why.split_once('\n').unwrap_or((why, ""));
            status.set_type("error").set_message(&*printable(first));
            if !rest.is_empty() {
                status.set_description(printable_lines(why));
            }
            status
        }
        TestResult::Failed { place, mismatches } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("test-failed").set_message(&*printable(place));
            status.set_description(printable_lines(&mismatch_text::lines(mismatches).join("\n")));
            status
        }
    };
    let mut case = TestCase::new(&*printable(name), status);
    case.set_classname(&*printable(file));
    case
}
