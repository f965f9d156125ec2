//! The diff of two policies and `evaluate` agree.

use knobgate_arbitrary::{access, condition, knob_pattern, pattern_below_net, policy, rule};
use knobgate_diff::{Change, Class, Diff, Part, Region, Subject, VerdictKind};
use knobgate_policy::{
    Access, AccessKind, Condition, DecidedBy, Decision, Elements, Kinds, KnobNetns, Operand, Policy, Range,
    Rule, Value, evaluate, holds,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// A policy, and the same with one thing changed.
fn mutated() -> BoxedStrategy<(Policy, Policy)> {
    let patterns = (knob_pattern(), pattern_below_net());
    let change = (0..7u8, any::<Index>(), any::<Index>(), rule(), condition(true), patterns);
    (policy(), change)
        .prop_map(|(policy, (what, at, to, rule, condition, (pattern, below_net)))| {
            let mut rules: Vec<Rule> = policy.rules().to_vec();
            if rules.is_empty() {
                return (policy.clone(), policy.with_rules([rule]));
            }
            let (at, to) = (at.index(rules.len()), to.index(rules.len()));
            match what {
                0 => drop(rules.remove(at)),
                1 => rules.insert(at, rule),
                2 => rules.swap(at, to),
                3 => {
                    if rules[at].kinds() != Kinds::Read {
                        rules[at] = rules[at].clone().with_condition(condition).expect("a condition");
                    }
                }
                4 => rules[at] = rules[at].clone().with_condition(None).expect("no condition"),
                5 => {
                    let looks_at_netns = rules[at].condition().is_some_and(Condition::looks_at_netns);
                    let pattern = if looks_at_netns { below_net } else { pattern };
                    let changed = Rule::new(rules[at].action().clone(), rules[at].kinds(), [pattern]);
                    let changed = changed.expect("a rule").with_condition(rules[at].condition().cloned());
                    rules[at] = changed.expect("a condition").with_log(rules[at].log());
                }
                _ => {
                    let changed = policy.clone().with_width_64([pattern]);
                    return (policy, changed);
                }
            }
            (policy.clone(), policy.with_rules(rules))
        })
        .boxed()
}

/// Conditions that the diff decides exactly: single numbers, compared with literals and each other, and texts.
fn simple() -> BoxedStrategy<(Policy, Policy)> {
    prop_oneof![(policy(), policy()), mutated()]
        .prop_map(|(old, new)| {
            let simple = |policy: Policy| {
                let rules: Vec<Rule> =
                    policy.rules().iter().filter(|rule| is_simple(rule)).cloned().collect();
                policy.with_rules(rules)
            };
            (simple(old), simple(new))
        })
        .boxed()
}

fn is_simple(rule: &Rule) -> bool {
    fn condition_is_simple(condition: &Condition) -> bool {
        let operand = |operand: Operand| match operand {
            Operand::Number(_, elements, mask) => elements == Elements::Only && mask.is_none(),
            other => !matches!(other, Operand::Count(_)),
        };
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().all(condition_is_simple),
            Condition::Not(negated) => condition_is_simple(negated),
            Condition::Chain(chain) => chain.operands().all(operand),
            Condition::InRange(test) => operand(test.operand()),
            Condition::InSet(test) => operand(test.operand()),
            Condition::List(..) | Condition::Ranges(_) => false,
            Condition::Text(..) | Condition::Netns(_) => true,
        }
    }
    let clamps_one = !matches!(rule.action(), knobgate_policy::Action::Clamp(ranges) if ranges.len() > 1);
    clamps_one && rule.condition().is_none_or(condition_is_simple)
}

/// Says which network namespace owns the knob, if it has one: on a kernel it is always known.
fn with_netns(access: &mut Access) {
    if access.knob.is_below_net() {
        access.knob_netns.get_or_insert(KnobNetns::Other);
    }
}

/// Two policies, and accesses that are relevant to one of them.
fn with_accesses(policies: BoxedStrategy<(Policy, Policy)>) -> BoxedStrategy<(Policy, Policy, Vec<Access>)> {
    policies
        .prop_flat_map(|(old, new)| {
            let accesses = (vec(access(&old), 48), vec(access(&new), 48));
            accesses.prop_map(move |(one, other)| {
                let mut accesses = [one, other].concat();
                accesses.iter_mut().for_each(with_netns);
                (old.clone(), new.clone(), accesses)
            })
        })
        .boxed()
}

fn change(old: &Policy, new: &Policy, access: &Access) -> Option<Change> {
    Change::between(&evaluate(old, access), &evaluate(new, access), (old.mode(), new.mode()))
}

