//! Instructions in messages.

use knobgate_bpf::LineTable;

/// The source line of an instruction, as in ``limit.bpf.c:14, `return 1;` ``.
pub(crate) fn source_line(lines: &LineTable, insn: usize) -> Option<Box<str>> {
    let entry = lines.of(insn)?;
    Some(format!("{}:{}, `{}`", lines.file, entry.line, entry.text).into())
}
