//! The setup: knobs, maps and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{MapDef, MapKind, Object, TargetKernel};
use knobgate_hook::{KernelBtf, Map, ModelKernel, Profile};
use knobgate_policy::{CheckOptions, KnobName, PolicyFile, Severity, parse, parse_json};

use super::steps::MapShape;
use crate::bytes::Hex;
use crate::document::{Document, KnobDocument, MapDocument};
use crate::error::Findings;
use crate::insns;
use crate::knob::Knob;
use crate::path::Path;
use crate::program_document::ProgramDocument;
use crate::program_file::ProgramFile;
use crate::scenario::{Program, Scenario, Source};
use crate::variable_value::VariableValue;

/// The path below `/proc/sys` of a name in either notation.
pub(super) fn knob_name(name: &str) -> Result<String, String> {
    let path =
        KnobName::parse(name).map_err(|error| format!("`{name}` is not the name of a knob: {error}"))?;
    path.check_is_sysctl().map_err(|error| format!("{error}; {}", error.help()))?;
    let path = String::from_utf8(path.as_bytes().to_vec())
        .map_err(|_| format!("`{name}` is not the name of a knob"))?;
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!(
            "`{name}` is not the name of a knob: a path below /proc/sys has no `.` and `..`"
        ));
    }
    Ok(path)
}

pub(super) fn knobs(document: &Document, profile: &Profile, findings: &mut Findings) -> Vec<Knob> {
    let mut names = BTreeSet::new();
    let mut knobs = Vec::new();
    for (index, knob) in document.knobs.iter().enumerate() {
        let path = Path::of("knobs").index(index);
        let Some(name) = findings.ok(&path.key("name"), knob_name(&knob.name)) else { continue };
        if name == "kernel/sysctl_writes_strict" {
            let message = "this one is given as `sysctl_writes_strict`, in the scenario itself";
            findings.add(&path.key("name"), message);
        }
        if !names.insert(name.clone()) {
            findings.add(&path.key("name"), format!("the knob {name} is defined twice"));
        }
        let mode = findings.ok(&path.key("mode"), mode(knob)).unwrap_or(0o644);
        let value = knob.value.as_ref().map(|value| value.0.clone());
        let knob = Knob { name, value, mode, handler: knob.handler.clone() };
        findings.ok(&path, knob.handler(profile).map(drop));
        knobs.push(knob);
    }
    knobs
}

fn mode(KnobDocument { mode, .. }: &KnobDocument) -> Result<u16, String> {
    let Some(text) = mode else { return Ok(0o644) };
    let digits = if text.len() == 4 { text.strip_prefix('0').unwrap_or("") } else { text };
    match u16::from_str_radix(digits, 8) {
        Ok(mode) if digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(mode),
        _ => Err(format!("`{text}` is not a mode: write three octal digits, as in \"0644\"")),
    }
}

pub(super) fn maps(document: &Document, findings: &mut Findings) -> Vec<MapDef> {
    let mut names = BTreeSet::new();
    let mut maps = Vec::new();
    for (index, map) in document.maps.iter().enumerate() {
        let path = Path::of("maps").index(index);
        if map.name.is_empty() || !names.insert(&map.name) {
            let message =
                if map.name.is_empty() { "a map needs a name" } else { "there are two maps of this name" };
            findings.add(&path.key("name"), message);
        }
        let Some(kind) = kinds().find(|kind| kind.name() == map.kind) else {
            let known: Vec<_> = kinds().map(MapKind::name).collect();
            let exists = MapKind::ALL.iter().any(|kind| kind.name() == map.kind);
            let what = match exists {
                true => format!(
                    "a scenario's own maps cannot be of the type `{}`: only those of objects can",
                    map.kind
                ),
                false => format!("no kind of map is called `{}`", map.kind),
            };
            let message = format!("{what}; there are {}", known.join(", "));
            findings.add(&path.key("type"), message);
            continue;
        };
        let MapDocument { key_size, value_size, max_entries, .. } = *map;
        let shape = MapShape { kind, key_size, value_size, max_entries };
        entries(&map.entries, shape, &path.key("entries"), findings);
        maps.push(MapDef {
            name: map.name.clone(),
            kind,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            flags: 0,
            contents: to_bytes(&map.entries),
            frozen: map.frozen,
            ..MapDef::default()
        });
    }
    maps
}

