//! How the names of a [`Plan`] are found: a few by a tree of comparisons, many by a [perfect hash](super::perfect_hash), and
//! those that are not spelled out by their prefixes or by a DFA.

use std::rc::Rc;

use foldhash::{HashMap, HashMapExt};

use super::PlacedStep;
use super::perfect_hash::PerfectHash;
use super::tables::{PlacedDfa, Tables};
use crate::ir::{self, NamedStep, OtherComponents, OtherNames, Plan, StepId};

/// Up to this many names are found by comparing words, more by their hash. A hash takes the same time for any number. Writing
/// `net/ipv4/conf/default/rp_filter` took 1.206 (one name), 1.211 (16) and 1.218 (32) times as long as with a program that
/// only returns 1 with comparisons, and 1.223 to 1.240 with hashes, on Linux 6.18. Each name makes the code longer.
const TREE_MAX: usize = 32;

/// A [`Plan`] with its tables in place.
#[derive(Debug)]
pub(crate) enum PlacedPlan<'a> {
    AnyName(StepId),
    ByName(PlacedNames<'a>),
}

/// Finds the first step by the name.
#[derive(Debug)]
pub(crate) struct PlacedNames<'a> {
    pub(crate) plan: &'a ir::ByName,
    pub(crate) literals: Option<Rc<Lookup>>,
    pub(crate) last_components: Option<Rc<Lookup>>,
    /// Whether some last component has one name only, and so its slot in `literals`.
    pub(crate) knows_slots: bool,
    pub(crate) others: PlacedOtherNames<'a>,
}

/// How names that are not spelled out find their first step: [`OtherNames`] with its table in place.
#[derive(Debug)]
pub(crate) enum PlacedOtherNames<'a> {
    Same(StepId),
    Prefixes {
        prefixes: &'a [NamedStep],
        otherwise: StepId,
    },
    /// The outputs are rows of steps.
    Dfa(PlacedDfa),
}

/// The target of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) step: StepId,
    /// For a last component that only one name has: the offset in the tables of the slot of that name.
    pub(crate) only_slot: Option<u32>,
}

/// A search for a name.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// By comparing words. All names have the same number of words.
    Tree {
        words: usize,
        names: Vec<(Vec<u64>, Target)>,
    },
    Hash(Hash),
}

/// A perfect hash in the tables. A slot holds the words of its name, and then the target: the row of the step, and the
/// slot of the only name, four bytes each.
#[derive(Debug)]
pub(crate) struct Hash {
    /// How many words of a name are compared: the longest name, a NUL, and zeros.
    pub(crate) words: usize,
    pub(crate) hash: PerfectHash,
    pub(crate) buckets: u32,
    pub(crate) slots: u32,
}

/// Places the tables of the plans for reads and for writes.
pub(crate) fn place<'a>(
    plans: &'a [Plan; 2],
    steps: &HashMap<StepId, PlacedStep>,
    tables: &mut Tables,
) -> [PlacedPlan<'a>; 2] {
    let mut placed = Placed { steps, tables, lookups: Vec::new() };
    plans.each_ref().map(|plan| placed.plan(plan))
}

type NameTarget<'a> = (&'a [u8], Target);

