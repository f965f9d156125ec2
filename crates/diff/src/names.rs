//! All names in classes: the same rules of both policies match the names of a class.

use std::cell::Cell;
use std::collections::BTreeSet;

use foldhash::{HashMap, HashSet};
use knobgate_glob::{Budget, Partition, Piece};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, KnobName, KnobPattern, Policy, Rule, Width};

use crate::DiffError;
use crate::example_name::ExampleNames;

/// The most steps for the automaton of the names: what compiling one policy may take.
pub const NAME_STEPS_MAX: usize = 1 << 26;

/// The most rules that match, counted once for each class of names.
pub const MATCHES_MAX: usize = 1 << 22;

/// A pair of things, of the old policy and of the new one.
pub(crate) type Pair<T> = [T; 2];

/// What the names of a class have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Matching {
    /// The rules that match them, in order, without those that match every name.
    rules: Pair<Vec<usize>>,
    /// How each policy sees the width of their knobs.
    widths: Pair<Width>,
}

/// Names that the same rules match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameSet {
    /// These names.
    Literals(Vec<KnobName>),
    /// Every name that these patterns match, and no other pattern does; without a pattern, all names that none matches.
    Matched {
        /// In the order of the rules, those of the old policy first, and each of them once.
        patterns: Vec<String>,
    },
    /// Names that are longer than [`NAME_MAX`], by their last component.
    TooLong {
        /// The last component; `None` for those that no pattern ends in.
        last: Option<Vec<u8>>,
    },
}

/// A set of names, and the rules that are tried for them.
pub(crate) struct Tried {
    pub(crate) names: NameSet,
    /// One of the names.
    pub(crate) example: KnobName,
    pub(crate) kind: AccessKind,
    /// The rules that are tried, in order.
    pub(crate) rules: Pair<Vec<usize>>,
    pub(crate) widths: Pair<Width>,
    /// The class, to find it by name.
    pub(crate) id: NameId,
}

/// Identifies a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NameId {
    Literals(usize),
    Matched(usize),
    TooLong(Pair<Option<usize>>),
}

/// The partition of all names by the patterns of two policies.
#[derive(Debug, Clone)]
pub(crate) struct NameClasses {
    partition: Partition<Matching>,
    everywhere: Pair<Vec<usize>>,
    /// For each policy and kind of access.
    too_long: Pair<Pair<TooLongNames>>,
}

/// The first rule of a kind that might match a name that is too long to look at.
#[derive(Debug, Clone, Default)]
struct TooLongNames {
    /// By its last component.
    first_for: HashMap<Vec<u8>, usize>,
    /// The first one whose pattern does not have a few literal last components.
    first: Option<usize>,
}

impl NameClasses {
    /// The names of two policies.
    ///
    /// # Errors
    /// The patterns make too large an automaton.
    pub(crate) fn of(policies: Pair<&Policy>) -> Result<Self, DiffError> {
        let everywhere = policies.map(|policy| {
            let is_everywhere = |rule: &usize| is_for_every_name(&policy.rules()[*rule]);
            (0..policy.rules().len()).filter(is_everywhere).collect::<Vec<_>>()
        });
        // Why a pattern is in the partition.
        enum Owner {
            Rule(usize, usize),
            Known(Width),
            Declared(usize),
        }
        let mut patterns: Vec<(&[Piece], Owner)> = Vec::new();
        for (side, policy) in policies.into_iter().enumerate() {
            for (index, rule) in policy.rules().iter().enumerate() {
                if !is_for_every_name(rule) {
                    let of_rule = rule.patterns().iter();
                    patterns.extend(of_rule.map(|pattern| (pattern.pieces(), Owner::Rule(side, index))));
                }
            }
            let declared = policy.width_64().iter();
            patterns.extend(declared.map(|pattern| (pattern.pieces(), Owner::Declared(side))));
        }
        let known = Width::all_known().iter();
        patterns.extend(known.map(|(pattern, width)| (pattern.pieces(), Owner::Known(*width))));
        let (pieces, owners): (Vec<&[Piece]>, Vec<Owner>) = patterns.into_iter().unzip();

        let matches = Cell::new(0);
        let class = |matching: &[usize], mut class: Matching| {
            for &pattern in matching {
                if let Owner::Rule(side, rule) = owners[pattern] {
                    class.rules[side].push(rule);
                }
            }
            for rules in &mut class.rules {
                rules.sort_unstable();
                rules.dedup();
                matches.set(matches.get() + rules.len());
            }
            if matches.get() > MATCHES_MAX { Matching::default() } else { class }
        };
        let mut budget = Budget::steps(NAME_STEPS_MAX);
        let partition = Partition::new(
            &pieces,
            &mut budget,
            |globs| {
                let mut widths = [Width::default(); 2];
                for &pattern in globs {
                    if let Owner::Declared(side) = owners[pattern] {
                        widths[side] = Width::Bits64;
                    }
                }
                for &pattern in globs {
                    if let Owner::Known(width) = owners[pattern] {
                        widths = [width; 2];
                    }
                }
                class(globs, Matching { widths, ..Matching::default() })
            },
            |name, equal, otherwise| {
                let widths = policies.map(|policy| policy.width_of(name));
                class(equal, Matching { widths, ..otherwise.clone() })
            },
        );
        let partition =
            partition.ok().filter(|_| matches.get() <= MATCHES_MAX).ok_or(DiffError::PatternsTooComplex)?;
        let too_long = policies.map(|policy| AccessKind::ALL.map(|kind| TooLongNames::of(policy, kind)));
        Ok(Self { partition, everywhere, too_long })
    }

