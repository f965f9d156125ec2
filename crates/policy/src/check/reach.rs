//! Rules that can never decide, since earlier ones take every access that they would.
//!
//! The answer is exact as to names: all names are partitioned by which rules match them, and a rule can decide if it is tried
//! for some of them. Conditions count as if they might not hold.

use std::cell::Cell;
use std::collections::BTreeSet;

use foldhash::HashMap;
use knobgate_glob::{Budget, Partition, Piece};

use crate::{AccessKind, Diagnostic, KnobPattern, Rule, Span};

/// How many of the rules in the way are pointed at.
const CULPRITS_MAX: usize = 3;

/// How many steps the search for them may take, for all rules together; what is found later is warned of without.
const CULPRIT_STEPS_MAX: usize = 1 << 20;

/// Where the automaton of all patterns has more states, nothing is said.
const STATES_MAX: usize = 1 << 16;

/// Where it takes more steps to make it, nothing is said: checking may take a sixteenth of what compiling may.
const STEPS_MAX: usize = 1 << 22;

/// Where so many rules match names, counted once for each class of names, nothing is said.
const MATCHES_MAX: usize = 1 << 22;

/// A warning for each rule that can never decide; none if it would take too much to tell.
pub(super) fn unreachable_rules(rules: &[Rule], spans: &[Span]) -> Vec<Diagnostic> {
    let Some(classes) = Classes::of(rules) else { return Vec::new() };
    let unreachable = classes.unreachable().into_iter();
    unreachable.map(|(rule, why)| warning(spans[rule], &why, spans)).collect()
}

/// Why a rule is never reached.
#[derive(Debug, PartialEq, Eq)]
enum Unreachable {
    /// Earlier rules take what it would: these, or some that were not found in time.
    By(Vec<usize>),
    /// There is no name that it matches.
    NoName,
}

fn warning(span: Span, why: &Unreachable, spans: &[Span]) -> Diagnostic {
    let mut warning = Diagnostic::warning("unreachable-rule", span, "this rule is never reached");
    let culprits = match why {
        Unreachable::By(culprits) => culprits.as_slice(),
        Unreachable::NoName => {
            return warning
                .label("its patterns match no name")
                .help("the components of a name are not empty, and hold no NUL");
        }
    };
    let text = match culprits {
        [_] => "this rule takes all that it would",
        _ => "this rule takes a part of what it would",
    };
    for &culprit in culprits.iter().take(CULPRITS_MAX) {
        warning = warning.also(spans[culprit], text);
    }
    warning.help("the first rule that matches decides: move the narrower rule up, or drop it")
}

/// Whether `rule` takes every access of this kind to the names that it matches.
fn takes_all(rule: &Rule, kind: AccessKind) -> bool {
    rule.condition().is_none() && rule.kinds().contains(kind)
}

/// All names, by which rules match them.
struct Classes<'a> {
    rules: &'a [Rule],
    /// The rules that match every name, in order.
    everywhere: Vec<usize>,
    /// The first of them that takes every access of each kind.
    takers_everywhere: [Option<usize>; 2],
    /// For each class that has a name, the other rules that match it, in order.
    matching: Vec<Vec<usize>>,
    /// For each of these classes, the first rule that takes every access of each kind.
    takers: Vec<[Option<usize>; 2]>,
}

impl<'a> Classes<'a> {
    fn of(rules: &'a [Rule]) -> Option<Self> {
        let (everywhere, by_name): (Vec<usize>, Vec<usize>) = (0..rules.len())
            .partition(|&rule| rules[rule].patterns().iter().any(KnobPattern::matches_every_name));
        let patterns =
            by_name.iter().flat_map(|&rule| rules[rule].patterns().iter().map(move |one| (one, rule)));
        let (pieces, rule_of): (Vec<&[Piece]>, Vec<usize>) =
            patterns.map(|(pattern, rule)| (pattern.pieces(), rule)).unzip();
        let matches = Cell::new(0);
        let class = |mut matching: Vec<usize>| {
            matching.sort_unstable();
            matching.dedup();
            matches.set(matches.get() + matching.len());
            if matches.get() > MATCHES_MAX { Vec::new() } else { matching }
        };
        let partition = Partition::new(
            &pieces,
            &mut Budget::steps(STEPS_MAX).states(STATES_MAX),
            |globs| class(globs.iter().map(|&pattern| rule_of[pattern]).collect()),
            |_, equal, otherwise| {
                class(
                    equal.iter().map(|&pattern| rule_of[pattern]).chain(otherwise.iter().copied()).collect(),
                )
            },
        );
        let partition = partition.ok().filter(|_| matches.get() <= MATCHES_MAX)?;
        let inhabited = partition.inhabited();
        let matching = partition.classes().zip(inhabited).filter(|(_, is_inhabited)| *is_inhabited);
        let takers_everywhere = AccessKind::ALL
            .map(|kind| everywhere.iter().copied().find(|&rule| takes_all(&rules[rule], kind)));
        let matching: Vec<Vec<usize>> = matching.map(|(rules, _)| rules.clone()).collect();
        let takers = |matching: &Vec<usize>| {
            AccessKind::ALL.map(|kind| {
                let by_name = matching.iter().copied().find(|&rule| takes_all(&rules[rule], kind));
                by_name.into_iter().chain(takers_everywhere[kind as usize]).min()
            })
        };
        let takers = matching.iter().map(takers).collect();
        Some(Self { rules, everywhere, takers_everywhere, matching, takers })
    }

