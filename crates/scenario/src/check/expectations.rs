//! What steps expect: that it compares something, and that there can be such a line.

use knobgate_backend::StepError;
use knobgate_bpf::MapKind;
use knobgate_bpf::uapi::MAX_ERRNO;
use knobgate_hook::Errno;

use super::steps::{MapShape, Names};
use crate::bytes::{Bytes, Hex};
use crate::document::ReadDocument;
use crate::error::Findings;
use crate::expectation::{ExpectationDocument, Expectations};
use crate::kernel_range::{KernelRange, KernelSet};
use crate::knob::Knob;
use crate::path::Path;
use crate::step_document::ActionDocument;

/// What a step is about, as far as that has no errors.
pub(super) struct Subject<'a> {
    pub(super) action: &'a ActionDocument,
    /// The knob that it accesses.
    pub(super) knob: Option<&'a Knob>,
    /// The map that it lists.
    pub(super) map: Option<MapShape>,
}

/// Checks what a step expects; `path` is that of the step.
pub(super) fn check(
    expectations: &Expectations,
    subject: &Subject<'_>,
    names: &Names<'_>,
    path: &Path,
    findings: &mut Findings,
) {
    let Expectations(all) = expectations;
    let path = path.key("expect");
    let mut before = Some(KernelSet::default());
    for (index, expectation) in all.iter().enumerate() {
        let path = if all.len() > 1 { path.index(index) } else { path.clone() };
        if !expectation.compares() && (expectation.kernels.is_none() || all.len() == 1) {
            findings.add(&path, "this expects nothing");
        }
        kernels(expectation.kernels.as_ref(), before.as_ref(), index + 1 == all.len(), &path, findings);
        match (&expectation.kernels, &mut before) {
            (Some(range), Some(before)) => before.add(range),
            _ => before = None,
        }
        members(expectation, subject, &path, findings);
        values(expectation, subject, names, &path, findings);
        success(expectation, subject.action, &path, findings);
    }
}

/// Checks that an expectation counts on some kernel, after those for the kernels `before`; `None`: after one for all kernels.
fn kernels(
    range: Option<&KernelRange>,
    before: Option<&KernelSet>,
    is_last: bool,
    path: &Path,
    findings: &mut Findings,
) {
    if range.is_none() && !is_last {
        let message =
            "this one is for all kernels, so those after it never count: give it `kernels`, or put it last";
        findings.add(path, message);
    }
    let Some(before) = before else { return };
    match range {
        Some(range) if range.is_empty() => {
            findings.add(&path.key("kernels"), "no kernel is in this range");
        }
        Some(range) if before.contains_all(Some(range)) => {
            findings.add(
                &path.key("kernels"),
                "this one never counts: those before it are for all these kernels",
            );
        }
        None if before.contains_all(None) => {
            findings.add(path, "this one never counts: those before it are for all kernels");
        }
        _ => {}
    }
}

/// The members that the line of such a step can have.
fn members_of(action: &ActionDocument) -> &'static [&'static str] {
    match action {
        ActionDocument::Load(_) | ActionDocument::Attach(_) | ActionDocument::Update(_) => {
            &["ok", "errno", "log"]
        }
        ActionDocument::Detach(_) | ActionDocument::Move(_) => &["ok", "errno"],
        ActionDocument::Effective(_) => &["ok", "errno", "programs"],
        ActionDocument::Read(_) | ActionDocument::Write(_) => &["ok", "errno", "ret", "data", "pos", "value"],
        ActionDocument::Map(_) => &["ok", "errno", "entries"],
    }
}

/// Checks that the line of the step has these members.
fn members(expectation: &ExpectationDocument, subject: &Subject<'_>, path: &Path, findings: &mut Findings) {
    let known = members_of(subject.action);
    for (member, _) in expectation.given().into_iter().filter(|(member, _)| !known.contains(member)) {
        let (known, name) = (known.join("`, `"), subject.action.name());
        findings
            .add(&path.key(member), format!("the line of a `{name}` has no such member; it has `{known}`"));
    }
}

/// Checks that each member can have the value that it is expected to have.
fn values(
    expectation: &ExpectationDocument,
    subject: &Subject<'_>,
    names: &Names<'_>,
    path: &Path,
    findings: &mut Findings,
) {
    if let Some(Some(name)) = &expectation.errno {
        findings.ok(&path.key("errno"), errno(name));
    }
    if expectation.log.as_deref() == Some("") {
        findings.add(&path.key("log"), "every `log` contains this");
    }
    for (index, program) in expectation.programs.iter().flatten().enumerate() {
        findings.ok(&path.key("programs").index(index), names.program(program).map(drop));
    }
    if let Some(Some(Bytes(data))) = &expectation.data {
        match subject.action {
            ActionDocument::Write(_) => findings.add(&path.key("data"), "a write has none: this is null"),
            ActionDocument::Read(read) if data.len() > count(read) => {
                let message = format!("{} bytes, and at most {} are read", data.len(), count(read));
                findings.add(&path.key("data"), message);
            }
            _ => {}
        }
    }
    match (&expectation.value, subject.knob) {
        (Some(Some(_)), Some(knob)) if !knob.can_be_read() => {
            findings.add(&path.key("value"), format!("nobody can read {}: this is null", knob.name));
        }
        (Some(None), Some(knob)) if knob.can_always_be_read() => {
            findings.add(&path.key("value"), format!("{} can be read: this is not null", knob.name));
        }
        _ => {}
    }
    if let (Some(entries), Some(map)) = (&expectation.entries, subject.map) {
        self::entries(entries, map, &path.key("entries"), findings);
    }
}

