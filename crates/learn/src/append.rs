//! An existing policy with more rules after its last one, and a test of them.

use knobgate_policy::terminal::escape_lines;
use knobgate_policy::{Expected, ParseError, Policy, PolicyFile, Span, TestStep, Verdict, evaluate};

use crate::plan::Block;
use crate::policy_text::{parsed, text_of};
use crate::test_block;

/// A policy with more rules.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    pub(crate) file: PolicyFile,
    /// How many rules were added.
    pub(crate) rules: usize,
    /// The lines of the old file with steps of tests that expected otherwise of what the new rules decide.
    pub(crate) changed_steps: Vec<usize>,
}

/// `file` with the rules of `blocks`. New rules come after the last one, and a new test at the end, called `test` or like it. What a
/// test expected of an access that the new rules decide otherwise is changed. Everything else stays as it is, apart from its
/// layout.
///
/// # Errors
/// More than one policy can hold.
pub(crate) fn append(file: &PolicyFile, blocks: &[Block], test: &str) -> Result<Appended, ParseError> {
    let rules: Vec<_> = blocks.iter().flat_map(Block::rules).cloned().collect();
    if blocks.is_empty() {
        return Ok(Appended { file: file.clone(), rules: 0, changed_steps: Vec::new() });
    }
    let old = file.policy();
    let policy = old.clone().with_rules(old.rules().iter().cloned().chain(rules.clone()));

    let end = end_of_rules(file);
    let gap = if end == file.source().text().len() { "" } else { "\n" };
    let mut edits = vec![(Span::new(end, end), format!("{}{gap}", text_of(blocks)))];
    let mut changed_steps = Vec::new();
    for (span, line, step) in contradicted_steps(file, &policy) {
        edits.push((span, escape_lines(&step.to_string())));
        changed_steps.push(line);
    }
    let mut text = edited(file.source().text(), edits);
    let examples = |of: fn(&Block) -> &[_]| blocks.iter().flat_map(of).cloned().collect::<Vec<_>>();
    let (allowed, denied) = (examples(|block| &block.examples), examples(|block| &block.denied));
    if let Some(test) = test_block::of(test_name(file, test), &allowed, &denied, &policy) {
        text += &format!("\n{}\n", escape_lines(&test.to_string()));
    }
    Ok(Appended { file: parsed(file.source().name(), &text)?, rules: rules.len(), changed_steps })
}

/// `text` with other text in these places.
fn edited(text: &str, mut edits: Vec<(Span, String)>) -> String {
    edits.sort_by_key(|(span, _)| span.start);
    let (mut result, mut done) = (String::with_capacity(text.len()), 0);
    for (span, instead) in edits {
        result += &text[done..span.start];
        result += &instead;
        done = span.end;
    }
    result + &text[done..]
}

/// The steps that `file` passes and `policy` does not, with their lines, and as they have to be.
fn contradicted_steps(file: &PolicyFile, policy: &Policy) -> Vec<(Span, usize, TestStep)> {
    let mut contradicted = Vec::new();
    for (test, steps) in file.policy().tests().iter().map(|test| &test.steps).enumerate() {
        for (index, step) in steps.iter().enumerate() {
            let verdict = |policy: &Policy| evaluate(policy, step.access()).verdict;
            let (was, is) = (verdict(file.policy()), verdict(policy));
            if was == is || !is_expected(step.expected(), &was) || is_expected(step.expected(), &is) {
                continue;
            }
            let expected = match is {
                Verdict::Allow => Expected::Allow,
                Verdict::Deny(_) => Expected::Deny(None),
                Verdict::Rewrite(value) => Expected::Set(value.into()),
            };
            let place = file.step_span(test, index).zip(file.step_place(test, index));
            if let (Some((span, place)), Ok(step)) = (place, TestStep::new(step.access().clone(), expected)) {
                contradicted.push((span, place.line, step));
            }
        }
    }
    contradicted
}

fn is_expected(expected: &Expected, verdict: &Verdict) -> bool {
    match (expected, verdict) {
        (Expected::Allow, Verdict::Allow) | (Expected::Deny(None), Verdict::Deny(_)) => true,
        (Expected::Deny(Some(expected)), Verdict::Deny(errno)) => expected == errno,
        (Expected::Set(expected), Verdict::Rewrite(value)) => expected.as_bytes() == value.as_slice(),
        _ => false,
    }
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
fn test_name(file: &PolicyFile, name: &str) -> String {
    let name = |number| match number {
        1 => name.to_owned(),
        _ => format!("{name} ({number})"),
    };
    let is_new = |name: &String| file.policy().tests().iter().all(|test| test.name != *name);
    (1..).map(name).find(is_new).expect("there are finitely many tests")
}
