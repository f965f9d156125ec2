//! Asking the verifier about a program without attaching it.

use std::os::fd::OwnedFd;

use knobgate_bpf::{LineEntry, Program};

use crate::load::{check_storage, create_maps, put_inner_maps};
use crate::load_error::LoadError;
use crate::load_options::LoadOptions;
use crate::load_request::LoadRequest;
use crate::program::{ProgramFd, ProgramInfo, has_line_info};
use crate::verifier_log::{LogLevel, VerifierLog};
use crate::verifier_stats::VerifierStats;

/// The verification of one program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The program's name.
    pub program: String,
    /// Its length in instructions.
    pub insns: usize,
    /// The verifier's statistics.
    pub stats: VerifierStats,
    /// Whether the verifier accepted it.
    pub verdict: VerifierVerdict,
}

/// The verifier's verdict.
#[derive(Debug)]
pub enum VerifierVerdict {
    /// The program is accepted.
    Accepted {
        /// Whether it has line information.
        has_line_info: bool,
        /// The log, if it was requested.
        log: Option<VerifierLog>,
    },
    /// The program is rejected.
    Rejected(Rejection),
}

/// Why and where the verifier rejected a program.
#[derive(Debug)]
pub struct Rejection {
    error: LoadError,
    insn: Option<usize>,
    source: Option<(String, LineEntry)>,
}

/// Verifies a program, and each program in its program arrays, without attaching them. Maps that are pinned by name are neither
/// opened nor pinned.
///
/// The verdict comes from a load without a log, as in [`load()`](crate::load()): kernels before 6.4 reject programs
/// whose log does not fit. An accepted program is loaded again for the statistics, and once more for the `log`.
///
/// # Errors
///
/// Every [`LoadError`] that is not a verdict: the maps cannot be created, or a privilege is missing.
pub fn verify(
    program: &Program,
    options: &LoadOptions,
    log: Option<LogLevel>,
) -> Result<Vec<Verification>, LoadError> {
    check_storage(program)?;
    let names = program.maps.iter().map(|def| def.name.clone());
    let maps: Vec<_> = names.zip(create_maps(program)?).collect();
    put_inner_maps(program, &maps, |_| true)?;
    let options = LoadOptions { log_level: log.unwrap_or(options.log_level), ..options.clone() };
    let callees = program.tail_calls.iter().map(|call| &call.program);
    std::iter::once(program)
        .chain(callees)
        .map(|program| {
            let request = LoadRequest::new(program, &maps, &options)?;
            let verification = |stats, verdict| Verification {
                program: program.name.clone(),
                insns: program.insns.len(),
                stats,
                verdict,
            };
            match request.load() {
                Ok((fd, has_lines)) => {
                    let (stats, has_line_info) = statistics(&request, fd, has_lines);
                    let log = log.map(|level| request.log(has_lines, level));
                    Ok(verification(stats, VerifierVerdict::Accepted { has_line_info, log }))
                }
                Err(error) => {
                    let rejection = Rejection::of(error, program)?;
                    let stats = rejection.error.log().map(VerifierLog::stats).unwrap_or_default();
                    Ok(verification(stats, VerifierVerdict::Rejected(rejection)))
                }
            }
        })
        .collect()
}

/// The statistics of an accepted program, and whether it has line information.
fn statistics(request: &LoadRequest<'_>, program: OwnedFd, has_lines: bool) -> (VerifierStats, bool) {
    let info = ProgramFd::from_fd(program).info().ok();
    let mut stats = request.log(has_lines, LogLevel::Stats).stats();
    let counted = info.as_ref().map(|info: &ProgramInfo| u64::from(info.verified_insns));
    stats.processed_insns = stats.processed_insns.or(counted.filter(|&count| count > 0));
    (stats, has_line_info(has_lines, info.as_ref()))
}

impl Rejection {
    /// The error, which has a log: [`LoadError::Rejected`] or [`LoadError::TooLarge`].
    pub fn error(&self) -> &LoadError {
        &self.error
    }

    /// The same.
    pub fn into_error(self) -> LoadError {
        self.error
    }

    /// The instruction, if it is known.
    pub fn insn(&self) -> Option<usize> {
        self.insn
    }

    /// The source file and line of this instruction.
    pub fn source(&self) -> Option<(&str, &LineEntry)> {
        self.source.as_ref().map(|(file, line)| (file.as_str(), line))
    }

    /// The verifier's reason.
    pub fn reason(&self) -> String {
        match self.error.log() {
            Some(log) if !log.text().is_empty() => log.reason().to_owned(),
            _ => self.error.to_string(),
        }
    }

    /// From an error that is a verdict.
    fn of(error: LoadError, program: &Program) -> Result<Self, LoadError> {
        let Some(log) = error.log() else { return Err(error) };
        let insn = log.last_insn().filter(|&insn| insn < program.insns.len());
        let line = insn.and_then(|insn| program.lines.of(insn)).cloned();
        let source = line.map(|line| (program.lines.file.clone(), line));
        Ok(Self { error, insn, source })
    }
}
