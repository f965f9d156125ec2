//! The parts of a compiled program other than its code.

use knobgate_bpf::MapDef;

use crate::events;
use crate::layout::Tables;
use crate::rule_hits::{self, RULE_HITS_MAP};
use crate::source::PolicySource;

/// The name of the map that carries the text of the policy along: an array of one frozen value, all bytes text.
pub const POLICY_TEXT_MAP: &str = "policy_text";

/// The index of the map that holds the counters.
pub(crate) const RULE_HITS: usize = 0;
/// The index of the map that holds the tables, where there are any. Before it comes the one with the text of the policy, to
/// which no instruction refers.
pub(crate) const TABLES: usize = 2;

/// The index of the map with the slots for long values, in programs that look at these. They have tables.
pub(crate) const LONG_VALUES: usize = 3;

/// The index of the first map for events, in programs that send some.
pub(crate) fn first_of_events(tables: &Tables, has_long_values: bool) -> usize {
    match (tables.is_empty(), has_long_values) {
        (true, _) => TABLES,
        (false, false) => LONG_VALUES,
        (false, true) => LONG_VALUES + 1,
    }
}

/// The name of the main function.
pub(crate) const MAIN_FUNCTION: &str = "knobgate_policy";

/// The maps of a program, among them that of the long values if it looks at some.
pub(crate) fn maps(
    source: &PolicySource<'_>,
    tables: Vec<u8>,
    long_values: Option<MapDef>,
    sends_events: bool,
) -> Vec<MapDef> {
    let rules = source.policy().rules().len();
    let hits = MapDef::value(RULE_HITS_MAP, rule_hits::value_size(rules) as u32);
    let text = source.program_text().into_owned().into_bytes();
    let mut maps = vec![hits, MapDef::frozen_value(POLICY_TEXT_MAP, text)];
    if !tables.is_empty() {
        maps.push(MapDef::frozen_value("tables", tables));
    }
    maps.extend(long_values);
    if sends_events {
        maps.extend(events::maps(source));
    }
    maps
}
