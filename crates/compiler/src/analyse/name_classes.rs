//! From names to the rules that match them.

use knobgate_glob::{Budget, Partition, Piece};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, KnobPattern, Policy, Width};

use super::width;
use crate::error::{CompileError, NAME_STEPS_MAX};

/// Names in classes: those of one class are decided by the same rules, which take the same numbers.
#[derive(Debug)]
pub(super) struct NameClasses<'a> {
    pub(super) partition: Partition<Class>,
    /// The patterns by which widths are told apart.
    pub(super) widths: Vec<&'a KnobPattern>,
    /// For each rule, whether the width matters to it.
    pub(super) width_matters: Vec<bool>,
}

/// What is known of some names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Class {
    /// The rules that match them and may decide, in order.
    pub(super) rules: Vec<usize>,
    /// Which numbers their knobs store as they are.
    pub(super) width: Width,
}

/// What a pattern stands for.
#[derive(Clone, Copy)]
enum Owner {
    Rule(usize),
    Width(Width),
}

impl<'a> NameClasses<'a> {
    /// The names of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton: the first rule with which they do.
    pub(super) fn new(policy: &'a Policy) -> Result<Self, CompileError> {
        let (everywhere, others): (Vec<usize>, Vec<usize>) =
            (0..policy.rules().len()).partition(|&rule| is_for_every_name(policy, rule));
        let of_rules = others.into_iter().flat_map(|rule| {
            policy.rules()[rule].patterns().iter().map(move |pattern| (pattern, Owner::Rule(rule)))
        });
        let width_matters = width::dependent_rules(policy);
        let told_apart = width::told_apart(policy, &width_matters);
        let of_widths = told_apart.iter().map(|&(pattern, width)| (pattern, Owner::Width(width)));
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
                rules.extend(&everywhere);
                let widths = globs.iter().filter_map(|&pattern| match owners[pattern] {
                    Owner::Rule(_) => None,
                    Owner::Width(width) => Some(width),
                });
                Class { rules: that_may_decide(policy, rules), width: width::of(widths, elsewhere) }
            },
            |name, equal, otherwise| {
                let mut rules = rules(equal);
                rules.extend(&otherwise.rules);
                Class { rules: that_may_decide(policy, rules), width: policy.width_of(name) }
            },
        );
        let partition = partition.map_err(|_| CompileError::PatternsTooComplex {
            rule: first_too_many(&patterns, &owners, policy.rules().len()),
        })?;
        let widths = told_apart.into_iter().map(|(pattern, _)| pattern).collect();
        Ok(Self { partition, widths, width_matters })
    }
}

/// Those of `rules` that are ever tried: none comes after others that take every access of its kinds.
fn that_may_decide(policy: &Policy, mut rules: Vec<usize>) -> Vec<usize> {
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

/// Whether a rule matches every name, one too long to look at included.
pub(super) fn is_for_every_name(policy: &Policy, rule: usize) -> bool {
    policy.rules()[rule].patterns().iter().any(KnobPattern::matches_every_name)
}

/// How many steps the search for the rule that is too much may take.
const SEARCH_STEPS_MAX: usize = 4 * NAME_STEPS_MAX;

/// The first rule with whose patterns those before it make too large an automaton; or a later one, if that takes too long
/// to tell.
fn first_too_many(patterns: &[&[Piece]], owners: &[Owner], rules: usize) -> usize {
    // If widths are too many, the last rule gets the blame.
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
        // What is too large takes longest to find out, the longer the more patterns there are: from below.
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
