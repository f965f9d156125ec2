//! Tests that the tables of the name matcher are equivalent to the definition of patterns, for every possible name: by
//! exploring the product of two automata. `tests/first_rule.rs` tests the code that uses the tables, on the model.
//!
//! One automaton is the emitted table. The other is the definition: the rest of each pattern after each byte (its
//! derivative).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use indexmap::IndexSet;
use knobgate_bpf::Features;
use knobgate_policy::{AccessKind, CheckOptions, KnobPattern, Piece, Policy, Scope, Source, parse};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::analyse::analyse;
use crate::ir::{Ir, NamedStep, Step, StepId};
use crate::layout::{Layout, Lookup, PlacedDfa, PlacedNames, PlacedOtherNames, PlacedPlan};

/// Larger products are skipped.
const STATES_MAX: usize = 4_000;

/// The rest of a pattern: a set of alternative lists of pieces.
type Rest = BTreeSet<Vec<Piece>>;

/// Adds the alternatives of `pieces` that start with a piece that matches a byte, or are empty.
fn expand(pieces: &[Piece], into: &mut Rest) {
    match pieces {
        [Piece::Star | Piece::DoubleStar, rest @ ..] => {
            into.insert(pieces.to_vec());
            expand(rest, into);
        }
        [Piece::Alternatives(branches), rest @ ..] => {
            branches.iter().for_each(|branch| expand(&[branch.as_slice(), rest].concat(), into));
        }
        _ => {
            into.insert(pieces.to_vec());
        }
    }
}

/// The rest after `byte`.
fn after(rest: &Rest, byte: u8) -> Rest {
    let mut left = Rest::new();
    for pieces in rest {
        match pieces.as_slice() {
            [Piece::Literal(bytes), rest @ ..] if bytes[0] == byte => match &bytes[1..] {
                [] => expand(rest, &mut left),
                tail => expand(&[&[Piece::Literal(tail.to_vec())], rest].concat(), &mut left),
            },
            [one @ (Piece::Any | Piece::Class { .. }), rest @ ..] if one.takes(byte, Scope::Component) => {
                expand(rest, &mut left);
            }
            [Piece::Star, ..] if byte != b'/' => expand(pieces, &mut left),
            [Piece::DoubleStar, ..] => expand(pieces, &mut left),
            _ => {}
        }
    }
    left
}

/// The definition as an automaton: its states are rests of patterns.
#[derive(Default)]
struct Definition {
    rests: IndexSet<Rest>,
    after: HashMap<(usize, u8), usize>,
}

impl Definition {
    fn start(&mut self, pattern: &KnobPattern) -> usize {
        let mut rest = Rest::new();
        expand(pattern.pieces(), &mut rest);
        self.rests.insert_full(rest).0
    }

    fn after(&mut self, rest: usize, byte: u8) -> usize {
        let Self { rests, after: known } = self;
        *known.entry((rest, byte)).or_insert_with(|| rests.insert_full(after(&rests[rest], byte)).0)
    }

    /// Whether the rest matches the empty name.
    fn matches(&self, rest: usize) -> bool {
        self.rests[rest].contains(&Vec::new())
    }
}

/// The emitted part of the matcher for names that are not literals.
enum Emitted<'a> {
    Same(StepId),
    Prefixes { prefixes: &'a [NamedStep], otherwise: StepId },
    Table { bytes: &'a [u8], dfa: PlacedDfa, step_of_row: HashMap<u32, StepId> },
}

/// Its state: how much of each prefix the name has matched so far, or the state of the DFA.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Nowhere,
    Prefixes(Vec<Option<usize>>),
    State(u32),
}

impl Emitted<'_> {
    fn start(&self) -> At {
        match self {
            Emitted::Same(_) => At::Nowhere,
            Emitted::Prefixes { prefixes, .. } => At::Prefixes(vec![Some(0); prefixes.len()]),
            Emitted::Table { dfa, .. } => At::State(dfa.start),
        }
    }

    fn after(&self, at: &At, byte: u8) -> At {
        match (self, at) {
            (Emitted::Prefixes { prefixes, .. }, At::Prefixes(matched)) => {
                let next = |(matched, NamedStep { name: prefix, .. }): (&Option<usize>, &NamedStep)| {
                    let matched = (*matched)?;
                    match prefix.get(matched) {
                        None => Some(matched),
                        Some(&next) => (next == byte).then_some(matched + 1),
                    }
                };
                At::Prefixes(matched.iter().zip(prefixes.iter()).map(next).collect())
            }
            (Emitted::Table { bytes, dfa, .. }, At::State(state)) => {
                let class = bytes[dfa.classes as usize + usize::from(byte)];
                At::State(entry(bytes, state + u32::from(class) + 1))
            }
            _ => At::Nowhere,
        }
    }

    /// The step for a name that ends here.
    fn found(&self, at: &At) -> StepId {
        match (self, at) {
            (Emitted::Same(step), _) => *step,
            (Emitted::Prefixes { prefixes, otherwise }, At::Prefixes(matched)) => {
                let whole = prefixes
                    .iter()
                    .zip(matched)
                    .find(|(prefix, matched)| **matched == Some(prefix.name.len()));
                whole.map_or(*otherwise, |(prefix, _)| prefix.step)
            }
            (Emitted::Table { bytes, step_of_row, .. }, At::State(state)) => {
                step_of_row[&entry(bytes, *state)]
            }
            _ => unreachable!("a state of another automaton"),
        }
    }
}

