//! Tests that the comparison finds errors. Each case makes one in a plan or in the placed tables, and has the name that shows it.

use std::rc::Rc;

use knobgate_bpf::Features;
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{AccessKind, Width};

use super::tables::name;
use super::{Difference, Placed, numbered, parsed};
use crate::analyse::analyse;
use crate::ir::{ByName, Ir, NamedStep, OtherComponents, OtherNames, Plan, StepId};
use crate::layout::{Hash, Inlining, Layout, Lookup, PlacedNames, PlacedOtherNames, PlacedPlan, Target};

/// An error in the matcher for writes.
enum Defect {
    InPlan(fn(&mut Ir)),
    InTables(fn(&mut Layout<'_>, &mut [u8])),
}
use Defect::{InPlan, InTables};

/// The name that a case is about.
enum Name {
    /// This one.
    Is(&'static str),
    /// One that is too long, with this last component.
    TooLong(&'static str),
}
use Name::{Is, TooLong};

/// Names by trees of comparisons: a few literals, and nothing else.
const FEW: &str = "deny(EIO) write vm.a, vm.long_enough_for_two_words, net.core.b";
/// Names by a DFA, and no last component that decides.
const GLOBS: &str = "deny(EIO) write net.*.x if uid == 1\nallow write net.*.y*";
/// Names by prefixes.
const PREFIXES: &str = "deny(EIO) write net.core.** if uid == 1\ndeny write net.**";
/// Names whose knobs have different widths.
const WIDTHS: &str = "width 64 net.a\nclamp write net.a, net.b to 1..2";

/// Names by hashes: many literals, each with its own last component.
fn many() -> String {
    numbered(60, |number| format!("allow write net.a{}.b{number} if uid == {number}", number / 7))
}

/// A name about which the two sides disagree if there is this defect.
fn difference(policy: &str, defect: &Defect) -> Option<Difference> {
    let file = parsed(&format!("policy p\n{policy}\n"));
    let mut ir = analyse(file.policy(), false).expect("few patterns");
    if let InPlan(break_it) = defect {
        break_it(&mut ir);
    }
    let mut layout = Layout::new(&ir, &Features::ALL, Inlining::ALL).expect("small");
    let again = Layout::new(&ir, &Features::ALL, Inlining::ALL).expect("small");
    let mut bytes = again.into_table_bytes();
    if let InTables(break_it) = defect {
        break_it(&mut layout, &mut bytes);
    }
    let placed = Placed { policy: file.policy(), ir: &ir, layout: &layout, bytes: &bytes };
    placed.difference(AccessKind::Write).expect("few states")
}

/// The plan for writes.
fn plan(ir: &mut Ir) -> &mut ByName {
    match &mut ir.plans {
        [_, Plan::ByName(plan)] => plan,
        _ => panic!("writes are not decided by name"),
    }
}

/// Its place.
fn names<'a, 'b>(layout: &'b mut Layout<'a>) -> &'b mut PlacedNames<'a> {
    match &mut layout.plans {
        [_, PlacedPlan::ByName(names)] => names,
        _ => panic!("writes are not decided by name"),
    }
}

/// Where the last component leads if it decides.
fn decided(plan: &ByName) -> StepId {
    match plan.by_last_component.others {
        OtherComponents::Decided(step) => step,
        OtherComponents::NeedName(_) => panic!("the last component does not decide"),
    }
}

/// Changes the names of a tree.
fn change_tree(lookup: &mut Option<Rc<Lookup>>, change: impl FnOnce(&mut Vec<(Vec<u64>, Target)>)) {
    let Some(Lookup::Tree { words, names }) = lookup.as_deref() else { panic!("not a tree") };
    let (words, mut names) = (*words, names.clone());
    change(&mut names);
    *lookup = Some(Rc::new(Lookup::Tree { words, names }));
}

fn hash(lookup: &Option<Rc<Lookup>>) -> &Hash {
    match lookup.as_deref() {
        Some(Lookup::Hash(hash)) => hash,
        _ => panic!("not a hash"),
    }
}

/// Changes 4 bytes of the tables.
fn change(bytes: &mut [u8], offset: u32, to: u32) {
    bytes[offset as usize..][..4].copy_from_slice(&to.to_le_bytes());
}

/// The target of `name` in a hash: the offset of its row. That of its only slot is 4 bytes later.
fn target_of(hash: &Hash, name: &[u8]) -> u32 {
    hash.slot_of(name) + 8 * hash.words as u32
}

/// Swaps the first steps of two names.
fn swap(named: &mut [NamedStep]) {
    let (first, second) = (named[0].step, named[1].step);
    (named[0].step, named[1].step) = (second, first);
}

#[test]
fn errors_in_what_the_last_component_decides_are_found() {
    check(&[
        (
            "it decides where the name is needed",
            GLOBS,
            Is("net/\x01/x"),
            InPlan(|ir| {
                let plan = plan(ir);
                let OtherNames::Dfa(dfa) = &plan.others else { panic!("not by a DFA") };
                plan.by_last_component.others = OtherComponents::Decided(StepId(dfa.run(b"vm/a") as usize));
                plan.by_last_component.known.clear();
            }),
        ),
        (
            "a component is missing",
            FEW,
            Is("vm/a"),
            InPlan(|ir| {
                plan(ir).by_last_component.known.retain(|named| named.name != b"a");
            }),
        ),
        (
            "all others go to a wrong step",
            FEW,
            Is("\x01"),
            InPlan(|ir| {
                let plan = plan(ir);
                plan.by_last_component.others = OtherComponents::Decided(plan.literals[0].step);
            }),
        ),
        (
            "a component is missing in the tree",
            FEW,
            Is("vm/a"),
            InTables(|layout, _| {
                change_tree(&mut names(layout).last_components, |names| {
                    names.retain(|(words, _)| name(words).as_deref() != Some(b"a"));
                });
            }),
        ),
        (
            "a component differs in a word of the tree",
            FEW,
            Is("vm/long_enough_for_two_words"),
            InTables(|layout, _| {
                change_tree(&mut names(layout).last_components, |names| {
                    names
                        .iter_mut()
                        .filter(|(words, _)| name(words).as_deref() == Some(b"long_enough_for_two_words"))
                        .for_each(|(words, _)| words[1] ^= 1);
                });
            }),
        ),
        (
            "a component differs in its slot",
            &many(),
            Is("net/a0/b3"),
            InTables(|layout, bytes| {
                let slot = hash(&names(layout).last_components).slot_of(b"b3");
                change(bytes, slot, u32::from_le_bytes(*b"b3x\0"));
            }),
        ),
    ]);
}

#[test]
fn errors_in_the_search_for_literals_are_found() {
    check(&[
        (
            "a name goes to another step",
            "deny write vm.a\nallow write vm.b",
            Is("vm/a"),
            InPlan(|ir| {
                swap(&mut plan(ir).literals);
            }),
        ),
        (
            "a name is missing in the tree",
            FEW,
            Is("net/core/b"),
            InTables(|layout, _| {
                change_tree(&mut names(layout).literals, |names| {
                    names.retain(|(words, _)| name(words).as_deref() != Some(b"net/core/b"));
                });
            }),
        ),
        (
            "a name differs in a word of the tree",
            FEW,
            Is("net/core/b"),
            InTables(|layout, _| {
                change_tree(&mut names(layout).literals, |names| {
                    names
                        .iter_mut()
                        .filter(|(words, _)| name(words).as_deref() == Some(b"net/core/b"))
                        .for_each(|(words, _)| words[1] ^= 1);
                });
            }),
        ),
        (
            "a name goes to another step in the tree",
            FEW,
            Is("vm/a"),
            InTables(|layout, _| {
                let decided = decided(names(layout).plan);
                change_tree(&mut names(layout).literals, |names| {
                    names.iter_mut().for_each(|(_, target)| target.step = decided);
                });
            }),
        ),
        (
            "a name has the row of another one",
            &many(),
            Is("net/a0/b3"),
            InTables(|layout, bytes| {
                let other = names(layout).plan.literals[0].step;
                let row = layout.step(other).row;
                change(bytes, target_of(hash(&names(layout).literals), b"net/a0/b3"), row);
            }),
        ),
        (
            "a name has no row",
            &many(),
            Is("net/a0/b3"),
            InTables(|layout, bytes| {
                change(bytes, target_of(hash(&names(layout).literals), b"net/a0/b3"), 0);
            }),
        ),
        (
            "a name differs in its slot",
            &many(),
            Is("net/a0/b3"),
            InTables(|layout, bytes| {
                change(bytes, hash(&names(layout).literals).slot_of(b"net/a0/b3"), 0);
            }),
        ),
        (
            "a last component has the slot of another name",
            &many(),
            Is("net/a0/b3"),
            InTables(|layout, bytes| {
                let names = names(layout);
                let other = hash(&names.literals).slot_of(b"net/a0/b4");
                change(bytes, target_of(hash(&names.last_components), b"b3") + 4, other);
            }),
        ),
        // Without slots that are known, so that every name is hashed.
        (
            "a bucket has another multiplier",
            &format!("{}\nallow write vm.*x", many()),
            Is("net/a0/b0"),
            InTables(|layout, bytes| {
                let hash = hash(&names(layout).literals);
                for bucket in 0..hash.hash.buckets.len() as u32 {
                    change(bytes, hash.buckets + 8 * bucket, 0);
                    change(bytes, hash.buckets + 8 * bucket + 4, 0);
                }
            }),
        ),
    ]);
}

#[test]
fn errors_for_all_other_names_are_found() {
    check(&[
        (
            "a shorter prefix is compared first",
            PREFIXES,
            Is("net/core/\x01"),
            InPlan(|ir| {
                let OtherNames::Prefixes { prefixes, .. } = &mut plan(ir).others else {
                    panic!("no prefixes")
                };
                prefixes.reverse();
            }),
        ),
        (
            "a prefix is missing",
            PREFIXES,
            Is("net/\x01"),
            InPlan(|ir| {
                let OtherNames::Prefixes { prefixes, .. } = &mut plan(ir).others else {
                    panic!("no prefixes")
                };
                prefixes.pop();
            }),
        ),
        (
            "a state of the DFA has another successor",
            GLOBS,
            Is("net/\x01/x"),
            InTables(|layout, bytes| {
                let PlacedOtherNames::Dfa(dfa) = names(layout).others else { panic!("not by a DFA") };
                let class = u32::from(bytes[dfa.classes as usize + usize::from(b'n')]);
                change(bytes, 4 * (dfa.start + class + 1), dfa.start);
            }),
        ),
        (
            "a byte has another class",
            GLOBS,
            Is("net/\x01/x"),
            InTables(|layout, bytes| {
                let PlacedOtherNames::Dfa(dfa) = names(layout).others else { panic!("not by a DFA") };
                bytes[dfa.classes as usize + usize::from(b'x')] =
                    bytes[dfa.classes as usize + usize::from(b'z')];
            }),
        ),
        (
            "a byte that no pattern names has another class",
            GLOBS,
            Is("qet/\x01/x"),
            InTables(|layout, bytes| {
                let PlacedOtherNames::Dfa(dfa) = names(layout).others else { panic!("not by a DFA") };
                bytes[dfa.classes as usize + usize::from(b'q')] =
                    bytes[dfa.classes as usize + usize::from(b'n')];
            }),
        ),
        (
            "a state of the DFA has another output",
            GLOBS,
            Is("\x01"),
            InTables(|layout, bytes| {
                let PlacedOtherNames::Dfa(dfa) = names(layout).others else { panic!("not by a DFA") };
                let class = u32::from(bytes[dfa.classes as usize + 1]);
                let at = 4 * (dfa.start + class + 1) as usize;
                let state = u32::from_le_bytes(*bytes[at..].first_chunk().expect("an entry"));
                change(bytes, 4 * state, 0);
            }),
        ),
    ]);
}

#[test]
fn errors_for_names_that_are_too_long_are_found() {
    check(&[
        (
            "a component goes where all others go",
            FEW,
            TooLong("b"),
            InPlan(|ir| {
                let plan = plan(ir);
                let decided = decided(plan);
                let known = plan.by_last_component.known.iter_mut();
                known.filter(|named| named.name == b"b").for_each(|named| named.step = decided);
            }),
        ),
        (
            "they are not too long for any rule",
            GLOBS,
            TooLong("0"),
            InPlan(|ir| {
                let plan = plan(ir);
                let OtherNames::Dfa(dfa) = &plan.others else { panic!("not by a DFA") };
                plan.by_last_component.others = OtherComponents::NeedName(StepId(dfa.run(b"vm/a") as usize));
            }),
        ),
        (
            "a component is missing",
            GLOBS,
            TooLong("x"),
            InPlan(|ir| {
                plan(ir).by_last_component.known.clear();
            }),
        ),
        (
            "a component has the row of another one",
            &many(),
            TooLong("b3"),
            InTables(|layout, bytes| {
                let names = names(layout);
                let hash = hash(&names.last_components);
                let row = target_of(hash, b"b4") as usize;
                let row = u32::from_le_bytes(*bytes[row..].first_chunk().expect("a row"));
                change(bytes, target_of(hash, b"b3"), row);
            }),
        ),
    ]);
}

#[test]
fn errors_in_the_widths_are_found() {
    check(&[
        (
            "names have the width of others",
            WIDTHS,
            Is("net/a"),
            InPlan(|ir| {
                swap(&mut plan(ir).literals);
            }),
        ),
        (
            "the new value is fetched by another width",
            WIDTHS,
            Is("net/a"),
            InPlan(|ir| {
                let wide = ir.fetches.iter_mut().filter(|fetch| fetch.width == Width::Bits64);
                wide.for_each(|fetch| fetch.width = Width::Bits32);
            }),
        ),
    ]);
}

/// What is wrong, the rules, the name that shows it, and the error.
type Case<'a> = (&'a str, &'a str, Name, Defect);

fn check(cases: &[Case<'_>]) {
    for (what, policy, name, defect) in cases {
        let sound = difference(policy, &InPlan(|_| {}));
        assert!(sound.is_none(), "{what}: without the error, {sound:?}");
        let found = difference(policy, defect).unwrap_or_else(|| panic!("{what}: not found"));
        let expected = match name {
            Is(name) => name.as_bytes().to_vec(),
            TooLong(last) => [&[b'z'; NAME_MAX], &b"/"[..], last.as_bytes()].concat(),
        };
        assert_eq!(found.name, expected, "{what}: {}", found.name.escape_ascii());
    }
}
