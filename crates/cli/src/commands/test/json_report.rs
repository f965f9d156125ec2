//! The results of the tests as JSON.

use knobgate_hook::Profile;
use knobgate_policy::{DecidedBy, Mode};
use knobgate_policy_test::{StepOutcome, TestOutcome};
use serde::Serialize;

use super::tally::{TestTally, has_mismatch};
use super::tested_file::{NotRun, Ran, TestedFile};
use crate::deciding_hook::DecidingHook;
use crate::json;
use crate::json_decision::{JsonAccess, JsonRule, JsonVerdict};
use crate::json_diagnostic;
use crate::output::chain;
use crate::profile_limit::profile_limit;

/// One line of JSON, whose shape is in docs/testing.md.
pub(super) fn line(all: &[TestedFile], tally: &TestTally, profile: &Profile) -> String {
    json::line(&JsonReport {
        hook: DecidingHook::UserSpace(*profile),
        tests: Counts { passed: tally.passed, failed: tally.failed, mismatches: tally.mismatches },
        files: all.iter().map(|tested| file(tested, profile)).collect(),
    })
}

#[derive(Serialize)]
struct JsonReport<'a> {
    hook: DecidingHook,
    tests: Counts,
    files: Vec<JsonFile<'a>>,
}

#[derive(Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    mismatches: usize,
}

#[derive(Serialize, Default)]
struct JsonFile<'a> {
    file: &'a str,
    /// The name of the policy; absent if its tests did not run.
    policy: Option<&'a str>,
    /// Whether what is decided is enforced.
    enforced: Option<bool>,
    /// Why the tests did not run, unless the policy has errors.
    problem: Option<String>,
    /// The errors and warnings, as `check --json` prints them.
    errors: Vec<json_diagnostic::Problem<'a>>,
    /// What the kernel cannot do, and what is denied instead.
    stricter: Vec<String>,
    tests: Vec<JsonTest<'a>>,
}

fn file<'a>(tested: &'a TestedFile, profile: &Profile) -> JsonFile<'a> {
    let nothing = JsonFile { file: &tested.name, ..JsonFile::default() };
    match &tested.ran {
        Ok(ran) => JsonFile {
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
        Err(NotRun::Wrong(checked)) => JsonFile { errors: json_diagnostic::objects(checked), ..nothing },
        Err(NotRun::Unreadable(failure) | NotRun::Bug(failure)) => {
            JsonFile { problem: Some(chain(failure)), ..nothing }
        }
    }
}

#[derive(Serialize)]
struct JsonTest<'a> {
    name: &'a str,
    /// What has it, if the policy includes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: Option<usize>,
    result: &'static str,
    steps: Vec<JsonStep<'a>>,
}

fn test<'a>(ran: &'a Ran, outcome: &'a TestOutcome) -> JsonTest<'a> {
    let place = ran.file.test_span(outcome.test).map(|span| ran.file.source().place(span.start));
    JsonTest {
        name: &outcome.name,
        file: place.map(|place| place.name).filter(|name| *name != ran.file.source().name()),
        line: place.map(|place| place.line),
        result: match (outcome.passed(), has_mismatch(outcome)) {
            (true, _) => "passed",
            (false, true) => "mismatch",
            (false, false) => "failed",
        },
        steps: outcome.steps.iter().map(|step| self::step(ran, outcome, step)).collect(),
    }
}

#[derive(Serialize)]
struct JsonStep<'a> {
    line: usize,
    access: JsonAccess<'a>,
    result: &'static str,
    expected: JsonVerdict<'a>,
    /// Absent where nothing was decided.
    got: Option<JsonVerdict<'a>>,
    /// The rule that decided; absent, the default did.
    rule: Option<JsonRule<'a>>,
    /// Why that rule could not be evaluated.
    eval_error: Option<String>,
    default_line: Option<usize>,
    /// The verdict of the policy, if the kernel's is stricter.
    means: Option<JsonVerdict<'a>>,
    /// Why nothing was decided.
    problem: Option<String>,
}

fn step<'a>(ran: &'a Ran, test: &'a TestOutcome, step: &'a StepOutcome) -> JsonStep<'a> {
    let file = &ran.file;
    let decided = step.result.as_ref().ok();
    let by = decided.map(|decided| decided.decision.by);
    let (rule, eval_error, default_line) = match by {
        Some(DecidedBy::Rule(rule)) => (Some(rule), None, None),
        Some(DecidedBy::EvalError { rule, error }) => (Some(rule), Some(error.to_string()), None),
        Some(DecidedBy::Default(kind)) => (None, None, file.default_place(kind).map(|place| place.line)),
        None => (None, None, None),
    };
    JsonStep {
        line: step.line,
        access: JsonAccess::from(file.policy().tests()[test.test].steps[step.step].access()),
        result: match (step.passed(), step.mismatch()) {
            (true, _) => "passed",
            (false, Some(_)) => "mismatch",
            (false, None) => "failed",
        },
        expected: JsonVerdict::from(&step.expected),
        got: decided.map(|decided| JsonVerdict::from(decided.verdict())),
        rule: rule.map(|rule| JsonRule::of(file, rule)),
        eval_error,
        default_line,
        means: decided
            .filter(|decided| decided.effect.degradation.is_some())
            .map(|decided| JsonVerdict::from(&decided.decision.verdict)),
        problem: step.result.as_ref().err().map(ToString::to_string),
    }
}
