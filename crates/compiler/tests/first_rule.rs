//! The compiled name matcher, compared with a naive one on the model of the hook. For every knob of this machine, and
//! for names next to those in the policy, the counter of the first matching rule increases.

use std::collections::BTreeSet;
use std::path::Path;

use knobgate_bpf::Features;
use knobgate_compiler::{RULE_HITS_MAP, RuleHits, compile};
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::limits::{LAST_COMPONENT_MAX, NAME_MAX};
use knobgate_policy::{
    Access, AccessKind, Action, CheckOptions, DecidedBy, Kinds, KnobName, KnobPattern, Policy, Rule, Source,
    evaluate, parse, print,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How many literal names a policy has: few are compared one by one, many are hashed.
const SIZES: [usize; 6] = [1, 3, 16, 30, 40, 300];

/// The names of this machine's knobs, or of some common knobs if there is no `/proc`.
fn knobs() -> Vec<String> {
    fn walk(directory: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, names);
            } else if let Ok(name) = path.strip_prefix("/proc/sys") {
                names.extend(name.to_str().map(str::to_owned));
            }
        }
    }
    let mut names = Vec::new();
    walk(Path::new("/proc/sys"), &mut names);
    names.sort();
    if names.is_empty() {
        names = ["kernel/ostype", "net/core/somaxconn", "net/ipv4/conf/all/rp_filter", "vm/swappiness"]
            .map(str::to_owned)
            .to_vec();
    }
    names
}

/// Patterns for these names: many literals, and some others.
fn patterns(knobs: &[String], literals: usize) -> BoxedStrategy<Vec<KnobPattern>> {
    let literal = select(knobs.to_vec()).prop_map(|name| name.replace('.', "[.]"));
    let literal = literal.prop_filter("literal", |name| !name.contains('['));
    let glob =
        (select(knobs.to_vec()), any::<prop::sample::Index>(), 0..5u8).prop_map(|(name, place, form)| {
            let mut components: Vec<&str> = name.split('/').collect();
            let place = place.index(components.len());
            match form {
                0 => components[place] = "*",
                1 => components[place] = "**",
                2 => {
                    components.truncate(place + 1);
                    components.push("**");
                }
                3 => {
                    let last = components.pop().unwrap_or_default();
                    return format!("**/{{{last},{last}x}}");
                }
                _ => {
                    let last = components.pop().unwrap_or_default();
                    let (front, _) = last.split_at(last.len() / 2);
                    return components
                        .into_iter()
                        .chain([format!("{front}*").as_str()])
                        .collect::<Vec<_>>()
                        .join("/");
                }
            }
            components.join("/")
        });
    let texts = (vec(literal, literals), vec(glob, 0..4)).prop_map(|(literals, globs)| {
        let parse = |text: &String| KnobPattern::parse(text).ok();
        globs.iter().chain(&literals).filter_map(parse).collect::<Vec<_>>()
    });
    (texts, vec(knobgate_arbitrary::knob_pattern(), 0..4), any::<bool>(), any::<bool>())
        .prop_map(|(mut patterns, odd, only_literals, with_odd)| {
            if only_literals {
                patterns.retain(|pattern| pattern.literal().is_some());
            }
            if with_odd {
                patterns.extend(odd);
            }
            patterns
        })
        .prop_shuffle()
        .boxed()
}

/// A policy with an unconditional rule for each pattern, or for a few patterns.
fn policy(knobs: &[String], literals: usize) -> impl Strategy<Value = Policy> + use<> {
    let kinds = select(vec![Kinds::Read, Kinds::Write, Kinds::Both]);
    (patterns(knobs, literals), vec(kinds, 1..4), 1..4usize, knobgate_arbitrary::policy_with_rules(0))
        .prop_map(|(patterns, kinds, each, policy)| {
            let rule = |(number, patterns): (usize, &[KnobPattern])| {
                Rule::new(Action::Allow, kinds[number % kinds.len()], patterns.to_vec()).unwrap()
            };
            policy.with_rules(patterns.chunks(each).enumerate().map(rule)).with_tests([])
        })
}