    /// Calls `visit` with each set of names and each kind of access, and the rules that are tried, if `is_of_interest`
    /// says so about the kind, the rules, the widths, and whether the names are too long.
    pub(crate) fn visit(
        &self,
        policies: Pair<&Policy>,
        is_of_interest: impl Fn(AccessKind, &Pair<Vec<usize>>, Pair<Width>, bool) -> bool,
        mut visit: impl FnMut(Tried),
    ) {
        let classes: Vec<&Matching> = self.partition.classes().collect();
        let mut literals: Vec<Vec<&[u8]>> = vec![Vec::new(); classes.len()];
        for literal in self.partition.literals() {
            literals[literal.class].push(&literal.name);
        }
        let taken: HashSet<&[u8]> =
            self.partition.literals().iter().map(|literal| literal.name.as_slice()).collect();
        let of_rules: HashSet<&[u8]> = policies
            .into_iter()
            .flat_map(|policy| policy.rules().iter().flat_map(Rule::patterns))
            .filter_map(KnobPattern::literal)
            .collect();
        let examples = ExampleNames::new(self.partition.dfa(), classes.len());
        for (number, matching) in classes.into_iter().enumerate() {
            // The names of the class, found once for both kinds.
            let mut names: Option<Vec<(NameSet, KnobName, NameId)>> = None;
            for kind in AccessKind::ALL {
                let rules = [0, 1].map(|side| self.tried(policies, side, kind, &matching.rules[side]));
                if !is_of_interest(kind, &rules, matching.widths, false) {
                    continue;
                }
                let names = names.get_or_insert_with(|| {
                    let of_class = |name: &&[u8]| KnobName::from_path(name.to_vec()).ok();
                    let (named, others): (Vec<&[u8]>, Vec<&[u8]>) =
                        literals[number].iter().partition(|name| of_rules.contains(**name));
                    let named: Vec<KnobName> = named.iter().filter_map(of_class).collect();
                    let first = named.first().cloned();
                    let named =
                        first.map(|example| (NameSet::Literals(named), example, NameId::Literals(number)));
                    let matched = |example: KnobName, id| {
                        let patterns = matching_patterns(policies, &matching.rules, example.as_bytes());
                        (NameSet::Matched { patterns }, example, id)
                    };
                    // Names of which only the width is known.
                    let other = others.first().and_then(of_class);
                    let other = other.map(|example| matched(example, NameId::Literals(number)));
                    let example = examples.of_class(number, &taken);
                    let rest = example.and_then(|name| KnobName::from_path(name).ok());
                    let rest = rest.map(|example| matched(example, NameId::Matched(number)));
                    named.into_iter().chain(rest).chain(other).collect()
                });
                for (names, example, id) in names.iter().cloned() {
                    visit(Tried { names, example, kind, rules: rules.clone(), widths: matching.widths, id });
                }
            }
        }
        self.visit_too_long(policies, is_of_interest, visit);
    }

