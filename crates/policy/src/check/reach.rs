//! Warnings about unreachable rules: earlier rules decide every access that they match.
//!
//! Names are treated exactly: all names are partitioned by which rules match them, and a rule is reachable if it is
//! tried for at least one class. Conditions are assumed to be able to fail.

use std::cell::Cell;
use std::collections::BTreeSet;

use foldhash::HashMap;
use knobgate_glob::{Budget, Partition, Piece};

use crate::{AccessKind, Diagnostic, KnobPattern, Rule, Span};

/// How many of the earlier rules a warning shows.
const SHADOWING_RULES_MAX: usize = 3;

/// How many steps the search for the earlier rules may take, in total. After that, warnings do not name them.
const SHADOWING_STEPS_MAX: usize = 1 << 20;

/// The most states of the automaton of all patterns. With more, only one warning says that the rules were not checked.
const STATES_MAX: usize = 1 << 16;

/// The most steps for building it: a sixteenth of what compiling may take.
const STEPS_MAX: usize = 1 << 22;

/// The most rules that match, counted once for each class of names.
const MATCHES_MAX: usize = 1 << 22;

/// How many steps the search for the rule that is too complex may take then.
const SEARCH_STEPS_MAX: usize = 4 * STEPS_MAX;

/// A warning for each unreachable rule; a single one if finding out would take too much work.
pub(super) fn unreachable_rules(rules: &[Rule], spans: &[Span]) -> Vec<Diagnostic> {
    let Some(classes) = NameClasses::of(rules, &mut budget()) else {
        return vec![too_complex(spans[rule_to_blame(rules)])];
    };
    let unreachable = classes.unreachable().into_iter();
    unreachable.map(|(rule, why)| warning(spans[rule], &why, spans)).collect()
}

/// Why a rule is never reached.
#[derive(Debug, PartialEq, Eq)]
enum Unreachable {
    /// Earlier rules decide all that it matches. Empty if they were not found in time.
    By(Vec<usize>),
    /// It matches no name.
    NoName,
}

fn warning(span: Span, why: &Unreachable, spans: &[Span]) -> Diagnostic {
    let mut warning = Diagnostic::warning("unreachable-rule", span, "this rule is never reached");
    let shadowing = match why {
        Unreachable::By(shadowing) => shadowing.as_slice(),
        Unreachable::NoName => {
            return warning
                .label("its patterns match no name")
                .help("the components of a name are not empty, and contain no NUL");
        }
    };
    let text = match shadowing {
        [_] => "this earlier rule decides all of these accesses",
        _ => "this earlier rule decides some of these accesses",
    };
    for &shadowing_rule in shadowing.iter().take(SHADOWING_RULES_MAX) {
        warning = warning.also(spans[shadowing_rule], text);
    }
    warning.help("the first rule that matches decides: move the narrower rule up, or drop it")
}

/// What one automaton may take.
fn budget() -> Budget {
    Budget::steps(STEPS_MAX).states(STATES_MAX)
}

fn too_complex(span: Span) -> Diagnostic {
    Diagnostic::warning("unchecked-reach", span, "it was not checked which rules are never reached")
        .label("up to this rule, the patterns are too complex")
        .help("use fewer wildcards, or fewer rules for the same names")
}

/// The first rule that, with the rules before it, is too complex. It may be a later one if the search takes too long.
fn rule_to_blame(rules: &[Rule]) -> usize {
    let (mut few, mut too_many) = (0, rules.len());
    let mut left = SEARCH_STEPS_MAX;
    while few + 1 < too_many && left >= STEPS_MAX {
        // Automata that are too large take longest, so the search goes up from few rules.
        let tried = few.midpoint(too_many).min(2 * few + 1);
        let mut budget = budget();
        match NameClasses::of(&rules[..tried], &mut budget) {
            Some(_) => few = tried,
            None => too_many = tried,
        }
        left -= STEPS_MAX - budget.steps_left();
    }
    too_many - 1
}

