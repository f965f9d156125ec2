//! Warnings about conditions on the name of the task. Any task can choose its own name.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::{AccessKind, Action, Defaults, Diagnostic, FallbackAction, Rule, Span};
use knobgate_glob::Piece;

const HELP: &str = "it writes /proc/self/comm, or calls prctl(PR_SET_NAME): ask for `uid` or `gid` instead, or attach the \
                    policy to the cgroup of the program that is meant";

/// How many rules with narrower patterns than a denial are looked at.
const NARROWER_MAX: usize = 64;

/// A warning for each rule where a task can get an access through by choosing its name. `looks` is where each rule
/// looks at the name.
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

/// What a task gains by choosing its name, if anything.
fn gain(rule: &Rule, later: &Later<'_>, defaults: &Defaults) -> Option<&'static str> {
    match rule.action() {
        Action::Allow => Some("any task can take a name that has this permission"),
        Action::Set(_) | Action::Clamp(_) | Action::Ignore => {
            Some("any task can take a name with which other values pass")
        }
        Action::Deny(_) => [AccessKind::Read, AccessKind::Write]
            .into_iter()
            .filter(|&kind| rule.kinds().contains(kind))
            .any(|kind| {
                let by_default = defaults.of(kind).action == FallbackAction::Allow;
                rule.patterns().iter().any(|pattern| later.may_let_pass(kind, pattern.pieces(), by_default))
            })
            .then_some("any task can escape this denial by taking another name"),
    }
}

/// What the rules after a given one say, for each kind of access.
#[derive(Default)]
struct Later<'a> {
    reads: LaterOfKind<'a>,
    writes: LaterOfKind<'a>,
}

#[derive(Default)]
struct LaterOfKind<'a> {
    /// The prefixes of the names that a rule lets pass, with the first such rule.
    passing: BTreeMap<&'a [u8], usize>,
    /// The patterns that are denied unconditionally, with the first rule that denies them.
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

    /// Whether a rule or the default may let something pass that `pieces` match.
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

/// The common prefix of all names that `pieces` match.
fn start(pieces: &[Piece]) -> &[u8] {
    match pieces.first() {
        Some(Piece::Literal(start)) => start,
        _ => b"",
    }
}