/// Names that differ slightly from literals in the policy, and others at the limits.
fn adversarial(policy: &Policy) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    for literal in policy.rules().iter().flat_map(Rule::patterns).filter_map(KnobPattern::literal).take(40) {
        let (last, front) = literal.split_last().expect("no name is empty");
        let base = literal.rsplit(|&byte| byte == b'/').next().expect("there is a last component");
        names.extend([
            literal.to_vec(),
            front.to_vec(),
            [literal, b"x"].concat(),
            [literal, b"/x"].concat(),
            [b"x", literal].concat(),
            [front, &[last ^ 1]].concat(),
            [front, &[last ^ 0x80]].concat(),
            base.to_vec(),
            [b"x/", base].concat(),
            literal[..literal.len() / 2].to_vec(),
            [literal, vec![b'y'; LAST_COMPONENT_MAX].as_slice()].concat(),
        ]);
        // At the limit of the length, with the same ending or another one.
        for length in [NAME_MAX - 1, NAME_MAX, NAME_MAX + 1] {
            for end in [literal, base, b"q"] {
                let padding = vec![b'z'; length.saturating_sub(end.len() + 1)];
                names.insert([&padding, &b"/"[..], end].concat());
            }
            let mut padded = [literal, b"/"].concat();
            padded.resize(length, b'z');
            names.insert(padded);
        }
    }
    names
}

fn rule_hits(program: &LoadedProgram) -> Vec<RuleHits> {
    let map = program.map(RULE_HITS_MAP).expect("every program has it");
    RuleHits::in_value(&map.lookup(&[0; 4]).expect("one entry"))
}

fn holds(policy: &Policy, knobs: &[String], features: &Features, profile: &Profile) {
    let text = print(policy);
    let file = parse(Source::new("random.knob", text.as_str()), &CheckOptions::default()).expect("valid");
    let compiled = compile(&file, features).expect("within the limits");
    let program = LoadedProgram::load(compiled.program(), profile, &LoadOptions::default())
        .unwrap_or_else(|rejection| panic!("{rejection}\n{text}"));
    let machine = knobs.iter().map(|name| name.as_bytes().to_vec());
    let mut before = rule_hits(&program);
    for name in machine.chain(adversarial(policy)) {
        let (Ok(knob), Ok(name_text)) = (KnobName::from_path(name.clone()), std::str::from_utf8(&name))
        else {
            continue;
        };
        let task = Task::default();
        for kind in [AccessKind::Read, AccessKind::Write] {
            let (access, mut invocation) = match kind {
                AccessKind::Read => {
                    (Access::read(knob.clone()), Invocation::read(name_text, b"", &task, profile))
                }
                AccessKind::Write => (
                    Access::write(knob.clone(), "1"),
                    Invocation::write(name_text, b"", b"1", &task, profile),
                ),
            };
            program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
            let rules = policy.rules().len();
            let counter = match evaluate(policy, &access).by {
                DecidedBy::Rule(rule) => &mut before[rule].decided,
                DecidedBy::EvalError { rule, .. } => &mut before[rule].eval_errors,
                DecidedBy::Default(AccessKind::Read) => &mut before[rules].decided,
                DecidedBy::Default(AccessKind::Write) => &mut before[rules + 1].decided,
            };
            *counter += 1;
            let after = rule_hits(&program);
            assert_eq!(after, before, "{kind} {name_text}\n{text}\n{}", compiled.program().listing());
        }
    }
}

fn agree(features: &Features, profile: &Profile) {
    let knobs = knobs();
    let mut runner = TestRunner::deterministic();
    for literals in SIZES {
        for _ in 0..2 {
            let policy = policy(&knobs, literals).new_tree(&mut runner).expect("a policy").current();
            holds(&policy, &knobs, features, profile);
        }
    }
}

#[test]
fn the_first_matching_rule_decides_on_the_newest_kernels() {
    agree(&Features::ALL, &"7.2".parse().expect("a profile"));
}

#[test]
fn the_first_matching_rule_decides_on_the_oldest_kernels() {
    agree(&Features::BASELINE, &"5.10".parse().expect("a profile"));
}
