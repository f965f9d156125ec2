//! Items of a stream of events, as text.

pub(crate) mod cgroups;
pub(crate) mod column;
pub(crate) mod line;
pub(crate) mod memory_items;
pub(crate) mod printer;
pub(crate) mod tally;
mod workload;

pub(crate) use knobgate_events::words;

use std::io::{self, IsTerminal};

use knobgate_events::{EventOutcome, EventText};
use words::Length;

use crate::printable::printable;

/// How much of texts is shown on standard output.
pub(crate) fn length_of_stdout() -> Length {
    if io::stdout().is_terminal() { Length::Short } else { Length::Full }
}

/// The text of a rule, on one line, with what was cut off marked.
pub(crate) fn rule_text(text: &EventText) -> String {
    let ellipsis = if text.cut_from.is_some() { "…" } else { "" };
    format!("{}{ellipsis}", printable(&text.bytes))
}

/// In which order outcomes are shown: what matters most comes first. 2 is for what is not known, which may matter.
pub(crate) fn rank(outcome: EventOutcome) -> u8 {
    match outcome {
        EventOutcome::Denied(_) => 0,
        EventOutcome::WouldDeny(_) => 1,
        EventOutcome::Unknown => 2,
        EventOutcome::Rewritten | EventOutcome::WouldRewrite => 3,
        EventOutcome::Allowed => 4,
    }
}
