//! What a knob is, what it holds, and which rule of a policy decides about it.

use std::fmt::Write;
use std::rc::Rc;

use knobgate_catalogue::{self as catalogue, Knob, facts};
use knobgate_policy::terminal::escape;
use knobgate_policy::{
    Access, AccessKind, DecidedBy, Input, Inputs, KnobName, KnobPattern, PolicyFile, possible,
};

use crate::analysis::Analysis;
use crate::environment::Environment;

/// How much of a value is shown, in bytes.
const VALUE_MAX: usize = 120;

/// How much of a rule is shown, in characters.
const RULE_MAX: usize = 100;

/// How many of the rules that may decide are shown.
const RULES_MAX: usize = 4;

/// How many of the knobs that a pattern matches are shown.
const NAMES_MAX: usize = 6;

/// What the knob, or the knobs that `pattern` matches, are. `analyses` are about the policies that have the pattern.
pub(crate) fn knob_help(
    pattern: &KnobPattern,
    analyses: &[Rc<Analysis>],
    knobs: Option<&[KnobName]>,
    environment: &dyn Environment,
) -> String {
    let name = pattern.literal().and_then(|name| KnobName::from_path(name).ok());
    let Some(name) = name else { return pattern_help(pattern, knobs) };
    let mut parts = vec![format!("{}", code(&name.to_string()))];
    match catalogue::find(name.as_bytes()) {
        Some(knob) => {
            parts[0] += &format!(": {}", knob.summary());
            parts.push(about(knob));
            if knobs.is_some() {
                parts.push(value(&name, knob, environment));
            }
        }
        None => parts.push("The catalogue does not have this knob.".to_owned()),
    }
    for file in analyses.iter().filter_map(|analysis| analysis.file.as_ref()) {
        parts.push(deciders(&name, file));
    }
    parts.join("\n\n")
}

/// `text` as code, whatever it has in it.
fn code(text: &str) -> String {
    let text = escape(text.as_bytes());
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // Blanks keep a `` ` `` at the ends apart from the fence.
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("`{text}`") }
}

/// What it takes, whose it is, which kernels have it, and what to know before writing it.
fn about(knob: &Knob) -> String {
    let variant = knob.newest();
    let scope = facts::scope(variant.scope());
    let whose = scope.split_once(": ").map_or(scope.as_str(), |(_, whose)| whose);
    let mut about = format!("{}, {whose}, mode {}", facts::value(variant), variant.mode());
    if !knob.kernels().is_empty() {
        let _ = write!(about, ", in Linux {}", knob.kernels());
    }
    for effect in facts::effects(knob) {
        let _ = write!(about, "; {effect}");
    }
    if let Some(alias) = knob.alias_of() {
        let _ = write!(about, "; it is the same as {}", code(&dotted(alias)));
    }
    if !knob.reaches().is_empty() {
        let reached: Vec<String> = knob.reaches().iter().map(|pattern| code(&dotted(pattern))).collect();
        let _ = write!(about, "; a write also changes {}", reached.join(", "));
    }
    about
}

/// A pattern of the catalogue as people write it. None has a dot in a component.
fn dotted(pattern: &str) -> String {
    pattern.replace('/', ".")
}

/// The value of the knob, if reading it has no effect and tells no secret.
fn value(name: &KnobName, knob: &Knob, environment: &dyn Environment) -> String {
    if knob.is_secret() || knob.acts() || !knob.newest().mode().is_readable() {
        return "Its value is not read.".to_owned();
    }
    match environment.value(name) {
        Ok(value) => {
            let line = value.trim_ascii_end();
            let shown = code(&String::from_utf8_lossy(&line[..line.len().min(VALUE_MAX)]));
            let more = if line.len() > VALUE_MAX { "\u{2026}" } else { "" };
            format!("Here: {}{more}", if line.is_empty() { "empty".to_owned() } else { shown })
        }
        Err(why) => format!("Here: {}", escape(why.as_bytes())),
    }
}

/// Which rules decide about a write and a read, whoever makes it and whatever the values are.
fn deciders(name: &KnobName, file: &PolicyFile) -> String {
    let lines = AccessKind::ALL.map(|kind| {
        let access = match kind {
            AccessKind::Read => Access::read(name.clone()),
            AccessKind::Write => Access::write(name.clone(), ""),
        };
        let unknown = match kind {
            // A read has no new value.
            AccessKind::Read => Inputs::all().without(Input::New),
            AccessKind::Write => Inputs::all(),
        };
        let mut deciders: Vec<String> = Vec::new();
        for decision in possible(file.policy(), &access, unknown).decisions {
            let decider = decider(decision.by, file);
            if !deciders.contains(&decider) {
                deciders.push(decider);
            }
        }
        let more = deciders.len().saturating_sub(RULES_MAX);
        deciders.truncate(RULES_MAX);
        let mut line = format!("A {kind} is decided by {}", deciders.join(", or else by "));
        if more > 0 {
            let _ = write!(line, ", or else by {more} more");
        }
        line
    });
    lines.join("\\\n")
}

/// The text of what decides, and where it is.
fn decider(by: DecidedBy, file: &PolicyFile) -> String {
    let (text, place) = match by {
        DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => {
            (file.rule_text(rule), file.rule_place(rule))
        }
        DecidedBy::Default(kind) => {
            let span = file.default_span(kind);
            (span.map(|span| file.source().slice(span)), file.default_place(kind))
        }
    };
    let (Some(text), Some(place)) = (text, place) else {
        return "the default, which is not stated".to_owned();
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(RULE_MAX).collect();
    let more = if cut.len() < line.len() { "\u{2026}" } else { "" };
    let own = file.source().place(0).name;
    let place = match place.name == own {
        true => format!("line {}", place.line),
        false => format!("line {} of {}", place.line, escape(place.name.as_bytes())),
    };
    format!("{} in {place}", code(&format!("{cut}{more}")))
}

/// What a pattern with wildcards matches.
fn pattern_help(pattern: &KnobPattern, knobs: Option<&[KnobName]>) -> String {
    let Some(knobs) = knobs else {
        return format!("{}: a pattern for the names of knobs", code(&pattern.to_string()));
    };
    let mut matched = knobs.iter().filter(|knob| pattern.matches(knob.as_bytes()));
    let first: Vec<String> = matched.by_ref().take(NAMES_MAX).map(|knob| code(&knob.to_string())).collect();
    let count = first.len() + matched.count();
    let names = match count {
        0 => String::new(),
        count if count > first.len() => format!(": {}, \u{2026}", first.join(", ")),
        _ => format!(": {}", first.join(", ")),
    };
    let knobs = if count == 1 { "1 knob" } else { &format!("{count} knobs") };
    format!("{} matches {knobs} of this machine{names}", code(&pattern.to_string()))
}
