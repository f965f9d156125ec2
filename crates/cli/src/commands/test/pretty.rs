//! The results of the tests as text.

use knobgate_hook::Profile;

use super::rendering::render;
use super::tally::TestTally;
use super::tested_file::{NotRun, Ran, TestedFile};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::output::Output;
use crate::profile_limit::profile_limit;
use crate::report;

/// Prints every step that failed and a summary to standard output. Errors and warnings about policies go to standard error.
pub(super) fn print(
    all: &[TestedFile],
    tally: &TestTally,
    profile: &Profile,
    output: &Output,
) -> Result<(), Failure> {
    for file in all {
        match &file.ran {
            Ok(ran) => print_tests(ran, profile, output)?,
            Err(NotRun::Unreadable(failure) | NotRun::Bug(failure)) => output.failure(failure),
            Err(NotRun::Wrong(checked)) => checked.report(output),
        }
    }
    output.line(format_args!("{}; decided by {}", tally.summary(), DecidingHook::UserSpace(*profile)))
}

fn print_tests(ran: &Ran, profile: &Profile, output: &Output) -> Result<(), Failure> {
    let source = ran.file.source();
    for warning in ran.file.warnings() {
        output.report(format_args!("{}\n", report::render(warning, source)));
    }
    for degradation in &ran.degradations {
        output.warning(profile_limit(*degradation, &ran.file, profile));
    }
    if ran.file.policy().tests().is_empty() {
        output.warning(format_args!("{} has no tests", source.name()));
    }
    for test in &ran.tests {
        for step in test.steps.iter().filter(|step| !step.passed()) {
            output.line(format_args!("{}\n", render(&ran.file, test, step, profile)))?;
        }
    }
    Ok(())
}
