//! The [`Plan`] of a policy for one kind of access.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{AccessKind, KnobPattern, Piece, Policy, Width};

use super::name_classes::{NameClasses, is_for_every_name};
use crate::ir::{ByLastComponent, ByName, NamedStep, OtherComponents, OtherNames, Plan, Step, StepId, Steps};

/// Up to this many prefixes are compared one after another; more are left to the DFA. A comparison takes about 1 ns, and the
/// DFA 3 ns for every byte of the name.
const PREFIXES_MAX: usize = 32;

/// How `policy`, whose names these are, decides accesses of `kind`.
pub(super) fn plan(policy: &Policy, kind: AccessKind, names: &NameClasses<'_>, steps: &mut Steps) -> Plan {
    let mut rules: Vec<usize> =
        (0..policy.rules().len()).filter(|&rule| policy.rules()[rule].kinds().contains(kind)).collect();
    // No access gets past a rule that matches every name and has no condition.
    let takes_all =
        |&rule: &usize| policy.rules()[rule].condition().is_none() && is_for_every_name(policy, rule);
    if let Some(last) = rules.iter().position(takes_all) {
        rules.truncate(last + 1);
    }
    let (catch_all, by_name) = rules.iter().partition(|&&rule| is_for_every_name(policy, rule));
    Planner { policy, kind, names, catch_all, by_name, steps }.plan()
}

struct Planner<'a> {
    policy: &'a Policy,
    kind: AccessKind,
    names: &'a NameClasses<'a>,
    /// The rules of this kind that match every name.
    catch_all: Vec<usize>,
    /// The rules of this kind that look at the name.
    by_name: Vec<usize>,
    steps: &'a mut Steps,
}

impl<'a> Planner<'a> {
    fn plan(&mut self) -> Plan {
        let unmatched = self.unmatched();
        if self.by_name.is_empty() && self.widths().is_empty() {
            return Plan::AnyName(unmatched);
        }
        let names = self.names;
        let of_class: Vec<StepId> = names
            .partition
            .classes()
            .map(|class| {
                let rules = class.rules.iter().copied().filter(|&rule| self.is_of_kind(rule));
                let rules: Vec<usize> = rules.collect();
                self.chain(self.of_write(class.width), rules, Step::Default(self.kind))
            })
            .collect();
        let literals = names
            .partition
            .literals()
            .iter()
            .map(|literal| (literal, of_class[literal.class]))
            .filter(|(literal, step)| *step != of_class[literal.class_otherwise])
            .map(|(literal, step)| NamedStep { name: literal.name.clone(), step })
            .collect();
        let others = self.others(&of_class, unmatched);
        let by_last_component = self.by_last_component();
        Plan::ByName(ByName { literals, others, by_last_component })
    }

    /// The first step for names that no rule matches by name.
    fn unmatched(&mut self) -> StepId {
        self.chain(self.default_width(), self.catch_all.clone(), Step::Default(self.kind))
    }

    /// Which names their last component decides, and the first steps for names that are too long.
    fn by_last_component(&mut self) -> ByLastComponent {
        // The first rule that could match a name with this last component, and the first that could match any.
        let mut first_for: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut first_for_any = None;
        for &rule in &self.by_name {
            for pattern in self.policy.rules()[rule].patterns() {
                match pattern.last_components() {
                    Some(spelled_out) => {
                        for last in spelled_out {
                            first_for.entry(last).or_insert(rule);
                        }
                    }
                    None => first_for_any = first_for_any.or(Some(rule)),
                }
            }
        }
        let mut known: BTreeMap<Vec<u8>, StepId> = first_for
            .into_iter()
            .filter(|&(_, rule)| first_for_any.is_none_or(|any| rule < any))
            .map(|(last, rule)| (last, self.too_long(rule)))
            .collect();
        let any_too_long = first_for_any.map(|rule| self.too_long(rule));
        let unmatched = self.unmatched();
        let mut others = any_too_long.map_or(OtherComponents::Decided(unmatched), OtherComponents::NeedName);
        for pattern in self.widths() {
            match (pattern.last_components(), others) {
                (_, OtherComponents::NeedName(_)) => {}
                (Some(spelled_out), _) => {
                    for last in spelled_out {
                        known.entry(last).or_insert(unmatched);
                    }
                }
                (None, _) => others = OtherComponents::NeedName(unmatched),
            }
        }
        let known = known.into_iter().map(|(name, step)| NamedStep { name, step }).collect();
        ByLastComponent { known, others }
    }

