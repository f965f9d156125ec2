//! The parts of a compiled program other than its code.

use knobgate_bpf::{MapDef, MapKind};
use knobgate_policy::AccessKind;

use crate::ir::Step;
use crate::source::PolicySource;

/// The name of the map with the counters: an array of one value. It has two native `u64` for each rule, how often it decided
/// and how often it could not be evaluated; then the same for the default for reads, and for the one for writes.
pub const RULE_HITS_MAP: &str = "rule_hits";

/// The name of the map that carries the text of the policy along: an array of one frozen value, all bytes text.
pub const POLICY_TEXT_MAP: &str = "policy_text";

/// The index of the map that holds the counters.
pub(crate) const RULE_HITS: usize = 0;
/// The index of the map that holds the tables, where there are any. Before it comes the one with the text of the policy, to
/// which no instruction refers.
pub(crate) const TABLES: usize = 2;

/// The name of the main function.
pub(crate) const MAIN_FUNCTION: &str = "knobgate_policy";

/// A counter in the map [`RULE_HITS_MAP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Decided(usize),
    CannotEvaluate(usize),
    Default(AccessKind),
}

/// Bytes of counters for one rule or default.
const COUNTERS_BYTES: usize = 16;

impl Counter {
    /// The first of the two counters of a step.
    pub(crate) fn of(step: Step) -> Self {
        match step {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => Counter::Decided(rule),
            Step::Default(kind) => Counter::Default(kind),
        }
    }

    /// Its offset in the value of the map.
    pub(crate) fn offset(self, rules: usize) -> u32 {
        let offset = match self {
            Counter::Decided(rule) => rule * COUNTERS_BYTES,
            Counter::CannotEvaluate(rule) => rule * COUNTERS_BYTES + 8,
            Counter::Default(AccessKind::Read) => rules * COUNTERS_BYTES,
            Counter::Default(AccessKind::Write) => (rules + 1) * COUNTERS_BYTES,
        };
        offset as u32
    }
}

/// The maps of a program.
pub(crate) fn maps(source: &PolicySource<'_>, tables: Vec<u8>) -> Vec<MapDef> {
    let counters = (source.policy().rules().len() + 2) * COUNTERS_BYTES;
    let mut maps = vec![
        one_value(RULE_HITS_MAP, vec![0; counters], false),
        one_value(POLICY_TEXT_MAP, source.source().text().as_bytes().to_vec(), true),
    ];
    if !tables.is_empty() {
        maps.push(one_value("tables", tables, true));
    }
    maps
}

fn one_value(name: &str, value: Vec<u8>, frozen: bool) -> MapDef {
    MapDef {
        name: name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: value.len() as u32,
        max_entries: 1,
        flags: 0,
        contents: if frozen { vec![(vec![0; 4], value)] } else { Vec::new() },
        frozen,
    }
}
