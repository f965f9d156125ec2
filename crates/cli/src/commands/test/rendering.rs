//! The rendering of a step that failed: the expected and the actual verdict, and the rule that decided.

use knobgate_policy::{AccessKind, DecidedBy, Diagnostic, Label, PolicyFile, Span};
use knobgate_policy_test::{DecideError, Decided, Mismatch, Profile, StepOutcome, TestOutcome};

use crate::profile_limit::profile_limit;
use crate::report;

/// Renders a step that failed, without a newline at the end.
pub(super) fn render(file: &PolicyFile, test: &TestOutcome, step: &StepOutcome, profile: &Profile) -> String {
    let span = file.step_span(test.test, step.step).unwrap_or_default();
    let Rendering { code, message, label, decided_at, notes } = match &step.result {
        Ok(decided) => other_verdict(file, test, step, decided, profile),
        Err(DecideError::Mismatch(mismatch)) => render_mismatch(file, mismatch),
        Err(undecided) => Rendering {
            code: "test-failed",
            message: format!("test \"{}\": expected {}, but there is no verdict", test.name, step.expected),
            label: "no policy applies to this".to_owned(),
            decided_at: None,
            notes: vec![undecided.to_string()],
        },
    };
    let mut diagnostic = Diagnostic::error(code, span, message).label(label);
    diagnostic.secondary.extend(decided_at);
    report::render_with_notes(&diagnostic, file.source(), &notes)
}

/// The parts of the rendering.
struct Rendering {
    code: &'static str,
    message: String,
    /// The label under the step.
    label: String,
    /// What decided.
    decided_at: Option<Label>,
    notes: Vec<String>,
}

fn other_verdict(
    file: &PolicyFile,
    test: &TestOutcome,
    step: &StepOutcome,
    decided: &Decided,
    profile: &Profile,
) -> Rendering {
    let mut notes = Vec::new();
    let decided_at = decided_by(file, decided.decision.by);
    if let (None, DecidedBy::Default(kind)) = (&decided_at, decided.decision.by) {
        let default = file.policy().defaults().of(kind);
        notes.push(format!("no rule applies, and the policy states no default: {kind} {default}"));
    }
    if let Some(degradation) = decided.effect.degradation {
        let means = &decided.decision.verdict;
        notes.push(format!(
            "the policy says {means}, but {}",
            profile_limit(degradation, file, profile).description()
        ));
    }
    let got = decided.verdict();
    Rendering {
        code: "test-failed",
        message: format!("test \"{}\": expected {}, got {got}", test.name, step.expected),
        label: format!("got {got}"),
        decided_at,
        notes,
    }
}

/// The rule or default that decided, if it is in the text.
fn decided_by(file: &PolicyFile, by: DecidedBy) -> Option<Label> {
    let label = |span: Option<Span>, text: String| span.map(|span| Label { span, text });
    match by {
        DecidedBy::Rule(rule) => label(file.rule_span(rule), "this rule decides".to_owned()),
        DecidedBy::EvalError { rule, error } => {
            label(file.rule_span(rule), format!("this rule cannot be evaluated, which denies: {error}"))
        }
        DecidedBy::Default(kind) => {
            label(file.default_span(kind), "no rule applies, and this is the default".to_owned())
        }
    }
}

fn render_mismatch(file: &PolicyFile, mismatch: &Mismatch) -> Rendering {
    let Mismatch { access, decision, expected, found, .. } = mismatch;
    let by = match decision.by {
        DecidedBy::Rule(rule) => format!("rule {}", rule + 1),
        DecidedBy::EvalError { rule, error } => {
            format!("rule {}, which cannot be evaluated: {error}", rule + 1)
        }
        DecidedBy::Default(AccessKind::Read) => "the default for reads".to_owned(),
        DecidedBy::Default(AccessKind::Write) => "the default for writes".to_owned(),
    };
    let did = match found {
        Ok(outcome) => outcome.to_string(),
        Err(fault) => format!("stopped: {fault}"),
    };
    Rendering {
        code: "mismatch",
        message: "language and program disagree; this is a bug in knobgate, not in the policy".to_owned(),
        label: format!("the language says {}, by {by}", decision.verdict),
        decided_at: None,
        notes: vec![
            format!("the program should have {expected}"),
            format!("the program has {did}"),
            format!(
                "please report it with {} and these lines: knobgate {}, {}, {access}",
                file.source().name(),
                env!("CARGO_PKG_VERSION"),
                mismatch.profile,
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use knobgate_compiler::{Counted, Counter};
    use knobgate_policy::{CheckOptions, Source, evaluate, parse};
    use knobgate_policy_test::{PolicyTest, ProgramOutcome};

    use super::*;

    #[test]
    fn a_mismatch_is_rendered_with_everything_that_a_bug_report_needs() {
        let text = "policy p\nallow write vm.x\ntest \"t\" {\n  write vm.x \"1\\n\" uid 7 => allow\n}\n";
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let stated = &file.policy().tests()[0].steps[0];
        let outcome = |returned, written: Option<&str>, index| ProgramOutcome {
            returned,
            written: written.map(|text| text.as_bytes().to_vec()),
            counted: vec![Counter { index, counted: Counted::Decided }],
        };
        let mismatch = Mismatch {
            profile: Profile::default(),
            access: stated.access().clone(),
            decision: evaluate(file.policy(), stated.access()),
            expected: outcome(2, Some("1\n"), 0),
            found: Ok(outcome(-1, None, 2)),
        };
        let mut test = PolicyTest::new(&file, &Profile::default()).expect("it compiles").run_test(0);
        test.steps[0].result = Err(DecideError::Mismatch(Box::new(mismatch)));
        let rendered = render(&file, &test, &test.steps[0], &Profile::default());
        let rendered = anstream::adapter::strip_str(&rendered).to_string();
        for printed in [
            "error[mismatch]: language and program disagree; this is a bug in knobgate, not in the policy",
            "p.knob:4:3",
            "the language says allow, by rule 1",
            "the program should have returned 2, written \"1\\n\" to the knob, increased counter decided[0]",
            "the program has returned -1 (EPERM), written nothing to the knob, increased counter decided[2]",
            concat!(
                "with p.knob and these lines: knobgate ",
                env!("CARGO_PKG_VERSION"),
                ", Linux 6.18, write vm.x"
            ),
            "uid 7",
        ] {
            assert!(rendered.contains(printed), "{printed}\nis not in\n{rendered}");
        }
    }
}