/// Checks the memory of all maps.
pub(super) fn check_memory(maps: &[MapDef], findings: &mut Findings) {
    let taken = maps.iter().fold(0u64, |sum, map| sum.saturating_add(Map::memory(map, 1)));
    if taken > Scenario::MAPS_MAX {
        let message = format!(
            "the maps of a scenario take at most {} MiB together, and these take {} MiB",
            Scenario::MAPS_MAX >> 20,
            taken.div_ceil(1 << 20)
        );
        findings.add(&Path::of("maps"), message);
    }
}

/// The kinds that the maps of a scenario can have.
fn kinds() -> impl Iterator<Item = MapKind> {
    MapKind::ALL.iter().copied().filter(|kind| kind.is_modelled() && !kind.has_inner_maps())
}

/// Whether the contents of a map of this kind can be shown: no cgroups, programs or maps.
pub(super) fn can_list(kind: MapKind) -> bool {
    !matches!(
        kind,
        MapKind::ProgArray
            | MapKind::CgroupArray
            | MapKind::ArrayOfMaps
            | MapKind::HashOfMaps
            | MapKind::CgroupStorage
            | MapKind::PercpuCgroupStorage
    )
}

fn to_bytes(entries: &[(Hex, Hex)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries.iter().map(|(Hex(key), Hex(value))| (key.clone(), value.clone())).collect()
}

/// Checks the initial entries of such a map.
fn entries(entries: &[(Hex, Hex)], map: MapShape, path: &Path, findings: &mut Findings) {
    let MapShape { kind, key_size, value_size, max_entries } = map;
    let has_none = !can_list(kind)
        || matches!(kind, MapKind::Ringbuf | MapKind::PerfEventArray | MapKind::Queue | MapKind::Stack);
    if has_none && !entries.is_empty() {
        findings.add(path, format!("a map of type {} starts without entries", kind.name()));
        return;
    }
    let mut keys = BTreeSet::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        let path = path.index(index);
        for (at, Hex(bytes), size, what) in [(0, key, key_size, "a key"), (1, value, value_size, "a value")] {
            if bytes.len() != size as usize {
                let message =
                    format!("{what} of this map has {size} bytes, and this one has {}", bytes.len());
                findings.add(&path.index(at), message);
            }
        }
        if let Err(message) = check_key(&key.0, map) {
            findings.add(&path.index(0), message);
        } else if !keys.insert(key_of(&key.0, kind)) {
            findings.add(&path.index(0), "this key occurs twice");
        } else if keys.len() == max_entries as usize + 1
            && !matches!(kind, MapKind::LruHash | MapKind::LruPercpuHash)
        {
            findings.add(&path, format!("this map has at most {max_entries} entries"));
        }
    }
}

/// What a map finds an entry by: of an LPM trie the prefix alone.
fn key_of(key: &[u8], kind: MapKind) -> Vec<u8> {
    let mut key = key.to_vec();
    if kind == MapKind::LpmTrie
        && let Some((bits, data)) = key.split_first_chunk_mut()
    {
        let bits = u32::from_le_bytes(*bits) as usize;
        for (index, byte) in data.iter_mut().enumerate() {
            *byte &= !(0xff_u8.checked_shr(bits.saturating_sub(8 * index) as u32).unwrap_or(0));
        }
    }
    key
}

/// Checks the number that a key starts with, if it does: an index, or the length of a prefix in bits.
fn check_key(key: &[u8], map: MapShape) -> Result<(), String> {
    let Some((number, rest)) = key.split_first_chunk() else { return Ok(()) };
    let number = u32::from_le_bytes(*number);
    match map.kind {
        MapKind::Array | MapKind::PercpuArray if number >= map.max_entries => {
            Err(format!("this array has {} entries, and this is the index {number}", map.max_entries))
        }
        MapKind::LpmTrie if number as usize > 8 * rest.len() => {
            Err(format!("the prefix has {number} bits, of {}", 8 * rest.len()))
        }
        _ => Ok(()),
    }
}

