//! A policy read back from the kernel: its program carries the text and the counters.

use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::BPF_OBJ_NAME_LEN;
use knobgate_compiler::{POLICY_TEXT_MAP, RULE_HITS_MAP, RuleHits};
use knobgate_kernel::{BpfObjectError, Map, ProgramFd};
use knobgate_policy::{AccessKind, CheckOptions, PolicyFile, Source, limits, parse};

/// A policy whose program is in the kernel.
#[derive(Debug)]
pub struct AttachedPolicy {
    text: String,
    file: Option<PolicyFile>,
    /// Those of each rule, of the default for reads, and of the default for writes.
    rule_hits: Vec<RuleHits>,
}

/// A rule or a default with its counters, which count since the program was loaded, over all of its cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleCounters {
    /// Its line in the policy's file, from 1: that of the `include` statement, if it is included; `None` for a default that is not
    /// stated.
    pub line: Option<usize>,
    /// Its text.
    pub text: String,
    /// How many accesses it decided.
    pub decided: u64,
    /// How many accesses were denied because it could not be evaluated for them.
    pub eval_errors: u64,
}

impl AttachedPolicy {
    /// The policy of a program; `None` if it is not the program of a policy.
    ///
    /// # Errors
    ///
    /// Those of [`ProgramFd::maps`] and [`Map::lookup`].
    pub fn read(program: &ProgramFd) -> Result<Option<Self>, BpfObjectError> {
        let maps = program.maps()?;
        let (Some(text), Some(hits)) = (value(&maps, POLICY_TEXT_MAP)?, value(&maps, RULE_HITS_MAP)?) else {
            return Ok(None);
        };
        let source = Source::from_bytes("policy", &text).with_restored_includes();
        let text = source.text().to_owned();
        let file = parse(source, &CheckOptions::default()).ok();
        Ok(Some(Self { text, file, rule_hits: RuleHits::in_value(&hits) }))
    }

    /// Its text, byte for byte as it was given, if it is UTF-8.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parsed text; `None` if this version of knobgate does not understand it.
    pub fn file(&self) -> Option<&PolicyFile> {
        self.file.as_ref()
    }

    /// The name of the policy, if the text is understood.
    pub fn name(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.policy().name())
    }

    /// The counters of the rules, of the default for reads, and of the one for writes. If the text is not understood, the
    /// rules have numbers instead of texts.
    pub fn rule_counters(&self) -> Vec<RuleCounters> {
        let rules = self.rule_hits.len().saturating_sub(2);
        let with_text = |(index, &hits): (usize, &RuleHits)| {
            let (line, text) = match (self.file.as_ref(), index.checked_sub(rules)) {
                (Some(file), None) => (
                    file.rule_span(index).map(|span| file.source().own_place(span.start).line),
                    file.rule_text(index).unwrap_or_default().to_owned(),
                ),
                (Some(file), Some(default)) => default_of(file, default),
                (None, None) => (None, format!("rule {}", index + 1)),
                (None, Some(default)) => (None, format!("default {}", kind(default))),
            };
            let RuleHits { decided, eval_errors } = hits;
            RuleCounters { line, text, decided, eval_errors }
        };
        self.rule_hits.iter().enumerate().map(with_text).collect()
    }
}

fn default_of(file: &PolicyFile, default: usize) -> (Option<usize>, String) {
    let kind = kind(default);
    let stated = file.default_span(kind).map(|span| file.source().slice(span).to_owned());
    (file.default_place(kind).map(|place| place.line), stated.unwrap_or_else(|| format!("default {kind}")))
}

fn kind(default: usize) -> AccessKind {
    if default == 0 { AccessKind::Read } else { AccessKind::Write }
}

/// Whether a program is that of the policy with this [text](PolicyFile::program_text).
pub(crate) fn is_program_of(program: &ProgramFd, text: &str) -> Result<bool, BpfObjectError> {
    Ok(value(&program.maps()?, POLICY_TEXT_MAP)?.is_some_and(|found| found == text.as_bytes()))
}

/// The value of the map with this name.
fn value(maps: &[Map], name: &str) -> Result<Option<Vec<u8>>, BpfObjectError> {
    let map = maps.iter().find(|map| is_called(&map.info().name, name));
    map.map_or(Ok(None), only_value)
}

/// Whether a map has this name. A map from an object has the name of a data section, shortened to what the kernel keeps.
pub(crate) fn is_called(map: &str, name: &str) -> bool {
    const KEPT: usize = BPF_OBJ_NAME_LEN - 1;
    let of_section = |prefix: &str| format!("{prefix}.{name}").bytes().take(KEPT).eq(map.bytes());
    map == name || of_section(".rodata") || of_section(".data")
}

/// The value of an array with one entry. It is not read if it is too large for a part of a policy: any map can have
/// this name.
pub(crate) fn only_value(map: &Map) -> Result<Option<Vec<u8>>, BpfObjectError> {
    let info = map.info();
    let is_array = info.kind == MapKind::Array.number() && info.max_entries == 1;
    if is_array && info.value_size <= VALUE_MAX { map.lookup(&0u32.to_ne_bytes()) } else { Ok(None) }
}

/// Twice the longest policy, in bytes.
const VALUE_MAX: u32 = 2 * limits::FILE_MAX as u32;
