//! From names to the rules that match them.

use knobgate_glob::{Budget, Partition, Piece};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, KnobPattern, Policy, Width};

use super::width;
use crate::error::{CompileError, NAME_STEPS_MAX};

/// Names in classes: the same rules decide all names of a class, and their knobs have the same width.
#[derive(Debug)]
pub(super) struct NameClasses<'a> {
    pub(super) partition: Partition<Class>,
    /// The patterns of knobs with [special widths](width::special).
    pub(super) widths: Vec<&'a KnobPattern>,
    /// For each rule, whether the width matters to it.
    pub(super) width_matters: Vec<bool>,
}

/// What the names of a class have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Class {
    /// The rules that match them and are ever tried, in order.
    pub(super) rules: Vec<usize>,
    /// The width of their knobs.
    pub(super) width: Width,
}

/// Why a pattern is in the partition.
#[derive(Clone, Copy)]
enum Owner {
    Rule(usize),
    Width(Width),
}

impl<'a> NameClasses<'a> {
    /// The names of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton. The error names the first rule with which they do.
    pub(super) fn new(policy: &'a Policy) -> Result<Self, CompileError> {
        let (catch_all, others): (Vec<usize>, Vec<usize>) =
            (0..policy.rules().len()).partition(|&rule| is_for_every_name(policy, rule));
        let of_rules = others.into_iter().flat_map(|rule| {
            policy.rules()[rule].patterns().iter().map(move |pattern| (pattern, Owner::Rule(rule)))
        });
        let width_matters = width::dependent_rules(policy);
        let special = width::special(policy, &width_matters);
        let of_widths = special.iter().map(|&(pattern, width)| (pattern, Owner::Width(width)));
        let fits = |pattern: &KnobPattern| pattern.literal().is_none_or(|name| name.len() <= NAME_MAX);
        let (patterns, owners): (Vec<&[Piece]>, Vec<Owner>) = of_rules
            .filter(|(pattern, _)| fits(pattern))
            .chain(of_widths)
            .map(|(pattern, owner)| (pattern.pieces(), owner))
            .unzip();

        let elsewhere = policy.width_elsewhere();
        let rules = |matching: &[usize]| {
            let rules = matching.iter().filter_map(|&pattern| match owners[pattern] {
                Owner::Rule(rule) => Some(rule),
                Owner::Width(_) => None,
            });
            rules.collect::<Vec<usize>>()
        };
        let partition = Partition::new(
            &patterns,
            &mut Budget::steps(NAME_STEPS_MAX),
            |globs| {
                let mut rules = rules(globs);
                rules.extend(&catch_all);
                let widths = globs.iter().filter_map(|&pattern| match owners[pattern] {
                    Owner::Rule(_) => None,
                    Owner::Width(width) => Some(width),
                });
                Class { rules: tried(policy, rules), width: width::of(widths, elsewhere) }
            },
            |name, equal, otherwise| {
                let mut rules = rules(equal);
                rules.extend(&otherwise.rules);
                Class { rules: tried(policy, rules), width: policy.width_of(name) }
            },
        );
        let partition = partition.map_err(|_| CompileError::PatternsTooComplex {
            rule: rule_to_blame(&patterns, &owners, policy.rules().len()),
        })?;
        let widths = special.into_iter().map(|(pattern, _)| pattern).collect();
        Ok(Self { partition, widths, width_matters })
    }
}

/// Those of `rules` that are ever tried: not those after rules without conditions for the same kinds of access.
fn tried(policy: &Policy, mut rules: Vec<usize>) -> Vec<usize> {
    rules.sort_unstable();
    rules.dedup();
    let mut open = vec![AccessKind::Read, AccessKind::Write];
    let is_tried = |rule: &usize| {
        let rule = &policy.rules()[*rule];
        let is_tried = open.iter().any(|kind| rule.kinds().contains(*kind));
        if rule.condition().is_none() {
            open.retain(|kind| !rule.kinds().contains(*kind));
        }
        is_tried
    };
    rules.retain(is_tried);
    rules
}

/// Whether a rule matches every name, even one that is too long to look at.
pub(super) fn is_for_every_name(policy: &Policy, rule: usize) -> bool {
    policy.rules()[rule].patterns().iter().any(KnobPattern::matches_every_name)
}

/// How many steps the search for the rule to blame may take.
const SEARCH_STEPS_MAX: usize = 4 * NAME_STEPS_MAX;

/// The first rule whose patterns, with those of the rules before it, make too large an automaton. It may be a later one if
/// the search takes too long.
fn rule_to_blame(patterns: &[&[Piece]], owners: &[Owner], rules: usize) -> usize {
    // If the widths are too much, the last rule is to blame.
    let rule_of = |pattern: usize| match owners[pattern] {
        Owner::Rule(rule) => rule,
        Owner::Width(_) => rules - 1,
    };
    // Where the patterns of each rule end.
    let count = patterns.len();
    let ends: Vec<usize> =
        (1..=count).filter(|&end| end == count || rule_of(end) != rule_of(end - 1)).collect();
    let (mut fit, mut too_many) = (0, ends.len());
    let mut left = SEARCH_STEPS_MAX;
    while fit + 1 < too_many && left >= NAME_STEPS_MAX {
        // Automata that are too large take longest, and longer with more patterns. So the search goes up from few patterns.
        let tried = fit.midpoint(too_many).min(2 * fit + 1);
        let mut budget = Budget::steps(NAME_STEPS_MAX);
        match Partition::new(&patterns[..ends[tried - 1]], &mut budget, |_| (), |_, _, ()| ()) {
            Ok(_) => fit = tried,
            Err(_) => too_many = tried,
        }
        left -= NAME_STEPS_MAX - budget.steps_left();
    }
    rule_of(ends[too_many - 1] - 1)
}