/// The bytes that are read at most.
fn count(read: &ReadDocument) -> usize {
    read.count.unwrap_or(ReadDocument::COUNT) as usize
}

/// Checks the name of an error, or the number of one that has no name.
fn errno(name: &str) -> Result<(), String> {
    if Errno::from_name(name).is_some() {
        return Ok(());
    }
    let number = name.parse().ok().filter(|number: &i32| (1..=MAX_ERRNO).contains(number));
    match number.and_then(|number| StepError::Errno(number).errno_name()) {
        Some(shown) if shown == name => Ok(()),
        Some(shown) => Err(format!("this error is written `{shown}`")),
        None => Err(format!("there is no error `{name}`")),
    }
}

/// Checks the entries of a map.
fn entries(entries: &[(Hex, Hex)], map: MapShape, path: &Path, findings: &mut Findings) {
    let MapShape { kind, key_size, value_size, max_entries } = map;
    let has_keys =
        !matches!(kind, MapKind::Queue | MapKind::Stack | MapKind::Ringbuf | MapKind::PerfEventArray);
    let has_values = !matches!(kind, MapKind::Ringbuf | MapKind::PerfEventArray);
    let key_size = if has_keys { key_size } else { 0 };
    for (index, (Hex(key), Hex(value))) in entries.iter().enumerate() {
        let path = path.index(index);
        if key.len() != key_size as usize {
            let message = format!("a key of this map has {key_size} bytes, and this one has {}", key.len());
            findings.add(&path.index(0), message);
        }
        if has_values && value.len() != value_size as usize {
            let message =
                format!("a value of this map has {value_size} bytes, and this one has {}", value.len());
            findings.add(&path.index(1), message);
        }
    }
    let is_array = matches!(kind, MapKind::Array | MapKind::PercpuArray);
    if is_array && entries.len() != max_entries as usize {
        let message = format!("this array always has {max_entries} entries, and here are {}", entries.len());
        findings.add(path, message);
    } else if has_values && entries.len() > max_entries as usize {
        let message = format!("this map has at most {max_entries} entries, and here are {}", entries.len());
        findings.add(path, message);
    }
    if has_keys && !is_array {
        for (index, pair) in entries.windows(2).enumerate().filter(|(_, pair)| pair[0].0.0 >= pair[1].0.0) {
            let what =
                if pair[0].0 == pair[1].0 { "this key occurs twice" } else { "entries are sorted by key" };
            findings.add(&path.index(index + 1), what);
        }
    }
}

/// Checks that the members agree about whether the step succeeds, and with what.
fn success(expectation: &ExpectationDocument, action: &ActionDocument, path: &Path, findings: &mut Findings) {
    let is_access = matches!(action, ActionDocument::Read(_) | ActionDocument::Write(_));
    let is_loading = members_of(action).contains(&"log");
    let is_read = matches!(action, ActionDocument::Read(_));
    let claims = [
        ("ok", expectation.ok),
        // What programs return, and what cannot be compiled, need not have an errno.
        (
            "errno",
            match &expectation.errno {
                Some(Some(_)) => Some(false),
                Some(None) if !is_access && !is_loading => Some(true),
                _ => None,
            },
        ),
        ("log", expectation.log.as_ref().map(|_| false)),
        ("programs", expectation.programs.as_ref().map(|_| true)),
        ("ret", expectation.ret.map(|ret| ret >= 0)),
        ("data", expectation.data.as_ref().filter(|_| is_read).map(Option::is_some)),
        ("pos", expectation.pos.filter(Option::is_none).map(|_| false)),
        ("entries", expectation.entries.as_ref().map(|_| true)),
    ];
    let claims: Vec<(&str, bool)> =
        claims.into_iter().filter_map(|(member, claim)| Some((member, claim?))).collect();
    let Some(&(first, succeeds)) = claims.first() else { return };
    if let Some(&(other, _)) = claims.iter().find(|(_, claim)| *claim != succeeds) {
        let (one, another) = if succeeds { (first, other) } else { (other, first) };
        let message = format!("`{one}` is that of a step that succeeds, and `{another}` of one that fails");
        findings.add(&path.key(other), message);
        return;
    }
    if let Some(ret) = expectation.ret.filter(|_| is_access) {
        returned(expectation, action, ret, path, findings);
    }
}

/// Checks that the other members are those of an access that returns `ret`.
fn returned(
    expectation: &ExpectationDocument,
    action: &ActionDocument,
    ret: i64,
    path: &Path,
    findings: &mut Findings,
) {
    let errno = ret.checked_neg().and_then(|errno| i32::try_from(errno).ok());
    let errno = errno.filter(|errno| (1..=MAX_ERRNO).contains(errno));
    let errno = errno.and_then(|errno| StepError::Errno(errno).errno_name());
    if expectation.errno.as_ref().is_some_and(|expected| *expected != errno) {
        let errno = errno.as_deref().map_or("null".to_owned(), |errno| format!("`{errno}`"));
        findings.add(&path.key("errno"), format!("with the `ret` {ret} it is {errno}"));
    }
    if let (ActionDocument::Read(read), Some(Some(Bytes(data)))) = (action, &expectation.data) {
        let len = usize::try_from(ret).unwrap_or(0).min(count(read));
        if data.len() != len {
            let message = format!("with the `ret` {ret} it has {len} bytes, and these are {}", data.len());
            findings.add(&path.key("data"), message);
        }
    }
}
