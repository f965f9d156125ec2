//! The network namespace of the knob: which rules can look at it, and tests that say nothing about it.

use super::{Checker, condition};
use crate::source::TestSpans;
use crate::syntax::RuleSyntax;
use crate::{
    Condition, DecidedBy, Diagnostic, Errno, EvalError, Expected, Policy, PolicyError, Rule, evaluate,
};

impl Checker {
    /// Checks that all knobs of a rule have a network namespace, if its condition looks at that.
    pub(super) fn knob_netns(&mut self, syntax: &RuleSyntax) {
        let Some(netns) = syntax.condition.as_ref().and_then(condition::first_netns) else { return };
        if let Some(other) = syntax.patterns.iter().find(|pattern| !pattern.node.is_below_net()) {
            let error = Diagnostic::invalid(&PolicyError::NetnsOutsideNet, netns);
            self.report(error.also(other.span, "this does not start with `net.`"));
        }
    }
}

/// Warns of tests that cannot be evaluated because they do not say which network namespace owns the knob.
pub(super) fn unstated<'a>(
    policy: &'a Policy,
    spans: &'a [TestSpans],
) -> impl Iterator<Item = Diagnostic> + 'a {
    let mut conditions = policy.rules().iter().filter_map(Rule::condition);
    let looks_at_netns = conditions.any(Condition::looks_at_netns);
    let tests = policy.tests().iter().zip(spans).filter(move |_| looks_at_netns);
    let steps = tests.flat_map(|(test, spans)| test.steps.iter().zip(&spans.steps));
    steps.filter(|(step, _)| *step.expected() != Expected::Deny(Some(Errno::EINVAL))).filter_map(|(step, span)| {
        let by = evaluate(policy, step.access()).by;
        matches!(by, DecidedBy::EvalError { error: EvalError::NoNetns, .. }).then(|| {
            let message = "a rule looks at the network namespace of this knob, and the test does not say which it is";
            let warning = Diagnostic::warning("unstated-netns", *span, message);
            warning.help("before `=>`, write `netns host` or `netns other`")
        })
    })
}
