//! For a glob, an example of each kind of name that a policy tells apart.

use std::collections::{BTreeMap, HashMap, VecDeque};

use knobgate_glob::{Budget, Dfa, Partition, TooLarge};
use knobgate_policy::{KnobName, KnobPattern, Piece, Policy, Rule, Width};

use super::set_apart::{SetApart, are_disjoint};
use crate::glob;

/// How much work the partition of all names may be: as much as `knobgate check` takes for it.
const STEPS_MAX: usize = 1 << 22;
const STATES_MAX: usize = 1 << 16;

/// How much work all partitions together may be: about a second's.
pub(super) const ALL_STEPS_MAX: usize = 1 << 26;

/// Names that `glob` matches, one for each set of patterns of `policy` that match it, and each width of knobs. Names that have
/// a setting or an exclusion of their own are left out. `None` stands for a name that exists and was not found.
///
/// # Errors
/// The patterns are too complex together, or those before have taken all the steps.
pub(super) fn of(
    glob: &KnobPattern,
    policy: &Policy,
    apart: &SetApart,
    steps_left: &mut usize,
) -> Result<Vec<Option<KnobName>>, TooLarge> {
    // What the glob does not match does not matter.
    let apart = apart.patterns(glob);
    let of_policy = policy.rules().iter().flat_map(Rule::patterns).chain(policy.width_64());
    let others = of_policy.chain(Width::all_known().iter().map(|(pattern, _)| pattern));
    let matters = |pattern: &&KnobPattern| match pattern.literal() {
        Some(name) => glob.matches(name),
        None => !are_disjoint(glob, pattern),
    };
    let apart = apart.iter().filter(matters);
    let first_apart = 1;
    let mut patterns: Vec<&[Piece]> = vec![glob.pieces()];
    patterns.extend(apart.map(KnobPattern::pieces));
    let after_apart = patterns.len();
    patterns.extend(others.filter(matters).map(KnobPattern::pieces));

    let steps = STEPS_MAX.min(*steps_left);
    let mut budget = Budget::steps(steps).states(STATES_MAX);
    let partition = Partition::new(&patterns, &mut budget, <[usize]>::to_vec, |_, literals, otherwise| {
        let mut matching = [literals, otherwise].concat();
        matching.sort_unstable();
        matching
    });
    *steps_left -= steps - budget.steps_left();
    let partition = partition?;
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

/// How many bytes of each class are tried. A name with the first ones may be a literal.
const BYTES_MAX: usize = 4;

/// For each class of bytes, some of them that names may contain.
fn representatives(dfa: &Dfa) -> Vec<(usize, u8)> {
    let rank = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'0'..=b'9' | b'A'..=b'Z' | b'_' => 1,
        b'!'..=b'~' => 2,
        _ => 3,
    };
    let mut best: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    // No other byte is in the class of the slash: the glob's wildcards tell it from all of them.
    for byte in 1..=u8::MAX {
        let class = usize::from(dfa.byte_classes()[usize::from(byte)]);
        best.entry(class).or_default().push(byte);
    }
    let of_class = |(class, mut bytes): (usize, Vec<u8>)| {
        bytes.sort_by_key(|&byte| rank(byte));
        bytes.into_iter().take(BYTES_MAX).map(move |byte| (class, byte))
    };
    let mut best: Vec<(usize, u8)> = best.into_iter().flat_map(of_class).collect();
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
        let names =
            of(&glob, &policy, &SetApart::of([&read(FileKind::Sysctl, file)]), &mut { ALL_STEPS_MAX })
                .unwrap();
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
        assert!(of(&glob, &policy, &SetApart::default(), &mut { ALL_STEPS_MAX }).is_err());
    }

    #[test]
    fn all_globs_share_the_steps() {
        let policy = Policy::new("x").unwrap();
        let glob = KnobPattern::parse("kernel.*").unwrap();
        let mut steps_left = ALL_STEPS_MAX;
        assert!(of(&glob, &policy, &SetApart::default(), &mut steps_left).is_ok());
        let steps = ALL_STEPS_MAX - steps_left;
        assert!(steps > 0);
        let mut steps_left = steps * 2;
        let results = [(); 3].map(|()| of(&glob, &policy, &SetApart::default(), &mut steps_left).is_ok());
        assert_eq!(results, [true, false, false]);
    }
}
