//! Classes of accesses, and how differences for several sets of names become one.

use foldhash::HashMap;
use knobgate_policy::{Access, AccessKind, DecidedBy, Decision, KnobName};

use crate::candidates::Reason;
use crate::change::{Change, VerdictKind, decider};
use crate::decide::Difference;
use crate::names::{NameId, NameSet, Pair, Tried};
use crate::region::Region;

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

/// For each set of names and each kind of access, the classes, with the place of the names in them.
pub(crate) type Found = HashMap<(NameId, AccessKind), Vec<(usize, usize)>>;

/// Classes of different names are one if these are equal.
type MergeKey = (Change, AccessKind, Region, VerdictKind, VerdictKind, Option<Reason>);

/// Names of one class are one set if these are equal: knobs of different widths, if the width makes no difference.
type SetKey = (usize, NameSet, Pair<Option<(usize, bool)>>);

/// Classes that differences are added to.
#[derive(Default)]
pub(crate) struct Classes {
    all: Vec<Class>,
    merged: HashMap<MergeKey, usize>,
    matched: HashMap<SetKey, usize>,
    found: Found,
}

impl Classes {
    pub(crate) fn add(&mut self, difference: &Difference, tried: &Tried) {
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
        let index = *self.merged.entry(class.merge_key()).or_insert_with(|| {
            self.all.push(class);
            self.all.len() - 1
        });
        let sets = &mut self.all[index].names;
        let at = match &names.set {
            NameSet::Matched { .. } => {
                let deciders = [decider(names.old.by), decider(names.new.by)];
                *self.matched.entry((index, names.set.clone(), deciders)).or_insert(sets.len())
            }
            NameSet::Literals(_) | NameSet::TooLong { .. } => sets.len(),
        };
        if at == sets.len() {
            sets.push(names);
        }
        self.found.entry((tried.id, tried.kind)).or_default().push((index, at));
    }

    /// The classes, the most dangerous first; those of names that are too long, which Linux does not have, last.
    pub(crate) fn sorted(self) -> (Vec<Class>, Found) {
        let Self { all, mut found, .. } = self;
        let mut sorted: Vec<(usize, Class)> = all.into_iter().enumerate().collect();
        sorted.sort_by_key(|(_, class)| {
            let is_too_long = class.names.iter().all(|names| matches!(names.set, NameSet::TooLong { .. }));
            (class.change, is_too_long, class.kind == AccessKind::Read)
        });
        let mut places = vec![0; sorted.len()];
        sorted.iter().enumerate().for_each(|(to, (from, _))| places[*from] = to);
        found.values_mut().flatten().for_each(|(class, _)| *class = places[*class]);
        (sorted.into_iter().map(|(_, class)| class).collect(), found)
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
