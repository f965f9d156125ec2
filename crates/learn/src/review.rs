//! A review of what a policy denies: one decision for each class of accesses.

use knobgate_policy::{
    Access, AccessKind, DecidedBy, Errno, FallbackAction, KnobName, Policy, PolicyFile, evaluate,
};

use crate::append::{Appended, append};
use crate::denied::DeniedClass;
use crate::policy_text::LearnError;
use crate::proposal::{Proposal, Proposer};
use crate::recording::Group;

/// A review of what a policy denies by its default.
///
/// It asks one [question](Self::question) after the other, and adds the rules that were chosen to the policy.
#[derive(Debug)]
pub struct Review<'a> {
    file: &'a PolicyFile,
    classes: Vec<DeniedClass>,
    slack: u32,
    knobs: &'a [KnobName],
    steps: Vec<Step>,
    /// The first class that may not be decided.
    next: usize,
    appended: Appended,
}

/// What was decided about a class.
#[derive(Debug)]
struct Step {
    class: usize,
    /// `None` leaves it for the next time.
    chosen: Option<Proposal>,
}

/// A class of accesses that is not decided, with what can be decided about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Question<'r> {
    /// Which one it is, from 1.
    pub number: usize,
    /// The accesses.
    pub class: &'r DeniedClass,
    /// The values that are not decided; none for reads.
    pub values: Vec<Vec<u8>>,
    /// Whether there were more values, of which only the extent is known.
    pub has_more_values: bool,
    /// Why no rule can tell some of the accesses from others, and how many these are.
    pub doubts: Vec<(String, u64)>,
    /// Allows exactly what was seen, or why nothing does.
    pub allow: Result<Proposal, String>,
    /// Denies what was seen, or why nothing does.
    pub deny: Result<Proposal, String>,
    /// Allow more than what was seen, the narrowest first.
    pub generalised: Vec<Proposal>,
}

impl<'a> Review<'a> {
    /// Of these classes. `knobs` are those of this machine, and `slack` is how much more numbers to offer, in per cent.
    pub fn new(file: &'a PolicyFile, classes: Vec<DeniedClass>, slack: u32, knobs: &'a [KnobName]) -> Self {
        let appended = Appended { file: file.clone(), rules: 0, changed_steps: Vec::new() };
        Self { file, classes, slack, knobs, steps: Vec::new(), next: 0, appended }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The next class that is not decided; `None` at the end.
    pub fn question(&self) -> Option<Question<'_>> {
        let (index, group) = self.undecided()?;
        let class = &self.classes[index];
        let proposer = Proposer {
            class,
            group: &group,
            slack: self.slack,
            knobs: self.knobs,
            errno: match self.file.policy().defaults().of(class.kind).action {
                FallbackAction::Deny(errno) => errno,
                FallbackAction::Allow => Errno::EPERM,
            },
        };
        Some(Question {
            number: index + 1,
            class,
            values: group.values.distinct.iter().cloned().collect(),
            has_more_values: group.values.more_texts || !group.values.extents.is_empty(),
            doubts: class.doubts().map(|(doubt, count)| (doubt.reason(), count)).collect(),
            allow: proposer.allow(),
            deny: proposer.deny(),
            generalised: proposer.generalised(),
        })
    }

    /// Decides the question. Without a proposal, leaves it for the next time.
    ///
    /// # Errors
    /// The policy cannot hold more rules. The question stays.
    pub fn decide(&mut self, chosen: Option<Proposal>) -> Result<(), LearnError> {
        let Some((class, _)) = self.undecided() else { return Ok(()) };
        self.steps.push(Step { class, chosen });
        self.next = class + 1;
        self.apply().inspect_err(|_| {
            self.steps.pop();
            self.next = class;
        })
    }

    /// Takes the last decision back; false if there is none.
    ///
    /// # Errors
    /// As for [`decide`](Self::decide), which does not happen with fewer rules.
    pub fn undo(&mut self) -> Result<bool, LearnError> {
        let Some(step) = self.steps.pop() else { return Ok(false) };
        self.next = step.class;
        self.apply()?;
        Ok(true)
    }

    /// The policy with everything that was decided so far.
    pub fn file(&self) -> &PolicyFile {
        &self.appended.file
    }

    /// How many rules were added.
    pub fn rules(&self) -> usize {
        self.appended.rules
    }

    /// The lines of the policy with steps of tests that expected otherwise of what was decided, and are changed.
    pub fn changed_steps(&self) -> &[usize] {
        &self.appended.changed_steps
    }

    /// Whether every class is decided, and none is left for the next time.
    pub fn is_complete(&self) -> bool {
        self.undecided().is_none() && self.steps.iter().all(|step| step.chosen.is_some())
    }

    fn apply(&mut self) -> Result<(), LearnError> {
        let chosen = self.steps.iter().filter_map(|step| step.chosen.as_ref());
        let blocks: Vec<_> = chosen.map(|proposal| proposal.block.clone()).collect();
        self.appended = append(self.file, &blocks, "what was reviewed")?;
        Ok(())
    }

    /// The first class that has something to decide, with that.
    fn undecided(&self) -> Option<(usize, Group)> {
        let rules = self.file.policy().rules().len();
        let added = self.appended.file.policy().rules().iter().skip(rules).cloned();
        let decided = self.file.policy().clone().with_rules(added).with_tests([]);
        let rest = self.classes.iter().enumerate().skip(self.next);
        rest.map(|(index, class)| (index, not_decided(class, &decided))).find(|(index, group)| {
            let class = &self.classes[*index];
            group.count > 0 || (!class.used.doubtful.is_empty() && !is_named(class, &decided))
        })
    }
}

/// Whether a rule of `decided` is for the knob. It decides what is doubtful, if only because it cannot be evaluated for that.
fn is_named(class: &DeniedClass, decided: &Policy) -> bool {
    let mut rules = decided.rules().iter().filter(|rule| rule.kinds().contains(class.kind));
    rules.any(|rule| rule.patterns().iter().any(|pattern| pattern.matches(class.knob.as_bytes())))
}

/// What the rules of `decided` leave to its default.
fn not_decided(class: &DeniedClass, decided: &Policy) -> Group {
    let mut group = class.used.allowed.clone();
    let is_left = |access: &Access| matches!(evaluate(decided, access).by, DecidedBy::Default(_));
    let left = match class.kind {
        AccessKind::Read => is_left(&Access::read(class.knob.clone())),
        AccessKind::Write => {
            group.values.distinct.retain(|value| is_left(&Access::write(class.knob.clone(), value.clone())));
            !group.values.is_empty()
        }
    };
    if left { group } else { Group::default() }
}
