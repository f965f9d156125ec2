//! The test of a learnt policy: what was seen is allowed, and something like it is denied.

use std::collections::BTreeSet;

use knobgate_policy::{
    Access, Expected, Integer, Policy, Test, TestStep, Verdict, evaluate, limits::VALUE_MAX, parse_numbers,
};

/// The test of `policy` with these accesses, if there are any.
pub(crate) fn of(name: String, allowed: &[Access], denied: &[Access], policy: &Policy) -> Option<Test> {
    let mut steps = Vec::new();
    let mut knobs = BTreeSet::new();
    for access in allowed {
        // An existing rule may decide otherwise about what the access does not have, such as its task.
        if evaluate(policy, access).verdict == Verdict::Allow {
            steps.extend(TestStep::new(access.clone(), Expected::Allow));
        }
        // A similar value of each knob.
        if let Some(new) = access.new.as_ref().filter(|_| knobs.insert(access.knob.clone())) {
            let mut others = others(new).map(|other| Access::write(access.knob.clone(), other));
            let denied = others.find(|other| matches!(evaluate(policy, other).verdict, Verdict::Deny(_)));
            steps.extend(denied.and_then(|access| TestStep::new(access, Expected::Deny(None)).ok()));
        }
    }
    let denied = denied.iter().map(|access| TestStep::new(access.clone(), Expected::Deny(None)));
    steps.extend(denied.flatten());
    (!steps.is_empty()).then_some(Test { name, steps })
}

/// Values that are like `value`, first those that are most like it.
fn others(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let numbers = parse_numbers(value).unwrap_or_default();
    let next = move |by: i128| {
        let (last, before) = numbers.split_last()?;
        let number = Integer::new(last.get() + by)?;
        let numbers: Vec<String> = before.iter().chain([&number]).map(Integer::to_string).collect();
        Some(numbers.join(" ").into_bytes())
    };
    let near = (1..=16).flat_map(|by| [by, -by]);
    let far = (2..=6).map(|digits| 10_i128.pow(digits)).flat_map(|by| [by, -by]);
    let text = value.split(|&byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default().to_vec();
    let texts = ["x", "y", "z"].into_iter().map(move |end| [&text, end.as_bytes()].concat());
    let others = near.chain(far).filter_map(next).chain(texts);
    others.map(|other| [other, b"\n".to_vec()].concat()).filter(|other| other.len() <= VALUE_MAX)
}