/// Whether `rule` decides every access of this kind to the names that it matches.
fn decides_all(rule: &Rule, kind: AccessKind) -> bool {
    rule.condition().is_none() && rule.kinds().contains(kind)
}

/// A partition of all names by which rules match them.
struct NameClasses<'a> {
    rules: &'a [Rule],
    /// The rules that match every name, in order.
    everywhere: Vec<usize>,
    /// For each kind of access, the first of them that decides every access.
    deciders_everywhere: [Option<usize>; 2],
    /// For each nonempty class, the other rules that match it, in order.
    matching: Vec<Vec<usize>>,
    /// For each of these classes and each kind of access, the first rule that decides every access.
    deciders: Vec<[Option<usize>; 2]>,
}

impl<'a> NameClasses<'a> {
    /// `None` if that takes more than the budget, or there are too many states or matches.
    fn of(rules: &'a [Rule], budget: &mut Budget) -> Option<Self> {
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
            budget,
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
        let deciders_everywhere = AccessKind::ALL
            .map(|kind| everywhere.iter().copied().find(|&rule| decides_all(&rules[rule], kind)));
        let matching: Vec<Vec<usize>> = matching.map(|(rules, _)| rules.clone()).collect();
        let deciders = |matching: &Vec<usize>| {
            AccessKind::ALL.map(|kind| {
                let by_name = matching.iter().copied().find(|&rule| decides_all(&rules[rule], kind));
                by_name.into_iter().chain(deciders_everywhere[kind as usize]).min()
            })
        };
        let deciders = matching.iter().map(deciders).collect();
        Some(Self { rules, everywhere, deciders_everywhere, matching, deciders })
    }

