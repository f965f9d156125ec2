//! How accesses of one kind get from their name to the first step of their decision.
//!
//! If the rules spell out the last components of all names that they match, the last component is looked at first: most
//! accesses are to other knobs, and for those it is enough.

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

/// A name, or a part of one, and the first step for it.
#[derive(Debug, Clone)]
pub(crate) struct NamedStep {
    pub(crate) name: Vec<u8>,
    pub(crate) step: StepId,
}

/// The first step for each name.
#[derive(Debug)]
pub(crate) struct ByName {
    /// Names that are spelled out.
    pub(crate) literals: Vec<NamedStep>,
    /// All other names.
    pub(crate) others: OtherNames,
    pub(crate) by_last_component: ByLastComponent,
}

/// How names that are not spelled out find their first step.
#[derive(Debug)]
pub(crate) enum OtherNames {
    /// All in the same one.
    Same(StepId),
    /// By the first of these prefixes that the name has.
    Prefixes { prefixes: Vec<NamedStep>, otherwise: StepId },
    /// By a DFA whose outputs are numbers of steps.
    Dfa(Box<Dfa>),
}

/// First steps by the last component of the name.
#[derive(Debug)]
pub(crate) struct ByLastComponent {
    /// Last components that some rule spells out, each with the step for a name that ends in it and is too long.
    pub(crate) known: Vec<NamedStep>,
    /// All other last components.
    pub(crate) others: OtherComponents,
}

/// Names whose last component no rule spells out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherComponents {
    /// No rule that looks at names matches them: they go to this step, however long they are.
    Decided(StepId),
    /// Some rule might match them: the whole name is needed. If it is too long, it goes to this step.
    NeedName(StepId),
}

impl Plan {
    /// The steps that decisions may start with.
    pub(crate) fn first_steps(&self) -> BTreeSet<StepId> {
        match self {
            Plan::AnyName(step) => BTreeSet::from([*step]),
            Plan::ByName(by_name) => {
                let ByLastComponent { known, others } = &by_name.by_last_component;
                let mut steps = by_name.others.steps();
                steps.extend(by_name.literals.iter().chain(known).map(|named| named.step));
                let (OtherComponents::Decided(step) | OtherComponents::NeedName(step)) = others;
                steps.insert(*step);
                steps
            }
        }
    }
}

impl OtherNames {
    /// Where they may lead.
    pub(crate) fn steps(&self) -> BTreeSet<StepId> {
        match self {
            OtherNames::Same(step) => BTreeSet::from([*step]),
            OtherNames::Prefixes { prefixes, otherwise } => {
                prefixes.iter().map(|named| named.step).chain([*otherwise]).collect()
            }
            OtherNames::Dfa(dfa) => dfa.outputs().map(|step| StepId(step as usize)).collect(),
        }
    }
}
