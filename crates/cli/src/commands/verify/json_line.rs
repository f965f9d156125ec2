//! The verifier's verdict as JSON.

use knobgate_kernel::{Rejection, VerifierLog, VerifierVerdict};
use serde::Serialize;

use super::Verified;
use crate::deciding_hook::DecidingHook;
use crate::json;

/// One program. What the kernel does not report is `null`.
#[derive(Serialize)]
struct JsonVerification<'a> {
    /// The policy or the object.
    file: String,
    /// `policy` or `program`
    kind: &'static str,
    name: &'a str,
    hook: DecidingHook,
    /// `accepted` or `rejected`
    verdict: &'static str,
    /// The verifier's message.
    reason: Option<String>,
    /// The line of the policy or of the program's source at which it was rejected.
    source: Option<JsonSource<'a>>,
    /// The instruction at which it was rejected.
    insn: Option<usize>,
    /// Its length.
    insns: usize,
    processed_insns: Option<u64>,
    insn_limit: Option<u64>,
    total_states: Option<u64>,
    peak_states: Option<u64>,
    max_states_per_insn: Option<u64>,
    /// Bytes of stack, of the program and of its subprograms.
    stack_depths: Option<&'a [u32]>,
    verification_usec: Option<u128>,
    /// Whether the kernel has its source lines; only if it is accepted.
    line_info: Option<bool>,
    /// With `--log`.
    log: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSource<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    text: &'a str,
}

pub(super) fn line(verified: &Verified<'_>, with_log: bool) -> String {
    let verification = &verified.verification;
    let stats = &verification.stats;
    let (verdict, rejection, line_info) = match &verification.verdict {
        VerifierVerdict::Accepted { has_line_info, .. } => ("accepted", None, Some(*has_line_info)),
        VerifierVerdict::Rejected(rejection) => ("rejected", Some(rejection), None),
    };
    let source = rejection.and_then(Rejection::source);
    json::line(&JsonVerification {
        file: verified.file(),
        kind: verified.kind(),
        name: verified.name(),
        hook: DecidingHook::of_this_machine(),
        verdict,
        reason: rejection.map(Rejection::reason),
        source: source.map(|(file, entry)| JsonSource {
            file,
            line: entry.line,
            column: entry.column,
            text: &entry.text,
        }),
        insn: rejection.and_then(Rejection::insn),
        insns: verification.insns,
        processed_insns: stats.processed_insns,
        insn_limit: stats.insn_limit,
        total_states: stats.total_states,
        peak_states: stats.peak_states,
        max_states_per_insn: stats.max_states_per_insn,
        stack_depths: Some(&*stats.stack_depths).filter(|depths| !depths.is_empty()),
        verification_usec: stats.time.map(|time| time.as_micros()),
        line_info,
        log: verified.log().filter(|_| with_log).map(VerifierLog::text),
    })
}
