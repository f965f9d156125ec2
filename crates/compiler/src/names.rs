//! From names to the rules that match them.
//!
//! What is found for a name that a rule spells out includes the rules whose other patterns match it: that is known when
//! the policy is compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{KnobPattern, Piece, Policy};

use crate::automaton::{self, NameAutomaton};
use crate::error::CompileError;
use crate::table::{Table, TooLarge};

/// Tells names apart as far as the rules of a policy do: names of one class are matched by the same rules.
#[derive(Debug)]
pub(crate) struct Names {
    /// For names that are not spelled out: finds their class.
    pub(crate) table: Table,
    /// Names that are spelled out, in order.
    pub(crate) literals: Vec<Literal>,
    /// For each class, the rules that match its names, in order.
    pub(crate) classes: Vec<Vec<usize>>,
}

/// A name that some rule spells out.
#[derive(Debug)]
pub(crate) struct Literal {
    /// The name.
    pub(crate) name: Vec<u8>,
    /// Its class.
    pub(crate) class: usize,
    /// The class that the table finds for it.
    pub(crate) class_otherwise: usize,
}

impl Names {
    /// Those of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton: the first rule with which they do.
    pub(crate) fn new(policy: &Policy) -> Result<Self, CompileError> {
        let (everywhere, others): (Vec<usize>, Vec<usize>) =
            (0..policy.rules.len()).partition(|&rule| is_for_every_name(policy, rule));
        let (mut patterns, mut rule_of) = (Vec::new(), Vec::new());
        let mut spelled_out: BTreeMap<&[u8], BTreeSet<usize>> = BTreeMap::new();
        for rule in others {
            for pattern in &policy.rules[rule].patterns {
                match pattern.literal() {
                    Some(name) => {
                        spelled_out.entry(name).or_default().insert(rule);
                    }
                    None => {
                        patterns.push(pattern.pieces());
                        rule_of.push(rule);
                    }
                }
            }
        }
        let NameAutomaton { table, sets } = automaton::of_names(&patterns)
            .map_err(|_| CompileError::PatternsTooComplex { rule: rule_of[first_too_many(&patterns)] })?;

        let with = |rules: BTreeSet<usize>| -> Vec<usize> {
            rules.into_iter().chain(everywhere.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let mut classes: Vec<Vec<usize>> =
            sets.iter().map(|set| with(set.iter().map(|&pattern| rule_of[pattern]).collect())).collect();
        let mut numbers: HashMap<Vec<usize>, usize> =
            classes.iter().cloned().enumerate().map(|(number, rules)| (rules, number)).collect();
        let mut literals = Vec::new();
        for (name, mut rules) in spelled_out.into_iter().filter(|(name, _)| name.len() <= NAME_MAX) {
            let class_otherwise = table.run(name) as usize;
            rules.extend(&classes[class_otherwise]);
            let rules = with(rules);
            let class = *numbers.entry(rules.clone()).or_insert_with(|| {
                classes.push(rules);
                classes.len() - 1
            });
            literals.push(Literal { name: name.to_vec(), class, class_otherwise });
        }
        Ok(Self { table, literals, classes })
    }
}

/// Whether a rule matches every name, one too long to look at included.
pub(crate) fn is_for_every_name(policy: &Policy, rule: usize) -> bool {
    policy.rules[rule].patterns.iter().any(KnobPattern::matches_every_name)
}

/// The index of the first of `patterns` with which those before it make too large an automaton.
fn first_too_many(patterns: &[&[Piece]]) -> usize {
    let (mut fit, mut too_many) = (0, patterns.len());
    while fit + 1 < too_many {
        let middle = fit.midpoint(too_many);
        match automaton::of_names(&patterns[..middle]) {
            Ok(_) => fit = middle,
            Err(TooLarge) => too_many = middle,
        }
    }
    too_many - 1
}
