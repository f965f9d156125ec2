//! Warns of a rule about a knob that another name gets around: `net.ipv4.ip_forward` is `net.ipv4.conf.all.forwarding`.

use knobgate_catalogue::Knob;
use knobgate_glob::{Budget, Piece};

use super::Checker;
use crate::catalogue::{self, Match, OtherName, other_names};
use crate::{
    Access, AccessKind, Action, Applies, DecidedBy, Decision, Diagnostic, Inputs, KnobName, KnobNetns,
    KnobPattern, Policy, Rule, Span, Verdict, applies, evaluate, possible,
};

/// Numbers to try, if the handler takes them, and its bounds.
const VALUES: [i128; 12] = [0, 1, 2, 3, -1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 1 << 30];

/// The places of a policy's parts.
pub(super) struct Spans<'a> {
    pub(super) patterns: &'a [Vec<Span>],
    pub(super) rules: &'a [Span],
    pub(super) default_write: Option<Span>,
}

impl Checker {
    /// Warns of rules that restrict a knob which another name sets, if the policy lets writes by that name pass.
    pub(super) fn other_names(&mut self, policy: &Policy, spans: &Spans<'_>) {
        for (index, rule) in policy.rules().iter().enumerate() {
            if !restricts(rule) {
                continue;
            }
            for (pattern, &span) in rule.patterns().iter().zip(&spans.patterns[index]) {
                let mut search = Search { policy, rule: index, budget: &mut self.catalogue };
                if let Some(way) = search.way_around(pattern) {
                    self.report(warning(&way, index, span, spans));
                }
            }
        }
    }
}

/// Whether the rule lets only some writes pass as they are, or none.
fn restricts(rule: &Rule) -> bool {
    let is_restricted = rule.condition().is_some() || *rule.action() != Action::Allow;
    rule.kinds().contains(AccessKind::Write) && is_restricted
}

/// How a rule is gotten around.
struct WayAround {
    /// What the rule is about.
    name: KnobName,
    other: OtherName,
    /// A value that may be written by the other name only.
    value: String,
    /// What lets that pass.
    by: DecidedBy,
}

/// The search for ways around one rule.
struct Search<'a> {
    policy: &'a Policy,
    rule: usize,
    budget: &'a mut Budget,
}

impl Search<'_> {
    /// A way around the rule for a knob that `pattern` matches. Nothing is searched if the rule also matches the other name in general:
    /// an earlier rule about that is an exception.
    fn way_around(&mut self, pattern: &KnobPattern) -> Option<WayAround> {
        let found = catalogue::matches(pattern, self.budget).ok()?;
        let is_list = is_list(pattern.pieces());
        found.into_iter().find_map(|Match { knob, name }| {
            let others = other_names(knob, &name).into_iter();
            let others = others.filter(|other| is_list || !pattern.matches(other.name.as_bytes()));
            let name = KnobName::from_path(name).ok()?;
            others.into_iter().find_map(|other| {
                let (value, by) = self.value_around(knob, &name, &other)?;
                Some(WayAround { name: name.clone(), other, value, by })
            })
        })
    }

    /// A value that the rule does not let pass, though the policy lets it pass by the other name, and what does that.
    fn value_around(
        &mut self,
        knob: &Knob,
        name: &KnobName,
        other: &OtherName,
    ) -> Option<(String, DecidedBy)> {
        let bounds = knob.newest().bounds();
        let taken = |value: &i128| bounds.is_none_or(|(low, high)| (low..=high).contains(value));
        let of_handler = bounds.into_iter().flat_map(|(low, high)| [low, high]);
        VALUES.into_iter().filter(taken).chain(of_handler).map(|value| value.to_string()).find_map(|value| {
            [KnobNetns::Host, KnobNetns::Other].into_iter().find_map(|netns| {
                let access = |name: &KnobName| Access {
                    old: Some(b"1\n".to_vec()),
                    knob_netns: Some(netns),
                    ..Access::write(name.clone(), value.as_str())
                };
                // Both take as many steps as there are rules.
                self.budget.spend(2 * self.policy.rules().len()).ok()?;
                if !self.is_restricted(&access(name)) {
                    return None;
                }
                let by = self.lets_pass(&access(&other.name), other)?;
                Some((value.clone(), by))
            })
        })
    }

    /// Whether the policy does not let the write pass as it is, because of this rule.
    fn is_restricted(&self, access: &Access) -> bool {
        let Decision { verdict, by, .. } = evaluate(self.policy, access);
        let rule = &self.policy.rules()[self.rule];
        match verdict {
            Verdict::Allow => false,
            Verdict::Rewrite(_) => by == DecidedBy::Rule(self.rule),
            Verdict::Deny(_) => {
                let has_passed = || applies(self.policy, rule, access) == Ok(Applies::ConditionFalse);
                by == DecidedBy::Rule(self.rule)
                    || *rule.action() == Action::Allow
                        && !matches!(by, DecidedBy::EvalError { .. })
                        && has_passed()
            }
        }
    }

    /// What lets the write pass. Where the other name may have another unit, every value has to pass.
    fn lets_pass(&self, access: &Access, other: &OtherName) -> Option<DecidedBy> {
        if !other.is_same {
            let possible = possible(self.policy, access, Inputs::all());
            return possible.by().filter(|_| possible.verdict() == Some(&Verdict::Allow));
        }
        let Decision { verdict, by, .. } = evaluate(self.policy, access);
        (verdict == Verdict::Allow).then_some(by)
    }
}

/// Whether the pieces match a list of names, and so mean each of them.
fn is_list(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| match piece {
        Piece::Literal(_) => true,
        Piece::Alternatives(branches) => branches.iter().all(|branch| is_list(branch)),
        Piece::Any | Piece::Star | Piece::DoubleStar | Piece::Class { .. } => false,
    })
}

fn warning(way: &WayAround, rule: usize, span: Span, spans: &Spans<'_>) -> Diagnostic {
    let WayAround { name, other, value, by } = way;
    let message = format!("a write of `{}` gets around this rule", other.name);
    let warning = Diagnostic::warning("other-name", span, message);
    let warning = match other.is_same {
        true => warning.label(format!("`{}` is the same knob", other.name)),
        false => warning.label(format!("a write of `{}` also sets `{name}`", other.name)),
    };
    let (at, is_later) = match by {
        DecidedBy::Rule(by) | DecidedBy::EvalError { rule: by, .. } => (Some(spans.rules[*by]), *by > rule),
        DecidedBy::Default(_) => (spans.default_write, true),
    };
    let warning = match at {
        Some(at) => warning.also(at, format!("this lets `{value}` pass there")),
        None => warning,
    };
    match other.is_same && is_later {
        true => warning
            .help("name both in this rule")
            .suggest(Span::new(span.end, span.end), format!(", {}", other.name)),
        false => warning.help(format!("restrict `{}`, too", other.name)),
    }
}
