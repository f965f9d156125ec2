//! From names to the rules that match them.
//!
//! What is found for a name that a rule spells out includes the rules whose other patterns match it: that is known when
//! the policy is compiled.

use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, KnobPattern, Piece, Policy, Width};

use crate::automaton::{self, NameAutomaton};
use crate::error::CompileError;
use crate::table::{Table, TooLarge};
use crate::width;

/// Tells names apart as far as the rules of a policy do: names of one class are decided by the same rules, which take the
/// same numbers.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    /// For names that are not spelled out: finds their class.
    pub(crate) table: Table,
    /// Names that are spelled out, in order.
    pub(crate) literals: Vec<Literal>,
    /// What is known of each class.
    pub(crate) classes: Vec<Class>,
    /// The patterns by which widths are told apart.
    pub(crate) widths: Vec<&'a KnobPattern>,
}

/// What is known of some names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    /// The rules that match them and may decide, in order.
    pub(crate) rules: Vec<usize>,
    /// Which numbers their knobs store as they are.
    pub(crate) width: Width,
}

/// A name that some rule or width spells out.
#[derive(Debug)]
pub(crate) struct Literal {
    /// The name.
    pub(crate) name: Vec<u8>,
    /// Its class.
    pub(crate) class: usize,
    /// The class that the table finds for it.
    pub(crate) class_otherwise: usize,
}

impl<'a> Names<'a> {
    /// Those of `policy`.
    ///
    /// # Errors
    /// The patterns make too large an automaton: the first rule with which they do.
    pub(crate) fn new(policy: &'a Policy) -> Result<Self, CompileError> {
        let (everywhere, others): (Vec<usize>, Vec<usize>) =
            (0..policy.rules.len()).partition(|&rule| is_for_every_name(policy, rule));
        let (mut patterns, mut rule_of) = (Vec::new(), Vec::new());
        let mut spelled_out: Vec<(&[u8], Option<usize>)> = Vec::new();
        for rule in others {
            for pattern in &policy.rules[rule].patterns {
                match pattern.literal() {
                    Some(name) if name.len() > NAME_MAX => {}
                    Some(name) => spelled_out.push((name, Some(rule))),
                    None => {
                        patterns.push(pattern.pieces());
                        rule_of.push(rule);
                    }
                }
            }
        }
        let told_apart = width::told_apart(policy);
        let mut width_of = Vec::new();
        for &(pattern, width) in &told_apart {
            match pattern.literal() {
                Some(name) => spelled_out.push((name, None)),
                None => {
                    patterns.push(pattern.pieces());
                    width_of.push(width);
                }
            }
        }
        let elsewhere = policy.width_elsewhere();
        let of_patterns = |set: &[usize]| {
            let (of_rules, of_widths) = set.split_at(set.partition_point(|&pattern| pattern < rule_of.len()));
            let rules = of_rules.iter().map(|&pattern| rule_of[pattern]);
            let rules = that_may_decide(policy, rules.chain(everywhere.iter().copied()).collect());
            let widths = of_widths.iter().map(|&pattern| width_of[pattern - rule_of.len()]);
            Class { rules, width: width::of(widths, elsewhere) }
        };
        let NameAutomaton { table, outputs: mut classes } = automaton::of_names(&patterns, of_patterns)
            .map_err(|_| {
                // That of the last rule, if it is what is told apart besides.
                let first = first_too_many(&patterns).min(rule_of.len().saturating_sub(1));
                CompileError::PatternsTooComplex { rule: rule_of[first] }
            })?;

        let mut literals = Vec::new();
        spelled_out.sort_unstable();
        for alike in spelled_out.chunk_by(|(one, _), (other, _)| one == other) {
            let name = alike[0].0;
            let class_otherwise = table.run(name) as usize;
            let rules = alike.iter().filter_map(|(_, rule)| *rule);
            let rules = rules.chain(classes[class_otherwise].rules.iter().copied()).collect();
            let class = Class { rules: that_may_decide(policy, rules), width: policy.width_of(name) };
            let class = classes.insert_full(class).0;
            literals.push(Literal { name: name.to_vec(), class, class_otherwise });
        }
        let widths = told_apart.into_iter().map(|(pattern, _)| pattern).collect();
        Ok(Self { table, literals, classes: classes.into_iter().collect(), widths })
    }
}

/// Those of `rules` that are ever tried: not behind others that take every access of their kinds.
fn that_may_decide(policy: &Policy, mut rules: Vec<usize>) -> Vec<usize> {
    rules.sort_unstable();
    rules.dedup();
    let mut open = vec![AccessKind::Read, AccessKind::Write];
    let is_tried = |rule: &usize| {
        let rule = &policy.rules[*rule];
        let is_tried = open.iter().any(|kind| rule.kinds.contains(*kind));
        if rule.condition.is_none() {
            open.retain(|kind| !rule.kinds.contains(*kind));
        }
        is_tried
    };
    rules.retain(is_tried);
    rules
}

/// Whether a rule matches every name, one too long to look at included.
pub(crate) fn is_for_every_name(policy: &Policy, rule: usize) -> bool {
    policy.rules[rule].patterns.iter().any(KnobPattern::matches_every_name)
}

/// The index of the first of `patterns` with which those before it make too large an automaton.
fn first_too_many(patterns: &[&[Piece]]) -> usize {
    let (mut fit, mut too_many) = (0, patterns.len());
    while fit + 1 < too_many {
        // What is too large takes longest to find out, the longer the more patterns there are: from below.
        let tried = fit.midpoint(too_many).min(2 * fit + 1);
        match automaton::of_names(&patterns[..tried], |_| ()) {
            Ok(_) => fit = tried,
            Err(TooLarge) => too_many = tried,
        }
    }
    too_many - 1
}