/// The values of variables, by name.
type Values = BTreeMap<String, VariableValue>;

/// A file, and the values of the variables of its object.
type ObjectKey<'a> = (&'a str, &'a Values);

/// What the programs of objects are linked for, on the model.
pub(super) fn kernel(document: &Document, profile: Profile, findings: &mut Findings) -> ModelKernel {
    let mut kernel = ModelKernel::new(profile);
    for (option, value) in &document.kconfig {
        if !option.starts_with("CONFIG_") {
            let message = format!("`{option}` is not the name of an option, such as CONFIG_HZ");
            findings.add(&Path::of("kconfig").key(option), message);
        }
        kernel = kernel.option(option, value);
    }
    document.without.iter().fold(kernel, |kernel, what| kernel.without(what))
}

/// The same with the types that the scenario names, if it names a file with BTF.
pub(super) fn with_btf(
    kernel: ModelKernel,
    document: &Document,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    findings: &mut Findings,
) -> ModelKernel {
    let Some(file) = &document.btf else { return kernel };
    let btf = read(file)
        .map_err(|error| format!("cannot read {file}: {error}"))
        .and_then(|bytes| KernelBtf::read(&bytes).map_err(|error| format!("{file}: {error}")));
    match findings.ok(&Path::of("btf"), btf) {
        Some(btf) => kernel.btf(btf),
        None => kernel,
    }
}