fn rule_of(decision: &Decision) -> Option<usize> {
    match decision.by {
        DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => Some(rule),
        DecidedBy::Default(_) => None,
    }
}

fn check(old: &Policy, new: &Policy, accesses: &[Access]) -> Result<(), TestCaseError> {
    // A few random patterns are too complex.
    let Ok(diff) = Diff::between(old, new) else { return Ok(()) };
    for class in diff.classes() {
        for names in &class.names {
            let (by_old, by_new) = (evaluate(old, &names.example), evaluate(new, &names.example));
            prop_assert_eq!(&by_old, &names.old, "{}", class.change as u8);
            prop_assert_eq!(&by_new, &names.new);
            prop_assert_eq!(VerdictKind::from(&by_old.verdict), class.old);
            prop_assert_eq!(VerdictKind::from(&by_new.verdict), class.new);
            prop_assert_eq!(names.example.kind(), class.kind);
            let found = diff.find(old, new, &names.example);
            if class.change == Change::Undecided {
                prop_assert!(class.reason.is_some());
            } else {
                prop_assert_eq!(change(old, new, &names.example), Some(class.change));
                let (found, _) = found.expect("its class");
                prop_assert_eq!(found, class);
            }
        }
    }
    for access in accesses {
        let found = diff.find(old, new, access);
        let Some(change) = change(old, new, access) else {
            prop_assert_eq!(found, None);
            continue;
        };
        let Some((class, names)) = found else {
            return Err(TestCaseError::fail(format!(
                "no class has {access:?}: {change:?}\n{old}\n{new}\n{:#?}",
                diff.classes()
            )));
        };
        prop_assert_eq!(class.kind, access.kind());
        if class.change != Change::Undecided {
            prop_assert_eq!(class.change, change);
            prop_assert_eq!(rule_of(&names.old), rule_of(&evaluate(old, access)));
            prop_assert_eq!(rule_of(&names.new), rule_of(&evaluate(new, access)));
            let is_undecided = diff.classes().iter().any(|class| class.change == Change::Undecided);
            prop_assert!(
                is_undecided || admits(&class.region, access),
                "{} does not have {:?}\n{}\n{}",
                class.region,
                access,
                old,
                new
            );
        }
    }
    Ok(())
}

/// Whether the numbers of `access` are those of `region`, as far as they are numbers.
fn admits(region: &Region, access: &Access) -> bool {
    let every_number = Policy::new("x").expect("a policy");
    let is_in = |operand: Operand, parts: &[Part]| {
        let test = |low, high| {
            let range = Range::new(Some(low), Some(high)).expect("a range");
            Condition::in_range(operand, range).expect("a condition")
        };
        let is_number = holds(&every_number, &test(0.into(), 1.into()), access).is_ok();
        let is_text = |part: &Part| {
            matches!(part, Part::Text(_) | Part::TextLike(_) | Part::OtherText | Part::SameAsNew)
        };
        let is_inside = |part: &Part| match part {
            Part::Number(low, high) => holds(&every_number, &test(*low, *high), access) == Ok(true),
            other => is_text(other),
        };
        !is_number || parts.is_empty() || parts.iter().any(is_inside)
    };
    // The current value has no width. Neither has the new one of a knob whose name is known to be wide.
    is_in(Operand::only(Value::Old), region.of(Subject::Old))
        && (access.kind() == AccessKind::Read || is_in(Operand::only(Value::New), region.of(Subject::New)))
        && is_in(Operand::Uid, region.of(Subject::Uid))
        && is_in(Operand::Gid, region.of(Subject::Gid))
        && is_in(Operand::Pos, region.of(Subject::Pos))
}

fn differs_in_nothing(policy: &Policy) -> Result<(), TestCaseError> {
    let Ok(diff) = Diff::between(policy, policy) else { return Ok(()) };
    prop_assert_eq!(diff.classes(), &[] as &[Class]);
    Ok(())
}

/// Every pair of policies is thousands of accesses: a few suffice, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if is_asked { config.cases } else { 16 }, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn accesses_on_which_two_policies_differ_are_in_a_class(
        (old, new, accesses) in with_accesses((policy(), policy()).boxed()),
    ) {
        check(&old, &new, &accesses)?;
    }

    #[test]
    fn accesses_on_which_a_changed_policy_differs_are_in_a_class(
        (old, new, accesses) in with_accesses(mutated()),
    ) {
        check(&old, &new, &accesses)?;
    }

    #[test]
    fn accesses_are_in_a_class_where_all_is_exact((old, new, accesses) in with_accesses(simple())) {
        check(&old, &new, &accesses)?;
    }

    #[test]
    fn a_policy_differs_from_itself_in_nothing(policy in policy()) {
        differs_in_nothing(&policy)?;
    }
}
