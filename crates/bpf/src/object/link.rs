//! Links a program with the functions that it calls.

use std::collections::HashMap;

use super::debug_info::Line;
use super::functions::{Function, Reference};
use super::maps::Map;
use super::{Object, ObjectError};
use crate::btf_types::Strings;
use crate::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
use crate::{
    Function as FunctionEntry, InnerMap, Insn, LineEntry, LineTable, MapKind, MapReference, Program,
    Relocation, TailCall, opcode,
};

/// The maps that are used, in the order in which they were met.
#[derive(Default)]
struct UsedMaps {
    /// Indices of the object's maps.
    maps: Vec<usize>,
    numbers: HashMap<usize, usize>,
}

impl UsedMaps {
    fn number(&mut self, map: usize) -> usize {
        *self.numbers.entry(map).or_insert_with(|| {
            self.maps.push(map);
            self.maps.len() - 1
        })
    }
}

/// The program that starts with this function.
pub(super) fn program(object: &Object, function: usize) -> Result<Program, ObjectError> {
    let main = &object.functions[function];
    let unsupported = |what: String| ObjectError::Unsupported { program: main.name.clone(), what };
    let mut used = UsedMaps::default();
    let mut program = code(object, function, &mut used)?;

    let mut next = 0;
    let mut bytes = 0;
    while let Some(&map) = used.maps.get(next) {
        let Map { def, values, name, .. } = &object.maps[map];
        let def = def.as_ref().map_err(|what| unsupported(what.clone()))?;
        for &(index, value) in values {
            let is_inside = def.kind == MapKind::HashOfMaps || index < def.max_entries;
            let value = value.filter(|_| is_inside).ok_or_else(|| {
                let what = if def.kind.has_inner_maps() { "map" } else { "program" };
                unsupported(format!("the map {name} has something at index {index} that is not a {what}"))
            })?;
            if def.kind.has_inner_maps() {
                let map = used.number(value);
                program.inner_maps.push(InnerMap { outer: next, key: index, map });
                continue;
            }
            let callee = code(object, value, &mut used)?;
            bytes += callee.bytes();
            if bytes > Object::PROGRAMS_MAX {
                return Err(unsupported(format!(
                    "what it hands on to has more than {} MiB",
                    Object::PROGRAMS_MAX >> 20
                )));
            }
            program.tail_calls.push(TailCall { map: next, index, program: callee });
        }
        next += 1;
    }
    // Libbpf binds these to every program, used or not.
    for (index, map) in object.maps.iter().enumerate() {
        if map.is_read_only_data && map.def.is_ok() {
            used.number(index);
        }
    }
    for &map in &used.maps {
        program.maps.push(object.maps[map].def.clone().map_err(unsupported)?);
    }
    Ok(program)
}

/// A function and all that it calls as a program without maps.
fn code(object: &Object, function: usize, used: &mut UsedMaps) -> Result<Program, ObjectError> {
    let main = &object.functions[function];
    let unsupported = |what: String| ObjectError::Unsupported { program: main.name.clone(), what };
    let mut placed = vec![function];
    let mut starts = HashMap::from([(function, 0)]);
    let mut length = main.insns.len();
    let mut next = 0;
    while let Some(&caller) = placed.get(next) {
        for (_, reference) in &object.functions[caller].references {
            if let Reference::Function(callee) = *reference
                && !starts.contains_key(&callee)
            {
                starts.insert(callee, length);
                placed.push(callee);
                length += object.functions[callee].insns.len();
            }
        }
        if length > BPF_COMPLEXITY_LIMIT_INSNS {
            return Err(unsupported(format!("it has more than {BPF_COMPLEXITY_LIMIT_INSNS} instructions")));
        }
        next += 1;
    }

    let mut program = Program {
        name: main.name.clone(),
        license: Some(object.license.clone()),
        lines: LineTable { file: file_of(object, main).to_owned(), entries: Vec::new() },
        ..Program::default()
    };
    for function in placed {
        let start = starts[&function];
        let function = &object.functions[function];
        if let Some(name) = function.kernel_types.first() {
            return Err(unsupported(format!(
                "the layout of the type {name} is the kernel's (CO-RE), and only that of bpf_sysctl is known here"
            )));
        }
        program.functions.push(FunctionEntry { name: function.name.clone(), start });
        program.insns.extend(&function.insns);
        for (index, reference) in &function.references {
            let at = start + index;
            let target = match reference {
                Reference::Map(map) => Some((map, MapReference::Map)),
                Reference::Value { map, offset } => Some((map, MapReference::Value(*offset))),
                Reference::Function(callee) => {
                    refer(&mut program.insns, at, starts[callee]);
                    None
                }
                Reference::Unsupported(what) => {
                    return Err(unsupported(format!("the function {} refers to {what}", function.name)));
                }
            };
            if let Some((map, target)) = target {
                program.insns[at] = program.insns[at].with_src(0).with_imm(0);
                program.insns[at + 1] = program.insns[at + 1].with_imm(0);
                program.relocations.push(Relocation { insn: at, map: used.number(*map), target });
            }
        }
        add_lines(object, function, start, &mut program.lines);
    }
    Ok(program)
}

/// Makes the instruction `at` call the function that starts at `start`, or load its address.
fn refer(insns: &mut [Insn], at: usize, start: usize) {
    let kind = if insns[at].is_load_imm64() { opcode::PSEUDO_FUNC } else { opcode::PSEUDO_CALL };
    insns[at] = insns[at].with_src(kind).with_imm((start as i64 - at as i64 - 1) as i32);
}

/// The file that the program starts in.
fn file_of<'o>(object: &'o Object, main: &Function) -> &'o str {
    main.lines.first().map_or("", |line| Strings(&object.strings).at(line.file))
}

/// Adds the lines of a function. Code that was inlined from other files or generated by the compiler (line 0) belongs to
/// the line before it.
fn add_lines(object: &Object, function: &Function, start: usize, lines: &mut LineTable) {
    let strings = Strings(&object.strings);
    let is_told = |line: &&Line| line.line > 0 && strings.at(line.file) == lines.file;
    for line in function.lines.iter().filter(is_told) {
        let entry = LineEntry {
            insn: start + line.insn,
            line: line.line,
            column: line.column,
            text: strings.at(line.text).trim().to_owned(),
        };
        match lines.entries.last_mut().filter(|last| last.insn == entry.insn) {
            Some(last) => *last = entry,
            None => lines.entries.push(entry),
        }
    }
}
