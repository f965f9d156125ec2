//! The log of the kernel's verifier, and its source lines.

use std::fmt;

use knobgate_bpf::Unresolved;

use crate::verifier_stats::{VerifierStats, is_statistics};

/// How much the verifier prints (`log_level` of bpf(2)). Every level includes the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LogLevel {
    /// The reason without the path: `BPF_LOG_STATS`.
    Stats = 4,
    /// The rejected path, instruction by instruction: `BPF_LOG_LEVEL1`.
    Path = 1 | 4,
    /// Every path: `BPF_LOG_LEVEL2`.
    AllPaths = 2 | 4,
}

/// The text of the log.
///
/// If the program has line information, each source line comes before its instructions:
/// `; deny write kernel.** @ web.knob:12` (older kernels omit the position).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifierLog {
    text: String,
    is_truncated: bool,
}

/// A source line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLine<'a> {
    /// The text of the line.
    pub text: &'a str,
    /// The file and the line number, if the kernel prints them.
    pub position: Option<(&'a str, u32)>,
}

impl fmt::Display for SourceLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((file, line)) => write!(f, "{file}:{line}: {}", self.text),
            None => f.write_str(self.text),
        }
    }
}

impl VerifierLog {
    /// From the buffer that the kernel filled, up to the first NUL. `is_truncated`: the log did not fit.
    pub(crate) fn from_buffer(buffer: &[u8], is_truncated: bool) -> Self {
        let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
        Self { text: String::from_utf8_lossy(&buffer[..end]).trim_end().to_owned(), is_truncated }
    }

    /// The same log, marked as truncated.
    pub(crate) fn truncated(self) -> Self {
        Self { is_truncated: true, ..self }
    }

    /// The same log, with words for the calls that stand for what the kernel lacks. It knows only the number of a helper:
    /// `invalid func unknown#195896080`.
    pub(crate) fn with_names(mut self, unresolved: &[Unresolved]) -> Self {
        const SAID: &str = "invalid func unknown#";
        let Some(start) = self.text.rfind(SAID) else { return self };
        let digits =
            self.text[start + SAID.len()..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let end = start + SAID.len() + digits.len();
        let number: Option<u32> = digits.parse().ok();
        if let Some(found) = unresolved.iter().find(|unresolved| Some(unresolved.helper) == number) {
            self.text.replace_range(start..end, &found.what);
        }
        self
    }

    /// Whether the log was longer than the limit.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The statistics at its end.
    pub fn stats(&self) -> VerifierStats {
        VerifierStats::from_log(&self.text)
    }

    /// Its last lines before the statistics, at most `count`. Since 7.3, some logs have a report after that, which is added.
    pub fn tail(&self, count: usize) -> Vec<&str> {
        let (before, report) = self.text.split_at(self.report().unwrap_or(self.text.len()));
        let (before, report) = (without_statistics(before), without_statistics(report));
        [&before[before.len().saturating_sub(count)..], &report].concat()
    }

    /// Where the report about the reason starts.
    fn report(&self) -> Option<usize> {
        self.text.find("\nVerification failed: ")
    }

    /// The instruction at which the verifier gave up: the last one in the log, or else the one that its reason names,
    /// as in `unreachable insn 5`.
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

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The source lines in the order of verification, without repetitions in a row.
    pub fn source_lines(&self) -> impl Iterator<Item = SourceLine<'_>> {
        let mut last = None;
        self.text.lines().filter_map(source_line).filter(move |&line| last.replace(line) != Some(line))
    }

    /// The source line at which the verifier gave up.
    pub fn last_source_line(&self) -> Option<SourceLine<'_>> {
        self.text.lines().rev().find_map(source_line)
    }

    /// The reason: the last line about the program. Since 7.3, some reasons are followed by a long report with a
    /// suggestion.
    pub fn reason(&self) -> &str {
        self.stated_reason().unwrap_or("it gave no reason")
    }

    /// The same; `None` if the log says nothing about the program.
    pub(crate) fn stated_reason(&self) -> Option<&str> {
        let before_report = self.report().map_or(&*self.text, |report| &self.text[..report]);
        before_report.lines().rev().map(str::trim).find(|line| {
            !line.is_empty() && !line.starts_with(';') && !is_statistics(line) && !follows_reason(line)
        })
    }
}

impl fmt::Display for VerifierLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The lines that say something about the program.
fn without_statistics(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty() && !is_statistics(line)).collect()
}

