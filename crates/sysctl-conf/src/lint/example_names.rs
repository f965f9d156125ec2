//! For a glob, an example of each kind of name that a policy tells apart.

use std::collections::{BTreeMap, HashMap, VecDeque};

use knobgate_glob::{Budget, Dfa, Partition, TooLarge};
use knobgate_policy::{KnobName, KnobPattern, Piece, Policy, Rule, Width};

use crate::{Key, Settings, glob};

/// How much work the partition of all names may be: as much as `knobgate check` takes for it.
const STEPS_MAX: usize = 1 << 22;
const STATES_MAX: usize = 1 << 16;

/// Names that `glob` matches, one for each set of patterns of `policy` that match it, and each width of knobs. Names that have
/// a setting or an exclusion of their own in `file` are left out. `None` stands for a name that exists and was not found.
///
/// # Errors
/// The patterns are too complex together.
pub(super) fn of(
    glob: &KnobPattern,
    policy: &Policy,
    file: &Settings,
) -> Result<Vec<Option<KnobName>>, TooLarge> {
    // What the glob does not match does not matter.
    let own = file.settings.iter().map(|setting| &setting.key);
    let own = own.filter(|key| matches!(key, Key::Knob(name) if glob.matches(name.as_bytes())));
    let apart: Vec<KnobPattern> = own.chain(&file.exclusions).filter_map(|key| key.pattern().ok()).collect();
    let of_policy = policy.rules().iter().flat_map(Rule::patterns).chain(policy.width_64());
    let others = of_policy.chain(Width::all_known().iter().map(|(pattern, _)| pattern));
    let matters = |pattern: &&KnobPattern| pattern.literal().is_none_or(|name| glob.matches(name));
    let apart = apart.iter().filter(matters);
    let first_apart = 1;
    let mut patterns: Vec<&[Piece]> = vec![glob.pieces()];
    patterns.extend(apart.map(KnobPattern::pieces));
    let after_apart = patterns.len();
    patterns.extend(others.filter(matters).map(KnobPattern::pieces));

    let partition = Partition::new(
        &patterns,
        &mut Budget::steps(STEPS_MAX).states(STATES_MAX),
        <[usize]>::to_vec,
        |_, literals, otherwise| {
            let mut matching = [literals, otherwise].concat();
            matching.sort_unstable();
            matching
        },
    )?;
    let is_wanted = |matching: &[usize]| {
        matching.first() == Some(&0)
            && !matching.iter().any(|index| (first_apart..after_apart).contains(index))
    };
    let inhabited = partition.inhabited();
    let wanted =
        partition.classes().zip(inhabited).filter(|(class, inhabited)| *inhabited && is_wanted(class));
    let wanted: Vec<&Vec<usize>> = wanted.map(|(class, _)| class).collect();

    let mut found: HashMap<&Vec<usize>, KnobName> = HashMap::new();
    let literals = partition.literals().iter().map(|literal| literal.name.clone());
    let shortest = shortest_names(partition.dfa());
    let names = glob::examples(glob)
        .chain(literals.chain(shortest).filter_map(|name| KnobName::from_path(name).ok()));
    for name in names.filter(|name| name.check_is_sysctl().is_ok()) {
        if found.len() == wanted.len() {
            break;
        }
        let class = partition.class_of(name.as_bytes());
        if is_wanted(class) {
            found.entry(class).or_insert(name);
        }
    }
    Ok(wanted.into_iter().map(|class| found.remove(class)).collect())
}

/// How many names are tried for each state of the automaton. The first ones may be literals, which have classes of their
/// own.
const NAMES_MAX: usize = 8;

