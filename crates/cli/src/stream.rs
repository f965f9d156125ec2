//! Items of a stream of events, as text.

pub(crate) mod cgroups;
pub(crate) mod column;
pub(crate) mod line;
pub(crate) mod memory_items;
pub(crate) mod printer;
pub(crate) mod tally;

pub(crate) use knobgate_events::words;

use std::io::{self, IsTerminal};

use words::Length;

/// How much of texts is shown on standard output.
pub(crate) fn length_of_stdout() -> Length {
    if io::stdout().is_terminal() { Length::Short } else { Length::Full }
}
