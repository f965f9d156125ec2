//! Rules that are never reached, since earlier ones take every access that they would.

use foldhash::HashMap;

use crate::glob::Piece;
use crate::inclusion::Inclusion;
use crate::{AccessKind, Diagnostic, KnobPattern, Rule, Span};

/// How many of the rules in the way are pointed at.
const CULPRITS_MAX: usize = 3;

/// A warning for each rule that is never reached. Some may be missed, where to tell would take too long.
pub(super) fn unreachable_rules(rules: &[Rule], spans: &[Span]) -> Vec<Diagnostic> {
    let mut inclusion = Inclusion::new();
    let mut reads = Taken::default();
    let mut writes = Taken::default();
    let mut warnings = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut culprits = Vec::new();
        let covered = [(AccessKind::Read, &reads), (AccessKind::Write, &writes)]
            .into_iter()
            .filter(|(kind, _)| rule.kinds().contains(*kind))
            .all(|(_, taken)| {
                rule.patterns().iter().all(|pattern| taken.covers(pattern, &mut inclusion, &mut culprits))
            });
        if covered {
            warnings.push(warning(spans[index], culprits, spans));
        } else if rule.condition().is_none() {
            for (kind, taken) in [(AccessKind::Read, &mut reads), (AccessKind::Write, &mut writes)] {
                if rule.kinds().contains(kind) {
                    rule.patterns().iter().for_each(|pattern| taken.add(pattern, index));
                }
            }
        }
    }
    warnings
}

fn warning(span: Span, mut culprits: Vec<usize>, spans: &[Span]) -> Diagnostic {
    culprits.sort_unstable();
    culprits.dedup();
    let mut warning = Diagnostic::warning("unreachable-rule", span, "this rule is never reached");
    let text = if culprits.len() == 1 {
        "this rule takes all that it would"
    } else {
        "this rule takes a part of what it would"
    };
    for culprit in culprits.into_iter().take(CULPRITS_MAX) {
        warning = warning.also(spans[culprit], text);
    }
    warning.help("the first rule that matches decides: move the narrower rule up, or drop it")
}

/// What the rules so far take of one kind of access without a condition.
#[derive(Default)]
struct Taken<'a> {
    /// By themselves.
    patterns: HashMap<&'a [Piece], usize>,
    /// Those that are more than a name, by what their names begin with.
    globs: HashMap<&'a [u8], Vec<(&'a KnobPattern, usize)>>,
    /// How long these beginnings are, sorted.
    lengths: Vec<usize>,
}

impl<'a> Taken<'a> {
    fn add(&mut self, pattern: &'a KnobPattern, rule: usize) {
        self.patterns.entry(pattern.pieces()).or_insert(rule);
        if pattern.literal().is_some() {
            return;
        }
        let prefix = prefix(pattern.pieces());
        self.globs.entry(prefix).or_default().push((pattern, rule));
        if let Err(at) = self.lengths.binary_search(&prefix.len()) {
            self.lengths.insert(at, prefix.len());
        }
    }

    /// Whether every name that `pattern` matches is taken, if that is quickly told. Adds the rules that take them.
    fn covers(&self, pattern: &KnobPattern, inclusion: &mut Inclusion, culprits: &mut Vec<usize>) -> bool {
        inclusion.expand(pattern.pieces()).iter().all(|pieces| {
            let culprit = self.culprit(pieces, inclusion);
            culprits.extend(culprit);
            culprit.is_some()
        })
    }

    fn culprit(&self, pieces: &[Piece], inclusion: &mut Inclusion) -> Option<usize> {
        if let Some(&rule) = self.patterns.get(pieces) {
            return Some(rule);
        }
        if inclusion.is_exhausted() {
            return None;
        }
        // Looking a beginning up takes less than a step of an automaton.
        inclusion.charge(1 + self.lengths.len() / 8);
        let prefix = prefix(pieces);
        let lengths = self.lengths.iter().take_while(|&&length| length <= prefix.len());
        for (wider, rule) in lengths.filter_map(|&length| self.globs.get(&prefix[..length])).flatten() {
            if inclusion.is_exhausted() {
                return None;
            }
            if inclusion.holds(pieces, wider.pieces()) {
                return Some(*rule);
            }
        }
        None
    }
}

/// What every name begins with that `pieces` match.
fn prefix(pieces: &[Piece]) -> &[u8] {
    match pieces.first() {
        Some(Piece::Literal(prefix)) => prefix,
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_all_lengths_take_a_limited_number_of_look_ups() {
        let globs: Vec<KnobPattern> =
            (1..200).map(|length| KnobPattern::parse("a".repeat(length) + "*b").unwrap()).collect();
        let mut taken = Taken::default();
        globs.iter().enumerate().for_each(|(rule, glob)| taken.add(glob, rule));
        let mut inclusion = Inclusion::new();
        let asked = (0..100_000).take_while(|i| {
            let name = format!("{}{{c,d}}{{e,f}}{{g,h}}{i}", "x".repeat(180));
            let name = KnobPattern::parse(name).unwrap();
            assert!(!taken.covers(&name, &mut inclusion, &mut Vec::new()));
            !inclusion.is_exhausted()
        });
        assert!(asked.count() < 10_000);
        // What was asked about before is still known, without looking.
        assert!(taken.covers(&globs[7], &mut inclusion, &mut Vec::new()));
    }
}