    fn visit_too_long(
        &self,
        policies: Pair<&Policy>,
        is_of_interest: impl Fn(AccessKind, &Pair<Vec<usize>>, Pair<Width>, bool) -> bool,
        mut visit: impl FnMut(Tried),
    ) {
        let widths = policies.map(Policy::width_elsewhere);
        for kind in AccessKind::ALL {
            let of_kind = [0, 1].map(|side| &self.too_long[side][kind as usize]);
            let lasts: BTreeSet<&Vec<u8>> = of_kind.iter().flat_map(|names| names.first_for.keys()).collect();
            for last in lasts.iter().map(|last| Some(last.as_slice())).chain([None]) {
                let ends = of_kind.map(|names| names.first_for(last));
                let rules = [0, 1].map(|side| self.tried_for_too_long(policies, side, kind, ends[side]));
                if !is_of_interest(kind, &rules, widths, true) {
                    continue;
                }
                let component = last.map_or_else(|| unused_last(&lasts), <[u8]>::to_vec);
                let path = [b"a/".repeat(NAME_MAX / 2 + 1), component].concat();
                let Ok(example) = KnobName::from_path(path) else { continue };
                let names = NameSet::TooLong { last: last.map(<[u8]>::to_vec) };
                visit(Tried { names, example, kind, rules, widths, id: NameId::TooLong(ends) });
            }
        }
    }

    /// The class of `name`, for accesses of this kind.
    pub(crate) fn id_of(&self, name: &[u8], kind: AccessKind) -> NameId {
        if name.len() > NAME_MAX {
            let last = name.rsplit(|&byte| byte == b'/').next();
            let of_kind = [0, 1].map(|side| &self.too_long[side][kind as usize]);
            return NameId::TooLong(of_kind.map(|names| names.first_for(last)));
        }
        let literals = self.partition.literals();
        match literals.binary_search_by(|literal| literal.name.as_slice().cmp(name)) {
            Ok(found) => NameId::Literals(literals[found].class),
            Err(_) => NameId::Matched(self.partition.dfa().run(name) as usize),
        }
    }

    /// Those of `matching`, and of the rules for every name, that are tried for accesses of this kind: up to the first
    /// one without a condition.
    fn tried(
        &self,
        policies: Pair<&Policy>,
        side: usize,
        kind: AccessKind,
        matching: &[usize],
    ) -> Vec<usize> {
        let mut rules: Vec<usize> = matching.iter().chain(&self.everywhere[side]).copied().collect();
        rules.sort_unstable();
        rules.retain(|&rule| policies[side].rules()[rule].kinds().contains(kind));
        let last = rules.iter().position(|&rule| policies[side].rules()[rule].condition().is_none());
        rules.truncate(last.map_or(rules.len(), |last| last + 1));
        rules
    }

    /// The rules for every name up to the one that cannot be evaluated, and that one.
    fn tried_for_too_long(
        &self,
        policies: Pair<&Policy>,
        side: usize,
        kind: AccessKind,
        end: Option<usize>,
    ) -> Vec<usize> {
        let mut rules = self.tried(policies, side, kind, &[]);
        if let Some(end) = end {
            let is_decided_before = rules
                .last()
                .is_some_and(|&last| last < end && policies[side].rules()[last].condition().is_none());
            rules.retain(|&rule| rule < end);
            if !is_decided_before {
                rules.push(end);
            }
        }
        rules
    }
}

impl TooLongNames {
    fn of(policy: &Policy, kind: AccessKind) -> Self {
        let mut names = Self::default();
        for (index, rule) in policy.rules().iter().enumerate() {
            if !rule.kinds().contains(kind) || is_for_every_name(rule) {
                continue;
            }
            for pattern in rule.patterns() {
                match pattern.last_components() {
                    Some(lasts) => lasts.into_iter().for_each(|last| {
                        names.first_for.entry(last).or_insert(index);
                    }),
                    None => {
                        // No rule after it is tried.
                        names.first = Some(index);
                        return names;
                    }
                }
            }
        }
        names
    }

    fn first_for(&self, last: Option<&[u8]>) -> Option<usize> {
        let by_last = last.and_then(|last| self.first_for.get(last)).copied();
        by_last.into_iter().chain(self.first).min()
    }
}

pub(crate) fn is_for_every_name(rule: &Rule) -> bool {
    rule.patterns().iter().any(KnobPattern::matches_every_name)
}

/// The patterns of these rules that match `name`.
fn matching_patterns(policies: Pair<&Policy>, rules: &Pair<Vec<usize>>, name: &[u8]) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    for (policy, rules) in policies.into_iter().zip(rules) {
        for pattern in rules.iter().flat_map(|&rule| policy.rules()[rule].patterns()) {
            let text = pattern.to_string();
            if pattern.matches(name) && !patterns.contains(&text) {
                patterns.push(text);
            }
        }
    }
    patterns
}

/// A component that is none of these.
fn unused_last(lasts: &BTreeSet<&Vec<u8>>) -> Vec<u8> {
    let mut component = b"a".to_vec();
    while lasts.contains(&component) {
        component.push(b'a');
    }
    component
}
