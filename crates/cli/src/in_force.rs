//! What is in force, read back from the kernel: a program of ours carries its policy's text and counters along.

use knobgate_bpf::{MapKind, OBJECT_FILE_MAP, POLICY_TEXT_MAP, RULE_HITS_MAP};
use knobgate_kernel::{Map, ObjectError, ProgramFd};
use knobgate_policy::{AccessKind, CheckOptions, PolicyFile, Source, limits, parse};

/// A policy that the kernel holds.
#[derive(Debug)]
pub(crate) struct InForce {
    /// Its text, byte for byte as it was given, if it is UTF-8.
    pub(crate) text: String,
    /// What the text says; `None` if this version of knobgate does not understand it.
    pub(crate) file: Option<PolicyFile>,
    /// The counters: one for each rule, then one for the default of reads and one for that of writes.
    pub(crate) hits: Vec<Hits>,
}

/// Where a program that is not of a policy came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectFile {
    /// The path of the object, when it was put in force.
    pub(crate) path: String,
    /// The name of the program in it, of which the kernel keeps 15 bytes.
    pub(crate) program: String,
}

impl ObjectFile {
    /// Reads it; `None` if we did not put the program in force.
    ///
    /// # Errors
    /// Those of [`ProgramFd::maps`] and [`Map::lookup`].
    pub(crate) fn read(program: &ProgramFd) -> Result<Option<Self>, ObjectError> {
        let maps = program.maps()?;
        let Some(map) = maps.iter().find(|map| map.info().name == OBJECT_FILE_MAP) else { return Ok(None) };
        let origin = only_value(map)?.unwrap_or_default();
        let mut parts = origin.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut part = || parts.next().unwrap_or_default().into_owned();
        Ok(Some(Self { path: part(), program: part() }))
    }
}

/// How often a rule, or a default, came into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hits {
    /// It decided.
    pub(crate) decided: u64,
    /// It could not be evaluated, for which reason the access was denied.
    pub(crate) unreadable: u64,
}

/// A rule or default with its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The line of the policy that it stands on; `None` for a default that is not stated.
    pub(crate) line: Option<usize>,
    /// Its text.
    pub(crate) text: String,
    /// The counters.
    pub(crate) hits: Hits,
}

impl InForce {
    /// Reads it; `None` if the program is none of ours.
    ///
    /// # Errors
    /// Those of [`ProgramFd::maps`] and [`Map::lookup`].
    pub(crate) fn read(program: &ProgramFd) -> Result<Option<Self>, ObjectError> {
        let maps = program.maps()?;
        let value = |name: &str| {
            let map = maps.iter().find(|map| is_called(&map.info().name, name));
            map.map_or(Ok(None), only_value)
        };
        let (Some(text), Some(hits)) = (value(POLICY_TEXT_MAP)?, value(RULE_HITS_MAP)?) else {
            return Ok(None);
        };
        let source = Source::from_bytes("policy", &text);
        let text = source.text().to_owned();
        let file = parse(source, &CheckOptions::default()).ok();
        let hits = hits
            .as_chunks::<16>()
            .0
            .iter()
            .map(|pair| {
                let (decided, unreadable) = pair.split_at(8);
                let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
                Hits { decided: number(decided), unreadable: number(unreadable) }
            })
            .collect();
        Ok(Some(Self { text, file, hits }))
    }

    /// The name of the policy.
    pub(crate) fn policy_name(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.policy().name())
    }

    /// The rules and the two defaults, each with its counters. Where the text is not understood, the counters with
    /// numbers.
    pub(crate) fn counted(&self) -> Vec<Counted> {
        let rules = self.hits.len().saturating_sub(2);
        let counted = |(index, &hits): (usize, &Hits)| {
            let (line, text) = match (self.file.as_ref(), index.checked_sub(rules)) {
                (Some(file), None) => {
                    (file.rule_line(index), file.rule_text(index).unwrap_or_default().to_owned())
                }
                (Some(file), Some(default)) => default_of(file, default),
                (None, None) => (None, format!("rule {}", index + 1)),
                (None, Some(default)) => (None, format!("default {}", kind(default))),
            };
            Counted { line, text, hits }
        };
        self.hits.iter().enumerate().map(counted).collect()
    }
}

fn default_of(file: &PolicyFile, default: usize) -> (Option<usize>, String) {
    let kind = kind(default);
    let stated = file.default_span(kind).map(|span| file.source().slice(span).to_owned());
    (file.default_line(kind), stated.unwrap_or_else(|| format!("default {kind}")))
}

fn kind(default: usize) -> AccessKind {
    if default == 0 { AccessKind::Read } else { AccessKind::Write }
}

/// Whether a map has this name. From an object, it is that of a section of data, and cut.
fn is_called(map: &str, name: &str) -> bool {
    const KEPT: usize = 15;
    let of_section = |prefix: &str| format!("{prefix}.{name}").bytes().take(KEPT).eq(map.bytes());
    map == name || of_section(".rodata") || of_section(".data")
}

/// The value of an array of one. Of what is too large to be a part of a policy it is not read: others can call their maps
/// the same.
fn only_value(map: &Map) -> Result<Option<Vec<u8>>, ObjectError> {
    let info = map.info();
    let is_array = info.kind == MapKind::Array.number() && info.max_entries == 1;
    if is_array && info.value_size <= VALUE_MAX { map.lookup(&0u32.to_ne_bytes()) } else { Ok(None) }
}

/// Twice the longest policy, in bytes.
const VALUE_MAX: u32 = 2 * limits::FILE_MAX as u32;