    /// The rules that are never tried, in order, each with the earlier rules that shadow it.
    fn unreachable(&self) -> Vec<(usize, Unreachable)> {
        let mut is_reached = vec![false; self.rules.len()];
        let mut classes_of = vec![Vec::new(); self.rules.len()];
        // For each kind, the last rule that is tried for some name.
        let mut last = [0; 2];
        let is_tried = |rule: usize, deciders: [usize; 2]| {
            let kinds = AccessKind::ALL.into_iter().zip(deciders);
            kinds
                .into_iter()
                .any(|(kind, decider)| self.rules[rule].kinds().contains(kind) && rule <= decider)
        };
        for (class, matching) in self.matching.iter().enumerate() {
            let deciders = self.deciders[class].map(|decider| decider.unwrap_or(usize::MAX));
            for &rule in matching {
                is_reached[rule] |= is_tried(rule, deciders);
                classes_of[rule].push(class);
            }
            last = [0, 1].map(|kind| deciders[kind].max(last[kind]));
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
        let mut steps = SHADOWING_STEPS_MAX;
        unreachable
            .map(|rule| {
                let is_everywhere = self.everywhere.binary_search(&rule).is_ok();
                let classes = if is_everywhere { &all } else { &classes_of[rule] };
                if classes.is_empty() {
                    return (rule, Unreachable::NoName);
                }
                (rule, Unreachable::By(self.shadowing_rules(rule, classes, &mut steps)))
            })
            .collect()
    }

    /// The rules that deny accesses of this kind to names that are too long to look at: for each last component, the
    /// first rule whose patterns might match.
    fn tried_for_long_names(&self, kind: AccessKind) -> BTreeSet<usize> {
        let decider = self.deciders_everywhere[kind as usize].unwrap_or(usize::MAX);
        let mut first_for: HashMap<Vec<u8>, usize> = HashMap::default();
        let mut tried = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate().take_while(|(index, _)| *index < decider) {
            if !rule.kinds().contains(kind) || self.everywhere.binary_search(&index).is_ok() {
                continue;
            }
            for pattern in rule.patterns() {
                match pattern.last_components() {
                    Some(last) => last.into_iter().for_each(|last| {
                        first_for.entry(last).or_insert(index);
                    }),
                    None => {
                        // It might match every name, so no rule after it is tried.
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

    /// The rules that shadow `rule`, which matches exactly these classes: a single one if that is enough. Empty if
    /// there are no steps left.
    fn shadowing_rules(&self, rule: usize, classes: &[usize], steps: &mut usize) -> Vec<usize> {
        let kinds = || AccessKind::ALL.into_iter().filter(|kind| self.rules[rule].kinds().contains(*kind));
        let is_enough = |decider: usize| kinds().all(|kind| decides_all(&self.rules[decider], kind));
        let mut step = || {
            *steps = steps.saturating_sub(1);
            *steps > 0
        };
        let by_name = self.matching[classes[0]].iter().map(|&decider| (decider, false));
        let everywhere = self.everywhere.iter().map(|&decider| (decider, true));
        let mut earlier: Vec<(usize, bool)> =
            by_name.chain(everywhere).filter(|&(decider, _)| decider < rule && is_enough(decider)).collect();
        earlier.sort_unstable();
        for (decider, is_everywhere) in earlier {
            let shadows =
                |class: &usize| is_everywhere || self.matching[*class].binary_search(&decider).is_ok();
            if classes.iter().all(|class| step() && shadows(class)) {
                return vec![decider];
            }
        }
        let mut deciders = BTreeSet::new();
        for &class in classes.iter().take_while(|_| step()) {
            deciders.extend(kinds().filter_map(|kind| self.deciders[class][kind as usize]));
        }
        deciders.into_iter().collect()
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
        let rules: Vec<Rule> = patterns.iter().map(rule).collect();
        NameClasses::of(&rules, &mut budget()).expect("few states").unreachable()
    }

    #[test]
    fn a_wider_pattern_shadows_a_narrower_one() {
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
    fn two_notations_of_one_pattern_shadow_each_other() {
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
    fn several_rules_together_shadow_a_rule_that_none_shadows_alone() {
        assert_eq!(unreachable(&["a.[a-m]*", "a.[!a-m]*", "a.*"]), [(2, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.b", "a.c", "x.y", "a.{b,c}"]), [(3, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.b", "a.{b,c}"]), []);
        assert_eq!(unreachable(&["*", "*.**", "**"]), [(2, By(vec![0, 1]))]);
        assert_eq!(unreachable(&["a.* b.*", "{a,b}.x", "**", "c.d"]), [(1, By(vec![0])), (3, By(vec![2]))]);
    }

    #[test]
    fn a_rule_that_denies_too_long_names_is_reachable() {
        // By its last component, a long name cannot match the first rule.
        assert_eq!(unreachable(&["{a,b}", "[ab]"]), []);
        assert_eq!(unreachable(&["{a,b}.c", "[ab].c"]), [(1, By(vec![0]))]);
        assert_eq!(unreachable(&["{a,b}", "c.*", "[ab]"]), [(2, By(vec![0]))]);
    }

    #[test]
    fn a_rule_whose_pattern_matches_no_name_is_unreachable() {
        assert_eq!(unreachable(&["**.c", "{a.,b}.c", "{a.,b.}.c"]), [(1, By(vec![0])), (2, NoName)]);
    }

    #[test]
    fn patterns_with_too_many_states_give_one_warning_at_their_rule() {
        let complex = "a.*a???????????????????";
        let simple = ["a.b", "a.**", "a.b.c", "b.*"];
        for before in 0..simple.len() {
            let mut patterns = simple.to_vec();
            patterns.insert(before, complex);
            let rules: Vec<Rule> = patterns
                .into_iter()
                .map(|pattern| KnobPattern::parse(pattern).unwrap())
                .map(|pattern| Rule::new(Action::Allow, Kinds::Write, [pattern]).unwrap())
                .collect();
            let spans: Vec<Span> = (0..rules.len()).map(|rule| Span { start: rule, end: rule + 1 }).collect();
            let warnings = unreachable_rules(&rules, &spans);
            let found: Vec<_> = warnings.iter().map(|one| (one.code, one.primary.span.start)).collect();
            assert_eq!(found, [("unchecked-reach", before)]);
        }
    }
}
