//! Items of a stream of events, as text.

pub(crate) mod cgroups;
pub(crate) mod column;
pub(crate) mod line;
pub(crate) mod memory_items;
pub(crate) mod printer;
pub(crate) mod tally;
pub(crate) mod words;
