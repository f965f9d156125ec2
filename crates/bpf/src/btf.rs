//! The BTF of a program: type information that tells the kernel the names of its functions and the source lines of its
//! instructions.
//!
//! With it, the verifier's log and `bpftool prog dump xlated linum` show the source lines. The format is described in
//! `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`. The kernel checks it in `check_btf_func` and `check_btf_line` of
//! `kernel/bpf/verifier.c`.

use std::collections::HashMap;

use crate::uapi::bpf_sysctl::{BYTES, FILE_POS, WRITE};
use crate::{LineEntry, Program};

/// The description of a [`Program`] that is loaded with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramBtf {
    /// The bytes for `BPF_BTF_LOAD`.
    pub btf: Vec<u8>,
    /// The functions, for `BPF_PROG_LOAD`: records of [`FUNC_INFO_SIZE`](Self::FUNC_INFO_SIZE) bytes.
    pub func_info: Vec<u8>,
    /// The source lines, for `BPF_PROG_LOAD`: records of [`LINE_INFO_SIZE`](Self::LINE_INFO_SIZE) bytes.
    pub line_info: Vec<u8>,
}

impl ProgramBtf {
    /// The bytes of a `struct bpf_func_info`: instruction and type id.
    pub const FUNC_INFO_SIZE: u32 = 8;
    /// The bytes of a `struct bpf_line_info`: instruction, file name, text of the line, line and column.
    pub const LINE_INFO_SIZE: u32 = 16;

    /// Describes a program.
    ///
    /// Whatever the kernel would reject is adapted: characters in names, line and column numbers that are too large, lines
    /// without text.
    pub fn of(program: &Program) -> Self {
        let Description { types, strings, functions, lines } = Description::of(program);
        let (mut func_info, mut line_info) = (Vec::new(), Vec::new());
        for (insn, func) in functions {
            push(&mut func_info, &[insn as u32, func]);
        }
        for Line { insn, file, text, place } in lines {
            push(&mut line_info, &[insn as u32, file, text, place]);
        }
        Self { btf: blob(&types, &strings), func_info, line_info }
    }
}

/// The types and strings that describe a program, and what refers to them.
pub(crate) struct Description {
    pub(crate) types: Types,
    pub(crate) strings: Strings,
    /// The first instruction and the type of each function.
    pub(crate) functions: Vec<(usize, u32)>,
    pub(crate) lines: Vec<Line>,
}

/// A line that starts with an instruction; file and text are strings.
pub(crate) struct Line {
    pub(crate) insn: usize,
    pub(crate) file: u32,
    pub(crate) text: u32,
    /// Line and column.
    pub(crate) place: u32,
}

impl Description {
    pub(crate) fn of(program: &Program) -> Self {
        let mut strings = Strings::new();
        let mut types = Types::new();
        let int = types.int(strings.add("int"), INT_SIGNED);
        let main_proto = main_proto(&mut types, &mut strings, int);
        let subprogram_proto = types.add(0, FUNC_PROTO, 1, int, &VARIADIC);
        let mut functions = Vec::new();
        for (index, function) in program.functions.iter().enumerate() {
            let (proto, linkage) = match index {
                0 => (main_proto, FUNC_GLOBAL),
                _ => (subprogram_proto, FUNC_STATIC),
            };
            let name = strings.add(&identifier(&function.name));
            functions.push((function.start, types.add(name, FUNC, linkage, proto, &[])));
        }
        let file = strings.add(&printable(&program.lines.file));
        let mut all = Vec::new();
        for (insn, line) in lines(program) {
            let text = strings.add(&line.map_or_else(|| NO_TEXT.to_owned(), |line| printable(&line.text)));
            let place = line.map_or(0, |line| line.line.min(MAX_LINE) << 10 | line.column.min(MAX_COLUMN));
            all.push(Line { insn, file, text, place });
        }
        Self { types, strings, functions, lines: all }
    }
}

pub(crate) const MAGIC: u16 = 0xeb9f;
pub(crate) const VERSION: u8 = 1;
pub(crate) const HEADER_LEN: u32 = 24;

pub(crate) const INT: u32 = 1;
pub(crate) const PTR: u32 = 2;
pub(crate) const ARRAY: u32 = 3;
pub(crate) const STRUCT: u32 = 4;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
pub(crate) const VAR: u32 = 14;
pub(crate) const DATASEC: u32 = 15;