fn entry(bytes: &[u8], index: u32) -> u32 {
    let at = index as usize * 4;
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The rules that are tried from `step` on.
fn tried(ir: &Ir, step: StepId) -> Vec<usize> {
    let rules = ir.steps.chain(step).filter_map(|step| match ir.steps.get(step) {
        Step::Rule { rule, .. } => Some(rule),
        Step::Default(_) => None,
        Step::NameTooLong { .. } => unreachable!("the name is not too long"),
    });
    rules.collect()
}

/// The rules that are tried if these patterns match, by the definition: up to the first one without a condition.
fn expected(policy: &Policy, kind: AccessKind, matches: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut tried = Vec::new();
    for (index, rule) in policy.rules().iter().enumerate().filter(|(_, rule)| rule.kinds().contains(kind)) {
        if (0..rule.patterns().len()).any(|pattern| matches(index, pattern)) {
            tried.push(index);
            if rule.condition().is_none() {
                break;
            }
        }
    }
    tried
}

/// Compares the steps for all names, for one kind of access. Returns whether the product was small enough.
fn agree(
    policy: &Policy,
    kind: AccessKind,
    ir: &Ir,
    plan: &PlacedPlan<'_>,
    layout: &Layout<'_>,
    bytes: &[u8],
) -> bool {
    let nothing = Vec::new();
    let (literals, others): (&Vec<NamedStep>, Emitted<'_>) = match plan {
        PlacedPlan::AnyName(step) => (&nothing, Emitted::Same(*step)),
        PlacedPlan::ByName(PlacedNames { plan, others, .. }) => {
            let others = match others {
                PlacedOtherNames::Same(step) => Emitted::Same(*step),
                PlacedOtherNames::Prefixes { prefixes, otherwise } => {
                    Emitted::Prefixes { prefixes, otherwise: *otherwise }
                }
                PlacedOtherNames::Dfa(dfa) => {
                    let steps = ir.reached_steps().map(|(id, _)| (layout.step(id).row, id));
                    Emitted::Table { bytes, dfa: *dfa, step_of_row: steps.collect() }
                }
            };
            (&plan.literals, others)
        }
    };
    let literal_names: BTreeMap<&[u8], StepId> =
        literals.iter().map(|named| (&named.name[..], named.step)).collect();
    for (&name, &step) in &literal_names {
        let matches = |rule: usize, pattern: usize| policy.rules()[rule].patterns()[pattern].matches(name);
        assert_eq!(tried(ir, step), expected(policy, kind, matches), "{} {policy}", name.escape_ascii());
    }

    let patterns: Vec<(usize, usize, &KnobPattern)> = policy
        .rules()
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.kinds().contains(kind))
        .flat_map(|(rule, of)| of.patterns().iter().enumerate().map(move |(index, one)| (rule, index, one)))
        .collect();
    let mut definition = Definition::default();
    let start: Vec<usize> = patterns.iter().map(|(.., pattern)| definition.start(pattern)).collect();
    let byte_representatives = representatives(&patterns);
    let mut seen = HashMap::from([((others.start(), start.clone()), Vec::new())]);
    let mut open = vec![(others.start(), start)];
    while let Some(product) = open.pop() {
        if seen.len() > STATES_MAX {
            return false;
        }
        let name: Vec<u8> = seen[&product].clone();
        let (at, rest) = product;
        let matching: BTreeSet<(usize, usize)> = (rest.iter().zip(&patterns))
            .filter(|(rest, _)| definition.matches(**rest))
            .map(|(_, (rule, index, _))| (*rule, *index))
            .collect();
        // Literal names are looked up before; no other name leads to a state where a literal's own pattern matches.
        if !literal_names.contains_key(&name[..]) {
            let expected = expected(policy, kind, |rule, pattern| matching.contains(&(rule, pattern)));
            assert_eq!(tried(ir, others.found(&at)), expected, "{} {policy}", name.escape_ascii());
        }
        for &byte in &byte_representatives {
            let left: Vec<usize> = rest.iter().map(|&rest| definition.after(rest, byte)).collect();
            let next = (others.after(&at, byte), left);
            if !seen.contains_key(&next) {
                seen.insert(next.clone(), [&name[..], &[byte]].concat());
                open.push(next);
            }
        }
    }
    true
}

