//! What the kernel's verifier says when it refuses a program, read in terms of the source that the program was
//! made from.

use std::fmt;

/// The text that the verifier wrote.
///
/// A program that carries line information has the verifier name the source line before the instructions made from it:
/// `; deny write kernel.** @ web.knob:12` (older kernels leave out the place).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierLog {
    text: String,
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
    /// From the buffer that the kernel filled: text that ends with a NUL.
    pub(crate) fn from_buffer(buffer: &[u8]) -> Self {
        let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
        Self { text: String::from_utf8_lossy(&buffer[..end]).trim_end().to_owned() }
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
        const REPORT: &str = "\nVerification failed: ";
        const STATISTICS: [&str; 4] =
            ["processed ", "verification time ", "stack depth ", "insns processed "];
        let before_report = self.text.split_once(REPORT).map_or(&*self.text, |(before, _)| before);
        before_report
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| {
                !line.is_empty()
                    && !line.starts_with(';')
                    && !STATISTICS.iter().any(|start| line.starts_with(start))
            })
            .unwrap_or("it did not say why")
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
        let log = VerifierLog::from_buffer(LOG);
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
    fn an_older_kernel_tells_no_place() {
        let log = VerifierLog::from_buffer(b"; deny write kernel.**\n0: (95) exit\nR0 !read_ok\n");
        assert_eq!(log.last_source_line(), Some(SourceLine { text: "deny write kernel.**", place: None }));
        assert_eq!(log.reason(), "R0 !read_ok");
    }

    #[test]
    fn a_report_about_the_reason_is_not_the_reason() {
        let log = b"; deny write kernel.**\n0: (95) exit\nR0 !read_ok\n\
            Verification failed: Register Type Safety: Unreadable register\nReason:\n  \
            R0 has never been initialized on this path, so the verifier cannot use it as an input.\nAt:\n  insn 0\n\
            Suggestion:\n  Initialize R0 on every path before this instruction.\nprocessed 1 insns\n";
        let log = VerifierLog::from_buffer(log);
        assert_eq!(log.reason(), "R0 !read_ok");
        assert_eq!(log.last_source_line().map(|line| line.text), Some("deny write kernel.**"));
    }

    #[test]
    fn an_empty_log_has_no_lines() {
        let log = VerifierLog::from_buffer(b"\0\0");
        assert_eq!(log.last_source_line(), None);
        assert_eq!(log.reason(), "it did not say why");
    }
}