pub(crate) const INT_SIGNED: u32 = 1;
const FUNC_STATIC: u32 = 0;
const FUNC_GLOBAL: u32 = 1;

/// A variadic parameter: without name and type.
const VARIADIC: [u32; 2] = [0, 0];

/// What fits the 22 bits for the line and the 10 for the column.
const MAX_LINE: u32 = (1 << 22) - 1;
const MAX_COLUMN: u32 = (1 << 10) - 1;

/// The kernel accepts names shorter than `KSYM_NAME_LEN`, which was 128 until 6.1.
const MAX_NAME: usize = 127;

/// Replaces an empty text of a line, which tools take for a missing one.
const NO_TEXT: &str = "(no source)";

/// The lines that instructions start, in ascending order.
///
/// Each function has to start one, and the second half of a 64-bit load, which has the opcode 0, must not.
fn lines(program: &Program) -> impl Iterator<Item = (usize, Option<&LineEntry>)> {
    let of_functions = program.functions.iter().map(|function| function.start);
    let of_entries = program.lines.entries.iter().map(|entry| entry.insn);
    let mut starts: Vec<_> = of_functions.chain(of_entries).collect();
    starts.sort_unstable();
    starts.dedup();
    let has_insn = |start: &usize| program.insns.get(*start).is_some_and(|insn| insn.opcode != 0);
    starts.into_iter().filter(has_insn).map(|start| (start, program.lines.of(start)))
}

/// The BTF of `struct bpf_sysctl` alone, which is the context of a program.
pub(crate) fn context_btf() -> Vec<u8> {
    let (mut types, mut strings) = (Types::new(), Strings::new());
    context(&mut types, &mut strings);
    blob(&types, &strings)
}

/// `struct bpf_sysctl`, as [`bpf_sysctl`](crate::uapi::bpf_sysctl) has it.
fn context(types: &mut Types, strings: &mut Strings) -> u32 {
    let u32 = types.int(strings.add("unsigned int"), 0);
    let mut member = |name, offset: i16| [strings.add(name), u32, 8 * offset as u32];
    let members = [member("write", WRITE), member("file_pos", FILE_POS)].concat();
    types.add(strings.add("bpf_sysctl"), STRUCT, 2, BYTES as u32, &members)
}

/// `int main(struct bpf_sysctl *ctx)`
fn main_proto(types: &mut Types, strings: &mut Strings, int: u32) -> u32 {
    let context = context(types, strings);
    let pointer = types.add(0, PTR, 0, context, &[]);
    types.add(0, FUNC_PROTO, 1, int, &[strings.add("ctx"), pointer])
}

/// Types, numbered from 1 in the order in which they are added.
pub(crate) struct Types {
    bytes: Vec<u8>,
    count: u32,
}

impl Types {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }

    /// Adds a `struct btf_type` with what follows it. `payload` is a size or another type.
    pub(crate) fn add(&mut self, name: u32, kind: u32, vlen: u32, payload: u32, rest: &[u32]) -> u32 {
        self.add_flagged(name, kind, false, vlen, payload, rest)
    }

    /// The same, with the `kind_flag`.
    pub(crate) fn add_flagged(
        &mut self,
        name: u32,
        kind: u32,
        kind_flag: bool,
        vlen: u32,
        payload: u32,
        rest: &[u32],
    ) -> u32 {
        push(&mut self.bytes, &[name, u32::from(kind_flag) << 31 | kind << 24 | vlen, payload]);
        push(&mut self.bytes, rest);
        self.count += 1;
        self.count
    }

    /// A 32-bit integer.
    pub(crate) fn int(&mut self, name: u32, encoding: u32) -> u32 {
        self.add(name, INT, 0, 4, &[encoding << 24 | 32])
    }
}

/// NUL-terminated strings by their offsets, each of them once; the empty one is at 0.
pub(crate) struct Strings {
    bytes: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Strings {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0], offsets: HashMap::from([(String::new(), 0)]) }
    }

    pub(crate) fn add(&mut self, string: &str) -> u32 {
        if let Some(offset) = self.offsets.get(string) {
            return *offset;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend(string.bytes().chain([0]));
        self.offsets.insert(string.to_owned(), offset);
        offset
    }
}

pub(crate) fn blob(types: &Types, strings: &Strings) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.extend(MAGIC.to_le_bytes());
    blob.extend([VERSION, 0]);
    let (types, strings) = (&types.bytes, &strings.bytes);
    push(&mut blob, &[HEADER_LEN, 0, types.len() as u32, types.len() as u32, strings.len() as u32]);
    blob.extend(types);
    blob.extend(strings);
    blob
}

