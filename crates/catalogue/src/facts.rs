//! What the catalogue has about a knob, in words.
//!
//! ```
//! use knobgate_catalogue::{facts, find};
//!
//! let knob = find(b"kernel/modules_disabled").ok_or("not in the catalogue")?;
//! assert_eq!(facts::effects(knob), ["a write can raise the value or set bits, and nothing takes that back"]);
//! # Ok::<(), &str>(())
//! ```

use crate::{Kind, Knob, OneWay, Scope, Variant};

/// What a knob takes, in short: `int 0..1`, `3 int`, `text`.
pub fn value(variant: &Variant) -> String {
    let kind = variant.kind();
    let count = variant.elements().filter(|&count| count > 1).map(|count| format!("{count} "));
    let bounds = variant.bounds().and_then(|bounds| narrower(kind, bounds));
    let bounds = bounds.map(|bounds| format!(" {bounds}"));
    format!("{}{}{}", count.unwrap_or_default(), kind.name(), bounds.unwrap_or_default())
}

/// The bounds as in a policy, without an end that is the kind's own; `None` if both are.
fn narrower(kind: Kind, (low, high): (i128, i128)) -> Option<String> {
    let (least, greatest) = match kind {
        Kind::Int => (i32::MIN.into(), i32::MAX.into()),
        Kind::UnsignedInt => (0, u32::MAX.into()),
        Kind::UnsignedLong => (0, u64::MAX.into()),
        Kind::U8 => (0, u8::MAX.into()),
        Kind::Bool => (0, 1),
        _ => return None,
    };
    let end = |end: i128, of_kind: i128| if end == of_kind { String::new() } else { end.to_string() };
    let (low, high) = (end(low, least), end(high, greatest));
    (!low.is_empty() || !high.is_empty()).then(|| format!("{low}..{high}"))
}

/// What the knob is, in one line: `int 0..1, one for each network namespace: what it does`.
pub fn line(knob: &Knob) -> String {
    let newest = knob.newest();
    let scope = scope(newest.scope());
    let whose = scope.split_once(": ").map_or(scope.as_str(), |(_, whose)| whose);
    format!("{}, {whose}: {}", value(newest), knob.summary())
}

/// Whose it is.
pub fn scope(scope: Scope) -> String {
    match scope {
        Scope::Host => "host: one for the whole machine".to_owned(),
        Scope::Ipc => "ipc: one for each IPC namespace".to_owned(),
        Scope::Uts => "uts: one for each UTS namespace".to_owned(),
        scope => format!("{scope}: one for each {scope} namespace"),
    }
}

/// What to know before writing it, in short.
pub fn marks(knob: &Knob) -> Vec<String> {
    let mut marks = Vec::new();
    if knob.acts() {
        marks.push("acts".to_owned());
    }
    if let Some(way) = knob.one_way() {
        marks.push(one_way_name(way).to_owned());
    }
    if knob.is_secret() {
        marks.push("secret".to_owned());
    }
    if let Some(other) = knob.alias_of() {
        marks.push(format!("same as {}", other.replace('/', ".")));
    }
    marks
}

/// The same in sentences.
pub fn effects(knob: &Knob) -> Vec<&'static str> {
    let mut effects = Vec::new();
    if knob.acts() {
        effects.push("each write makes the kernel do something, even if the value stays the same");
    }
    if let Some(way) = knob.one_way() {
        effects.push(match way {
            OneWay::Up => "a write can raise the value or set bits, and nothing takes that back",
            OneWay::Down => "a write can lower the value or clear bits, and nothing takes that back",
            OneWay::Final => "one value is final: nothing changes it again",
        });
    }
    if knob.is_secret() {
        effects.push("the value is secret");
    }
    effects
}

/// `up`, `down` or `final`.
pub fn one_way_name(way: OneWay) -> &'static str {
    match way {
        OneWay::Up => "up",
        OneWay::Down => "down",
        OneWay::Final => "final",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_every_number_of_the_kind_has_is_left_out() {
        for (kind, bounds, expected) in [
            (Kind::Int, (0, 1), Some("0..1")),
            (Kind::Int, (0, i32::MAX.into()), Some("0..")),
            (Kind::Int, (i32::MIN.into(), 7), Some("..7")),
            (Kind::Int, (i32::MIN.into(), i32::MAX.into()), None),
            (Kind::U8, (0, 255), None),
            (Kind::UnsignedLong, (0, u64::MAX.into()), None),
            (Kind::Bool, (0, 1), None),
        ] {
            assert_eq!(narrower(kind, bounds).as_deref(), expected, "{kind:?} {bounds:?}");
        }
    }
}
