//! The [`Plan`] of a policy for one kind of access.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{AccessKind, KnobPattern, Piece, Policy, Width};

use super::name_classes::{NameClasses, is_for_every_name};
use super::width;
use crate::ir::{ByName, Elsewhere, Others, Plan, Step, StepId, Steps};

/// Up to this many prefixes are compared one after another; more are left to the automaton. A comparison takes about 1 ns,
/// and the automaton 3 ns for every byte of the name.
const PREFIXES_MAX: usize = 32;

/// How `policy`, whose names these are, decides accesses of `kind`.
pub(super) fn plan(policy: &Policy, kind: AccessKind, names: &NameClasses<'_>, steps: &mut Steps) -> Plan {
    let mut rules: Vec<usize> =
        (0..policy.rules().len()).filter(|&rule| policy.rules()[rule].kinds().contains(kind)).collect();
    // Nothing gets past a rule that takes all.
    let takes_all =
        |&rule: &usize| policy.rules()[rule].condition().is_none() && is_for_every_name(policy, rule);
    if let Some(last) = rules.iter().position(takes_all) {
        rules.truncate(last + 1);
    }
    let (everywhere, by_name): (Vec<usize>, Vec<usize>) =
        rules.iter().partition(|&&rule| is_for_every_name(policy, rule));
    let fallback = Step::Default(kind);
    // Of a read there is no number that could be stored.
    let of_write = |width: Width| (kind == AccessKind::Write).then_some(width);
    let widths: &[&KnobPattern] = if kind == AccessKind::Write { &names.widths } else { &[] };
    let elsewhere_width = of_write(policy.width_elsewhere());
    let unmatched = chain(steps, policy, elsewhere_width, everywhere.iter().copied(), fallback);
    if by_name.is_empty() && widths.is_empty() {
        return Plan::AnyName(unmatched);
    }

    let of_kind = |rule: &usize| policy.rules()[*rule].kinds().contains(kind);
    let of_class: Vec<StepId> = names
        .partition
        .classes()
        .map(|class| {
            let rules = class.rules.iter().copied().filter(of_kind);
            chain(steps, policy, of_write(class.width), rules, fallback)
        })
        .collect();
    let literals = names
        .partition
        .literals()
        .iter()
        .map(|literal| (literal, of_class[literal.class]))
        .filter(|(literal, step)| *step != of_class[literal.class_otherwise])
        .map(|(literal, step)| (literal.name.clone(), step))
        .collect();
    let others = others(policy, kind, names, &of_class, (unmatched, elsewhere_width), steps);

    let (last_components, elsewhere) = long_names(policy, kind, (&everywhere, &by_name), widths, steps);
    Plan::ByName(ByName { literals, others, last_components, elsewhere })
}

/// Where names lead to that are too long, by their last component where some rule spells it out; and what other last
/// components say. The rules of this kind are those for every name, and those that look at the name.
fn long_names(
    policy: &Policy,
    kind: AccessKind,
    (everywhere, by_name): (&[usize], &[usize]),
    widths: &[&KnobPattern],
    steps: &mut Steps,
) -> (Vec<(Vec<u8>, StepId)>, Elsewhere) {
    let width = (kind == AccessKind::Write).then(|| policy.width_elsewhere());
    let mut too_long = |rule| {
        let before = everywhere.iter().copied().take_while(|&before| before < rule);
        chain(steps, policy, width, before, Step::NameTooLong { rule })
    };
    // The first rule that could match a name with this last component, and the first that could match any.
    let mut first_for: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut first_for_any = None;
    for &rule in by_name {
        for pattern in policy.rules()[rule].patterns() {
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
    let mut last_components: BTreeMap<Vec<u8>, StepId> = first_for
        .into_iter()
        .filter(|&(_, rule)| first_for_any.is_none_or(|any| rule < any))
        .map(|(last, rule)| (last, too_long(rule)))
        .collect();
    let any_too_long = first_for_any.map(&mut too_long);
    let unmatched = chain(steps, policy, width, everywhere.iter().copied(), Step::Default(kind));
    let mut elsewhere = any_too_long.map_or(Elsewhere::Known(unmatched), Elsewhere::TooLong);
    for pattern in widths {
        match (pattern.last_components(), elsewhere) {
            (_, Elsewhere::TooLong(_)) => {}
            (Some(spelled_out), _) => {
                for last in spelled_out {
                    last_components.entry(last).or_insert(unmatched);
                }
            }
            (None, _) => elsewhere = Elsewhere::TooLong(unmatched),
        }
    }
    (last_components.into_iter().collect(), elsewhere)
}

/// How names that are not spelled out are told apart.
fn others(
    policy: &Policy,
    kind: AccessKind,
    names: &NameClasses<'_>,
    of_class: &[StepId],
    (unmatched, width): (StepId, Option<Width>),
    steps: &mut Steps,
) -> Others {
    let dfa = names.partition.dfa().with_outputs(|class| of_class[class as usize].0 as u32);
    if let Some(only) = dfa.only_output() {
        return Others::Same(StepId(only as usize));
    }
    let only_prefixes = width.is_none() || names.widths.iter().all(|pattern| pattern.literal().is_some());
    match prefixes(policy, kind).filter(|_| only_prefixes) {
        Some(prefixes) => {
            let of_prefix = |prefix: &&[u8]| {
                let matches = |pattern: &KnobPattern| {
                    as_prefix(pattern.pieces()).is_some_and(|shorter| prefix.starts_with(shorter))
                };
                let rules = (0..policy.rules().len()).filter(|&rule| {
                    policy.rules()[rule].kinds().contains(kind)
                        && policy.rules()[rule].patterns().iter().any(matches)
                });
                (prefix.to_vec(), chain(steps, policy, width, rules, Step::Default(kind)))
            };
            Others::Prefixes(prefixes.iter().map(of_prefix).collect(), unmatched)
        }
        None => Others::Dfa(Box::new(dfa)),
    }
}

/// The prefixes that names are told apart by, the longest first, if it is only prefixes, and few.
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

/// The prefix of all names that a pattern matches, if it matches all names with it.
fn as_prefix(pieces: &[Piece]) -> Option<&[u8]> {
    match pieces {
        [Piece::DoubleStar] => Some(b""),
        [Piece::Literal(prefix), Piece::DoubleStar] => Some(prefix),
        _ => None,
    }
}

/// The first step of a chain for knobs of this `width`, which is absent for reads: `rules` up to the first without a
/// condition, else all of them and then `end`.
fn chain(
    steps: &mut Steps,
    policy: &Policy,
    width: Option<Width>,
    rules: impl Iterator<Item = usize>,
    end: Step,
) -> StepId {
    let matters_to = |rule: usize| width.filter(|_| width::matters_to(&policy.rules()[rule]));
    let mut conditional = Vec::new();
    let mut last = None;
    for rule in rules {
        if policy.rules()[rule].condition().is_none() {
            last = Some(Step::Rule { rule, next: None, width: matters_to(rule) });
            break;
        }
        conditional.push(rule);
    }
    let last = steps.intern(last.unwrap_or(end));
    conditional.into_iter().rev().fold(last, |next, rule| {
        let width = steps.get(next).width().or(matters_to(rule));
        steps.intern(Step::Rule { rule, next: Some(next), width })
    })
}
