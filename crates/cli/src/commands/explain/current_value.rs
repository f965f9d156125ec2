//! The current value of the knob.

use crate::knob_value::KnobValue;

/// The current value of a knob, and its source.
#[derive(Debug)]
pub(super) enum CurrentValue {
    /// It was given as an argument.
    Given(Vec<u8>),
    /// It is that of this machine.
    OfThisMachine(KnobValue),
}

impl CurrentValue {
    /// The value, if it is known.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Given(bytes) | Self::OfThisMachine(KnobValue::Value(bytes)) => Some(bytes),
            Self::OfThisMachine(KnobValue::NoSuchKnob | KnobValue::WriteOnly | KnobValue::Unreadable(_)) => {
                None
            }
        }
    }
}