struct Placed<'a, 'b> {
    steps: &'b HashMap<StepId, PlacedStep>,
    tables: &'b mut Tables,
    /// Reads and writes often have equal names with equal targets, and share the lookup.
    lookups: Vec<(Vec<NameTarget<'a>>, Rc<Lookup>)>,
}

impl<'a> Placed<'a, '_> {
    fn plan(&mut self, plan: &'a Plan) -> PlacedPlan<'a> {
        let plan = match plan {
            Plan::AnyName(step) => return PlacedPlan::AnyName(*step),
            Plan::ByName(plan) => plan,
        };
        let other_names = match &plan.others {
            OtherNames::Dfa(dfa) => {
                let rows = dfa.with_outputs(|step| self.steps[&StepId(step as usize)].row);
                PlacedOtherNames::Dfa(self.tables.place_dfa(&rows))
            }
            OtherNames::Same(step) => PlacedOtherNames::Same(*step),
            OtherNames::Prefixes { prefixes, otherwise } => {
                PlacedOtherNames::Prefixes { prefixes, otherwise: *otherwise }
            }
        };
        let target = |step| Target { step, only_slot: None };
        let names = plan.literals.iter().map(|named| (&named.name[..], target(named.step))).collect();
        let literals = self.lookup(names);
        // The slot of the only name with a last component; none if several names have it.
        let mut slots: HashMap<&[u8], Option<u32>> = HashMap::new();
        if let Some(Lookup::Hash(hash)) = literals.as_deref() {
            for NamedStep { name, .. } in &plan.literals {
                let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
                slots.entry(last).and_modify(|slot| *slot = None).or_insert_with(|| Some(hash.slot_of(name)));
            }
        }
        let target = |last: &[u8], step| Target { step, only_slot: slots.get(last).copied().flatten() };
        let ir::ByLastComponent { known, others } = &plan.by_last_component;
        let last_components: Vec<_> =
            known.iter().map(|named| (&named.name[..], target(&named.name, named.step))).collect();
        let knows_slots = matches!(others, OtherComponents::Decided(_))
            && last_components.iter().any(|(_, target)| target.only_slot.is_some());
        let last_components = self.lookup(last_components);
        PlacedPlan::ByName(PlacedNames { plan, literals, last_components, knows_slots, others: other_names })
    }

    /// The lookup for `names`, which are different. None if there are no names.
    fn lookup(&mut self, names: Vec<NameTarget<'a>>) -> Option<Rc<Lookup>> {
        if let Some((_, lookup)) = self.lookups.iter().find(|(placed, _)| *placed == names) {
            return Some(lookup.clone());
        }
        let words = names.iter().map(|(name, _)| name.len() / 8 + 1).max()?;
        let keys = names.iter().map(|(name, target)| (in_words(name, words), *target));
        let lookup = if names.len() <= TREE_MAX {
            Lookup::Tree { words, names: keys.collect() }
        } else {
            let (keys, targets): (Vec<Vec<u64>>, Vec<Target>) = keys.unzip();
            Lookup::Hash(self.hash(words, &keys, &targets))
        };
        let lookup = Rc::new(lookup);
        self.lookups.push((names, lookup.clone()));
        Some(lookup)
    }

    fn hash(&mut self, words: usize, keys: &[Vec<u64>], targets: &[Target]) -> Hash {
        let hash = PerfectHash::new(keys);
        let buckets = self.tables.place_words(hash.buckets.iter().copied());
        // No name starts with zeros, so none is found in an empty slot.
        let empty = vec![0; words];
        let steps = self.steps;
        let slots = self.tables.place_words(hash.slots.iter().flat_map(|slot| {
            let (key, target) = slot.map_or((&empty, 0), |key| {
                let target = targets[key];
                (&keys[key], u64::from(target.encoded_slot()) << 32 | u64::from(steps[&target.step].row))
            });
            key.iter().copied().chain([target])
        }));
        Hash { words, hash, buckets, slots }
    }
}

impl Target {
    /// The slot as it is in tables and on the stack: 0 if there is none. No slot has the offset 0, because the buckets are
    /// before the slots.
    pub(crate) fn encoded_slot(self) -> u32 {
        self.only_slot.unwrap_or(0)
    }
}

impl Lookup {
    /// How many bytes of a name are looked at.
    pub(crate) fn bytes(&self) -> i16 {
        let words = match self {
            Lookup::Tree { words, .. } => *words,
            Lookup::Hash(hash) => hash.words,
        };
        8 * words as i16
    }
}

impl Hash {
    /// Bytes in a slot.
    pub(crate) fn stride(&self) -> usize {
        8 * (self.words + 1)
    }

    /// The offset in the tables of the slot of a name that was placed.
    pub(crate) fn slot_of(&self, name: &[u8]) -> u32 {
        self.slots + (self.hash.slot_of(&in_words(name, self.words)) * self.stride()) as u32
    }
}

/// The bytes as words, followed by zeros.
fn in_words(name: &[u8], words: usize) -> Vec<u64> {
    let mut padded = name.to_vec();
    padded.resize(8 * words, 0);
    padded.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}
