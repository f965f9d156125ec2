//! Conditions on the name of the task, where it is worth choosing one: any task can call itself as it likes.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::{AccessKind, Action, Defaults, Diagnostic, FallbackAction, Rule, Span};
use knobgate_glob::Piece;

const HELP: &str = "it writes /proc/self/comm, or calls prctl(PR_SET_NAME): ask for `uid` or `gid` instead, or attach the \
                    policy to the cgroup of the program that is meant";

/// How many rules for parts of what a denial is about are looked at.
const NARROWER_MAX: usize = 64;

/// A warning for each rule that can be made to apply, or not to apply, by choosing a name, where that makes an access
/// pass. `looks` says where each rule looks at the name.
pub(super) fn chosen_names(rules: &[Rule], looks: &[Option<Span>], defaults: &Defaults) -> Vec<Diagnostic> {
    let mut later = Later::default();
    let mut warnings = Vec::new();
    for (index, (rule, looks)) in rules.iter().zip(looks).enumerate().rev() {
        if let Some(span) = *looks
            && let Some(label) = gain(rule, &later, defaults)
        {
            let warning = Diagnostic::warning("chosen-comm", span, "the task chooses its name itself");
            warnings.push(warning.label(label).help(HELP));
        }
        later.add(index, rule);
    }
    warnings
}

/// What a task gains by choosing its name, if that is anything.
fn gain(rule: &Rule, later: &Later<'_>, defaults: &Defaults) -> Option<&'static str> {
    match rule.action() {
        Action::Allow => Some("whoever wants this permission takes a name that has it"),
        Action::Set(_) | Action::Clamp(_) | Action::Ignore => {
            Some("whoever wants another value takes a name with which it passes")
        }
        Action::Deny(_) => [AccessKind::Read, AccessKind::Write]
            .into_iter()
            .filter(|&kind| rule.kinds().contains(kind))
            .any(|kind| {
                let by_default = defaults.of(kind).action == FallbackAction::Allow;
                rule.patterns().iter().any(|pattern| later.may_let_pass(kind, pattern.pieces(), by_default))
            })
            .then_some("whoever wants to escape this denial takes another name"),
    }
}

/// What the rules behind one say, by the kind of access.
#[derive(Default)]
struct Later<'a> {
    reads: LaterOfKind<'a>,
    writes: LaterOfKind<'a>,
}

#[derive(Default)]
struct LaterOfKind<'a> {
    /// How the names begin that a rule lets pass, with the first such rule.
    passing: BTreeMap<&'a [u8], usize>,
    /// The patterns that are denied in any case, with the first rule that does.
    denied: HashMap<&'a [Piece], usize>,
}

impl<'a> Later<'a> {
    fn add(&mut self, index: usize, rule: &'a Rule) {
        for (kind, later) in [(AccessKind::Read, &mut self.reads), (AccessKind::Write, &mut self.writes)] {
            if !rule.kinds().contains(kind) {
                continue;
            }
            for pattern in rule.patterns() {
                match (rule.action(), rule.condition()) {
                    (Action::Deny(_), None) => drop(later.denied.insert(pattern.pieces(), index)),
                    (Action::Deny(_), Some(_)) => {}
                    _ => drop(later.passing.insert(start(pattern.pieces()), index)),
                }
            }
        }
    }

    /// Whether something that `pieces` match may pass, where the default decides so or a rule.
    fn may_let_pass(&self, kind: AccessKind, pieces: &[Piece], by_default: bool) -> bool {
        let later = match kind {
            AccessKind::Read => &self.reads,
            AccessKind::Write => &self.writes,
        };
        let denied = later.denied.get(pieces).copied();
        let before = |&rule: &usize| denied.is_none_or(|denied| rule < denied);
        let start = start(pieces);
        let narrower = later.passing.range(start..).take_while(|(other, _)| other.starts_with(start));
        let mut wider = (0..start.len()).filter_map(|length| later.passing.get(&start[..length]));
        (by_default && denied.is_none())
            || narrower.take(NARROWER_MAX).any(|(_, rule)| before(rule))
            || wider.any(before)
    }
}

/// What every name begins with that `pieces` match.
fn start(pieces: &[Piece]) -> &[u8] {
    match pieces.first() {
        Some(Piece::Literal(start)) => start,
        _ => b"",
    }
}
