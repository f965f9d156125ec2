//! What the kernel's verifier says when it refuses a program, read in terms of the source that the program was
//! made from.

use std::fmt;

use crate::verifier_stats::{VerifierStats, is_statistics};

/// How much the verifier writes (`log_level` of bpf(2)); its statistics at every level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LogLevel {
    /// What is wrong, and nothing of its way there: `BPF_LOG_STATS`.
    Stats = 4,
    /// The path that was rejected, instruction by instruction: `BPF_LOG_LEVEL1`.
    Path = 1 | 4,
    /// Every path: `BPF_LOG_LEVEL2`.
    AllPaths = 2 | 4,
}

/// The text that the verifier wrote.
///
/// A program that carries line information has the verifier name the source line before the instructions made from it:
/// `; deny write kernel.** @ web.knob:12` (older kernels leave out the place).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifierLog {
    text: String,
    is_cut: bool,
}

/// A line of the source as the verifier's log quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLine<'a> {
    /// The text of the line.
    pub text: &'a str,
    /// The file and the number of the line, where the kernel tells.
    pub place: Option<(&'a str, u32)>,
}

impl fmt::Display for SourceLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((file, line)) => write!(f, "{file}:{line}: {}", self.text),
            None => f.write_str(self.text),
        }
    }
}

impl VerifierLog {
    /// From the buffer that the kernel filled: text that ends with a NUL. `is_cut`: there was more than fits.
    pub(crate) fn from_buffer(buffer: &[u8], is_cut: bool) -> Self {
        let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
        Self { text: String::from_utf8_lossy(&buffer[..end]).trim_end().to_owned(), is_cut }
    }

    /// The same, as one that lacks something.
    pub(crate) fn cut(self) -> Self {
        Self { is_cut: true, ..self }
    }

    /// Whether the log was longer than is kept of it.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How much work the verifier had, as it says at the end.
    pub fn stats(&self) -> VerifierStats {
        VerifierStats::from_log(&self.text)
    }

    /// Its last lines before the statistics, at most `count`.
    pub fn tail(&self, count: usize) -> Vec<&str> {
        let said: Vec<_> =
            self.text.lines().filter(|line| !line.trim().is_empty() && !is_statistics(line)).collect();
        said[said.len().saturating_sub(count)..].to_vec()
    }

    /// The instruction that the verifier was at when it gave up: the last one that it wrote down, or else the one that
    /// its reason names, as in `unreachable insn 5`.
    pub fn last_insn(&self) -> Option<usize> {
        let written = |line: &str| {
            let (number, rest) = line.split_once(": (")?;
            let is_opcode = rest.get(..3).is_some_and(|code| code.ends_with(')'));
            number.parse().ok().filter(|_| is_opcode)
        };
        let named = || {
            let (_, rest) = self.reason().split_once("insn ")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        self.text.lines().rev().find_map(written).or_else(named)
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The source lines in the order in which the verifier came to them. One that follows on itself is given once.
    pub fn source_lines(&self) -> impl Iterator<Item = SourceLine<'_>> {
        let mut last = None;
        self.text.lines().filter_map(source_line).filter(move |&line| last.replace(line) != Some(line))
    }

    /// The source line that the verifier was at when it gave up.
    pub fn last_source_line(&self) -> Option<SourceLine<'_>> {
        self.text.lines().rev().find_map(source_line)
    }

    /// Why it gave up: its last line that says something about the program. Since 7.3 some reasons are followed by a report
    /// of many lines about them, which ends with a suggestion.
    pub fn reason(&self) -> &str {
        self.stated_reason().unwrap_or("it did not say why")
    }

    /// The same; `None` if it says nothing about the program.
    pub(crate) fn stated_reason(&self) -> Option<&str> {
        const REPORT: &str = "\nVerification failed: ";
        let before_report = self.text.split_once(REPORT).map_or(&*self.text, |(before, _)| before);
        before_report
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with(';') && !is_statistics(line))
    }
}

