//! How accesses of one kind get from their name to the first step of their decision.
//!
//! The last component of a name comes first, where the rules spell out all that they match: most accesses are to other knobs,
//! and for these nothing more has to be known.

use std::collections::BTreeSet;

use knobgate_glob::Dfa;

use super::StepId;

/// How accesses of one kind are decided.
#[derive(Debug)]
pub(crate) enum Plan {
    /// In the same way for all names.
    AnyName(StepId),
    /// By the name.
    ByName(ByName),
}

/// Where names lead to.
#[derive(Debug)]
pub(crate) struct ByName {
    /// Names that are spelled out.
    pub(crate) literals: Vec<(Vec<u8>, StepId)>,
    /// All other names.
    pub(crate) others: Others,
    /// Last components that some rule spells out, each with where a name that ends in it goes if it is too long.
    pub(crate) last_components: Vec<(Vec<u8>, StepId)>,
    /// What other last components say.
    pub(crate) elsewhere: Elsewhere,
}

/// How names that are not spelled out are told apart.
#[derive(Debug)]
pub(crate) enum Others {
    /// Not at all.
    Same(StepId),
    /// By the first of these prefixes that they have.
    Prefixes(Vec<(Vec<u8>, StepId)>, StepId),
    /// By a DFA, whose outputs are numbers of steps.
    Dfa(Box<Dfa>),
}

/// Names that end in a last component that no rule spells out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// No rule that looks at names matches them, however long they are.
    Known(StepId),
    /// Some rule might match them; where they go if they are too long.
    TooLong(StepId),
}

impl Elsewhere {
    /// Whether the last component alone may tell.
    pub(crate) fn is_known(self) -> bool {
        matches!(self, Elsewhere::Known(_))
    }
}

impl Plan {
    /// The steps that decisions may start with.
    pub(crate) fn first_steps(&self) -> BTreeSet<StepId> {
        match self {
            Plan::AnyName(step) => BTreeSet::from([*step]),
            Plan::ByName(by_name) => {
                let mut steps = by_name.others.steps();
                steps.extend(by_name.literals.iter().chain(&by_name.last_components).map(|(_, step)| *step));
                let (Elsewhere::Known(step) | Elsewhere::TooLong(step)) = by_name.elsewhere;
                steps.insert(step);
                steps
            }
        }
    }
}

impl Others {
    /// Where they may lead.
    pub(crate) fn steps(&self) -> BTreeSet<StepId> {
        match self {
            Others::Same(step) => BTreeSet::from([*step]),
            Others::Prefixes(prefixes, otherwise) => {
                prefixes.iter().map(|(_, step)| *step).chain([*otherwise]).collect()
            }
            Others::Dfa(dfa) => dfa.outputs().map(|step| StepId(step as usize)).collect(),
        }
    }
}