/// For each output of `dfa`, some of the shortest names for which it has that.
fn shortest_names(dfa: &Dfa) -> Vec<Vec<u8>> {
    let representatives = representatives(dfa);
    let states: Vec<(u32, &[u32])> = dfa.states().collect();
    // A step is a byte after an earlier step. It leads to a state, and perhaps to where a component begins.
    let mut steps: Vec<(usize, u8)> = vec![(0, 0)];
    let mut taken: HashMap<(usize, bool), usize> = HashMap::new();
    let mut names = Vec::new();
    let mut queue = VecDeque::from([(0, (0, true))]);
    while let Some((step, (state, begins))) = queue.pop_front() {
        if !begins {
            let before =
                std::iter::successors(Some(step), |&step| Some(steps[step].0)).take_while(|&step| step > 0);
            let mut name: Vec<u8> = before.map(|step| steps[step].1).collect();
            name.reverse();
            names.push(name);
        }
        for &(class, byte) in representatives.iter().filter(|(_, byte)| !begins || *byte != b'/') {
            let target = (states[state].1[class] as usize, byte == b'/');
            let taken = taken.entry(target).or_default();
            if *taken < NAMES_MAX {
                *taken += 1;
                steps.push((step, byte));
                queue.push_back((steps.len() - 1, target));
            }
        }
    }
    names
}

/// For each class of bytes, one of them that names may contain.
fn representatives(dfa: &Dfa) -> Vec<(usize, u8)> {
    let rank = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'0'..=b'9' | b'A'..=b'Z' | b'_' => 1,
        b'!'..=b'~' => 2,
        _ => 3,
    };
    let mut best: BTreeMap<usize, u8> = BTreeMap::new();
    // No other byte is in the class of the slash: the glob's wildcards tell it from all of them.
    for byte in 1..=u8::MAX {
        let class = usize::from(dfa.byte_classes()[usize::from(byte)]);
        let one = best.entry(class).or_insert(byte);
        if rank(byte) < rank(*one) {
            *one = byte;
        }
    }
    let mut best: Vec<(usize, u8)> = best.into_iter().collect();
    best.sort_by_key(|&(_, byte)| rank(byte));
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileKind, read};
    use knobgate_policy::{CheckOptions, Source, parse};

    /// The examples for `glob` with these patterns in a policy, and this file.
    fn examples(glob: &str, patterns: &[&str], file: &str) -> Vec<String> {
        let rules: Vec<String> = patterns.iter().map(|pattern| format!("deny write {pattern}\n")).collect();
        let text = format!("policy x\n{}", rules.concat());
        let policy = parse(Source::new("x", text), &CheckOptions::default()).unwrap().into_policy();
        let glob = KnobPattern::parse(glob).unwrap();
        let names = of(&glob, &policy, &read(FileKind::Sysctl, file)).unwrap();
        let mut names: Vec<String> = names.into_iter().map(|name| name.unwrap().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn there_is_a_name_for_each_way_to_match() {
        for (glob, patterns, file, expected) in [
            ("kernel.y*", &[][..], "", &["kernel.yeth0"][..]),
            ("kernel.y*", &["kernel.ya", "kernel.yb*"], "", &["kernel.ya", "kernel.yb", "kernel.yeth0"]),
            ("net.x.*.y", &["net.x.wg*.y", "net.**"], "", &["net.x.eth0.y", "net.x.wg.y"]),
            ("net.x.*.y", &["net.x.*.*"], "net.x.eth0.y = 1\n", &["net.x.x.y"]),
            ("net.x.[ab].y", &["net.x.a.y", "**"], "net.x.b.y = 1\n", &["net.x.a.y"]),
            ("net.x.[ab].y", &[], "net.x.b.y = 1\n-net.x.a.y\n", &[]),
            ("net.x.a*.y", &[], "-net.x.a?*.y\n", &["net.x.a.y"]),
            // The widths of these differ.
            ("vm.dirty_b*s", &[], "", &["vm.dirty_background_bytes", "vm.dirty_beth0s", "vm.dirty_bytes"]),
        ] {
            assert_eq!(examples(glob, patterns, file), expected, "{glob} with {patterns:?}");
        }
    }

    #[test]
    fn patterns_that_are_too_complex_are_an_error() {
        let policy = Policy::new("x").unwrap();
        let glob = KnobPattern::parse(format!("a*a{}", "?".repeat(40))).unwrap();
        assert!(of(&glob, &policy, &Settings::default()).is_err());
    }
}
