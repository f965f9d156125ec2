//! What the kernel's verifier says of a program that is not to be attached.

use std::os::fd::OwnedFd;

use knobgate_bpf::{LineEntry, Program};

use crate::attempt::Attempt;
use crate::load::{LoadOptions, check_storage, create_maps};
use crate::load_error::LoadError;
use crate::program::{ProgramFd, ProgramInfo};
use crate::verifier_log::{LogLevel, VerifierLog};
use crate::verifier_stats::VerifierStats;

/// What the verifier says of one program.
#[derive(Debug)]
pub struct Verification {
    /// The program's name.
    pub program: String,
    /// Its length in instructions, as it was loaded.
    pub insns: usize,
    /// How much work it was.
    pub stats: VerifierStats,
    /// Whether it is accepted.
    pub verdict: Verdict,
}

/// Whether the verifier accepts a program.
#[derive(Debug)]
pub enum Verdict {
    /// It does.
    Accepted {
        /// Whether the kernel took the lines of the source.
        has_line_info: bool,
        /// What the verifier wrote, if that was asked for.
        log: Option<VerifierLog>,
    },
    /// It does not.
    Rejected(Rejection),
}

/// Why the verifier rejects a program, and where.
#[derive(Debug)]
pub struct Rejection {
    /// The error, which has the log: [`LoadError::Rejected`] or [`LoadError::TooLarge`].
    pub error: LoadError,
    /// The instruction that it was at, if it says.
    pub insn: Option<usize>,
    /// The file and the line of the source that this instruction is from.
    pub source: Option<(String, LineEntry)>,
}

/// Has the kernel's verifier judge a program, and each that it has in its program arrays, without attaching any.
///
/// The verdict is that of a load as [`load()`](crate::load()) does it, without a log, of which a kernel before 6.4 would
/// reject what has a long one. An accepted program is then loaded again for the figures, and once more for a `log`.
///
/// # Errors
///
/// Every [`LoadError`] that is not the verifier's verdict: the maps could not be created, the privilege is missing.
pub fn verify(
    program: &Program,
    options: &LoadOptions,
    log: Option<LogLevel>,
) -> Result<Vec<Verification>, LoadError> {
    check_storage(program)?;
    let names = program.maps.iter().map(|def| def.name.clone());
    let maps: Vec<_> = names.zip(create_maps(program)?).collect();
    let options = LoadOptions { log_level: log.unwrap_or(options.log_level), ..options.clone() };
    let callees = program.tail_calls.iter().map(|call| &call.program);
    std::iter::once(program)
        .chain(callees)
        .map(|program| {
            let attempt = Attempt::new(program, &maps, &options)?;
            let verification = |stats, verdict| Verification {
                program: program.name.clone(),
                insns: program.insns.len(),
                stats,
                verdict,
            };
            match attempt.load() {
                Ok((fd, has_lines)) => {
                    let (stats, has_line_info) = figures(&attempt, fd, has_lines);
                    let log = log.map(|level| attempt.log(has_lines, level));
                    Ok(verification(stats, Verdict::Accepted { has_line_info, log }))
                }
                Err(error) => {
                    let rejection = Rejection::of(error, program)?;
                    let stats = rejection.error.log().map(VerifierLog::stats).unwrap_or_default();
                    Ok(verification(stats, Verdict::Rejected(rejection)))
                }
            }
        })
        .collect()
}

/// How much work an accepted program was, and whether it has its lines.
fn figures(attempt: &Attempt<'_>, program: OwnedFd, has_lines: bool) -> (VerifierStats, bool) {
    let info = ProgramFd::from_fd(program).info().ok();
    let mut stats = attempt.log(has_lines, LogLevel::Stats).stats();
    let counted = info.as_ref().map(|info: &ProgramInfo| u64::from(info.verified_insns));
    stats.processed_insns = stats.processed_insns.or(counted.filter(|&count| count > 0));
    (stats, has_lines && info.is_some_and(|info| info.has_line_info))
}

impl Rejection {
    /// The verifier's own words.
    pub fn reason(&self) -> String {
        match self.error.log() {
            Some(log) if !log.text().is_empty() => log.reason().to_owned(),
            _ => self.error.to_string(),
        }
    }

    /// `error`, if it is the verifier's verdict.
    fn of(error: LoadError, program: &Program) -> Result<Self, LoadError> {
        let Some(log) = error.log() else { return Err(error) };
        let insn = log.last_insn().filter(|&insn| insn < program.insns.len());
        let line = insn.and_then(|insn| program.lines.of(insn)).cloned();
        let source = line.map(|line| (program.lines.file.clone(), line));
        Ok(Self { error, insn, source })
    }
}
