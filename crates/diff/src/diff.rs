//! The classes of accesses that two policies decide differently.

use std::rc::Rc;

use foldhash::HashMap;
use knobgate_policy::{Access, AccessKind, Mode, Policy, Width, evaluate};

use crate::change::Change;
use crate::class::{Class, Classes, Found, Names};
use crate::contents::Contents;
use crate::decide::{ALL_CASES_MAX, Difference, differences, key};
use crate::names::{MATCHES_MAX, NAME_STEPS_MAX, NameClasses, NameSet, Pair};
use crate::selectors::SelectorChanges;

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
    found: Found,
    selectors: SelectorChanges,
}

/// The rules that are tried for a set of names, by what they say; and what else matters.
type Content = (AccessKind, Pair<Vec<usize>>, Pair<Width>);

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
        let mut classes = Classes::default();
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
            all.iter().for_each(|difference| classes.add(difference, &tried));
        });
        let (classes, found) = classes.sorted();
        let selectors = SelectorChanges::between(old, new);
        Ok(Self { modes: (old.mode(), new.mode()), names, classes, found, selectors })
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

    /// The `apply if` statements that only one of the policies has. They decide no access.
    pub fn selectors(&self) -> &SelectorChanges {
        &self.selectors
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
}
