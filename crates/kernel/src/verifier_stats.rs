//! The statistics at the end of a verifier log.

use std::time::Duration;

/// The output of `print_verification_stats()` in kernel/bpf/verifier.c. Older kernels print less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifierStats {
    /// The number of processed instructions, counting repetitions.
    pub processed_insns: Option<u64>,
    /// The limit of processed instructions.
    pub insn_limit: Option<u64>,
    /// The total number of states.
    pub total_states: Option<u64>,
    /// The maximum number of states at a time.
    pub peak_states: Option<u64>,
    /// The maximum number of states for one instruction.
    pub max_states_per_insn: Option<u64>,
    /// The stack size in bytes of the main program and of each subprogram.
    pub stack_depths: Vec<u32>,
    /// The verification time, including the time for writing the log.
    pub time: Option<Duration>,
}

const PROCESSED: &str = "processed ";
const TIME: &str = "verification time ";
const STACK: &str = "stack depth ";

/// Since Linux 7.3 a line for each subprogram, `subprog 0 (main) main insns_self 12 insns_total 12 stack 8`; before,
/// their stacks are in one line, `stack depth 8+0`.
const SUBPROGRAM: &str = "subprog ";

/// Whether a line of the log is one of the statistics.
pub(crate) fn is_statistics(line: &str) -> bool {
    let line = line.trim_start();
    [PROCESSED, TIME, STACK, "insns processed "].iter().any(|start| line.starts_with(start))
        || line.starts_with(SUBPROGRAM) && line.contains(" insns_self ")
}

impl VerifierStats {
    pub(crate) fn from_log(text: &str) -> Self {
        let line = |start| text.lines().rev().find_map(|line| line.strip_prefix(start));
        let mut stats = Self::default();
        if let Some(processed) = line(PROCESSED) {
            stats.processed_insns = first_number(processed);
            stats.insn_limit = number_after(processed, "(limit ");
            stats.total_states = number_after(processed, "total_states ");
            stats.peak_states = number_after(processed, "peak_states ");
            stats.max_states_per_insn = number_after(processed, "max_states_per_insn ");
        }
        stats.time = line(TIME).and_then(microseconds);
        stats.stack_depths = line(STACK).and_then(depths).unwrap_or_else(|| {
            let subprograms = text.lines().filter(|line| line.starts_with(SUBPROGRAM) && is_statistics(line));
            subprograms.map(depth_of_subprogram).collect::<Option<_>>().unwrap_or_default()
        });
        stats
    }
}

fn first_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    text.split_once(key).and_then(|(_, rest)| first_number(rest))
}

/// `123 usec`
fn microseconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix(" usec")?;
    number.parse().ok().map(Duration::from_micros)
}

/// `64+8+0`
fn depths(text: &str) -> Option<Vec<u32>> {
    let depths = text.split_ascii_whitespace().next()?;
    depths.split('+').map(|depth| depth.parse().ok()).collect()
}

fn depth_of_subprogram(line: &str) -> Option<u32> {
    line.rsplit_once(" stack ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_parsed_and_missing_ones_are_absent() {
        let all = VerifierStats {
            processed_insns: Some(18),
            insn_limit: Some(1_000_000),
            total_states: Some(3),
            peak_states: Some(2),
            max_states_per_insn: Some(1),
            stack_depths: vec![64, 8],
            time: Some(Duration::from_micros(275)),
        };
        let processed =
            "processed 18 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 2";
        let cases = [
            (
                format!(
                    "0: (95) exit\nverification time 275 usec\nstack depth 64+8\n{processed} mark_read 1"
                ),
                all.clone(),
            ),
            (format!("verification time 275 usec\nstack depth 64+8 max 72\n{processed}\n"), all.clone()),
            (format!("{processed} mark_read 1"), VerifierStats { stack_depths: vec![], time: None, ..all }),
            (
                "stack depth 0\nprocessed 2 insns".to_owned(),
                VerifierStats { processed_insns: Some(2), stack_depths: vec![0], ..VerifierStats::default() },
            ),
            // A source line is not a statistic.
            (
                "; processed 7 insns\nverification time is long\nstack depth deep\n".to_owned(),
                VerifierStats::default(),
            ),
            (String::new(), VerifierStats::default()),
        ];
        for (log, stats) in cases {
            assert_eq!(VerifierStats::from_log(&log), stats, "{log}");
        }
    }
}
