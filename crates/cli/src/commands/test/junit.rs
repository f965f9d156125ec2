//! The results of the tests as JUnit XML.

use knobgate_hook::Profile;
use knobgate_policy_test::TestOutcome;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::rendering::render;
use super::tally::has_mismatch;
use super::tested_file::{NotRun, Ran, TestedFile};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::junit_output;
use crate::printable::printable;
use crate::report;

/// The document: one suite per file, one case per `test` block. A file whose tests could not run is a case with an error.
///
/// # Errors
/// [`Failure::Output`]; this should not happen.
pub(super) fn document(all: &[TestedFile], profile: &Profile) -> Result<Vec<u8>, Failure> {
    let mut report = Report::new("knobgate test");
    for file in all {
        let mut suite = TestSuite::new(&*printable(&file.name));
        suite.add_property(("hook", DecidingHook::UserSpace(*profile).to_string().as_str()));
        match &file.ran {
            Ok(ran) => {
                suite.add_test_cases(ran.tests.iter().map(|outcome| case(ran, outcome, profile)));
            }
            Err(why) => {
                suite.add_test_case(not_run(why));
            }
        }
        report.add_test_suite(suite);
    }
    junit_output::document(&report)
}

fn case(ran: &Ran, outcome: &TestOutcome, profile: &Profile) -> TestCase {
    let failed: Vec<_> = outcome.steps.iter().filter(|step| !step.passed()).collect();
    let status = if failed.is_empty() {
        TestCaseStatus::success()
    } else {
        let (kind, r#type) = if has_mismatch(outcome) {
            (NonSuccessKind::Error, "mismatch")
        } else {
            (NonSuccessKind::Failure, "test-failed")
        };
        let renderings: Vec<_> =
            failed.iter().map(|step| render(&ran.file, outcome, step, profile)).collect();
        let lines: Vec<_> = failed.iter().map(|step| step.line.to_string()).collect();
        let mut status = TestCaseStatus::non_success(kind);
        let which = if lines.len() == 1 { "line" } else { "lines" };
        let other_file = Some(&outcome.file).filter(|file| *file != ran.file.source().name());
        let file = other_file.map(|file| format!("{}, ", printable(file))).unwrap_or_default();
        status.set_type(r#type).set_message(format!("{file}{which} {}", lines.join(", ")));
        status.set_description(renderings.join("\n\n"));
        status
    };
    let mut case = TestCase::new(&*printable(&outcome.name), status);
    case.set_classname(ran.file.policy().name());
    case
}

fn not_run(why: &NotRun) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    match why {
        NotRun::Unreadable(failure) => {
            status.set_type("unreadable").set_message(&*printable(&failure.to_string()))
        }
        NotRun::Bug(failure) => status.set_type("mismatch").set_message(&*printable(&failure.to_string())),
        NotRun::Wrong(checked) => {
            let rendered = checked
                .diagnostics
                .iter()
                .map(|diagnostic| report::render(diagnostic, &checked.source))
                .chain(
                    checked.json_errors.iter().map(|error| report::render_json_error(error, &checked.source)),
                );
            let rendered: Vec<_> = rendered.collect();
            status
                .set_type("policy")
                .set_message("the policy has errors")
                .set_description(rendered.join("\n\n"))
        }
    };
    TestCase::new("the policy", status)
}
