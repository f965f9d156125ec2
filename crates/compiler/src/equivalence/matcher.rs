//! What the placed tables say about a name, as an automaton: what `codegen::matcher` and `codegen::lookup` do with them.

use std::collections::BTreeSet;
use std::rc::Rc;

use foldhash::HashMap;
use knobgate_policy::AccessKind;

use super::tables::{Found, Tables};
use super::trie::{Prefix, Trie};
use crate::ir::{Ir, NamedStep, OtherComponents, StepId};
use crate::layout::{Hash, Layout, Lookup, PlacedNames, PlacedOtherNames, PlacedPlan};

/// The matcher for one kind of access.
pub(super) struct Matcher<'a> {
    plan: &'a PlacedPlan<'a>,
    tables: Tables<'a>,
    step_of_row: HashMap<u32, StepId>,
    /// The names that the search for literals might find.
    literals: BTreeSet<Vec<u8>>,
    /// The steps that the DFA may lead to.
    steps_of_dfa: BTreeSet<StepId>,
    /// The last components that the search for them might find.
    last_components: BTreeSet<Vec<u8>>,
    /// Those of them that matter to names that are not too long.
    deciding: Trie,
}

/// How the start of a name was matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Matched {
    others: MatchedOthers,
    /// Of the last component, among those that might be found. Empty at the start of a component.
    last: Prefix,
}

/// The same for names that are not spelled out: how much of each prefix the name has, or the state of the DFA.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum MatchedOthers {
    Same,
    Prefixes(Vec<Option<usize>>),
    State(u32),
}

impl Matched {
    /// Whether the last component has a byte.
    pub(super) fn is_inside_component(&self) -> bool {
        self.last != Trie::START
    }
}

/// The plan for accesses of `kind`.
pub(super) fn plan<'a>(kind: AccessKind, layout: &'a Layout<'a>) -> &'a PlacedPlan<'a> {
    let [read, write] = &layout.plans;
    match kind {
        AccessKind::Read => read,
        AccessKind::Write => write,
    }
}

impl<'a> Matcher<'a> {
    pub(super) fn new(kind: AccessKind, ir: &Ir, layout: &'a Layout<'a>, bytes: &'a [u8]) -> Self {
        let plan = plan(kind, layout);
        let tables = Tables { bytes, layout };
        let step_of_row = ir.reached_steps().map(|(id, _)| (layout.step(id).row, id)).collect();
        let mut matcher = Self {
            plan,
            tables,
            step_of_row,
            steps_of_dfa: BTreeSet::new(),
            literals: BTreeSet::new(),
            last_components: BTreeSet::new(),
            deciding: Trie::new(&BTreeSet::new()),
        };
        let PlacedPlan::ByName(names) = plan else { return matcher };
        matcher.steps_of_dfa = names.plan.others.steps();
        let keys = |lookup: &Option<Rc<Lookup>>| {
            lookup.as_deref().map_or_else(BTreeSet::new, |lookup| tables.keys(lookup))
        };
        matcher.literals = keys(&names.literals);
        matcher.last_components = keys(&names.last_components);
        if let OtherComponents::Decided(_) = names.plan.by_last_component.others {
            matcher.deciding = Trie::new(&matcher.last_components);
        }
        if let Some((hash, lookup)) = with_known_slot(names) {
            let found = matcher.last_components.iter().filter_map(|last| tables.find(lookup, last));
            matcher.literals.extend(found.filter_map(|found| tables.key_in_slot(hash, found.only_slot)));
        }
        matcher
    }

    /// The names that it might find as a whole. For no other name the step depends on more than what [`Matched`] says.
    pub(super) fn literals(&self) -> &BTreeSet<Vec<u8>> {
        &self.literals
    }

    /// All last components that it might find.
    pub(super) fn last_components(&self) -> &BTreeSet<Vec<u8>> {
        &self.last_components
    }

    pub(super) fn start(&self) -> Matched {
        let others = match self.plan {
            PlacedPlan::AnyName(_) => MatchedOthers::Same,
            PlacedPlan::ByName(names) => match &names.others {
                PlacedOtherNames::Same(_) => MatchedOthers::Same,
                PlacedOtherNames::Prefixes { prefixes, .. } => {
                    MatchedOthers::Prefixes(vec![Some(0); prefixes.len()])
                }
                PlacedOtherNames::Dfa(dfa) => MatchedOthers::State(dfa.start),
            },
        };
        Matched { others, last: Trie::START }
    }

