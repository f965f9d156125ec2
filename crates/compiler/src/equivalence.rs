//! Tests that the tables of the name matcher are equivalent to the definition of the language, for every possible name: by
//! exploring the product of two automata.
//!
//! One automaton is the [`definition`]: the rest of each pattern after each byte. The other is the [`matcher`]: what code does
//! with the placed tables. The product also knows how much of each name in a table a name has, and how much of each last
//! component. Names are what the hook reports: no byte is NUL, and no component is empty.
//!
//! For the policies below, and for reads and writes, this proves:
//!
//! - For names of up to [`NAME_MAX`] bytes, the matcher leads to the rules that the definition tries, in the same order, and to the
//!   default. That includes names that their last component decides, and names whose slot the last component knows.
//! - For longer names the same, up to the rule for which the name is too long.
//! - Rules that look at numbers of the new value have the width of the knob, and it is fetched by that width.
//! - If a search misses a name, or finds one by mistake, that changes none of this. Searches compare all words of a name with those
//!   of one of their names, and the product tells each of these from all other names.
//! - If a hash or the DFA finds a row, it is the row of a step that the code after it expects.
//!
//! It does not cover:
//!
//! - The instructions. The [`matcher`] here takes a tree of comparisons for a list of names: [`trees`] tests the code of trees.
//!   `tests/first_rule.rs` tries all of the code with many names.
//! - The conditions and the actions of rules, and what a row holds.
//! - Which last components a pattern spells out, for names that are too long. There
//!   [`last_components`](knobgate_policy::KnobPattern::last_components) is the definition.
//! - Policies whose product is too large. They are skipped.
//!
//! The tests in [`defects`] show that errors are found.

mod decision;
mod defects;
mod definition;
mod matcher;
mod tables;
mod trees;
mod trie;

use std::collections::BTreeSet;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use knobgate_bpf as bpf;
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, CheckOptions, Policy, PolicyFile, Source, Width, parse};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::analyse::analyse;
use crate::ir::{Ir, OtherComponents, StepId};
use crate::layout::{Inlining, Layout, Lookup, PlacedNames, PlacedOtherNames, PlacedPlan};
use decision::Decision;
use definition::Definition;
use matcher::{Matched, Matcher};
use trie::{Prefix, Trie};

/// Larger products are skipped.
const STATES_MAX: usize = 8_000;

/// A name about which the two sides disagree.
#[derive(Debug)]
struct Difference {
    name: Vec<u8>,
    expected: Decision,
    /// None if the row that was found is not that of a step that the code expects.
    found: Option<Decision>,
}

/// The product had too many states.
#[derive(Debug)]
struct TooManyStates;

/// A policy with its tables in place.
struct Placed<'a> {
    policy: &'a Policy,
    ir: &'a Ir,
    layout: &'a Layout<'a>,
    /// The tables of the layout.
    bytes: &'a [u8],
}

/// A state of the product: after the start of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    matched: Matched,
    /// The state of the definition.
    defined: usize,
    /// How much the name has of each name in a table, and of each pattern that is a literal.
    literal: Prefix,
}

