//! Tests that the code of a tree of comparisons finds each of its names and no others, on the model of the hook.
//!
//! The code compares words of a name with constants, and leads to each of its names once. So the words that it takes for a word
//! of a name are an interval. If the interval has other words, it has one that is greater or less by 1. Therefore it is enough to
//! try each name, and those that differ from it by 1 in one word.

use std::collections::BTreeSet;

use knobgate_bpf::Features;
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::limits::NAME_MAX;
use knobgate_policy::{Access, AccessKind, KnobName, Policy, evaluate};

use super::{features_of, numbered, parsed};
use crate::analyse::analyse;
use crate::layout::{Inlining, Layout};
use crate::{RULE_HITS_MAP, RuleHits, compile};

/// `name`, and the names that differ from it by 1 in one word.
fn near(name: &str) -> BTreeSet<String> {
    // If the last word is full, the next one is 0.
    let mut near = BTreeSet::from([name.to_owned(), format!("{name}\x01")]);
    for word in (0..name.len()).step_by(8) {
        for off in [-1, 1] {
            // The first byte is the lowest one.
            let mut bytes = name.as_bytes().to_vec();
            bytes[word] = bytes[word].checked_add_signed(off).expect("ASCII");
            near.insert(String::from_utf8(bytes).expect("ASCII"));
        }
    }
    near
}

/// Checks that the program decides writes to each of `names` by the same rule as the definition.
fn check(policy: &Policy, names: impl IntoIterator<Item = String>) {
    let profile: Profile = "7.2".parse().expect("a profile");
    let compiled = compile(policy, &Features::ALL).expect("small");
    let program = LoadedProgram::load(compiled.program(), &profile, &LoadOptions::default()).expect("valid");
    let rule_hits = || {
        let map = program.map(RULE_HITS_MAP).expect("every program has it");
        RuleHits::in_value(&map.lookup(&[0; 4]).expect("one entry"))
    };
    let mut before = rule_hits();
    for name in names {
        let knob = KnobName::from_path(name.clone()).expect("a name");
        let task = Task::default();
        let mut invocation = Invocation::write(&name, b"", b"1", &task, &profile);
        program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
        let effect = compiled.effect(&evaluate(policy, &Access::write(knob, "1")));
        let after = rule_hits();
        let counted = RuleHits::incremented(&before, &after);
        assert_eq!(counted, [effect.counter], "{} {policy}", name.escape_default());
        before = after;
    }
}

#[test]
fn the_code_of_a_tree_finds_its_names_and_no_others() {
    for count in [1, 2, 3, 7, 32] {
        // Different from each other in different words, with different lengths.
        let name = |number: usize| {
            let directory = ["core", "ipv4", "netfilter"][number % 3];
            let letter = |number: usize| char::from(b'b' + number as u8 % 8);
            format!("net/{directory}/{}{}{}", letter(number), "x".repeat(number % 9), letter(number / 8))
        };
        let rules = numbered(count, |number| format!("allow write {}", name(number).replace('/', ".")));
        let by_name = format!("{rules}\nallow write qq.*q");
        for (decided, rules) in [("decided by the last component", rules), ("decided by the name", by_name)] {
            let file = parsed(&format!("policy p\n{rules}\n"));
            let ir = analyse(file.policy(), false).expect("few patterns");
            let layout = Layout::new(&ir, &Features::ALL, Inlining::ALL).expect("small");
            let features = features_of(AccessKind::Write, &ir, &layout);
            for expected in ["a tree of literals", "a tree of last components", decided] {
                assert!(features.contains(expected), "no {expected} of {rules}");
            }
            let literals = (0..count).flat_map(|number| near(&name(number)));
            let last_components = (0..count).flat_map(|number| {
                let name = name(number);
                near(name.rsplit('/').next().expect("a component"))
            });
            let too_long = last_components.map(|last| format!("{}/{last}", "z".repeat(NAME_MAX)));
            check(file.policy(), literals.chain(too_long));
        }
    }
}
