//! The classes of accesses that two policies decide differently.

use std::rc::Rc;

use foldhash::HashMap;
use knobgate_policy::{
    Access, AccessKind, DecidedBy, Decision, KnobName, KnobPattern, Mode, Policy, Rule, Width, evaluate,
};

use crate::candidates::Reason;
use crate::change::{Change, VerdictKind};
use crate::decide::{ALL_CASES_MAX, Difference, differences, key};
use crate::names::{MATCHES_MAX, NAME_STEPS_MAX, NameClasses, NameId, NameSet, Pair, is_for_every_name};
use crate::region::Region;

/// Why two policies cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The automaton of the names is too large.
    #[error(
        "the patterns of both policies make an automaton of more than {} states and byte classes together, take more than \
         {NAME_STEPS_MAX} steps to make it, or match names more than {MATCHES_MAX} times; use fewer wildcards",
        knobgate_glob::ENTRIES_MAX
    )]
    PatternsTooComplex,
}

/// What two policies decide differently.
#[derive(Debug, Clone)]
pub struct Diff {
    modes: (Mode, Mode),
    names: NameClasses,
    classes: Vec<Class>,
    /// For each set of names and each kind of access, the classes, with the place of the names in them.
    found: HashMap<(NameId, AccessKind), Vec<(usize, usize)>>,
}

/// Accesses that two policies decide differently, in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// How they differ.
    pub change: Change,
    /// Whether they are reads or writes.
    pub kind: AccessKind,
    /// What they hold.
    pub region: Region,
    /// The verdict of the old policy. Of an undecided class it is that for the examples.
    pub old: VerdictKind,
    /// The verdict of the new policy.
    pub new: VerdictKind,
    /// Why it was not decided whether the policies differ; only in undecided classes.
    pub reason: Option<Reason>,
    /// The names of the knobs; at least one set.
    pub names: Vec<Names>,
}

/// Names of one class that the same rules match.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// The names.
    pub set: NameSet,
    /// An access to one of them.
    pub example: Access,
    /// What the old policy decides about it.
    pub old: Decision,
    /// What the new policy decides about it.
    pub new: Decision,
}

/// The rules that are tried for a set of names, by what they say; and what else matters.
type Content = (AccessKind, Pair<Vec<usize>>, Pair<Width>);

/// Classes of different names are one if these are equal.
type MergeKey = (Change, AccessKind, Region, VerdictKind, VerdictKind, Option<Reason>);

impl Diff {
    /// Compares two policies.
    ///
    /// # Errors
    /// The patterns for names are too complex together.
    pub fn between(old: &Policy, new: &Policy) -> Result<Self, DiffError> {
        let policies = [old, new];
        let names = NameClasses::of(policies)?;
        let contents = Contents::new(policies);
        let is_same_default = AccessKind::ALL.map(|kind| contents.is_same_default(kind));
        let is_same_mode = old.mode() == new.mode();
        let mut compared: HashMap<Content, Rc<Vec<Difference>>> = HashMap::default();
        let mut cases = ALL_CASES_MAX;
        let mut merged: HashMap<MergeKey, usize> = HashMap::default();
        let mut classes: Vec<Class> = Vec::new();
        let mut matched: HashMap<(usize, NameSet), usize> = HashMap::default();
        let mut found: HashMap<(NameId, AccessKind), Vec<(usize, usize)>> = HashMap::default();
        let is_of_interest =
            |kind: AccessKind, rules: &Pair<Vec<usize>>, widths: Pair<Width>, is_too_long: bool| {
                let is_same_else = is_same_default[kind as usize] && is_same_mode && widths[0] == widths[1];
                let ids = contents.of(rules, is_too_long);
                !is_same_else || ids[0] != ids[1]
            };
        names.visit(policies, is_of_interest, |tried| {
            let is_too_long = matches!(tried.names, NameSet::TooLong { .. });
            let content: Content = (tried.kind, contents.of(&tried.rules, is_too_long), tried.widths);
            let all = compared.entry(content).or_insert_with(|| {
                let alone = [0, 1]
                    .map(|side| contents.alone(side, &tried.rules[side], tried.widths[side], is_too_long));
                let is_write = tried.kind == AccessKind::Write;
                let alone = [&alone[0], &alone[1]];
                Rc::new(differences(alone, &tried.example, is_write, &mut cases))
            });
            for difference in all.iter() {
                let names = of_names(difference, tried.names.clone(), &tried.example, &tried.rules);
                let class = Class {
                    change: difference.change,
                    kind: tried.kind,
                    region: difference.region.clone(),
                    old: VerdictKind::from(&names.old.verdict),
                    new: VerdictKind::from(&names.new.verdict),
                    reason: difference.reason,
                    names: Vec::new(),
                };
                let index = *merged.entry(class.merge_key()).or_insert_with(|| {
                    classes.push(class);
                    classes.len() - 1
                });
                let all = &mut classes[index].names;
                let at = match &names.set {
                    // Knobs of different widths are one set if the width makes no difference.
                    NameSet::Matched { .. } => {
                        *matched.entry((index, names.set.clone())).or_insert(all.len())
                    }
                    NameSet::Literals(_) | NameSet::TooLong { .. } => all.len(),
                };
                if at == all.len() {
                    all.push(names);
                }
                found.entry((tried.id, tried.kind)).or_default().push((index, at));
            }
        });
        let mut diff = Self { modes: (old.mode(), new.mode()), names, classes, found };
        diff.sort();
        Ok(diff)
    }

