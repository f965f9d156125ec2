//! Which source lines have run.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use knobgate_bpf::{LineTable, MapKind};

use super::loaded_program::{Loaded, LoadedProgram};

/// How often each instruction of a program has run. Programs without source lines have no counters.
#[derive(Debug)]
pub(super) struct Counters(Box<[AtomicU64]>);

impl Counters {
    pub(super) fn new(insns: usize, lines: &LineTable) -> Self {
        let counters = if lines.entries.is_empty() { 0 } else { insns };
        Self((0..counters).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts one run of an instruction. Two threads that run the program at the same moment may count one run instead of
    /// two: an exact count would make every instruction slower.
    #[inline]
    pub(super) fn count(&self, insn: usize) {
        if let Some(counter) = self.0.get(insn) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    fn get(&self, insn: usize) -> u64 {
        self.0.get(insn).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// How often the source lines of programs have run, since the programs were loaded.
///
/// Programs have source lines if they were compiled with `-g`. Of a line that the compiler made several pieces of, the piece
/// counts that ran most often. Code that was inlined from other files has no lines here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    files: BTreeMap<String, File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct File {
    /// The count of each line.
    lines: BTreeMap<u32, u64>,
    /// The line and the count of each function, by name.
    functions: BTreeMap<String, (u32, u64)>,
}

impl Coverage {
    /// What these programs have run, and the programs in their program arrays. The counts of lines that several programs
    /// have in common, in a function that they all call, are added up.
    pub fn of<'p>(programs: impl IntoIterator<Item = &'p LoadedProgram>) -> Self {
        let mut coverage = Self::default();
        let mut pending: Vec<LoadedProgram> = programs.into_iter().cloned().collect();
        let mut added = HashSet::new();
        while let Some(program) = pending.pop() {
            if added.insert(Arc::as_ptr(&program.0)) {
                coverage.add(&program.0);
                pending.extend(program.callees());
            }
        }
        coverage
    }

    /// Adds what was run elsewhere: counts of the same lines and functions are added up.
    pub fn merge(&mut self, other: Self) {
        for (name, File { lines, functions }) in other.files {
            let file = self.files.entry(name).or_default();
            for (line, count) in lines {
                *file.lines.entry(line).or_default() += count;
            }
            for (name, (line, count)) in functions {
                file.functions.entry(name).or_insert((line, 0)).1 += count;
            }
        }
    }

    fn add(&mut self, program: &Loaded) {
        let Loaded { lines, functions, counters, .. } = program;
        if lines.entries.is_empty() {
            return;
        }
        let file = self.files.entry(lines.file.clone()).or_default();
        let mut highest: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in &lines.entries {
            let count = highest.entry(entry.line).or_default();
            *count = counters.get(entry.insn).max(*count);
        }
        for (line, count) in highest {
            *file.lines.entry(line).or_default() += count;
        }
        for function in functions {
            if let Some(entry) = lines.of(function.start) {
                let (_, count) = file.functions.entry(function.name.clone()).or_insert((entry.line, 0));
                *count += counters.get(function.start);
            }
        }
    }

    /// How often a line, counted from 1, has run. `None`: no instruction belongs to it.
    pub fn line(&self, file: &str, line: u32) -> Option<u64> {
        self.files.get(file)?.lines.get(&line).copied()
    }

    /// The lines with instructions that have not run: their files and numbers.
    pub fn missed(&self) -> impl Iterator<Item = (&str, u32)> {
        self.files.iter().flat_map(|(name, file)| {
            let missed = file.lines.iter().filter(|(_, count)| **count == 0);
            missed.map(|(line, _)| (name.as_str(), *line))
        })
    }

    /// The tracefile that `genhtml` and editors read, as geninfo(1) describes it. The paths of files are those in the
    /// programs, so files with the same path there are one. Control characters in names, which would end a line, are `?`.
    pub fn to_lcov(&self) -> String {
        let mut text = String::new();
        for (name, File { lines, functions }) in &self.files {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "TN:\nSF:{}", in_one_line(name));
            for (function, (line, _)) in functions {
                let _ = writeln!(text, "FN:{line},{}", in_one_line(function));
            }
            for (function, (_, count)) in functions {
                let _ = writeln!(text, "FNDA:{count},{}", in_one_line(function));
            }
            let hit = functions.values().filter(|(_, count)| *count > 0).count();
            let _ = writeln!(text, "FNF:{}\nFNH:{hit}", functions.len());
            for (line, count) in lines {
                let _ = writeln!(text, "DA:{line},{count}");
            }
            let hit = lines.values().filter(|count| **count > 0).count();
            let _ = writeln!(text, "LF:{}\nLH:{hit}\nend_of_record", lines.len());
        }
        text
    }
}

fn in_one_line(name: &str) -> String {
    name.replace(char::is_control, "?")
}

impl LoadedProgram {
    /// Whether instructions are counted while it runs: its own, or those of the programs that it may call.
    pub(super) fn counts(&self) -> bool {
        !self.0.counters.is_empty() || self.0.maps.iter().any(|map| map.def().kind == MapKind::ProgArray)
    }

    /// The programs in its program arrays.
    fn callees(&self) -> Vec<Self> {
        let arrays = self.0.maps.iter().filter(|map| map.def().kind == MapKind::ProgArray);
        let in_array = |map: &crate::Map| {
            let state = map.state();
            (0..map.def().max_entries).filter_map(|index| Self::in_array(&state, index)).collect::<Vec<_>>()
        };
        arrays.flat_map(in_array).collect()
    }
}