    pub(super) fn after(&self, matched: &Matched, byte: u8) -> Matched {
        let others = match (self.plan, &matched.others) {
            (
                PlacedPlan::ByName(PlacedNames {
                    others: PlacedOtherNames::Prefixes { prefixes, .. }, ..
                }),
                MatchedOthers::Prefixes(matched),
            ) => {
                let next = |(matched, NamedStep { name: prefix, .. }): (&Option<usize>, &NamedStep)| {
                    let matched = (*matched)?;
                    match prefix.get(matched) {
                        None => Some(matched),
                        Some(&next) => (next == byte).then_some(matched + 1),
                    }
                };
                MatchedOthers::Prefixes(matched.iter().zip(prefixes.iter()).map(next).collect())
            }
            (
                PlacedPlan::ByName(PlacedNames { others: PlacedOtherNames::Dfa(dfa), .. }),
                MatchedOthers::State(state),
            ) => MatchedOthers::State(self.tables.next_state(*dfa, *state, byte)),
            _ => MatchedOthers::Same,
        };
        let last = if byte == b'/' { Trie::START } else { self.deciding.after(matched.last, byte) };
        Matched { others, last }
    }

    /// The first step for a name that ends here and is not too long. `literal` is the name if it is one of
    /// [`literals`](Self::literals). None if the row that is found is not that of a step that code goes to.
    pub(super) fn found(&self, matched: &Matched, literal: Option<&[u8]>) -> Option<StepId> {
        let names = match self.plan {
            PlacedPlan::AnyName(step) => return Some(*step),
            PlacedPlan::ByName(names) => names,
        };
        let mut only_slot = 0;
        if let OtherComponents::Decided(step) = names.plan.by_last_component.others {
            match self.find_last_component(names, self.deciding.key(matched.last)) {
                Some(found) => only_slot = found.only_slot,
                None => return Some(step),
            }
        }
        if let (Some(name), Some(lookup)) = (literal, names.literals.as_deref()) {
            let found = match with_known_slot(names) {
                Some((hash, _)) if only_slot != 0 => self.tables.find_in_slot(hash, only_slot, name),
                _ => self.tables.find(lookup, name),
            };
            if let Some(found) = found {
                return self.step(found.row, &names.plan.literals);
            }
        }
        match (&names.others, &matched.others) {
            (PlacedOtherNames::Prefixes { prefixes, otherwise }, MatchedOthers::Prefixes(matched)) => {
                let mut whole = prefixes.iter().zip(matched);
                let whole = whole.find(|(prefix, matched)| **matched == Some(prefix.name.len()));
                Some(whole.map_or(*otherwise, |(prefix, _)| prefix.step))
            }
            (PlacedOtherNames::Dfa(_), MatchedOthers::State(state)) => {
                let step = self.step_of_row.get(&self.tables.output(*state)).copied();
                step.filter(|step| self.steps_of_dfa.contains(step))
            }
            (PlacedOtherNames::Same(step), _) => Some(*step),
            _ => unreachable!("the state of another automaton"),
        }
    }

    /// The first step for a name with the last component `last` that is too long.
    pub(super) fn too_long(&self, last: &[u8]) -> Option<StepId> {
        let names = match self.plan {
            PlacedPlan::AnyName(step) => return Some(*step),
            PlacedPlan::ByName(names) => names,
        };
        let by_last_component = &names.plan.by_last_component;
        match (self.find_last_component(names, Some(last)), by_last_component.others) {
            (Some(found), _) => self.step(found.row, &by_last_component.known),
            (None, OtherComponents::Decided(step) | OtherComponents::NeedName(step)) => Some(step),
        }
    }

    /// The first byte of each range that no table divides.
    pub(super) fn byte_ranges(&self) -> BTreeSet<u8> {
        let mut starts = BTreeSet::new();
        if let PlacedPlan::ByName(names) = self.plan {
            match &names.others {
                PlacedOtherNames::Same(_) => {}
                PlacedOtherNames::Prefixes { prefixes, .. } => {
                    let bytes = prefixes.iter().flat_map(|prefix| &prefix.name);
                    starts.extend(bytes.flat_map(|&byte| [Some(byte), byte.checked_add(1)]).flatten());
                }
                PlacedOtherNames::Dfa(dfa) => {
                    let class = |byte: u8| self.tables.class(*dfa, byte);
                    starts.extend((1..=u8::MAX).filter(|&byte| class(byte) != class(byte - 1)));
                }
            }
        }
        starts.extend(self.deciding.byte_ranges());
        starts
    }

    fn find_last_component(&self, names: &PlacedNames<'_>, last: Option<&[u8]>) -> Option<Found> {
        self.tables.find(names.last_components.as_deref()?, last?)
    }

    /// The step with this row, if it is one of those that `named` lead to.
    fn step(&self, row: u32, named: &[NamedStep]) -> Option<StepId> {
        let step = self.step_of_row.get(&row).copied();
        step.filter(|step| named.iter().any(|named| named.step == *step))
    }
}

/// The hash of the literals and the search for last components, if the latter finds slots of the former.
fn with_known_slot<'a>(names: &'a PlacedNames<'_>) -> Option<(&'a Hash, &'a Lookup)> {
    match (names.literals.as_deref(), names.last_components.as_deref()) {
        (Some(Lookup::Hash(hash)), Some(lookup)) if names.knows_slots => Some((hash, lookup)),
        _ => None,
    }
}