    /// The classes, the most dangerous first.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The modes of the policies. If only one of them enforces, everything that it denies or rewrites passes under the
    /// other.
    pub fn modes(&self) -> (Mode, Mode) {
        self.modes
    }

    /// The class of an access that the two policies decide differently, which have to be those that were compared, and the
    /// names in it to which that of its knob belongs. `None` if they decide it in the same way.
    pub fn find(&self, old: &Policy, new: &Policy, access: &Access) -> Option<(&Class, &Names)> {
        let decisions = [evaluate(old, access), evaluate(new, access)];
        let change = Change::between(&decisions[0], &decisions[1], self.modes)?;
        let key = key(change, &decisions);
        let id = self.names.id_of(access.knob.as_bytes(), access.kind());
        let found = self.found.get(&(id, access.kind()))?;
        let all =
            || found.iter().map(|&(class, names)| (&self.classes[class], &self.classes[class].names[names]));
        let is_it = |(class, names): &(&Class, &Names)| {
            key == self::key(class.change, &[names.old.clone(), names.new.clone()])
        };
        all().find(is_it).or_else(|| all().find(|(class, _)| class.change == Change::Undecided))
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order.sort_by_key(|&class| {
            let class = &self.classes[class];
            let is_too_long = class.names.iter().all(|names| matches!(names.set, NameSet::TooLong { .. }));
            (class.change, is_too_long, class.kind == AccessKind::Read)
        });
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| place[from] = to);
        self.found.values_mut().flatten().for_each(|(class, _)| *class = place[*class]);
        let mut classes: Vec<Option<Class>> = self.classes.drain(..).map(Some).collect();
        self.classes = order.into_iter().filter_map(|from| classes[from].take()).collect();
    }
}

impl Class {
    fn merge_key(&self) -> MergeKey {
        (self.change, self.kind, self.region.clone(), self.old, self.new, self.reason)
    }
}

/// A difference for one set of names, with the rules of the whole policies.
fn of_names(difference: &Difference, set: NameSet, knob: &KnobName, rules: &Pair<Vec<usize>>) -> Names {
    let [old, new] = [0, 1].map(|side| {
        let mut decision = difference.decisions[side].clone();
        decision.by = match decision.by {
            DecidedBy::Rule(rule) => DecidedBy::Rule(rules[side][rule]),
            DecidedBy::EvalError { rule, error } => DecidedBy::EvalError { rule: rules[side][rule], error },
            default @ DecidedBy::Default(_) => default,
        };
        decision
    });
    Names { set, example: Access { knob: knob.clone(), ..difference.example.clone() }, old, new }
}

/// The rules of two policies without their patterns.
struct Contents<'a> {
    policies: Pair<&'a Policy>,
    /// Equal numbers for equal rules.
    ids: Pair<Vec<usize>>,
}

/// The number of all rules that cannot be evaluated because the name is too long.
const CANNOT_BE_EVALUATED: usize = usize::MAX;

impl<'a> Contents<'a> {
    fn new(policies: Pair<&'a Policy>) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::default();
        let ids = policies.map(|policy| {
            policy
                .rules()
                .iter()
                .map(|rule| {
                    let next = numbers.len();
                    *numbers.entry(for_every_name(rule).to_string()).or_insert(next)
                })
                .collect::<Vec<_>>()
        });
        Self { policies, ids }
    }

    /// The numbers of these rules. Those that cannot be evaluated for a name that is too long have the same.
    fn of(&self, rules: &Pair<Vec<usize>>, is_too_long: bool) -> Pair<Vec<usize>> {
        let id = |side: usize, rule: usize| {
            if is_too_long && !is_for_every_name(&self.policies[side].rules()[rule]) {
                CANNOT_BE_EVALUATED
            } else {
                self.ids[side][rule]
            }
        };
        [0, 1].map(|side| rules[side].iter().map(|&rule| id(side, rule)).collect())
    }

    fn is_same_default(&self, kind: AccessKind) -> bool {
        let [old, new] = self.policies.map(|policy| policy.defaults().of(kind));
        old.action == new.action && old.logs() == new.logs()
    }

    /// A policy of these rules alone, for names that all of them match.
    fn alone(&self, side: usize, rules: &[usize], width: Width, is_too_long: bool) -> Policy {
        let policy = self.policies[side];
        let rules: Vec<Rule> = rules
            .iter()
            .map(|&rule| {
                let rule = &policy.rules()[rule];
                if is_too_long { rule.clone() } else { for_every_name(rule) }
            })
            .collect();
        let settings = Policy::new(policy.name()).expect("the name of a policy");
        let settings = settings.with_mode(policy.mode()).with_defaults(policy.defaults());
        settings.with_width_64((width == Width::Bits64).then(every_name)).with_rules(rules)
    }
}

/// `rule` for all names.
fn for_every_name(rule: &Rule) -> Rule {
    let all = Rule::new(rule.action().clone(), rule.kinds(), [every_name()]);
    let all = all.and_then(|all| all.with_condition(rule.condition().cloned()));
    all.map_or_else(|_| rule.clone(), |all| all.with_log(rule.log()))
}

fn every_name() -> KnobPattern {
    KnobPattern::parse("**").expect("a constant")
}
