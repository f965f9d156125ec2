//! The network namespace that owns the knob.

use knobgate_policy::{
    Access, Applies, DecidedBy, Errno, EvalError, Input, KnobNetns, Verdict, applies, evaluate, possible,
};

use crate::{knob, policy};

/// A write to a knob of this network namespace.
fn write(netns: Option<KnobNetns>) -> Access {
    Access { knob_netns: netns, ..Access::write(knob("net.core.somaxconn"), "5") }
}

const HOST: Option<KnobNetns> = Some(KnobNetns::Host);
const OTHER: Option<KnobNetns> = Some(KnobNetns::Other);

#[test]
fn a_condition_is_about_the_namespace_that_owns_the_knob() {
    for (condition, netns, expected) in [
        ("netns == host", HOST, Ok(Applies::Yes)),
        ("netns == host", OTHER, Ok(Applies::ConditionFalse)),
        ("netns == host", None, Err(EvalError::NoNetns)),
        ("netns != host", HOST, Ok(Applies::ConditionFalse)),
        ("netns != host", OTHER, Ok(Applies::Yes)),
        ("netns != host", None, Err(EvalError::NoNetns)),
        ("not netns == host", OTHER, Ok(Applies::Yes)),
        ("not netns == host", None, Err(EvalError::NoNetns)),
        ("netns != host and new <= 10", OTHER, Ok(Applies::Yes)),
        ("new > 10 and netns != host", None, Ok(Applies::ConditionFalse)),
        ("netns == host or new <= 10", OTHER, Ok(Applies::Yes)),
        ("new <= 10 or netns == host", None, Ok(Applies::Yes)),
    ] {
        let policy = policy(&format!("allow write net.** if {condition}"));
        assert_eq!(applies(&policy, &policy.rules()[0], &write(netns)), expected, "{condition} {netns:?}");
    }
}

#[test]
fn an_access_whose_namespace_is_unknown_is_denied() {
    let policy = policy("deny write net.** if netns == host\nallow write **");
    let decision = evaluate(&policy, &write(None));
    assert_eq!(decision.verdict, Verdict::Deny(Errno::EINVAL));
    assert_eq!(decision.by, DecidedBy::EvalError { rule: 0, error: EvalError::NoNetns });
    assert!(decision.log);
    assert_eq!(evaluate(&policy, &write(OTHER)).verdict, Verdict::Allow);
    // No rule with such a condition is about other knobs.
    assert_eq!(evaluate(&policy, &Access::write(knob("vm.a"), "5")).verdict, Verdict::Allow);
}

#[test]
fn all_that_may_be_decided_is_possible_if_the_namespace_is_unknown() {
    let policy = policy("allow write net.** if new > 10 and netns != host\ndeny(EROFS) write net.**");
    let of = |access: &Access| possible(&policy, access, Input::Netns.into());
    let large = Access { new: Some(b"50".to_vec()), ..write(None) };
    let found = of(&large);
    for netns in [HOST, OTHER, None] {
        let decision = evaluate(&policy, &Access { knob_netns: netns, ..large.clone() });
        let is_same = |other: &knobgate_policy::PossibleDecision| {
            other.by == decision.by && other.verdict.as_ref() == Some(&decision.verdict)
        };
        assert!(found.decisions.iter().any(is_same), "{netns:?}: {found:?}");
    }
    assert_eq!(found.decisions.len(), 3);
    assert!(found.looks_at.contains(Input::Netns));
    // It makes no difference.
    assert_eq!(of(&write(None)).verdict(), Some(&Verdict::Deny(Errno::EROFS)));
}
