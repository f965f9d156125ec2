//! A program of the corpus on the kernel or on the model.

use std::collections::BTreeMap;
use std::error::Error;

use knobgate_backend::{Backend, CgroupId, Entry, MapId, Placement, Request, StepError};
use knobgate_bpf::{MapKind, Object, ObjectVariable, Program, TargetKernel};

use super::head::{Access, Expected, Head, Line};

/// What is in the maps of a program, by their names, and is the same everywhere. Those that cannot be listed are left out; per-CPU maps have the values of the CPU
/// that the accesses were made on.
pub type Contents = BTreeMap<String, Vec<Entry>>;

/// How a program ended.
#[derive(Debug)]
pub enum Ending {
    /// It is not loaded, for this reason.
    Rejected(String),
    /// It needs this, which the model does not have.
    NotModelled(String),
    /// It was attached, and everything was as the head says.
    Worked(Contents),
}

/// Links a program for `kernel`, loads and attaches it, makes the accesses of its head, and compares what that says.
///
/// # Errors
///
/// The first difference.
pub fn play(
    backend: &mut dyn Backend,
    kernel: &dyn TargetKernel,
    head: &Head,
    object: &[u8],
) -> Result<Ending, String> {
    let (program, variables) = match read(kernel, head, object) {
        Ok(read) => read,
        Err(error) => return Ok(Ending::Rejected(error.to_string())),
    };
    let program = match backend.load(&program, None) {
        Ok(program) => program,
        Err(ref error @ StepError::Rejected { ref log, .. }) => {
            return Ok(Ending::Rejected(format!("{}: {}", log.reason, reason(error))));
        }
        Err(error @ StepError::Errno(_)) => return Ok(Ending::Rejected(reason(&error))),
        Err(StepError::NotModelled(what)) => return Ok(Ending::NotModelled(what)),
        Err(error) => return Err(reason(&error)),
    };
    let maps = backend.maps(program).map_err(|error| reason(&error))?.to_vec();
    backend.link(CgroupId::SCRATCH, program, &Placement::default()).map_err(|error| reason(&error))?;
    for line in &head.lines {
        match line {
            Line::Access(access) => make(backend, access)?,
            Line::Variable(name, value) => {
                let memory = variable(backend, &maps, &variables, name)?;
                if !value.is_in(&memory) {
                    return Err(format!("{name} = {value:?} was expected, found the bytes {memory:x?}"));
                }
            }
            // Looking at a ring buffer empties it.
            Line::Entries(..) | Line::Contains(..) => {}
        }
    }
    let mut contents = contents(backend, &maps)?;
    for line in &head.lines {
        compare_contents(&contents, line)?;
    }
    for map in &head.varies {
        contents.remove(map);
    }
    Ok(Ending::Worked(contents))
}

fn read(
    kernel: &dyn TargetKernel,
    head: &Head,
    object: &[u8],
) -> Result<(Program, Vec<ObjectVariable>), knobgate_bpf::ObjectError> {
    let object = Object::read(object)?;
    Ok((object.program_for(head.program.as_deref(), kernel)?, object.variables().to_vec()))
}

fn compare_contents(contents: &Contents, line: &Line) -> Result<(), String> {
    let of = |map: &str| contents.get(map).ok_or_else(|| format!("there is no map {map} to list"));
    match line {
        Line::Entries(map, expected) if of(map)?.len() != *expected => {
            Err(format!("{expected} entries of {map} were expected, found {:x?}", of(map)?))
        }
        Line::Contains(map, bytes)
            if !of(map)?.iter().any(|(_, value)| value.windows(bytes.len()).any(|part| part == bytes)) =>
        {
            let values: Vec<_> = of(map)?.iter().map(|(_, value)| value.escape_ascii().to_string()).collect();
            Err(format!("\"{}\" was expected in {map}, found {values:?}", bytes.escape_ascii()))
        }
        _ => Ok(()),
    }
}

/// The error with what caused it, and the name of its errno.
fn reason(error: &StepError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    match error.errno_name() {
        Some(errno) => format!("{errno}: {text}"),
        None => text,
    }
}

fn make(backend: &mut dyn Backend, access: &Access) -> Result<(), String> {
    let request = match &access.written {
        Some(bytes) => Request::Write(bytes),
        None => Request::Read { count: 4096, fill: 0 },
    };
    let result = backend.access_knob(CgroupId::SCRATCH, &access.knob, request, access.position, false);
    let result = result.map_err(|error| format!("{access:?}: {}", reason(&error)))?;
    let right = match &access.expected {
        Expected::Succeeds => result.returned >= 0,
        Expected::Returns(expected) => result.returned == *expected,
        Expected::Reads(expected) => result.returned == expected.len() as i64 && result.data == *expected,
    };
    let data = result.data.escape_ascii();
    if right { Ok(()) } else { Err(format!("{access:?} returned {}, \"{data}\"", result.returned)) }
}

/// The memory of a global or static variable.
fn variable(
    backend: &mut dyn Backend,
    maps: &[MapId],
    variables: &[ObjectVariable],
    name: &str,
) -> Result<Vec<u8>, String> {
    let found = variables.iter().find(|variable| variable.name == name);
    let ObjectVariable { section, offset, size, .. } =
        found.ok_or_else(|| format!("there is no variable {name}"))?;
    let map = maps.iter().find(|&&map| backend.map_def(map).is_ok_and(|def| def.name == *section));
    let map = *map.ok_or_else(|| format!("the program does not use {section}, which has {name}"))?;
    let entries = backend.entries(map).map_err(|error| reason(&error))?;
    let memory = entries.first().and_then(|(_, value)| value.get(*offset..offset + size));
    memory.map(<[u8]>::to_vec).ok_or_else(|| format!("{section} is too short for {name}"))
}

fn contents(backend: &mut dyn Backend, maps: &[MapId]) -> Result<Contents, String> {
    let mut contents = Contents::new();
    for &map in maps {
        let def = backend.map_def(map).map_err(|error| reason(&error))?;
        let name = def.name.clone();
        if matches!(
            def.kind,
            MapKind::Array
                | MapKind::Hash
                | MapKind::LpmTrie
                | MapKind::PercpuArray
                | MapKind::PercpuHash
                | MapKind::PerfEventArray
                | MapKind::Queue
                | MapKind::Ringbuf
                | MapKind::Stack
        ) {
            contents.insert(name, backend.entries_of_cpu(map).map_err(|error| reason(&error))?);
        }
    }
    Ok(contents)
}