impl fmt::Display for VerifierLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn source_line(line: &str) -> Option<SourceLine<'_>> {
    let line = line.strip_prefix("; ")?;
    let place = line.rsplit_once(" @ ").and_then(|(text, place)| {
        let (file, number) = place.rsplit_once(':')?;
        Some((text, (file, number.parse().ok()?)))
    });
    Some(match place {
        Some((text, place)) => SourceLine { text: text.trim(), place: Some(place) },
        None => SourceLine { text: line.trim(), place: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"0: R1=ctx() R10=fp0
; policy web @ web.knob:1
0: (b7) r0 = 1                        ; R0_w=1
; deny write a @ b.knob, c @ web.knob:12
1: (07) r0 += 1                       ; R0_w=2
; deny write a @ b.knob, c @ web.knob:12
2: (95) exit
At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

\0garbage";

    #[test]
    fn a_log_is_read_by_source_lines() {
        let log = VerifierLog::from_buffer(LOG, false);
        let first = SourceLine { text: "policy web", place: Some(("web.knob", 1)) };
        let second = SourceLine { text: "deny write a @ b.knob, c", place: Some(("web.knob", 12)) };
        assert_eq!(log.source_lines().collect::<Vec<_>>(), [first, second]);
        assert_eq!(log.last_source_line(), Some(second));
        assert_eq!(
            log.reason(),
            "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"
        );
        assert_eq!(second.to_string(), "web.knob:12: deny write a @ b.knob, c");
        assert!(log.text().ends_with("mark_read 0"));
    }

    #[test]
    fn the_instruction_is_the_last_one_that_is_written_or_the_one_that_the_reason_names() {
        let cases: [(&[u8], Option<usize>); 5] = [
            (LOG, Some(2)),
            (b"from 3 to 7: R0=1\n7: (95) exit\nregs=2 stack=0 before 9: (61) r1 = 0\nR0 !read_ok", Some(7)),
            (b"unreachable insn 5\nprocessed 0 insns (limit 1000000)", Some(5)),
            (b"BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns", None),
            (b"; 4: (95) exit\nR0 !read_ok", None),
        ];
        for (log, insn) in cases {
            let log = VerifierLog::from_buffer(log, false);
            assert_eq!(log.last_insn(), insn, "{log}");
        }
    }

    #[test]
    fn the_tail_ends_with_the_reason() {
        let log = VerifierLog::from_buffer(LOG, false);
        assert_eq!(log.tail(2), ["2: (95) exit", log.reason()]);
        assert_eq!(log.tail(100).len(), log.text().lines().count() - 1);
    }

    #[test]
    fn statistics_are_no_reason() {
        let log = b"R0 !read_ok\nverification time 9 usec\nstack depth max 16\n\
            subprog 0 (f) main insns_self 12 insns_total 12 stack 8\nprocessed 12 insns (limit 1000000)";
        assert_eq!(VerifierLog::from_buffer(log, false).reason(), "R0 !read_ok");
    }

    #[test]
    fn an_older_kernel_tells_no_place() {
        let log = VerifierLog::from_buffer(b"; deny write kernel.**\n0: (95) exit\nR0 !read_ok\n", false);
        assert_eq!(log.last_source_line(), Some(SourceLine { text: "deny write kernel.**", place: None }));
        assert_eq!(log.reason(), "R0 !read_ok");
    }

    #[test]
    fn a_report_about_the_reason_is_not_the_reason() {
        let log = b"; deny write kernel.**\n0: (95) exit\nR0 !read_ok\n\
            Verification failed: Register Type Safety: Unreadable register\nReason:\n  \
            R0 has never been initialized on this path, so the verifier cannot use it as an input.\nAt:\n  insn 0\n\
            Suggestion:\n  Initialize R0 on every path before this instruction.\nprocessed 1 insns\n";
        let log = VerifierLog::from_buffer(log, false);
        assert_eq!(log.reason(), "R0 !read_ok");
        assert_eq!(log.last_source_line().map(|line| line.text), Some("deny write kernel.**"));
    }

    #[test]
    fn an_empty_log_has_no_lines() {
        let log = VerifierLog::from_buffer(b"\0\0", false);
        assert_eq!(log.last_source_line(), None);
        assert_eq!(log.reason(), "it did not say why");
    }
}
