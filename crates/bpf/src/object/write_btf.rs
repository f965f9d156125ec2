//! The sections `.BTF` and `.BTF.ext` of an object: its functions, the lines of its source, and its maps.

use crate::btf::{
    ARRAY, DATASEC, Description, INT_SIGNED, Line, MAGIC, PTR, STRUCT, Strings, Types, VAR, VERSION, blob,
    identifier, push,
};
use crate::{Insn, MapDef, Program};

/// The section of the main program.
pub(super) const CODE: &str = "cgroup/sysctl";
/// The section of the functions that it calls.
pub(super) const FUNCTIONS: &str = ".text";

/// The bytes of a variable that defines a map: a pointer for each attribute.
pub(super) const DEFINITION_BYTES: u32 = 8 * 5;

pub(super) struct BtfSections {
    pub(super) btf: Vec<u8>,
    pub(super) btf_ext: Vec<u8>,
}

impl BtfSections {
    /// `definitions` are the maps in the section `.maps`, in the order in which they are there.
    pub(super) fn of<'m>(program: &Program, definitions: impl Iterator<Item = &'m MapDef>) -> Self {
        let Description { mut types, mut strings, functions, lines } = Description::of(program);
        add_definitions(&mut types, &mut strings, definitions);

        let main_end = program.functions.get(1).map_or(program.insns.len(), |function| function.start);
        let names = [strings.add(CODE), strings.add(FUNCTIONS)];
        let functions = functions.into_iter().map(|(insn, func)| (insn, vec![func]));
        let lines = lines.into_iter().map(|Line { insn, file, text, place }| (insn, vec![file, text, place]));
        let functions = records(functions, names, main_end);
        let lines = records(lines, names, main_end);

        let mut btf_ext = Vec::new();
        btf_ext.extend(MAGIC.to_le_bytes());
        btf_ext.extend([VERSION, 0]);
        let (of_functions, of_lines) = (functions.len() as u32, lines.len() as u32);
        push(&mut btf_ext, &[24, 0, of_functions, of_functions, of_lines]);
        btf_ext.extend(functions);
        btf_ext.extend(lines);
        Self { btf: blob(&types, &strings), btf_ext }
    }
}

/// Records of one kind, for the main program and then for the functions after it. Each begins with the offset of its
/// instruction in the section, in bytes.
fn records(all: impl Iterator<Item = (usize, Vec<u32>)>, names: [u32; 2], main_end: usize) -> Vec<u8> {
    let (main, functions): (Vec<_>, Vec<_>) = all.partition(|(insn, _)| *insn < main_end);
    let words = main.first().map_or(1, |(_, words)| words.len() + 1);
    let mut bytes = Vec::new();
    push(&mut bytes, &[4 * words as u32]);
    for (name, start, of_section) in [(names[0], 0, main), (names[1], main_end, functions)] {
        if of_section.is_empty() {
            continue;
        }
        push(&mut bytes, &[name, of_section.len() as u32]);
        for (insn, words) in of_section {
            push(&mut bytes, &[((insn - start) * Insn::BYTES) as u32]);
            push(&mut bytes, &words);
        }
    }
    bytes
}

/// Describes maps in libbpf's format: variables of structs whose members point to arrays, with the number as the length.
fn add_definitions<'m>(
    types: &mut Types,
    strings: &mut Strings,
    definitions: impl Iterator<Item = &'m MapDef>,
) {
    let int = types.int(strings.add("int"), INT_SIGNED);
    let mut variables = Vec::new();
    for (index, def) in definitions.enumerate() {
        let attributes = [
            ("type", def.kind.number()),
            ("key_size", def.key_size),
            ("value_size", def.value_size),
            ("max_entries", def.max_entries),
            ("map_flags", def.flags | def.kind.implied_flags()),
        ];
        let mut members = Vec::new();
        for (place, (name, number)) in attributes.into_iter().enumerate() {
            let array = types.add(0, ARRAY, 0, 0, &[int, int, number]);
            let pointer = types.add(0, PTR, 0, array, &[]);
            members.extend([strings.add(name), pointer, 64 * place as u32]);
        }
        let of = types.add(0, STRUCT, attributes.len() as u32, DEFINITION_BYTES, &members);
        const GLOBAL: u32 = 1;
        let name = strings.add(&identifier(&def.name));
        let variable = types.add(name, VAR, 0, of, &[GLOBAL]);
        variables.extend([variable, DEFINITION_BYTES * index as u32, DEFINITION_BYTES]);
    }
    if !variables.is_empty() {
        let count = variables.len() as u32 / 3;
        let name = strings.add(".maps");
        types.add(name, DATASEC, count, DEFINITION_BYTES * count, &variables);
    }
}
