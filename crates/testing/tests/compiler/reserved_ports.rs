//! What a knob with a set of numbers holds under a policy with `ranges(new)`: random values are written to
//! `net.ipv4.ip_local_reserved_ports`. What passes is stored as it was judged, and what does not leaves the set as it was.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use knobgate_compiler::compile;
use knobgate_kernel::{Link, LoadOptions, load, probe};
use knobgate_policy::{Access, AccessKind, CheckOptions, KnobName, Source, Verdict, evaluate, parse};
use knobgate_testing::{number, scratch, seed, shell};
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const KNOB: &str = "net/ipv4/ip_local_reserved_ports";
const POLICY: &str = "policy t-ports
allow write net.ipv4.ip_local_reserved_ports if new == \"\" or ranges(new) in {8, 64..79, 0x200..1000, 30000..}
";

/// The default of `KNOBGATE_WRITES`.
const WRITES: u64 = 1500;

pub(crate) fn reserved_ports() -> Result<(), Failed> {
    let (seed, writes, cgroup) = (seed()?, number("KNOBGATE_WRITES", WRITES)?, scratch());
    println!("KNOBGATE_SEED={seed} KNOBGATE_WRITES={writes}");
    let file = parse(Source::new("ports.knob", POLICY), &CheckOptions::default())?;
    let compiled = compile(&file, &probe().features())?;
    let loaded = load(compiled.program(), &LoadOptions::default())?;
    let _link = Link::create(&loaded.program, &cgroup)?;

    let values = values(seed, writes as usize, file.policy());
    let mut script = format!("k=/proc/sys/{KNOB}\n");
    for value in &values {
        let escaped = value.iter().fold(String::new(), |mut escaped, byte| {
            let _ = write!(escaped, "\\0{byte:03o}");
            escaped
        });
        // In one write, whose errors do not matter.
        let _ = writeln!(script, "(printf %b '{escaped}' > $k) 2>/dev/null; cat $k");
    }
    let mut file_of_script = tempfile::NamedTempFile::new()?;
    file_of_script.write_all(script.as_bytes())?;
    let output = shell(&cgroup, &format!(". {}", file_of_script.path().display())).output()?;
    assert!(output.status.success(), "{output:?}");
    let held = String::from_utf8(output.stdout)?;

    let (mut before, mut changed, mut judged_inside) = (BTreeSet::new(), 0, 0);
    assert_eq!(held.lines().count(), values.len());
    for (value, held) in values.iter().zip(held.lines()) {
        let held = ports(held.as_bytes()).ok_or("the kernel prints a set")?;
        let access = Access::write(KnobName::parse(KNOB)?, value.as_slice());
        let passes = evaluate(file.policy(), &access).verdict == Verdict::Allow;
        let context =
            || format!("{:?} is {passes}, and the knob holds {held:?}", value.escape_ascii().to_string());
        // The handler may reject what passes: a reversed range, or a number that is no port.
        if held != before {
            assert!(passes, "{}", context());
            assert_eq!(ports(value), Some(held.clone()), "{}", context());
            changed += 1;
        } else if passes {
            assert!(ports(value).is_none_or(|ports| ports == held), "{}", context());
        }
        judged_inside += u64::from(passes);
        before = held;
    }
    println!("{writes} writes: {judged_inside} passed, {changed} changed the set");
    if changed * 20 < writes {
        return Err(format!("only {changed} of {writes} writes change something").into());
    }
    Ok(())
}

/// Random values that are relevant to the policy.
fn values(seed: u64, count: usize, policy: &knobgate_policy::Policy) -> Vec<Vec<u8>> {
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let accesses = knobgate_arbitrary::access(policy)
        .prop_filter("a write", |access| access.kind() == AccessKind::Write)
        .prop_map(|access| access.new.unwrap_or_default())
        .prop_filter("some bytes", |value| !value.is_empty());
    let draw = |_| accesses.new_tree(&mut runner).expect("a value").current();
    (0..count).map(draw).collect()
}

/// The ports of a set, if it is one that the kernel stores.
fn ports(value: &[u8]) -> Option<BTreeSet<u32>> {
    // After the first line, the handler takes only newlines.
    let text = str::from_utf8(value).ok()?.trim_end_matches('\n');
    let number = |text: &str| {
        let (digits, base) = match text {
            text if text.starts_with("0x") || text.starts_with("0X") => (&text[2..], 16),
            text if text.starts_with('0') => (text, 8),
            text => (text, 10),
        };
        u32::from_str_radix(digits, base).ok().filter(|port| *port < 1 << 16)
    };
    let mut ports = BTreeSet::new();
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let (low, high) = entry.split_once('-').unwrap_or((entry, entry));
        let (low, high) = (number(low)?, number(high)?);
        (low <= high).then(|| ports.extend(low..=high))?;
    }
    Some(ports)
}