/// One byte of each range of bytes that no pattern distinguishes.
fn representatives(patterns: &[(usize, usize, &KnobPattern)]) -> Vec<u8> {
    fn ranges(pieces: &[Piece]) -> Vec<(u8, u8)> {
        let of_piece = |piece: &Piece| match piece {
            Piece::Literal(bytes) => bytes.iter().map(|&byte| (byte, byte)).collect(),
            Piece::Class { ranges, .. } => ranges.clone(),
            Piece::Alternatives(branches) => branches.iter().flat_map(|branch| ranges(branch)).collect(),
            Piece::Any | Piece::Star | Piece::DoubleStar => Vec::new(),
        };
        pieces.iter().flat_map(of_piece).collect()
    }
    let all =
        patterns.iter().flat_map(|(.., pattern)| ranges(pattern.pieces())).chain([(1, 1), (b'/', b'/')]);
    let starts: BTreeSet<u8> =
        all.flat_map(|(low, high)| [Some(low), high.checked_add(1)]).flatten().collect();
    starts.into_iter().filter(|&byte| byte != 0).collect()
}

/// Checks that the names in a lookup are in the right slots.
fn check_lookup(lookup: &Lookup, layout: &Layout<'_>, literals: &[NamedStep], bytes: &[u8]) {
    let Lookup::Hash(hash) = lookup else { return };
    for NamedStep { name, step } in literals {
        let slot = hash.slot_of(name) as usize;
        let mut expected = name.clone();
        expected.resize(8 * hash.words, 0);
        expected.extend(layout.step(*step).row.to_ne_bytes());
        assert_eq!(&bytes[slot..slot + expected.len()], expected, "{}", name.escape_ascii());
    }
}

/// Whether all names could be compared.
fn check(policy: &Policy) -> bool {
    let ir = analyse(policy).expect("few patterns");
    let layout = Layout::new(&ir, &Features::ALL, usize::MAX).expect("small");
    let again = Layout::new(&ir, &Features::ALL, usize::MAX).expect("small");
    let bytes = again.into_table_bytes();
    let mut decided = true;
    for (kind, placed) in AccessKind::ALL.into_iter().zip(&layout.plans) {
        decided &= agree(policy, kind, &ir, placed, &layout, &bytes);
        if let PlacedPlan::ByName(PlacedNames { plan, literals: Some(lookup), .. }) = placed {
            check_lookup(lookup, &layout, &plan.literals, &bytes);
        }
    }
    decided
}

#[test]
fn the_matchers_of_the_examples_follow_the_definition() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(examples).expect("the examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "knob") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let file = parse(Source::new("example", text), &CheckOptions::default()).expect("valid");
            assert!(check(file.policy()), "{} has too many states", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0);
}

/// Names that are distinguished by prefixes, by few and by many literals, and by their last component.
#[test]
fn every_kind_of_matcher_follows_the_definition() {
    let numbered = |count: usize, rule: &dyn Fn(usize) -> String| {
        format!("policy p\n{}\n", (0..count).map(rule).collect::<Vec<_>>().join("\n"))
    };
    let policies = [
        "policy p\nallow write net.**\ndeny write net.ipv4.** if pos == 1\nallow write net.ipv4.conf.**\n\
         deny(EIO) write net.ipv4.** if uid == 1\n"
            .to_owned(),
        "policy p\nallow write net.ipv4.** if uid == 1\nallow write net.** if uid == 2\n\
         deny write net.ipv4.conf.** if uid == 3\nallow read vm.**\ndeny read vm.x\n"
            .to_owned(),
        numbered(20, &|i| format!("allow write vm.a{i} if uid == {i}")),
        numbered(200, &|i| format!("allow write net.a{}.b{} if uid == {i}", i / 7, i % 7)),
        numbered(60, &|i| format!("allow read write net.a{}.b{i}, **.c{i} if uid == {i}", i / 7)),
    ];
    for text in policies {
        let file = parse(Source::new("p", text.as_str()), &CheckOptions::default()).expect("valid");
        assert!(check(file.policy()), "too many states: {text}");
    }
}

#[test]
fn the_matchers_of_random_policies_follow_the_definition() {
    const POLICIES: usize = 100;
    let mut runner = TestRunner::default();
    let decided = (0..POLICIES)
        .filter(|_| check(&knobgate_arbitrary::policy().new_tree(&mut runner).expect("a policy").current()))
        .count();
    println!("{decided} of {POLICIES} policies");
    assert!(decided > POLICIES / 2, "only {decided} are small enough");
}