impl Placed<'_> {
    /// Compares the two sides for accesses of `kind` to all names. Returns a name about which they disagree, a shortest one if it
    /// is not too long.
    fn difference(&self, kind: AccessKind) -> Result<Option<Difference>, TooManyStates> {
        let matcher = Matcher::new(kind, self.ir, self.layout, self.bytes);
        let mut definition = Definition::new(self.policy, kind, decision::width_dependent(self.ir, kind));
        let literals = Trie::new(&(definition.literals() | matcher.literals()));
        let all_ranges = [definition.byte_ranges(), matcher.byte_ranges(), literals.byte_ranges()];
        // One byte of each range. To both sides, all bytes of a range are equal.
        let bytes: BTreeSet<u8> =
            all_ranges.into_iter().flatten().chain([1, b'/', b'/' + 1]).filter(|&byte| byte != 0).collect();

        let start = State { matched: matcher.start(), defined: definition.start(), literal: Trie::START };
        // Each state with a shortest name that leads there.
        let mut states: IndexMap<State, Vec<u8>, RandomState> = IndexMap::default();
        states.insert(start, Vec::new());
        let mut visited = 0;
        while let Some((state, name)) = states.get_index(visited) {
            visited += 1;
            let (State { matched, defined, literal }, name) = (state.clone(), name.clone());
            let is_name = matched.is_inside_component();
            if is_name {
                let key = literals.key(literal);
                let difference = self.compare(
                    kind,
                    name.clone(),
                    definition.decision(defined, key),
                    matcher.found(&matched, key),
                );
                if difference.is_some() {
                    return Ok(difference);
                }
            }
            if name.len() == NAME_MAX {
                continue;
            }
            for &byte in bytes.iter().filter(|&&byte| byte != b'/' || is_name) {
                let next = State {
                    matched: matcher.after(&matched, byte),
                    defined: definition.after(defined, byte),
                    literal: literals.after(literal, byte),
                };
                states.entry(next).or_insert_with(|| [&name[..], &[byte]].concat());
            }
            if states.len() > STATES_MAX {
                return Err(TooManyStates);
            }
        }
        Ok(self.difference_if_too_long(kind, &definition, &matcher))
    }

    /// The same for names that are too long. For both sides only the last component matters.
    fn difference_if_too_long(
        &self,
        kind: AccessKind,
        definition: &Definition<'_>,
        matcher: &Matcher<'_>,
    ) -> Option<Difference> {
        let spelled_out = &definition.last_components() | matcher.last_components();
        // To both sides, all others are equal.
        let other = (0..).map(|number: u32| number.to_string().into_bytes());
        let other = other.filter(|last| !spelled_out.contains(last)).take(1);
        spelled_out.iter().cloned().chain(other).find_map(|last| {
            let name = [&[b'z'; NAME_MAX], &b"/"[..], &last].concat();
            self.compare(kind, name, definition.too_long(&last), matcher.too_long(&last))
        })
    }

    fn compare(
        &self,
        kind: AccessKind,
        name: Vec<u8>,
        expected: Decision,
        found: Option<StepId>,
    ) -> Option<Difference> {
        let found = found.map(|step| decision::from_step(kind, self.ir, self.layout, step));
        (found.as_ref() != Some(&expected)).then_some(Difference { name, expected, found })
    }
}

/// What is true of the matchers that were compared.
type Features = BTreeSet<&'static str>;

/// Checks that both sides agree about all names. Returns whether the product was small enough, and adds to `features` those of
/// the matchers.
fn check(policy: &Policy, features: &mut Features) -> bool {
    let ir = analyse(policy, false).expect("few patterns");
    let layout = Layout::new(&ir, &bpf::Features::ALL, Inlining::ALL).expect("small");
    let again = Layout::new(&ir, &bpf::Features::ALL, Inlining::ALL).expect("small");
    let bytes = again.into_table_bytes();
    let placed = Placed { policy, ir: &ir, layout: &layout, bytes: &bytes };
    AccessKind::ALL.into_iter().all(|kind| {
        let Ok(difference) = placed.difference(kind) else { return false };
        if let Some(Difference { name, expected, found }) = difference {
            panic!("{kind} {}: expected {expected:?}, found {found:?}\n{policy}", name.escape_ascii());
        }
        features.extend(features_of(kind, &ir, &layout));
        true
    })
}

fn features_of(kind: AccessKind, ir: &Ir, layout: &Layout<'_>) -> Features {
    let PlacedPlan::ByName(names) = matcher::plan(kind, layout) else { return Features::from(["any name"]) };
    let PlacedNames { plan, literals, last_components, knows_slots, others } = names;
    let mut features = Features::new();
    features.extend(literals.as_deref().map(|lookup| match lookup {
        Lookup::Tree { .. } => "a tree of literals",
        Lookup::Hash(_) => "a hash of literals",
    }));
    features.extend(last_components.as_deref().map(|lookup| match lookup {
        Lookup::Tree { .. } => "a tree of last components",
        Lookup::Hash(_) => "a hash of last components",
    }));
    features.insert(match plan.by_last_component.others {
        OtherComponents::Decided(_) => "decided by the last component",
        OtherComponents::NeedName(_) => "decided by the name",
    });
    features.insert(match others {
        PlacedOtherNames::Same(_) => "one step for all others",
        PlacedOtherNames::Prefixes { .. } => "prefixes",
        PlacedOtherNames::Dfa(_) => "a DFA",
    });
    if *knows_slots {
        features.insert("known slots");
    }
    let widths: BTreeSet<Width> = ir.steps.iter().filter_map(|(_, step)| step.width()).collect();
    if widths.len() > 1 {
        features.insert("widths");
    }
    features
}

