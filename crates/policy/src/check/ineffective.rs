//! Warns of rules that never do what they say, because of what the catalogue knows about all knobs that they match.

use knobgate_catalogue::{Kind, Knob, Variant};

use super::Checker;
use super::condition::{first_old, first_ranges};
use crate::catalogue::{self, Match};
use crate::syntax::{ActionSyntax, RuleSyntax, Spanned};
use crate::{AccessKind, Diagnostic, Kinds, KnobPattern, Span};

impl Checker {
    /// Warns of a rule for accesses that its knobs do not take, and of one that looks at a value or keeps a value that they do not have.
    pub(super) fn ineffective(&mut self, syntax: &RuleSyntax) {
        let kinds = syntax.kinds.node;
        // A denial of what is impossible does no harm.
        let denies = matches!(syntax.action.node, ActionSyntax::Deny(_));
        let ignores = matches!(syntax.action.node, ActionSyntax::Ignore);
        self.sets_of_others(syntax);
        let old = syntax.condition.as_ref().and_then(first_old).filter(|_| kinds.contains(AccessKind::Write));
        if old.is_none() && (denies || kinds == Kinds::Both) {
            return;
        }
        for pattern in &syntax.patterns {
            let Ok(found) = catalogue::matches(&pattern.node, &mut self.catalogue) else { return };
            if found.is_empty() {
                continue;
            }
            let is_read_only = every_variant(&found, |variant| !variant.mode().is_writable());
            let is_write_only = every_variant(&found, |variant| !variant.mode().is_readable());
            let acts = found.iter().all(|found| found.knob.acts());
            if kinds == Kinds::Write && !denies && is_read_only {
                self.report(read_only(pattern, syntax));
            } else if kinds == Kinds::Read && !denies && is_write_only {
                self.report(write_only(pattern, syntax));
            } else if ignores && acts {
                self.report(ignored_action(pattern, &syntax.action));
            } else if let Some(old) = old.filter(|_| is_write_only) {
                self.report(old_of_write_only(pattern, old));
            }
        }
    }

    /// Warns of `ranges(new)` where no knob takes a set of numbers: what the rule judges is then not what the knob reads.
    fn sets_of_others(&mut self, syntax: &RuleSyntax) {
        let Some(ranges) = syntax.condition.as_ref().and_then(first_ranges) else { return };
        for pattern in &syntax.patterns {
            let Ok(found) = catalogue::matches(&pattern.node, &mut self.catalogue) else { return };
            if !found.is_empty() && every_variant(&found, |variant| variant.kind() != Kind::RangeList) {
                let message = "no such knob takes a set of numbers";
                let warning = Diagnostic::warning("not-a-set", ranges, message)
                    .also(pattern.span, "this knob")
                    .help("sets are those of `net.ipv4.ip_local_reserved_ports` and alike; a list has blanks: `each(new)`");
                return self.report(warning);
            }
        }
    }

    /// The least and the greatest number that a knob which `pattern` matches takes, on any kernel; `None` if that is not known
    /// of all of them, or depends on the machine.
    pub(super) fn handler_bounds(&mut self, pattern: &KnobPattern) -> Option<(i128, i128)> {
        let found = catalogue::matches(pattern, &mut self.catalogue).ok()?;
        if found.iter().any(|found| found.knob.bounds_vary()) {
            return None;
        }
        let variants = found.iter().flat_map(|found| found.knob.variants());
        let bounds = variants.map(|variant| variant.bounds().filter(|_| variant.kind().is_numeric()));
        let either = |(low, high): (i128, i128), (other_low, other_high): (i128, i128)| {
            (low.min(other_low), high.max(other_high))
        };
        bounds.collect::<Option<Vec<_>>>()?.into_iter().reduce(either)
    }
}

fn every_variant(found: &[Match], holds: impl Fn(&Variant) -> bool + Copy) -> bool {
    let of_knob = |knob: &Knob| knob.variants().iter().all(holds);
    found.iter().all(|found| of_knob(found.knob))
}

fn read_only(pattern: &Spanned<KnobPattern>, syntax: &RuleSyntax) -> Diagnostic {
    let name = &pattern.node;
    let message = match name.literal() {
        Some(_) => format!("`{name}` cannot be written"),
        None => format!("no knob that `{name}` matches can be written"),
    };
    let warning = Diagnostic::warning("read-only-knob", pattern.span, message)
        .label("read-only on every kernel")
        .also(syntax.kinds.span, "this rule is for writes alone");
    match syntax.action.node {
        ActionSyntax::Allow => warning.help(format!("a rule about reading it is `allow read {name}`")),
        _ => warning,
    }
}

fn write_only(pattern: &Spanned<KnobPattern>, syntax: &RuleSyntax) -> Diagnostic {
    let name = &pattern.node;
    let message = match name.literal() {
        Some(_) => format!("`{name}` cannot be read"),
        None => format!("no knob that `{name}` matches can be read"),
    };
    Diagnostic::warning("write-only-knob", pattern.span, message)
        .label("write-only on every kernel")
        .also(syntax.kinds.span, "this rule is for reads alone")
}

fn ignored_action(pattern: &Spanned<KnobPattern>, action: &Spanned<ActionSyntax>) -> Diagnostic {
    let message = format!("`ignore` does not stop what a write of `{}` does", pattern.node);
    Diagnostic::warning("ignored-action", action.span, message)
        .label("this writes the current value again")
        .also(pattern.span, "every write makes the kernel do something")
        .help("`deny` stops it")
}

fn old_of_write_only(pattern: &Spanned<KnobPattern>, old: Span) -> Diagnostic {
    let message = format!("`{}` cannot be read, so it has no current value", pattern.node);
    Diagnostic::warning("old-of-write-only", old, message)
        .label("this says nothing about it")
        .also(pattern.span, "write-only on every kernel")
}
