//! What both sides of the comparison say about a name.

use knobgate_policy::{AccessKind, Value, Width};

use crate::ir::{Action, Ir, Rule, RuleId, Step, StepId};
use crate::layout::Layout;

/// How accesses of one kind to a name are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// What is tried, in order. Only the last one is no rule, or a rule without a condition.
    pub(super) tried: Vec<Tried>,
    /// The width by which the new value is fetched, if it matters to one of the rules.
    pub(super) fetched: Option<Width>,
}

/// A step of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// This rule, for a knob of this width if the width matters to the rule.
    Rule(usize, Option<Width>),
    Default(AccessKind),
    /// The name is too long for this rule.
    NameTooLong(usize),
}

/// Whether the decision of `rule` about an access of `kind` depends on the width of the knob.
fn depends_on_width(kind: AccessKind, rule: &Rule) -> bool {
    let clamps = matches!(rule.action, Action::ClampOne(_) | Action::ClampEach(_));
    let mut operands = rule.graph.nodes().iter().flat_map(|node| node.test.operands());
    let mut compares =
        || operands.any(|operand| operand.counts().is_some_and(|counts| counts.value == Value::New));
    kind == AccessKind::Write && (clamps || compares())
}

/// The rules whose decisions about accesses of `kind` depend on the width of the knob, and may be tried.
pub(super) fn width_dependent(ir: &Ir, kind: AccessKind) -> Vec<usize> {
    let rules = ir.rules.iter().filter(|(_, rule)| depends_on_width(kind, rule));
    rules.map(|(&RuleId { rule, .. }, _)| rule).collect()
}

/// The decision that starts with the step `first`.
pub(super) fn from_step(kind: AccessKind, ir: &Ir, layout: &Layout<'_>, first: StepId) -> Decision {
    let tried = ir.steps.chain(first).map(|id| match ir.steps.get(id) {
        step @ Step::Rule { rule, width, .. } => {
            let depends = ir.rule(step).is_some_and(|rule| depends_on_width(kind, rule));
            Tried::Rule(rule, depends.then(|| width.unwrap_or_default()))
        }
        Step::Default(kind) => Tried::Default(kind),
        Step::NameTooLong { rule } => Tried::NameTooLong(rule),
    });
    let tried: Vec<Tried> = tried.collect();
    let depends = tried.iter().any(|tried| matches!(tried, Tried::Rule(_, Some(_))));
    Decision { fetched: depends.then(|| layout.step(first).fetch.width), tried }
}
