//! A knob of the catalogue with the machine's, and where they differ.

use std::fmt;

use knobgate_catalogue::{Kernels, Knob, Mode};
use knobgate_policy::KnobName;

use super::machine::ThisMachine;
use crate::knob_value::KnobValue;

/// A line of the list.
pub(super) enum Entry {
    /// An entry of the catalogue.
    Known {
        knob: &'static Knob,
        /// The knobs of the machine that it is about.
        here: Vec<Here>,
        /// Whether a kernel like the machine's has it, as far as the catalogue knows.
        is_expected: bool,
    },
    /// A knob of the machine that the catalogue lacks.
    Unknown(Here),
}

/// A knob that the machine has.
pub(super) struct Here {
    pub(super) name: KnobName,
    pub(super) mode: Option<Mode>,
    /// Not read if it is secret.
    pub(super) value: Option<KnobValue>,
    pub(super) differences: Vec<Difference>,
}

/// Where the machine differs from the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// The mode is another one.
    Mode { here: Mode, known: Mode },
    /// It should read as numbers.
    NotNumbers,
    /// It has so many numbers, and should have others.
    Count { here: usize, known: usize },
    /// The catalogue knows it of these kernels only, and the machine's is another one.
    OtherKernels(Kernels),
    /// The catalogue lacks it.
    Unknown,
}

impl Entry {
    pub(super) fn known(knob: &'static Knob, names: &[&KnobName], machine: &ThisMachine) -> Self {
        let here = names.iter().map(|name| Here::known(knob, (*name).clone(), machine)).collect();
        Self::Known { knob, here, is_expected: machine.is_in(knob.kernels()) }
    }

    pub(super) fn unknown(name: KnobName, machine: &ThisMachine) -> Self {
        let (mode, value) = (machine.mode(&name), Some(machine.value(&name)));
        Self::Unknown(Here { name, mode, value, differences: vec![Difference::Unknown] })
    }

    pub(super) fn knob(&self) -> Option<&'static Knob> {
        match self {
            Self::Known { knob, .. } => Some(knob),
            Self::Unknown(_) => None,
        }
    }

    /// The knobs of the machine.
    pub(super) fn here(&self) -> &[Here] {
        match self {
            Self::Known { here, .. } => here,
            Self::Unknown(here) => std::slice::from_ref(here),
        }
    }

    /// Its name, or its pattern in the notation with dots. Names are not escaped.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Known { knob, .. } => dotted(knob.pattern()),
            Self::Unknown(here) => here.name.to_string(),
        }
    }
}

/// A pattern of the catalogue with dots. No pattern has a dot in a component.
pub(super) fn dotted(pattern: &str) -> String {
    pattern.replace('/', ".")
}

impl Here {
    fn known(knob: &'static Knob, name: KnobName, machine: &ThisMachine) -> Self {
        let variant = machine.variant(knob);
        let mode = machine.mode(&name);
        // To read one that acts may do something, too: `vm.stat_refresh` sums up.
        let value = (!knob.is_secret() && !knob.acts()).then(|| machine.value(&name));
        let mut differences = Vec::new();
        if !machine.is_in(knob.kernels()) && machine.series().is_some() {
            differences.push(Difference::OtherKernels(knob.kernels()));
        }
        if let Some(here) = mode.filter(|mode| *mode != variant.mode()) {
            differences.push(Difference::Mode { here, known: variant.mode() });
        }
        if let (Some(KnobValue::Value(value)), true) = (&value, variant.kind().is_numeric()) {
            match (count_of_numbers(value), variant.elements()) {
                (None, _) => differences.push(Difference::NotNumbers),
                (Some(here), Some(known)) if here != known as usize => {
                    differences.push(Difference::Count { here, known: known as usize });
                }
                _ => {}
            }
        }
        Self { name, mode, value, differences }
    }
}

/// How many numbers a value has; `None` if it has something else.
fn count_of_numbers(value: &[u8]) -> Option<usize> {
    let words = str::from_utf8(value).ok()?.split_ascii_whitespace();
    words.map(|word| word.parse::<i128>().ok()).collect::<Option<Vec<_>>>().map(|numbers| numbers.len())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode { here, known } => write!(f, "mode {here} here, {known} in the catalogue"),
            Self::NotNumbers => f.write_str("does not read as numbers here"),
            Self::Count { here, known } => write!(f, "{here} numbers here, {known} in the catalogue"),
            Self::OtherKernels(kernels) if kernels.is_empty() => {
                f.write_str("in the catalogue, none of the kernels has it")
            }
            Self::OtherKernels(kernels) => write!(f, "in the catalogue, only Linux {kernels} has it"),
            Self::Unknown => f.write_str("not in the catalogue"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_the_kernel_prints_as_numbers() {
        for (value, count) in [
            (&b"0\n"[..], Some(1)),
            (b"4096\t131072\t6291456\n", Some(3)),
            (b"18446744073709551615\n", Some(1)),
            (b"-1 0\n", Some(2)),
            (b"\n", Some(0)),
            (b"core\n", None),
            (b"0-3\n", None),
            (b"\xff\n", None),
        ] {
            assert_eq!(count_of_numbers(value), count, "{value:?}");
        }
    }
}