fn parsed(text: &str) -> PolicyFile {
    parse(Source::new("p", text), &CheckOptions::default()).expect("valid")
}

/// The lines that `line` makes of the first numbers.
fn numbered(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_matchers_of_the_examples_follow_the_definition() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(examples).expect("the examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "knob") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let is_small = check(parsed(&text).policy(), &mut Features::new());
            assert!(is_small, "{} has too many states", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn every_kind_of_matcher_follows_the_definition() {
    let policies = [
        "allow write ** if uid == 1\nclamp write ** to 1..2".to_owned(),
        "allow write net.**\ndeny write net.ipv4.** if pos == 1\nallow write net.ipv4.conf.**\n\
         deny(EIO) write net.ipv4.** if uid == 1"
            .to_owned(),
        "allow write net.ipv4.** if uid == 1\nallow write net.** if uid == 2\n\
         deny write net.ipv4.conf.** if uid == 3\nallow read vm.**\ndeny read vm.x"
            .to_owned(),
        // Names that are too long: by rules before and after the ones that look at names.
        "deny write ** if uid == 1\nallow write vm.a, **.b if uid == 2\ndeny write ** if uid == 3\n\
         allow write net.*.c if uid == 4\nallow write net.**\nallow write vm.a"
            .to_owned(),
        // The longest name and the longest last component fill whole words.
        "deny(EIO) write vm.a, fs.abcd.efghijkl".to_owned(),
        numbered(20, |i| format!("allow write vm.a{i} if uid == {i}")),
        // Several names with the same last component, and each with its own.
        numbered(200, |i| format!("allow write net.a{}.b{} if uid == {i}", i / 7, i % 7)),
        numbered(100, |i| format!("allow write net.a{}.b{i} if uid == {i}", i / 7)),
        numbered(60, |i| format!("allow read write net.a{}.b{i}, **.c{i} if uid == {i}", i / 7)),
        numbered(60, |i| format!("allow read write net.a{}.b{i} if uid == {i}", i / 7))
            + "\nallow read vm.*x",
        // Known widths and declared ones: of literals, by prefixes, by other patterns, by the last component.
        "width 64 net.core.a\nclamp write net.core.a, net.core.b to 1..2".to_owned(),
        "allow write net.ipv4.** if new < 5\ndeny write ** if uid == 1".to_owned(),
        "width 64 net.*.x, **.y\nallow write net.*.* if new < 5\nallow write vm.** if uid == 1".to_owned(),
        "width 64 **\nallow write net.ipv4.tcp_{retries1,fin_timeout} if new < 5\nclamp write ** to 1..2"
            .to_owned(),
        "width 64 **.x\nallow write **.x, **.y if new < 5\nclamp write ** to 1..2".to_owned(),
    ];
    let mut features = Features::new();
    for text in policies {
        let file = parsed(&format!("policy p\n{text}\n"));
        assert!(check(file.policy(), &mut features), "too many states: {text}");
    }
    let expected = [
        "any name",
        "a tree of literals",
        "a hash of literals",
        "a tree of last components",
        "a hash of last components",
        "decided by the last component",
        "decided by the name",
        "one step for all others",
        "prefixes",
        "a DFA",
        "known slots",
        "widths",
    ];
    assert_eq!(features, Features::from(expected));
}

#[test]
fn the_matchers_of_random_policies_follow_the_definition() {
    const POLICIES: usize = 100;
    let mut runner = TestRunner::default();
    let mut random = || knobgate_arbitrary::policy().new_tree(&mut runner).expect("a policy").current();
    let decided = (0..POLICIES).filter(|_| check(&random(), &mut Features::new())).count();
    println!("{decided} of {POLICIES} policies");
    assert!(decided > POLICIES / 2, "only {decided} are small enough");
}
