//! How accesses of one kind get from their name to the first step of their decision.
//!
//! The last component of a name is fetched first, where the rules spell out all that they match: most accesses are
//! to other knobs, and for these nothing more is fetched.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_policy::{AccessKind, KnobPattern, Piece, Policy, Width};

use crate::chain::{Step, StepId, Steps};
use crate::names::{Names, is_for_every_name};
use crate::table::Table;

/// Up to this many prefixes are compared one after another; more are left to the automaton. A comparison takes about 1 ns,
/// and the automaton 3 ns for every byte of the name.
pub(crate) const PREFIXES_MAX: usize = 32;

/// How accesses of one kind are decided.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Alike for all names.
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

/// How names are told apart that are not spelled out.
#[derive(Debug)]
pub(crate) enum Others {
    /// Not at all.
    Alike(StepId),
    /// By the first of these with which they begin.
    Prefixes(Vec<(Vec<u8>, StepId)>, StepId),
    /// By an automaton, whose outputs are numbers of steps.
    Automaton(Box<Table>),
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
    /// How `policy`, whose names these are, decides accesses of `kind`.
    pub(crate) fn new(policy: &Policy, kind: AccessKind, names: &Names<'_>, steps: &mut Steps) -> Self {
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
        let unmatched = steps.chain(policy, elsewhere_width, everywhere.iter().copied(), fallback);
        if by_name.is_empty() && widths.is_empty() {
            return Plan::AnyName(unmatched);
        }

        let of_kind = |rule: &usize| policy.rules()[*rule].kinds().contains(kind);
        let of_class: Vec<StepId> = names
            .classes
            .iter()
            .map(|class| {
                let rules = class.rules.iter().copied().filter(of_kind);
                steps.chain(policy, of_write(class.width), rules, fallback)
            })
            .collect();
        let literals = names
            .literals
            .iter()
            .map(|literal| (literal, of_class[literal.class]))
            .filter(|(literal, step)| *step != of_class[literal.class_otherwise])
            .map(|(literal, step)| (literal.name.clone(), step))
            .collect();
        let others = Others::new(policy, kind, names, &of_class, (unmatched, elsewhere_width), steps);

        let mut too_long = |rule| {
            let before = everywhere.iter().copied().take_while(|&before| before < rule);
            steps.chain(policy, elsewhere_width, before, Step::NameTooLong { rule })
        };
        // The first rule that could match a name with this last component, and the first that could match any.
        let mut first_for: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut first_for_any = None;
        for &rule in &by_name {
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
        let mut elsewhere = match first_for_any {
            Some(rule) => Elsewhere::TooLong(too_long(rule)),
            None => Elsewhere::Known(unmatched),
        };
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
        let last_components = last_components.into_iter().collect();
        Plan::ByName(ByName { literals, others, last_components, elsewhere })
    }

    /// The steps that accesses of this kind may begin with.
    pub(crate) fn entries(&self) -> BTreeSet<StepId> {
        match self {
            Plan::AnyName(step) => BTreeSet::from([*step]),
            Plan::ByName(by_name) => {
                let mut entries: BTreeSet<StepId> = by_name.others.steps();
                entries
                    .extend(by_name.literals.iter().chain(&by_name.last_components).map(|(_, step)| *step));
                let (Elsewhere::Known(step) | Elsewhere::TooLong(step)) = by_name.elsewhere;
                entries.insert(step);
                entries
            }
        }
    }
}

impl Others {
    fn new(
        policy: &Policy,
        kind: AccessKind,
        names: &Names<'_>,
        of_class: &[StepId],
        (unmatched, width): (StepId, Option<Width>),
        steps: &mut Steps,
    ) -> Self {
        let table = names.table.with_outputs(|class| of_class[class as usize].0 as u32);
        if let Some(only) = table.only_output() {
            return Others::Alike(StepId(only as usize));
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
                    (prefix.to_vec(), steps.chain(policy, width, rules, Step::Default(kind)))
                };
                Others::Prefixes(prefixes.iter().map(of_prefix).collect(), unmatched)
            }
            None => Others::Automaton(Box::new(table)),
        }
    }

    /// Where they may lead.
    pub(crate) fn steps(&self) -> BTreeSet<StepId> {
        match self {
            Others::Alike(step) => BTreeSet::from([*step]),
            Others::Prefixes(prefixes, otherwise) => {
                prefixes.iter().map(|(_, step)| *step).chain([*otherwise]).collect()
            }
            Others::Automaton(table) => table.outputs().map(|step| StepId(step as usize)).collect(),
        }
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

/// What a pattern matches everything below.
fn as_prefix(pieces: &[Piece]) -> Option<&[u8]> {
    match pieces {
        [Piece::DoubleStar] => Some(b""),
        [Piece::Literal(prefix), Piece::DoubleStar] => Some(prefix),
        _ => None,
    }
}
