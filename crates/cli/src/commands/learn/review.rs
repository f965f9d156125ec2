//! `knobgate learn --review`: one decision for each knob of which a policy denies accesses.

mod answers;
mod dialogue;
mod sources;
mod unfinished;

use std::path::Path;
use std::process::ExitCode;

use knobgate_kernel::BlockedSignals;
use knobgate_learn::{DeniedAccesses, LeftOut, Review};
use knobgate_policy::{Mode, PolicyFile};
use knobgate_policy_test::{PolicyTest, PolicyTestError, Profile};

use super::{ENDING, knobs_of_this_machine, load_extendable};
use crate::failure::Failure;
use crate::limited::is_stdin;
use crate::output::Output;
use crate::plural::count;
use crate::policy_file::{self, is_json};
use crate::printable::printable;
use crate::stream::tally::LABEL;
use crate::{file_output, not_compiled, report, unified_diff};
use answers::Answers;
use dialogue::{Dialogue, Outcome};

/// The most rules that are listed with what they decided.
const RULES_MAX: usize = 5;

/// Reviews the policy at `path`, by the events of `from`, or by those that its attachments remember.
///
/// # Errors
/// [`Failure::Reported`] or [`Failure::Bad`] if the policy has errors, a test of it fails, or the answers end too early;
/// [`Failure::Usage`] if a file cannot be read or written; [`Failure::Machine`] if the memory cannot be read.
pub(super) fn run(
    path: &Path,
    from: Option<&Path>,
    slack: u32,
    output: &Output,
) -> Result<ExitCode, Failure> {
    if is_stdin(path) || from.is_some_and(is_stdin) {
        let help = "standard input has the answers: give the policy and the events as files";
        return Err(Failure::usage("cannot review what is standard input").because(help));
    }
    let name = policy_file::name(path);
    if is_json(path) {
        let help = "a review adds rules to the text of a policy; `knobgate fmt` prints it as text";
        return Err(Failure::usage(format!("cannot review {name}, which is JSON")).because(help));
    }
    let file = load_extendable(path, output)?;
    check_tests(&file, "fix its tests first: knobgate test", output)?;

    let mut denied = DeniedAccesses::new(&file, LABEL);
    let attachments = match from {
        Some(events) => sources::recorded(events, &mut denied, output).map(|()| Vec::new())?,
        None => sources::remembered(&file, &mut denied, output)?,
    };
    report_left_out(denied.left_out(), &file, output);
    let knobs = knobs_of_this_machine()?;
    let mut review = Review::new(&file, denied.into_classes(), slack, &knobs);
    if review.question().is_none() {
        output.line(format_args!("{}: there is nothing to review", printable(&name)))?;
        hint_at_enforcing(&file, &name, output);
        return Ok(ExitCode::SUCCESS);
    }
    // One that ends the review takes effect when this is dropped, after what was decided is kept.
    let signals = BlockedSignals::block(&ENDING)
        .map_err(|error| Failure::machine("cannot block signals").because(error))?;
    let answers = Answers::of_stdin(&signals)?;
    let ended = Dialogue::new(&name, &mut review, answers, output).run().and_then(|outcome| match outcome {
        Outcome::Unchanged => {
            output.done(format_args!("{} is unchanged", printable(&name)));
            Ok(())
        }
        Outcome::Write => write(path, &file, &review, &attachments, output),
    });
    if let Err(failure) = ended {
        unfinished::keep(path, from, &file, &review, output);
        return Err(failure);
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that the tests of a policy pass.
///
/// # Errors
/// [`Failure::Reported`] or [`Failure::Bad`] if one does not, or if the policy cannot be compiled.
fn check_tests(file: &PolicyFile, help: &str, output: &Output) -> Result<(), Failure> {
    let name = file.source().name();
    let mut tests = PolicyTest::new(file, &Profile::LINUX_6_18).map_err(|error| match error {
        PolicyTestError::Compile { source, profile } => {
            let diagnostic = not_compiled::diagnostic(&source, file, profile);
            output.report(report::render(&diagnostic, file.source()));
            Failure::Reported
        }
        error => Failure::bug(format!("{name}: cannot run the policy")).because(error),
    })?;
    let report = tests.run_tests();
    let failed = report.tests.iter().flat_map(|test| &test.steps).find(|step| !step.passed());
    match failed {
        None => Ok(()),
        Some(step) => {
            Err(Failure::bad(format!("a test of {name} fails, in line {}", step.line)).because(help))
        }
    }
}

fn report_left_out(left_out: &LeftOut, file: &PolicyFile, output: &Output) {
    let name = file.source().name();
    let note = |count: u64, what: &str| {
        if count > 0 {
            output.note(format_args!("{count}× left out: {what}"));
        }
    };
    note(left_out.allowed, &format!("{name} allows it now"));
    for (rule, count) in left_out.by_rules.iter().take(RULES_MAX) {
        let place = file.rule_place(*rule).map(|place| place.to_string()).unwrap_or_default();
        note(*count, &format!("{place} decides it: {}", file.rule_text(*rule).unwrap_or_default()));
    }
    note(left_out.by_rules.values().skip(RULES_MAX).sum(), &format!("other rules of {name} decide it"));
    note(left_out.undecided, "its verdict depends on what the events do not have");
    note(left_out.unnamed, "the name of the knob was too long to record");
    note(left_out.other_policies, "it is of another policy");
    let lost = left_out.suppressed.saturating_add(left_out.lost);
    note(lost, "it was suppressed or lost, and nothing is known about it");
}

/// Writes the reviewed policy, and says what comes next.
fn write(
    path: &Path,
    file: &PolicyFile,
    review: &Review<'_>,
    attachments: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let name = policy_file::name(path);
    let reviewed = review.file();
    check_tests(reviewed, "this is a bug in knobgate: nothing was written", output)?;
    if policy_file::read_source(path)?.text() != file.source().text() {
        let help = "nothing was written to it";
        return Err(
            Failure::bad(format!("{name} was changed by somebody else during the review")).because(help)
        );
    }
    file_output::replace(path, |file| file.write_all(reviewed.source().text().as_bytes()))
        .map_err(|error| Failure::usage(format!("cannot write {name}")).because(error))?;
    output.done(format_args!("{}: added {}", printable(&name), count(review.rules(), "rule")));
    if !attachments.is_empty() {
        output.note(format_args!(
            "{} still as it was before the review, until you attach {name} again (knobgate attach)",
            match attachments {
                [attachment] => format!("the attachment \"{attachment}\" is"),
                several => format!("{} attachments are", several.len()),
            }
        ));
    }
    if review.is_complete() {
        output.note("all that events of this policy show has been reviewed");
        hint_at_enforcing(reviewed, &name, output);
    }
    Ok(())
}

fn hint_at_enforcing(file: &PolicyFile, name: &str, output: &Output) {
    if file.policy().mode() == Mode::Audit {
        output.note(format_args!(
            "to enforce the policy, write `mode enforce` for `mode audit` in {name}, and attach it again"
        ));
    }
}

/// The difference between the policy and what was reviewed.
fn difference(review: &Review<'_>, old: &PolicyFile) -> Vec<String> {
    let (old, new) = (old.source(), review.file().source());
    unified_diff::lines(old.name(), "as reviewed", old.text(), new.text())
}
