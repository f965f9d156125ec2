//! The section `.BTF.ext`: source lines, and CO-RE relocations.

use std::collections::HashMap;
use std::ops::Range;

use super::ObjectError;
use super::core_relocations::CoreRelocation;
use crate::Insn;
use crate::btf_types::{Types, number, words};

/// For sections of code, by name.
#[derive(Default)]
pub(super) struct DebugInfo<'a> {
    lines: HashMap<&'a str, Vec<Line>>,
    core: HashMap<&'a str, Vec<CoreRelocation>>,
}

/// A `struct bpf_line_info`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Counts from the beginning of the section.
    pub(super) insn: usize,
    /// The offset of the file's name among the strings.
    pub(super) file: u32,
    /// The offset of the line's text among the strings.
    pub(super) text: u32,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl<'a> DebugInfo<'a> {
    pub(super) fn read(section: &'a [u8], types: &Types<'a>) -> Result<Self, ObjectError> {
        Self::parse(section, types)
            .ok_or_else(|| ObjectError::damaged("the section .BTF.ext is cut short or of an unknown version"))
    }

    fn parse(section: &'a [u8], types: &Types<'a>) -> Option<Self> {
        let header = words(section);
        let &[magic, length, ..] = header else { return None };
        if magic != [0x9f, 0xeb, 1, 0] {
            return None;
        }
        let length = number(length) as usize;
        // After magic and length: offset and bytes of functions, of lines, and since 5.4 of CO-RE relocations.
        let part = |index: usize| -> Option<&'a [[u8; 4]]> {
            if length < 4 * (index + 2) {
                return Some(&[]);
            }
            let start = length.checked_add(number(*header.get(index)?) as usize)?;
            let end = start.checked_add(number(*header.get(index + 1)?) as usize)?;
            section.get(start..end).map(words)
        };
        let insn = |offset: [u8; 4]| number(offset) as usize / Insn::BYTES;
        let mut info = Self::default();
        for (name, record) in records(part(4)?, types)? {
            let &[offset, file, text, place, ..] = record else { return None };
            let place = number(place);
            info.lines.entry(name).or_default().push(Line {
                insn: insn(offset),
                file: number(file),
                text: number(text),
                line: place >> 10,
                column: place & 0x3ff,
            });
        }
        for (name, record) in records(part(6)?, types)? {
            let &[offset, of_type, access, kind, ..] = record else { return None };
            info.core.entry(name).or_default().push(CoreRelocation {
                insn: insn(offset),
                of_type: number(of_type),
                access: number(access),
                kind: number(kind),
            });
        }
        info.lines.values_mut().for_each(|lines| lines.sort_by_key(|line| line.insn));
        info.core.values_mut().for_each(|relocations| relocations.sort_by_key(|relocation| relocation.insn));
        Some(info)
    }

    /// The lines of these instructions of a section.
    pub(super) fn lines(&self, section: &str, insns: Range<usize>) -> &[Line] {
        within(self.lines.get(section), insns, |line| line.insn)
    }

    /// The CO-RE relocations of these instructions of a section. Theirs count from the beginning of the section.
    pub(super) fn core_relocations(&self, section: &str, insns: Range<usize>) -> &[CoreRelocation] {
        within(self.core.get(section), insns, |relocation| relocation.insn)
    }
}

fn within<T>(all: Option<&Vec<T>>, insns: Range<usize>, insn: impl Fn(&T) -> usize) -> &[T] {
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let before = |end: usize| all.partition_point(|one| insn(one) < end);
    &all[before(insns.start)..before(insns.end)]
}

/// The name of a section, and the words of a record for it.
type Record<'a> = (&'a str, &'a [[u8; 4]]);

/// The records of a part. The part begins with the size of a record.
fn records<'a>(part: &'a [[u8; 4]], types: &Types<'a>) -> Option<Vec<Record<'a>>> {
    let Some((&size, mut rest)) = part.split_first() else { return Some(Vec::new()) };
    let size = number(size) as usize / 4;
    let mut records = Vec::new();
    while let [name, count, following @ ..] = rest {
        let length = size.checked_mul(number(*count) as usize).filter(|length| *length > 0)?;
        let (of_section, next) = following.split_at_checked(length)?;
        let name = types.strings.at(number(*name));
        records.extend(of_section.chunks_exact(size).map(|record| (name, record)));
        rest = next;
    }
    Some(records)
}
