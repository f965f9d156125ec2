//! An existing policy that also allows what was seen.

use std::mem;

use knobgate_policy::{Access, AccessKind, DecidedBy, Decision, KnobName, PolicyFile, Verdict, evaluate};

use crate::plan::{Block, blocks};
use crate::policy_text::{LearnError, LearnOptions, Learnt, notes, parsed, text_of};
use crate::recorded::Doubt;
use crate::recording::{Recording, Use};
use crate::test_block;

/// `file` with rules for what it does not allow so far. Its text stays as it is, apart from its layout: new rules come after
/// the last one, and a new test at the end.
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
    let rules: Vec<_> = blocks.iter().flat_map(Block::rules).cloned().collect();
    let notes = notes(&recording, &blocks);
    if blocks.is_empty() {
        return Ok(Learnt { file: file.clone(), rules: 0, notes });
    }
    let policy = file.policy().clone().with_rules(file.policy().rules().iter().cloned().chain(rules.clone()));
    let examples: Vec<Access> = blocks.iter().flat_map(|block| block.examples.clone()).collect();
    let (before, after) = file.source().text().split_at(end_of_rules(file));
    let gap = if after.is_empty() { "" } else { "\n" };
    let mut text = format!("{before}{}{gap}{after}", text_of(&blocks));
    if let Some(test) = test_block::of(test_name(file), &examples, &policy) {
        text += &format!("\n{test}\n");
    }
    Ok(Learnt { file: parsed(file.source().name(), &text)?, rules: rules.len(), notes })
}

/// Where new rules go: after the line of the last rule; without rules before the first test, or at the end.
fn end_of_rules(file: &PolicyFile) -> usize {
    let text = file.source().text();
    let last = file.policy().rules().len().checked_sub(1).and_then(|last| file.rule_span(last));
    match (last, file.test_span(0)) {
        (Some(last), _) => text[last.end..].find('\n').map_or(text.len(), |newline| last.end + newline + 1),
        (None, Some(test)) => test.start,
        (None, None) => text.len(),
    }
}

/// A name that no test of the policy has.
fn test_name(file: &PolicyFile) -> String {
    let name = |number| match number {
        1 => "what was seen".to_owned(),
        _ => format!("what was seen ({number})"),
    };
    let is_new = |name: &String| file.policy().tests().iter().all(|test| test.name != *name);
    (1..).map(name).find(is_new).expect("there are finitely many tests")
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
