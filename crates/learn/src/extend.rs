//! An existing policy that also allows what was seen.

use std::mem;

use knobgate_policy::{Access, AccessKind, DecidedBy, Decision, KnobName, PolicyFile, Verdict, evaluate};

use crate::append::{Appended, append};
use crate::plan::blocks;
use crate::policy_text::{LearnError, LearnOptions, Learnt, notes};
use crate::recorded::Doubt;
use crate::recording::{Recording, Use};

/// `file` with rules for what it does not allow so far. Its text stays as it is, apart from its layout: new rules come after
/// the last one, and a new test at the end. What its tests expected of what is allowed now is changed, and a note says so.
///
/// Where a rule of `file` decides against an access, that stays so, and a comment says it.
///
/// # Errors
/// More than one policy can hold.
pub fn extend(
    file: &PolicyFile,
    recording: &Recording,
    options: &LearnOptions<'_>,
) -> Result<Learnt, LearnError> {
    let recording = not_allowed(file, recording);
    let blocks = blocks(&recording, options)?;
    let mut notes = notes(&recording, &blocks);
    let Appended { file, rules, changed_steps } = append(file, &blocks, "what was seen")?;
    if !changed_steps.is_empty() {
        let lines: Vec<String> = changed_steps.iter().map(usize::to_string).collect();
        notes.push(format!(
            "the tests expected otherwise of what is allowed now, and were changed: line {}",
            lines.join(", ")
        ));
    }
    Ok(Learnt { file, rules, notes })
}

/// What the policy does not allow. What a rule decides otherwise is doubtful.
fn not_allowed(file: &PolicyFile, recording: &Recording) -> Recording {
    let mut rest = recording.clone();
    for (name, knob) in &mut rest.knobs {
        remove_allowed(file, name, AccessKind::Read, &mut knob.reads);
        remove_allowed(file, name, AccessKind::Write, &mut knob.writes);
    }
    rest
}

fn remove_allowed(file: &PolicyFile, name: &KnobName, kind: AccessKind, used: &mut Use) {
    if used.allowed.count == 0 {
        return;
    }
    let decision = |access: &Access| evaluate(file.policy(), access);
    if kind == AccessKind::Read {
        match outcome(file, &decision(&Access::read(name.clone()))) {
            Outcome::Allowed => used.allowed = Default::default(),
            Outcome::Undecided => {}
            Outcome::Otherwise(rule) => {
                let group = mem::take(&mut used.allowed);
                used.doubtful.entry(Doubt::DecidedBy(rule)).or_default().merge(&group);
            }
        }
        return;
    }
    for value in mem::take(&mut used.allowed.values.distinct) {
        match outcome(file, &decision(&Access::write(name.clone(), value.clone()))) {
            Outcome::Allowed => {}
            Outcome::Undecided => used.allowed.values.add(value),
            Outcome::Otherwise(rule) => {
                let group = used.doubtful.entry(Doubt::DecidedBy(rule)).or_default();
                let mut seen = used.allowed.clone();
                seen.values = Default::default();
                if group.count == 0 {
                    group.merge(&seen);
                }
                group.values.add(value);
            }
        }
    }
    if used.allowed.values.is_empty() {
        used.allowed = Default::default();
    }
}

enum Outcome {
    Allowed,
    /// By the default, which denies.
    Undecided,
    /// By this rule, which does not allow it.
    Otherwise(String),
}

fn outcome(file: &PolicyFile, decision: &Decision) -> Outcome {
    let rule = match (&decision.verdict, decision.by) {
        (Verdict::Allow, _) => return Outcome::Allowed,
        (_, DecidedBy::Default(_)) => return Outcome::Undecided,
        (_, DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. }) => rule,
    };
    let text = file.rule_text(rule).unwrap_or_default();
    Outcome::Otherwise(format!("the rule `{}`", crate::comment::one_line(text.as_bytes())))
}