/// The programs. The maps of objects are added after the scenario's own; programs of one object share them.
pub(super) fn programs(
    document: &Document,
    maps: &mut Vec<MapDef>,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    kernel: &dyn TargetKernel,
    findings: &mut Findings,
) -> Vec<Program> {
    let mut programs = Vec::new();
    let given = maps.len();
    let mut of_objects: BTreeMap<(Option<ObjectKey<'_>>, String), usize> = BTreeMap::new();
    let mut objects: BTreeMap<ObjectKey<'_>, Option<Object>> = BTreeMap::new();
    let mut filled = BTreeSet::new();
    let (mut file_bytes, mut program_bytes) = (0, 0);
    for (name, program) in &document.programs {
        let path = Path::of("programs").key(name);
        let mut file = |field: &str, file: &str, findings: &mut Findings| -> Option<Vec<u8>> {
            // Files beyond the limit are reported, and not read.
            if file_bytes > Scenario::FILES_MAX {
                return None;
            }
            let bytes = read(file).map_err(|error| format!("cannot read {file}: {error}"));
            let bytes = findings.ok(&path.key(field), bytes)?;
            let within =
                take(&mut file_bytes, bytes.len(), Scenario::FILES_MAX, "files of policies and objects");
            findings.ok(&path.key(field), within).map(|()| bytes)
        };
        let source = match program {
            ProgramDocument::Insns { insns: Hex(bytes), expected_attach_type } => {
                if given < document.maps.len() {
                    // Indexes are wrong if some of the maps have errors.
                    None
                } else {
                    let made = insns::program(name, bytes, &maps[..given]);
                    findings.ok(&path.key("insns"), made).map(|(program, shared)| Source::Program {
                        program: Box::new(program),
                        shared,
                        expected_attach_type: expected_attach_type.unwrap_or(BPF_CGROUP_SYSCTL),
                        object: None,
                    })
                }
            }
            ProgramDocument::Object { object: path, program, set, contents } => {
                let place = Path::of("programs").key(name);
                let object = objects.entry((path, set)).or_insert_with(|| {
                    let bytes = file("object", path, findings)?;
                    let object = Object::read(&bytes).map_err(|error| format!("{path}: {error}"));
                    let mut object = findings.ok(&place.key("object"), object)?;
                    for (name, value) in set {
                        let done = object.set(name, &value.to_string());
                        findings.ok(
                            &place.key("set").key(name),
                            done.map_err(|error| format!("{path}: {error}")),
                        );
                    }
                    Some(object)
                });
                object.as_ref().filter(|_| program_bytes <= Scenario::PROGRAMS_MAX).and_then(|object| {
                    let program = object.program_for(program.as_deref(), kernel);
                    let mut program =
                        findings.ok(&place, program.map_err(|error| format!("{path}: {error}")))?;
                    let bytes = program.bytes();
                    let within =
                        take(&mut program_bytes, bytes, Scenario::PROGRAMS_MAX, "programs of objects");
                    findings.ok(&place, within)?;
                    let shared = program.maps.iter().map(|def| {
                        // Objects share the maps that are pinned by name.
                        let place = (!def.pinned_by_name).then_some((path.as_str(), set));
                        *of_objects.entry((place, def.name.clone())).or_insert_with(|| {
                            maps.push(def.clone());
                            maps.len() - 1
                        })
                    });
                    let shared: Vec<usize> = shared.collect();
                    for (map, given) in contents {
                        let place = place.key("contents").key(map);
                        let names = || program.maps.iter().map(|def| &def.name);
                        let Some(index) = names().position(|name| name == map) else {
                            findings.add(&place, missing("map", map, names()));
                            continue;
                        };
                        let def = &mut maps[shared[index]];
                        entries(given, MapShape::of(def), &place, findings);
                        if !filled.insert(shared[index]) {
                            findings.add(&place, "another program of this object fills the map already");
                        }
                        def.contents.extend(to_bytes(given));
                    }
                    // The scenario's maps hold it.
                    program.maps.iter_mut().for_each(|def| def.contents = Vec::new());
                    let program = Box::new(program);
                    let set = set.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
                    let (path, name) = (path.clone(), program.name.clone());
                    let object = Some(ProgramFile::Object { path, program: name, set });
                    Some(Source::Program { program, shared, expected_attach_type: BPF_CGROUP_SYSCTL, object })
                })
            }
            ProgramDocument::Policy { policy: name } => file("policy", name, findings).and_then(|bytes| {
                let policy = policy(name, &bytes);
                findings.ok(&path.key("policy"), policy).map(|file| Source::Policy(Box::new(file)))
            }),
        };
        programs.extend(source.map(|source| Program { name: name.clone(), source }));
    }
    programs
}

/// Counts `bytes`, of which there are `most` together.
fn take(taken: &mut u64, bytes: usize, most: u64, what: &str) -> Result<(), String> {
    *taken += bytes as u64;
    if *taken <= most {
        return Ok(());
    }
    Err(format!("the {what} have at most {} MiB together, and this one exceeds that", most >> 20))
}

fn policy(name: &str, bytes: &[u8]) -> Result<PolicyFile, String> {
    let source = knobgate_policy::Source::from_bytes(name, bytes);
    let options = CheckOptions::default();
    let wrong: Vec<String> = if name.ends_with(".json") {
        match parse_json(name, source.text(), &options) {
            Ok(file) => return Ok(file),
            Err(error) => error.into_iter().map(|error| format!("{name}: {error}")).collect(),
        }
    } else {
        match parse(source, &options) {
            Ok(file) => return Ok(file),
            Err(error) => {
                let diagnostics = error.diagnostics().iter();
                diagnostics
                    .filter(|diagnostic| diagnostic.severity == Severity::Error)
                    .map(|diagnostic| {
                        let place = error.text().place(diagnostic.primary.span.start);
                        format!("{place}:{}: {}", place.column, diagnostic.message)
                    })
                    .collect()
            }
        }
    };
    Err(format!("the policy has errors: {}", wrong.join("; ")))
}

/// That something does not exist, and what does.
pub(super) fn missing<T: std::fmt::Display>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = T>,
) -> String {
    const SHOWN: usize = 8;
    let known: Vec<String> = known.take(SHOWN + 1).map(|name| name.to_string()).collect();
    match known.len() {
        0 => format!("there is no {what} `{name}`, nor any other"),
        1..=SHOWN => format!("there is no {what} `{name}`; there are {}", known.join(", ")),
        _ => format!("there is no {what} `{name}`; there are {} and more", known[..SHOWN].join(", ")),
    }
}
