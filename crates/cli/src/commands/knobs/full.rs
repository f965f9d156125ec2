//! Everything about some knobs.

use knobgate_catalogue::{Knob, Normalisation, Variant, facts};

use super::entry::{Entry, Here, dotted};
use super::machine::ThisMachine;
use crate::failure::Failure;
use crate::knob_value::KnobValue;
use crate::output::Output;
use crate::printable::printable;
use crate::style;

/// The most knobs of the machine that are listed for one entry.
const HERE_MAX: usize = 20;

/// Prints a block of lines for each entry.
pub(super) fn print(entries: &[Entry], machine: &ThisMachine, output: &Output) -> Result<(), Failure> {
    let mut lines = output.lines();
    let heading = style::HEADING;
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            lines.line("")?;
        }
        lines.line(format_args!("{heading}{}{heading:#}", printable(&entry.name())))?;
        let about = match entry {
            Entry::Known { knob, .. } => of_catalogue(knob),
            Entry::Unknown(_) => vec![("kernels", "the catalogue does not have it".to_owned())],
        };
        for (label, text) in about.into_iter().chain(of_machine(entry, machine)) {
            lines.line(format_args!("  {label:9} {text}"))?;
        }
    }
    lines.flush()
}

type Line = (&'static str, String);

fn of_catalogue(knob: &Knob) -> Vec<Line> {
    let mut lines = vec![("does", knob.summary().to_owned())];
    for (index, text) in facts::effects(knob).into_iter().enumerate() {
        lines.push((if index == 0 { "effect" } else { "" }, text.to_owned()));
    }
    if let Some(other) = knob.alias_of() {
        lines.push(("same as", dotted(other)));
    }
    for (index, other) in knob.reaches().iter().enumerate() {
        lines.push((if index == 0 { "also sets" } else { "" }, dotted(other)));
    }
    lines.extend(knob.stores().map(|how| ("stores", stores(how))));
    let several = knob.variants().len() > 1;
    for variant in knob.variants() {
        let kernels = match variant.kernels() {
            kernels if kernels.is_empty() => "none of the catalogue's: known from the source".to_owned(),
            kernels => format!("Linux {kernels}"),
        };
        lines.push(("kernels", kernels));
        lines.extend(
            of_variant(variant)
                .into_iter()
                .map(|(label, text)| (label, if several { format!("  {text}") } else { text })),
        );
    }
    lines
}

fn of_variant(variant: &Variant) -> Vec<Line> {
    let mut lines = vec![
        ("scope", facts::scope(variant.scope())),
        ("mode", variant.mode().to_string()),
        ("value", facts::value(variant)),
        ("handler", variant.handler().to_owned()),
    ];
    if let Some(length) = variant.length().filter(|_| !variant.kind().is_numeric()) {
        lines.push(("length", format!("{length} bytes in the kernel")));
    }
    lines
}

/// What it stores of what is written.
fn stores(how: Normalisation) -> String {
    match how {
        Normalisation::Milliseconds => {
            "a number of milliseconds, rounded up to ticks of the timer".to_owned()
        }
        Normalisation::UserTicks => "a number of 1/100 s, rounded down to ticks of the timer".to_owned(),
        Normalisation::PowersOfTwo { least } => {
            format!("a number, rounded up to a power of two, at least {least}")
        }
        Normalisation::Booleans => "0 for 0, and 1 for every other number".to_owned(),
        Normalisation::AtMost(how) => format!("a number, or a lower one: {how}"),
        Normalisation::Own(how) => format!("another number: {how}"),
        Normalisation::CpuMask => "a set of CPUs, read as hexadecimal mask".to_owned(),
        Normalisation::Text => "the text as it was written".to_owned(),
        Normalisation::WordSet => "a set of words, printed in its own order".to_owned(),
    }
}

fn of_machine(entry: &Entry, machine: &ThisMachine) -> Vec<Line> {
    let here = entry.here();
    if here.is_empty() {
        let why = match entry {
            _ if machine.release().is_none() => "not known",
            Entry::Known { is_expected: true, .. } => {
                "no: its module is not loaded, or this kernel was built without it"
            }
            _ => "no",
        };
        return vec![("here", why.to_owned())];
    }
    let mut lines = Vec::new();
    let is_one = entry.knob().is_none_or(Knob::is_literal);
    for (index, one) in here.iter().take(HERE_MAX).enumerate() {
        let text =
            if is_one { value(one) } else { format!("{}: {}", printable(&one.name.to_string()), value(one)) };
        lines.push((if index == 0 { "here" } else { "" }, text));
        let differences = one.differences.iter();
        lines.extend(
            differences.map(|difference| ("differs", format!("{0}{difference}{0:#}", style::WARNING))),
        );
    }
    if here.len() > HERE_MAX {
        lines.push(("", format!("and {} more", here.len() - HERE_MAX)));
    }
    lines
}

fn value(here: &Here) -> String {
    match &here.value {
        None if knobgate_catalogue::find(here.name.as_bytes()).is_some_and(Knob::is_secret) => {
            "(a secret)".to_owned()
        }
        None => "(not read)".to_owned(),
        Some(KnobValue::Value(value)) => {
            let value = value.trim_ascii_end();
            if value.is_empty() { "(empty)".to_owned() } else { printable(value).into_owned() }
        }
        Some(KnobValue::NoSuchKnob) => "gone meanwhile".to_owned(),
        Some(KnobValue::WriteOnly) => "cannot be read".to_owned(),
        Some(KnobValue::Unreadable(error)) => format!("cannot be read: {}", printable(&error.to_string())),
    }
}
