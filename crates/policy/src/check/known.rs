//! Warnings about patterns that match no known knob.

use std::collections::HashSet;

use knobgate_glob::{Budget, Piece, TooLarge};

use super::dotted;
use crate::{Diagnostic, KnobName, KnobPattern, Rule, Source, Span};
use crate::{catalogue, notation};

/// The total work of matching, in bytes of names times pieces of patterns. This keeps checking fast for policies of any
/// size.
const EFFORT_MAX: usize = 2_000_000;

/// For how many patterns a suggestion is looked for.
const SUGGESTIONS_MAX: usize = 20;

/// A warning for each pattern that matches no knob of the catalogue, and none of `knobs`. Without these, only for those of which it is
/// certain what was meant.
pub(super) fn unknown_knobs(
    rules: &[Rule],
    spans: &[Vec<Span>],
    knobs: Option<&[KnobName]>,
    source: &Source,
    budget: &mut Budget,
) -> Vec<Diagnostic> {
    let mut known = KnownKnobs::new(knobs.unwrap_or_default());
    let mut warnings = Vec::new();
    for (rule, spans) in rules.iter().zip(spans) {
        for (pattern, &span) in rule.patterns().iter().zip(spans) {
            match known.any(pattern, budget) {
                Ok(false) => {}
                Ok(true) => continue,
                Err(TooLarge) => return warnings,
            }
            if let Some(warning) = dotted::interface(pattern, source.slice(span), span, budget) {
                warnings.push(warning);
            } else if let Some(knobs) = knobs {
                let suggests = warnings.len() < SUGGESTIONS_MAX;
                warnings.push(unknown(pattern, span, knobs, suggests, &mut known, budget));
            }
        }
    }
    warnings
}

fn unknown(
    pattern: &KnobPattern,
    span: Span,
    knobs: &[KnobName],
    suggests: bool,
    known: &mut KnownKnobs<'_>,
    budget: &mut Budget,
) -> Diagnostic {
    let warning = Diagnostic::warning("unknown-knob", span, format!("no knob is called `{pattern}`"));
    let name = pattern.literal().and_then(|name| KnobName::from_path(name).ok()).filter(|_| suggests);
    let near =
        name.and_then(|name| catalogue::did_you_mean(&name, known.notations.iter().map(String::as_str)));
    match near {
        Some(near) => warning.help(format!("did you mean `{near}`?")).suggest(span, near),
        None if known.has_deeper_ones(pattern, budget) => warning
            .help(format!("`*` stays inside one component: `{pattern}*` matches all below"))
            .suggest(Span::new(span.end, span.end), "*"),
        None => warning.label(match knobs {
            [] => format!("{} has none", catalogue::catalogued()),
            _ => format!("{} has none, nor has this machine", catalogue::catalogued()),
        }),
    }
}

/// The catalogue, and other names.
struct KnownKnobs<'a> {
    names: HashSet<&'a [u8]>,
    /// The same names, sorted.
    sorted: Vec<&'a [u8]>,
    notations: Vec<String>,
    /// The remaining work with these.
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
    fn has_deeper_ones(&mut self, pattern: &KnobPattern, budget: &mut Budget) -> bool {
        let deeper = || KnobPattern::parse(format!("{pattern}*")).ok();
        pattern.pieces().last() == Some(&Piece::Star)
            && deeper().is_some_and(|deeper| self.any(&deeper, budget) == Ok(true))
    }

    /// Whether the pattern matches one of the knobs.
    fn any(&mut self, pattern: &KnobPattern, budget: &mut Budget) -> Result<bool, TooLarge> {
        Ok(catalogue::has_match(pattern, budget)? || self.any_other(pattern)?)
    }

    /// Whether the pattern matches one of the other names.
    fn any_other(&mut self, pattern: &KnobPattern) -> Result<bool, TooLarge> {
        if let Some(name) = pattern.literal() {
            return Ok(self.names.contains(name));
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
            self.left = self.left.checked_sub(cost).ok_or(TooLarge)?;
            if fits && pattern.matches(name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
