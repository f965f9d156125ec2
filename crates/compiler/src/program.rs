//! The parts of a compiled program other than its code.

use knobgate_bpf::{MapDef, MapKind, POLICY_TEXT_MAP, RULE_HITS_MAP, RuleEntry};
use knobgate_policy::{AccessKind, PolicyFile};

use crate::ir::Step;

/// The index of the map that holds the counters.
pub(crate) const RULE_HITS: usize = 0;
/// The index of the map that holds the tables, where there are any. Before it comes the one with the text of the policy, to
/// which no instruction refers.
pub(crate) const TABLES: usize = 2;

/// The name of the main function.
pub(crate) const MAIN_FUNCTION: &str = "knobgate_policy";

/// What is counted. Each rule, and after the rules the default for reads and the one for writes, has two counters of
/// 8 bytes: how often it decided, and how often it could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Decided(usize),
    CannotEvaluate(usize),
    Default(AccessKind),
}

/// Bytes of counters for one rule or default.
const COUNTERS_BYTES: usize = 16;

impl Counter {
    /// Where a step counts: the first of its two counters.
    pub(crate) fn of(step: Step) -> Self {
        match step {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => Counter::Decided(rule),
            Step::Default(kind) => Counter::Default(kind),
        }
    }

    /// Where it is in the value of the map, in bytes.
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

/// A place in the policy's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) text: &'a str,
}

impl<'a> Place<'a> {
    fn at(file: &'a PolicyFile, offset: usize) -> Self {
        let (line, column) = file.source().line_column(offset);
        Self { line: line as u32, column: column as u32, text: file.source().line_text(line) }
    }

    /// The first line.
    pub(crate) fn header(file: &'a PolicyFile) -> Self {
        Self::at(file, file.source().text().find("policy").unwrap_or(0))
    }

    /// Where it says what a step does: the rule, or the default if that is stated, or else the header.
    pub(crate) fn of(file: &'a PolicyFile, step: Step) -> Self {
        match step {
            Step::Rule { rule, .. } | Step::NameTooLong { rule } => {
                Self::at(file, file.rule_span(rule).map_or(0, |span| span.start))
            }
            Step::Default(kind) => {
                file.default_span(kind).map_or_else(|| Self::header(file), |span| Self::at(file, span.start))
            }
        }
    }
}

/// The maps of a program.
pub(crate) fn maps(file: &PolicyFile, tables: Vec<u8>) -> Vec<MapDef> {
    let counters = (file.policy().rules().len() + 2) * COUNTERS_BYTES;
    let mut maps = vec![
        one_value(RULE_HITS_MAP, vec![0; counters], false),
        one_value(POLICY_TEXT_MAP, file.source().text().as_bytes().to_vec(), true),
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

/// What the counters count, in their order.
pub(crate) fn rules(file: &PolicyFile) -> Vec<RuleEntry> {
    let rules = (0..file.policy().rules().len()).map(|rule| RuleEntry {
        line: file.rule_line(rule).unwrap_or(0) as u32,
        text: file.rule_text(rule).unwrap_or_default().to_owned(),
    });
    let defaults = [AccessKind::Read, AccessKind::Write].map(|kind| RuleEntry {
        line: file.default_line(kind).unwrap_or(0) as u32,
        text: file
            .default_span(kind)
            .map_or_else(|| format!("default {kind}"), |span| file.source().slice(span).to_owned()),
    });
    rules.chain(defaults).collect()
}