    /// The first step for names that are too long, where `rule` is the first that looks at the name.
    fn too_long(&mut self, rule: usize) -> StepId {
        let before = self.catch_all.iter().copied().take_while(|&before| before < rule).collect();
        self.chain(self.default_width(), before, Step::NameTooLong { rule })
    }

    /// How names that are not spelled out find their first step.
    fn others(&mut self, of_class: &[StepId], unmatched: StepId) -> OtherNames {
        let dfa = self.names.partition.dfa().with_outputs(|class| of_class[class as usize].0 as u32);
        if let Some(only) = dfa.only_output() {
            return OtherNames::Same(StepId(only as usize));
        }
        let only_prefixes = self.widths().iter().all(|pattern| pattern.literal().is_some());
        match prefixes(self.policy, self.kind).filter(|_| only_prefixes) {
            Some(prefixes) => {
                let of_prefix =
                    |prefix: &&[u8]| NamedStep { name: prefix.to_vec(), step: self.of_prefix(prefix) };
                OtherNames::Prefixes {
                    prefixes: prefixes.iter().map(of_prefix).collect(),
                    otherwise: unmatched,
                }
            }
            None => OtherNames::Dfa(Box::new(dfa)),
        }
    }

    /// The first step for names with this prefix and no longer one.
    fn of_prefix(&mut self, prefix: &[u8]) -> StepId {
        let matches = |pattern: &KnobPattern| {
            as_prefix(pattern.pieces()).is_some_and(|shorter| prefix.starts_with(shorter))
        };
        let rules = (0..self.policy.rules().len()).filter(|&rule| {
            self.is_of_kind(rule) && self.policy.rules()[rule].patterns().iter().any(matches)
        });
        self.chain(self.default_width(), rules.collect(), Step::Default(self.kind))
    }

    fn is_of_kind(&self, rule: usize) -> bool {
        self.policy.rules()[rule].kinds().contains(self.kind)
    }

    /// `width` for writes. A read stores no number.
    fn of_write(&self, width: Width) -> Option<Width> {
        (self.kind == AccessKind::Write).then_some(width)
    }

    /// The width of knobs that no pattern of [`widths`](Self::widths) matches.
    fn default_width(&self) -> Option<Width> {
        self.of_write(self.policy.width_elsewhere())
    }

    /// The patterns of knobs with special widths.
    fn widths(&self) -> &'a [&'a KnobPattern] {
        if self.kind == AccessKind::Write { &self.names.widths } else { &[] }
    }

    /// The first step of a chain for knobs of this `width`: `rules` up to the first without a condition, else all of them
    /// and then `end`.
    fn chain(&mut self, width: Option<Width>, rules: Vec<usize>, end: Step) -> StepId {
        let policy_rules = self.policy.rules();
        let width_for = |rule: usize| width.filter(|_| self.names.width_matters[rule]);
        let unconditional = rules.iter().position(|&rule| policy_rules[rule].condition().is_none());
        let conditional = &rules[..unconditional.unwrap_or(rules.len())];
        let last = unconditional.map(|index| rules[index]);
        let last = last.map_or(end, |rule| Step::Rule { rule, next: None, width: width_for(rule) });
        let last = self.steps.intern(last);
        conditional.iter().rev().fold(last, |next, &rule| {
            let width = self.steps.get(next).width().or(width_for(rule));
            self.steps.intern(Step::Rule { rule, next: Some(next), width })
        })
    }
}

/// The prefixes in the patterns of the rules, the longest first. None if there are other patterns, or too many.
fn prefixes(policy: &Policy, kind: AccessKind) -> Option<Vec<&[u8]>> {
    let mut prefixes = BTreeSet::new();
    for rule in policy.rules().iter().filter(|rule| rule.kinds().contains(kind)) {
        for pattern in rule.patterns().iter().filter(|pattern| pattern.literal().is_none()) {
            prefixes.insert(as_prefix(pattern.pieces())?);
        }
    }
    prefixes.remove(&b""[..]);
    let mut prefixes: Vec<&[u8]> = prefixes.into_iter().collect();
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    (prefixes.len() <= PREFIXES_MAX).then_some(prefixes)
}

/// The prefix such that a pattern matches exactly the names that start with it, if there is one.
fn as_prefix(pieces: &[Piece]) -> Option<&[u8]> {
    match pieces {
        [Piece::DoubleStar] => Some(b""),
        [Piece::Literal(prefix), Piece::DoubleStar] => Some(prefix),
        _ => None,
    }
}
