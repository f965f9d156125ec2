//! What came of the tests, for programs.

use knobgate_hook::Profile;
use knobgate_policy::{DecidedBy, Mode};
use knobgate_policy_test::{StepOutcome, TestOutcome};
use serde::Serialize;

use super::tally::{Tally, has_mismatch};
use super::tried::{NotRun, Ran, Tried};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::json;
use crate::json_decision::{Access, Rule, Verdict};
use crate::json_diagnostic;
use crate::profile_limit::profile_limit;

/// One line of JSON, whose shape is in docs/testing.md.
pub(super) fn line(all: &[Tried], tally: &Tally, profile: &Profile) -> String {
    json::line(&Report {
        hook: DecidingHook::UserSpace(*profile),
        tests: Counts { passed: tally.passed, failed: tally.failed, mismatches: tally.mismatches },
        files: all.iter().map(|tried| file(tried, profile)).collect(),
    })
}

#[derive(Serialize)]
struct Report<'a> {
    hook: DecidingHook,
    tests: Counts,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    mismatches: usize,
}

#[derive(Serialize, Default)]
struct File<'a> {
    file: &'a str,
    /// The name of the policy; absent, its tests did not run.
    policy: Option<&'a str>,
    /// Whether what is decided is enforced.
    enforced: Option<bool>,
    /// Why the tests did not run, if not for errors in the policy.
    problem: Option<String>,
    /// What is wrong with the policy, as `check --json` prints it.
    errors: Vec<json_diagnostic::Problem<'a>>,
    /// What the kernel cannot do and denies instead.
    stricter: Vec<String>,
    tests: Vec<Test<'a>>,
}

fn file<'a>(tried: &'a Tried, profile: &Profile) -> File<'a> {
    let nothing = File { file: &tried.name, ..File::default() };
    match &tried.ran {
        Ok(ran) => File {
            policy: Some(ran.file.policy().name()),
            enforced: Some(ran.file.policy().mode() == Mode::Enforce),
            stricter: ran
                .degradations
                .iter()
                .map(|degradation| profile_limit(*degradation, &ran.file, profile).to_string())
                .collect(),
            tests: ran.tests.iter().map(|outcome| test(ran, outcome)).collect(),
            ..nothing
        },
        Err(NotRun::Wrong(checked)) => File { errors: json_diagnostic::objects(checked), ..nothing },
        Err(NotRun::Unreadable(failure) | NotRun::Bug(failure)) => {
            File { problem: Some(chain(failure)), ..nothing }
        }
    }
}

/// An error with what caused it.
fn chain(failure: &Failure) -> String {
    let sources = std::iter::successors(std::error::Error::source(failure), |error| error.source());
    sources.fold(failure.to_string(), |text, source| format!("{text}: {source}"))
}

#[derive(Serialize)]
struct Test<'a> {
    name: &'a str,
    line: Option<usize>,
    result: &'static str,
    steps: Vec<Step<'a>>,
}

fn test<'a>(ran: &'a Ran, outcome: &'a TestOutcome) -> Test<'a> {
    let span = ran.file.test_span(outcome.test);
    Test {
        name: &outcome.name,
        line: span.map(|span| ran.file.source().line(span.start)),
        result: match (outcome.passed(), has_mismatch(outcome)) {
            (true, _) => "passed",
            (false, true) => "mismatch",
            (false, false) => "failed",
        },
        steps: outcome.steps.iter().map(|step| self::step(ran, outcome, step)).collect(),
    }
}

#[derive(Serialize)]
struct Step<'a> {
    line: usize,
    access: Access<'a>,
    result: &'static str,
    expected: Verdict<'a>,
    /// Absent where nothing was decided.
    got: Option<Verdict<'a>>,
    /// The rule that decided; absent, the default did.
    rule: Option<Rule<'a>>,
    /// Why that rule could not be evaluated.
    eval_error: Option<String>,
    default_line: Option<usize>,
    /// What the policy means, where the kernel makes something stricter of it.
    means: Option<Verdict<'a>>,
    /// Why nothing was decided.
    problem: Option<String>,
}

fn step<'a>(ran: &'a Ran, test: &'a TestOutcome, step: &'a StepOutcome) -> Step<'a> {
    let file = &ran.file;
    let decided = step.result.as_ref().ok();
    let by = decided.map(|decided| decided.decision.by);
    let (rule, eval_error, default_line) = match by {
        Some(DecidedBy::Rule(rule)) => (Some(rule), None, None),
        Some(DecidedBy::EvalError { rule, error }) => (Some(rule), Some(error.to_string()), None),
        Some(DecidedBy::Default(kind)) => (None, None, file.default_line(kind)),
        None => (None, None, None),
    };
    Step {
        line: step.line,
        access: Access::from(file.policy().tests()[test.test].steps[step.step].access()),
        result: match (step.passed(), step.mismatch()) {
            (true, _) => "passed",
            (false, Some(_)) => "mismatch",
            (false, None) => "failed",
        },
        expected: Verdict::from(&step.expected),
        got: decided.map(|decided| Verdict::from(decided.verdict())),
        rule: rule.map(|rule| Rule::of(file, rule)),
        eval_error,
        default_line,
        means: decided
            .filter(|decided| decided.effect.degradation.is_some())
            .map(|decided| Verdict::from(&decided.decision.verdict)),
        problem: step.result.as_ref().err().map(ToString::to_string),
    }
}