/// Whether a line comes after the reason, and adds to it.
fn follows_reason(line: &str) -> bool {
    const STARTS: [&str; 4] = [
        // The two states of an infinite loop, since 6.7 (`is_state_visited()` in kernel/bpf/verifier.c). A state has a line for
        // each frame.
        "cur state:",
        "old state:",
        // Which function the argument was for that the line before is about (`check_func_call()`).
        "Caller passes invalid args into func#",
        // Where a reference is lost that the line before is about, since 6.13 (`check_resource_leak()`).
        "BPF_EXIT instruction in ",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
}

fn source_line(line: &str) -> Option<SourceLine<'_>> {
    let line = line.strip_prefix("; ")?;
    let position = line.rsplit_once(" @ ").and_then(|(text, position)| {
        let (file, number) = position.rsplit_once(':')?;
        Some((text, (file, number.parse().ok()?)))
    });
    Some(match position {
        Some((text, position)) => SourceLine { text: text.trim(), position: Some(position) },
        None => SourceLine { text: line.trim(), position: None },
    })
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::UnresolvedReason;

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
    fn source_lines_are_parsed() {
        let log = VerifierLog::from_buffer(LOG, false);
        let first = SourceLine { text: "policy web", position: Some(("web.knob", 1)) };
        let second = SourceLine { text: "deny write a @ b.knob, c", position: Some(("web.knob", 12)) };
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
    fn the_instruction_is_the_last_one_in_the_log_or_the_one_in_the_reason() {
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
    fn statistics_are_not_the_reason() {
        let log = b"R0 !read_ok\nverification time 9 usec\nstack depth max 16\n\
            subprog 0 (f) main insns_self 12 insns_total 12 stack 8\nprocessed 12 insns (limit 1000000)";
        assert_eq!(VerifierLog::from_buffer(log, false).reason(), "R0 !read_ok");
    }

    #[test]
    fn the_reason_is_found_at_the_end_of_the_logs_of_all_kernels() {
        // What 5.10 to 7.3 print after the last instruction.
        for (end, reason) in [
            // All of them.
            ("unreachable insn 1\nprocessed 0 insns (limit 1000000)", "unreachable insn 1"),
            ("div by zero\nverification time 27 usec\nstack depth 0", "div by zero"),
            (
                "back-edge from insn 3 to 1\nverification time 9 usec\nstack depth 0+0",
                "back-edge from insn 3 to 1",
            ),
            // Up to 6.6.
            ("infinite loop detected at insn 1\nprocessed 4 insns", "infinite loop detected at insn 1"),
            // Since 6.7.
            (
                "infinite loop detected at insn 1\ncur state: R1=0 R10=fp0\nold state: R1=P0 R10=fp0\nprocessed 4 insns",
                "infinite loop detected at insn 1",
            ),
            // Bounds of a map's value: the first line has the access, and the second one what is wrong with it.
            (
                "invalid access to map value, value_size=8 off=8 size=8\nR1 min value is outside of the allowed memory range\n",
                "R1 min value is outside of the allowed memory range",
            ),
            // Global functions.
            (
                "Validating f() func#1...\n2: R1=mem(sz=4)\nR1 type=scalar expected=fp, map_value\n\
                 Caller passes invalid args into func#1 ('f')\nprocessed 3 insns",
                "R1 type=scalar expected=fp, map_value",
            ),
            // Up to 6.12, and since then.
            (
                "Unreleased reference id=2 alloc_insn=3\nprocessed 9 insns",
                "Unreleased reference id=2 alloc_insn=3",
            ),
            (
                "Unreleased reference id=2 alloc_insn=3\n\
                 BPF_EXIT instruction in main prog would lead to reference leak\nprocessed 9 insns",
                "Unreleased reference id=2 alloc_insn=3",
            ),
            // 5.10, and 6.8 and later.
            (
                "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)\nprocessed 2 insns",
                "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)",
            ),
            (
                "At program exit the register R0 is not a known value (ctx)\nprocessed 2 insns",
                "At program exit the register R0 is not a known value (ctx)",
            ),
            (
                "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns",
                "BPF program is too large. Processed 1000001 insn",
            ),
            (
                "The sequence of 8193 jumps is too complex.\nprocessed 9 insns",
                "The sequence of 8193 jumps is too complex.",
            ),
            // Since 7.3, with a report.
            (
                "R0 !read_ok\nVerification failed: Register Type Safety: Unreadable register\nReason:\n  R0 …\n\
                 subprog 0 (f) main insns_self 12 insns_total 12 stack 8\nprocessed 1 insns",
                "R0 !read_ok",
            ),
        ] {
            let log =
                format!("0: R1=ctx() R10=fp0\n; return *name; @ a.c:3\n0: (b7) r1 = 0    ; R1=0\n{end}\n");
            assert_eq!(VerifierLog::from_buffer(log.as_bytes(), false).reason(), reason, "{end}");
        }
    }

    #[test]
    fn older_kernels_print_no_position() {
        let log = VerifierLog::from_buffer(b"; deny write kernel.**\n0: (95) exit\nR0 !read_ok\n", false);
        assert_eq!(log.last_source_line(), Some(SourceLine { text: "deny write kernel.**", position: None }));
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
        let report = [
            "Verification failed: Register Type Safety: Unreadable register",
            "Reason:",
            "  R0 has never been initialized on this path, so the verifier cannot use it as an input.",
            "At:",
            "  insn 0",
            "Suggestion:",
            "  Initialize R0 on every path before this instruction.",
        ];
        assert_eq!(log.tail(2)[..2], ["0: (95) exit", "R0 !read_ok"]);
        assert_eq!(log.tail(2)[2..], report);
        assert_eq!(log.tail(100).len(), 3 + report.len());
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let log = b"0: (85) call unknown#195896080\ninvalid func unknown#195896080\nprocessed 1 insns (limit 1000000)";
        let lacks = |helper| Unresolved {
            insn: 0,
            helper,
            what: "the kernel has no such field".to_owned(),
            reason: UnresolvedReason::KernelLacks,
        };
        let log = VerifierLog::from_buffer(log, false);
        let named = log.clone().with_names(&[lacks(195_896_081), lacks(195_896_080)]);
        assert_eq!(named.reason(), "the kernel has no such field");
        assert_eq!(named.last_insn(), Some(0));
        assert_eq!(log.clone().with_names(&[lacks(195_896_081)]), log);
    }

    #[test]
    fn an_empty_log_has_no_lines() {
        let log = VerifierLog::from_buffer(b"\0\0", false);
        assert_eq!(log.last_source_line(), None);
        assert_eq!(log.reason(), "it gave no reason");
    }
}