    /// The rules that are never tried, in order, each with the earlier ones that take what it would.
    fn unreachable(&self) -> Vec<(usize, Unreachable)> {
        let mut is_reached = vec![false; self.rules.len()];
        let mut classes_of = vec![Vec::new(); self.rules.len()];
        // Of each kind, the last rule that is tried for some name: no rule after it is.
        let mut last = [0; 2];
        let is_tried = |rule: usize, takers: [usize; 2]| {
            let kinds = AccessKind::ALL.into_iter().zip(takers);
            kinds.into_iter().any(|(kind, taker)| self.rules[rule].kinds().contains(kind) && rule <= taker)
        };
        for (class, matching) in self.matching.iter().enumerate() {
            let takers = self.takers[class].map(|taker| taker.unwrap_or(usize::MAX));
            for &rule in matching {
                is_reached[rule] |= is_tried(rule, takers);
                classes_of[rule].push(class);
            }
            last = [0, 1].map(|kind| takers[kind].max(last[kind]));
        }
        for &rule in &self.everywhere {
            is_reached[rule] = is_tried(rule, last);
        }
        if is_reached.iter().all(|is_reached| *is_reached) {
            return Vec::new();
        }
        for rule in AccessKind::ALL.into_iter().flat_map(|kind| self.tried_for_long_names(kind)) {
            is_reached[rule] = true;
        }
        let all: Vec<usize> = (0..self.matching.len()).collect();
        let unreachable = (0..self.rules.len()).filter(|&rule| !is_reached[rule]);
        let mut steps = CULPRIT_STEPS_MAX;
        unreachable
            .map(|rule| {
                let is_everywhere = self.everywhere.binary_search(&rule).is_ok();
                let classes = if is_everywhere { &all } else { &classes_of[rule] };
                if classes.is_empty() {
                    return (rule, Unreachable::NoName);
                }
                (rule, Unreachable::By(self.culprits(rule, classes, &mut steps)))
            })
            .collect()
    }

    /// The rules that deny accesses of this kind to some name that is too long to look at: the first whose patterns
    /// might match it, as far as its last component tells.
    fn tried_for_long_names(&self, kind: AccessKind) -> BTreeSet<usize> {
        let taker = self.takers_everywhere[kind as usize].unwrap_or(usize::MAX);
        let mut first_for: HashMap<Vec<u8>, usize> = HashMap::default();
        let mut tried = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate().take_while(|(index, _)| *index < taker) {
            if !rule.kinds().contains(kind) || self.everywhere.binary_search(&index).is_ok() {
                continue;
            }
            for pattern in rule.patterns() {
                match pattern.last_components() {
                    Some(last) => last.into_iter().for_each(|last| {
                        first_for.entry(last).or_insert(index);
                    }),
                    None => {
                        // It might match every name, so that no rule after it is tried.
                        tried.extend(first_for.into_values());
                        tried.insert(index);
                        return tried;
                    }
                }
            }
        }
        tried.extend(first_for.into_values());
        tried
    }

