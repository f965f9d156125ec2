//! The test block: every value is allowed, and another one denied.

use knobgate_policy::{
    Access, Expected, Integer, KnobName, KnobPattern, Policy, Test, TestStep, Verdict, evaluate,
    limits::VALUE_MAX, parse_numbers,
};

use super::ConfFile;
use super::rules::{Assignment, Plan};
use crate::{Key, glob};

/// The test of the files, if they set anything.
pub(crate) fn of(plan: &Plan, policy: &Policy, files: &[ConfFile<'_>]) -> Option<Test> {
    let mut steps = Vec::new();
    for setting in &plan.settings {
        let (name, others) = match &setting.key {
            Key::Knob(name) => (Some(name.clone()), others(&setting.value).take(1).collect::<Vec<_>>()),
            Key::Glob(pattern) => (example(pattern, plan), others(&setting.value).collect()),
        };
        let Some(name) = name else { continue };
        steps.extend(TestStep::new(write(&name, &setting.value), Expected::Allow));
        let mut denied = others.iter().map(|other| write(&name, other));
        // Another glob may allow one of them.
        let denied = match setting.key {
            Key::Knob(_) => denied.next(),
            Key::Glob(_) => {
                denied.find(|access| matches!(evaluate(policy, access).verdict, Verdict::Deny(_)))
            }
        };
        steps.extend(denied.and_then(|access| TestStep::new(access, Expected::Deny(None)).ok()));
    }
    for exclusion in &plan.exclusions {
        let Some(name) = exclusion.pattern.literal().and_then(|name| KnobName::from_path(name).ok()) else {
            continue;
        };
        let glob = plan.globs().find(|glob| glob.pattern.matches(name.as_bytes()));
        let denied = glob.map(|Assignment { value, .. }| write(&name, value));
        steps.extend(denied.and_then(|access| TestStep::new(access, Expected::Deny(None)).ok()));
    }
    let name = super::what_is_set(files);
    (!steps.is_empty()).then_some(Test { name, steps })
}

/// The write of a value, as systemd-sysctl does it: with a newline.
fn write(name: &KnobName, value: &str) -> Access {
    Access::write(name.clone(), format!("{value}\n"))
}

/// Values that are not `value`, those first that are most like it.
fn others(value: &str) -> impl Iterator<Item = String> {
    let numbers = parse_numbers(value).unwrap_or_default();
    let next = move |by: i128| {
        let (last, before) = numbers.split_last()?;
        let number = Integer::new(last.get() + by)?;
        let numbers = before.iter().chain([&number]).map(Integer::to_string);
        Some(numbers.collect::<Vec<_>>().join(" "))
    };
    // Above and below, so that one of them is inside of the knob's width.
    let numbers = (1..=8).flat_map(|by| [by, -by]).filter_map(next);
    let text = value.to_owned();
    let texts = ["x", "y", "z"].into_iter().filter_map(move |end| {
        let longer = format!("{text}{end}");
        (longer.len() < VALUE_MAX).then_some(longer)
    });
    numbers.chain(texts).chain(["x".to_owned(), "y".to_owned()]).filter({
        let value = value.to_owned();
        move |other| *other != value
    })
}

/// A knob that a glob sets.
fn example(pattern: &KnobPattern, plan: &Plan) -> Option<KnobName> {
    glob::examples(pattern).find(|name| name.check_is_sysctl().is_ok() && !plan.is_set_apart(name))
}
