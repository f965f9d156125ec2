//! Warnings about patterns that match no known knob.

use std::collections::HashSet;

use crate::did_you_mean::did_you_mean_knob;
use crate::notation;
use crate::{Diagnostic, KnobName, KnobPattern, Rule, Span};
use knobgate_glob::Piece;

/// The total work of matching, in bytes of names times pieces of patterns. This keeps checking fast for policies of any
/// size.
const EFFORT_MAX: usize = 2_000_000;

/// For how many patterns a suggestion is looked for.
const SUGGESTIONS_MAX: usize = 20;

pub(super) fn unknown_knobs(rules: &[Rule], spans: &[Vec<Span>], knobs: &[KnobName]) -> Vec<Diagnostic> {
    let mut known = KnownKnobs::new(knobs);
    let mut warnings = Vec::new();
    for (rule, spans) in rules.iter().zip(spans) {
        for (pattern, &span) in rule.patterns().iter().zip(spans) {
            if known.any(pattern) {
                continue;
            }
            let warning = Diagnostic::warning("unknown-knob", span, format!("no knob is called `{pattern}`"));
            let near = pattern
                .literal()
                .filter(|_| warnings.len() < SUGGESTIONS_MAX)
                .and_then(|_| {
                    did_you_mean_knob(&pattern.to_string(), known.notations.iter().map(String::as_str))
                })
                .map(str::to_owned);
            let warning = match near {
                Some(near) => warning.help(format!("did you mean `{near}`?")).suggest(span, near),
                None if known.has_deeper_ones(pattern) => warning
                    .help(format!("`*` stays inside one component: `{pattern}*` matches all below"))
                    .suggest(Span::new(span.end, span.end), "*"),
                None => warning.label("matches no known knob"),
            };
            warnings.push(warning);
        }
    }
    warnings
}

struct KnownKnobs<'a> {
    names: HashSet<&'a [u8]>,
    /// The same names, sorted.
    sorted: Vec<&'a [u8]>,
    notations: Vec<String>,
    /// The remaining work.
    left: usize,
}

impl<'a> KnownKnobs<'a> {
    fn new(knobs: &'a [KnobName]) -> Self {
        let mut sorted: Vec<&[u8]> = knobs.iter().map(KnobName::as_bytes).collect();
        sorted.sort_unstable();
        let notations = knobs.iter().map(KnobName::to_string).collect();
        Self { names: sorted.iter().copied().collect(), sorted, notations, left: EFFORT_MAX }
    }

    /// Whether the pattern, which matches none of the knobs, ends with a `*` and would match some with `**`.
    fn has_deeper_ones(&mut self, pattern: &KnobPattern) -> bool {
        let deeper = || KnobPattern::parse(format!("{pattern}*")).ok();
        pattern.pieces().last() == Some(&Piece::Star) && deeper().is_some_and(|deeper| self.any(&deeper))
    }

    /// Whether the pattern matches one of the knobs, or finding out would take too long.
    fn any(&mut self, pattern: &KnobPattern) -> bool {
        if let Some(name) = pattern.literal() {
            return self.names.contains(name);
        }
        let prefix: &[u8] = match pattern.pieces().first() {
            Some(Piece::Literal(prefix)) => prefix,
            _ => b"",
        };
        let suffix: &[u8] = match pattern.pieces().last() {
            Some(Piece::Literal(suffix)) => suffix,
            _ => b"",
        };
        let start = self.sorted.partition_point(|name| *name < prefix);
        for name in self.sorted[start..].iter().take_while(|name| name.starts_with(prefix)) {
            let fits = name.ends_with(suffix);
            let cost = if fits { 10 + name.len() * notation::size(pattern.pieces()) } else { 1 };
            if self.left < cost {
                return true;
            }
            self.left -= cost;
            if fits && pattern.matches(name) {
                return true;
            }
        }
        false
    }
}