    /// The rules that take what `rule`, which matches these classes and no others, would: one if that is enough. None if there are no steps
    /// left to look for them.
    fn culprits(&self, rule: usize, classes: &[usize], steps: &mut usize) -> Vec<usize> {
        let kinds = || AccessKind::ALL.into_iter().filter(|kind| self.rules[rule].kinds().contains(*kind));
        let is_enough = |taker: usize| kinds().all(|kind| takes_all(&self.rules[taker], kind));
        let mut step = || {
            *steps = steps.saturating_sub(1);
            *steps > 0
        };
        let by_name = self.matching[classes[0]].iter().map(|&taker| (taker, false));
        let everywhere = self.everywhere.iter().map(|&taker| (taker, true));
        let mut earlier: Vec<(usize, bool)> =
            by_name.chain(everywhere).filter(|&(taker, _)| taker < rule && is_enough(taker)).collect();
        earlier.sort_unstable();
        for (taker, is_everywhere) in earlier {
            let takes = |class: &usize| is_everywhere || self.matching[*class].binary_search(&taker).is_ok();
            if classes.iter().all(|class| step() && takes(class)) {
                return vec![taker];
            }
        }
        let mut takers = BTreeSet::new();
        for &class in classes.iter().take_while(|_| step()) {
            takers.extend(kinds().filter_map(|kind| self.takers[class][kind as usize]));
        }
        takers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Unreachable::{By, NoName};
    use super::*;
    use crate::{Action, Kinds};

    /// The rules that are never reached, of writes to these patterns.
    fn unreachable(patterns: &[&str]) -> Vec<(usize, Unreachable)> {
        let rule = |patterns: &&str| {
            let patterns = patterns.split(' ').map(|pattern| KnobPattern::parse(pattern).unwrap());
            Rule::new(Action::Allow, Kinds::Write, patterns).unwrap()
        };
        Classes::of(&patterns.iter().map(rule).collect::<Vec<_>>()).expect("few states").unreachable()
    }

    #[test]
    fn a_pattern_takes_what_it_is_wider_than() {
        for (narrow, wide) in [
            ("net.core.somaxconn", "net.**"),
            ("net.core.*", "net.**"),
            ("net.**", "**"),
            ("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.**"),
            ("net.ipv4.conf.*.rp_filter", "**.rp_filter"),
            ("net.ipv4.tcp_{rmem,wmem}", "net.ipv4.tcp_?mem"),
            ("a.[b-d]", "a.[a-z]"),
            ("a.[!b-d]", "a.*"),
            ("a.b*c", "a.*c"),
            ("a.*.*", "a.**"),
        ] {
            assert_eq!(unreachable(&[wide, narrow]), [(1, By(vec![0]))], "{narrow} after {wide}");
            assert_eq!(unreachable(&[narrow, wide]), [], "{wide} after {narrow}");
        }
    }

    #[test]
    fn two_notations_of_one_pattern_take_what_the_other_does() {
        assert_eq!(unreachable(&["{a,b}.c", "[ab].c"]), [(1, By(vec![0]))]);
        assert_eq!(unreachable(&["[ab].c", "{a,b}.c"]), [(1, By(vec![0]))]);
    }

    #[test]
    fn a_star_stays_inside_one_component() {
        for (wide, narrow) in
            [("net.*", "net.core.x"), ("net.*", "net.**"), ("a.b", "a?b"), ("a.*.b", "a.b.*")]
        {
            assert_eq!(unreachable(&[wide, narrow]), [], "{narrow} after {wide}");
        }
    }

    #[test]
    fn several_rules_together_take_what_none_takes_alone() {
        assert_eq!(unreachable(&["a.[a-m]*", "a.[!a-m]*", "a.*"]), [(2, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.b", "a.c", "x.y", "a.{b,c}"]), [(3, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.b", "a.{b,c}"]), []);
        assert_eq!(unreachable(&["*", "*.**", "**"]), [(2, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.* b.*", "{a,b}.x", "**", "c.d"]), [(1, By(vec![0])), (3, By(vec![2]))]);
    }

    #[test]
    fn a_rule_that_denies_names_that_are_too_long_is_reached() {
        // The last component of a long name tells that the first one does not match it.
        assert_eq!(unreachable(&["{a,b}", "[ab]"]), []);
        assert_eq!(unreachable(&["{a,b}.c", "[ab].c"]), [(1, By(vec![0]))]);
        assert_eq!(unreachable(&["{a,b}", "c.*", "[ab]"]), [(2, By(vec![0]))]);
    }

    #[test]
    fn a_pattern_that_no_name_has_is_never_reached() {
        assert_eq!(unreachable(&["**.c", "{a.,b}.c", "{a.,b.}.c"]), [(1, By(vec![0])), (2, NoName)]);
    }

    #[test]
    fn what_takes_too_many_states_to_tell_is_left_open() {
        let patterns = ["a.**", "a.*a???????????????????", "a.b"];
        let rules: Vec<Rule> = patterns
            .map(|pattern| KnobPattern::parse(pattern).unwrap())
            .map(|pattern| Rule::new(Action::Allow, Kinds::Write, [pattern]).unwrap())
            .into();
        assert!(Classes::of(&rules).is_none());
    }
}