pub(crate) fn push(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// A C identifier that looks like `name`.
pub(crate) fn identifier(name: &str) -> String {
    let prefix = if name.starts_with(|first: char| !first.is_ascii_digit()) { "" } else { "_" };
    let valid = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    prefix.chars().chain(valid).take(MAX_NAME).collect()
}

/// A text on one line that can be seen.
fn printable(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.trim().is_empty() { NO_TEXT.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Assembler, Function, LineTable, Reg};

    /// The 32-bit words of a table.
    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    fn string(btf: &ProgramBtf, offset: u32) -> &str {
        let header = words(&btf.btf[..HEADER_LEN as usize]);
        let at = (HEADER_LEN + header[4] + offset) as usize;
        let bytes = btf.btf[at..].split(|byte| *byte == 0).next().unwrap();
        std::str::from_utf8(bytes).unwrap()
    }

    fn program(write: impl FnOnce(&mut Assembler)) -> Program {
        let mut asm = Assembler::new();
        write(&mut asm);
        let mut program = Program::from(asm.finish(false).unwrap());
        program.lines.file = "web-tier.knob".into();
        program
    }

    #[test]
    fn the_blob_has_a_header_and_its_sections_fill_it() {
        let btf = ProgramBtf::of(&program(Assembler::exit)).btf;
        assert_eq!(btf[..4], [0x9f, 0xeb, 1, 0]);
        let header = words(&btf[4..24]);
        assert_eq!(header[..2], [24, 0]);
        assert_eq!(header[2], header[3]);
        assert_eq!(btf.len() as u32, 24 + header[2] + header[4]);
        assert_eq!((btf[24 + header[3] as usize], btf.last()), (0, Some(&0)));
    }

    #[test]
    fn every_function_starts_a_line() {
        let program = program(|asm| {
            let callee = asm.new_label();
            asm.begin_function("main");
            asm.call(callee);
            asm.set_line(2, 3, "allow read\tnet.**");
            asm.exit();
            asm.begin_function("callee");
            asm.bind(callee);
            asm.mov(Reg::R0, 1);
            asm.exit();
        });
        let btf = ProgramBtf::of(&program);
        let lines = words(&btf.line_info);
        let lines: Vec<_> = lines
            .as_chunks()
            .0
            .iter()
            .map(|[insn, file, text, place]| (*insn, string(&btf, *file), string(&btf, *text), *place))
            .collect();
        let expected = [
            (0, "web-tier.knob", "(no source)", 0),
            (1, "web-tier.knob", "allow read net.**", 2 << 10 | 3),
            (2, "web-tier.knob", "allow read net.**", 2 << 10 | 3),
        ];
        assert_eq!(lines, expected);
        assert_eq!(
            words(&btf.func_info).as_chunks::<2>().0.iter().map(|[insn, _]| *insn).collect::<Vec<_>>(),
            [0, 2]
        );
    }

    #[test]
    fn what_the_kernel_would_reject_is_adapted() {
        let mut program = program(|asm| {
            asm.load_imm64(Reg::R0, 1 << 40);
            asm.exit();
        });
        let entry = |insn, line, column| LineEntry { insn, line, column, text: "\n".into() };
        program.lines = LineTable {
            file: String::new(),
            entries: vec![entry(0, 1 << 30, 5_000), entry(1, 1, 1), entry(9, 1, 1)],
        };
        program.functions = vec![Function { name: "2nd-rate name".into(), start: 0 }];
        let btf = ProgramBtf::of(&program);
        let lines = words(&btf.line_info);
        let [line] = lines.as_chunks::<4>().0 else { panic!("one line") };
        assert_eq!((line[0], line[3]), (0, u32::MAX));
        assert_eq!(string(&btf, line[2]), "(no source)");
        assert!(btf.btf.windows(15).any(|name| name == b"_2nd_rate_name\0"));
    }

    #[test]
    fn a_text_is_stored_once() {
        let program = program(|asm| {
            for line in 1..100 {
                asm.set_line(line, 1, "default write deny");
                asm.mov(Reg::R0, 0);
            }
            asm.exit();
        });
        let btf = ProgramBtf::of(&program).btf;
        assert_eq!(btf.windows(7).filter(|word| word == b"default").count(), 1);
    }
}
