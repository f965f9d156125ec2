//! An existing policy that also allows what was seen.

use knobgate_events::Event;
use knobgate_policy::{DecidedBy, PolicyFile, Verdict};
use knobgate_replay::{Decider, Recorded};

use crate::append::{Appended, append};
use crate::comment::one_line;
use crate::plan::blocks;
use crate::policy_text::{LearnError, LearnOptions, Learnt, notes};
use crate::recorded::Doubt;
use crate::recording::Recording;

/// A policy that is extended.
#[derive(Debug)]
pub(crate) struct Extended<'a> {
    file: &'a PolicyFile,
    decider: Decider<'a>,
}

/// What the policy says about an access.
#[derive(Debug)]
pub(crate) enum Opinion {
    Allows,
    /// The default denies it, so that a rule can allow it.
    NoRule,
    /// It takes more than a rule after the others.
    Otherwise(Doubt),
}

impl<'a> Extended<'a> {
    pub(crate) fn new(file: &'a PolicyFile) -> Self {
        Self { file, decider: Decider::new(file.policy()) }
    }

    /// What the policy decides, as far as that is known of the access.
    pub(crate) fn opinion(&mut self, event: &Event) -> Opinion {
        let decided = match Recorded::of(event) {
            Ok(recorded) => self.decider.decide(&recorded),
            Err(unknown) => return Opinion::Otherwise(Doubt::Depends(vec![unknown])),
        };
        match (decided.verdict(), decided.by) {
            (Some(Verdict::Allow), _) => Opinion::Allows,
            (_, Some(DecidedBy::Default(_))) => Opinion::NoRule,
            (_, Some(DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. })) => {
                let text = self.file.rule_text(rule).unwrap_or_default();
                Opinion::Otherwise(Doubt::DecidedBy(format!("the rule `{}`", one_line(text.as_bytes()))))
            }
            (_, None) => Opinion::Otherwise(Doubt::Depends(decided.unknown)),
        }
    }

    /// The policy with rules for what was seen. Its text stays as it is, apart from its layout: new rules come after the last one, and a
    /// new test at the end. What its tests expected of what is allowed now is changed, and a note says so.
    ///
    /// # Errors
    /// More than one policy can hold.
    pub(crate) fn with(
        &self,
        recording: &Recording<'_>,
        options: &LearnOptions<'_>,
    ) -> Result<Learnt, LearnError> {
        let blocks = blocks(recording, options)?;
        let mut notes = notes(recording, &blocks);
        let Appended { file, rules, changed_steps } = append(self.file, &blocks, "what was seen")?;
        if !changed_steps.is_empty() {
            let lines: Vec<String> = changed_steps.iter().map(usize::to_string).collect();
            notes.push(format!(
                "the tests expected otherwise of what is allowed now, and were changed: line {}",
                lines.join(", ")
            ));
        }
        Ok(Learnt { file, rules, notes })
    }
}
