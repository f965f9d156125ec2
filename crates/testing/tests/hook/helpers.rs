//! The table of helpers is right for the running kernel: which ones programs of this hook can call, under which license, and
//! what the process that loads them needs.

use std::ops::RangeInclusive;
use std::thread;

use knobgate_bpf::{Helper, Insn, Program, Reg, Width};
use knobgate_kernel::{LoadOptions, VerifierVerdict, kernel_version, verify};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// The numbers that are tried, with some above the last, which is that of `bpf_cgrp_storage_delete`.
const NUMBERS: RangeInclusive<u32> = 1..=240;

/// What the verifier says about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Programs of this type cannot call it, or not with these capabilities.
    Unavailable,
    /// Only programs under a license that is compatible with the GPL can.
    NeedsGpl,
    /// Only sleepable programs can.
    MightSleep,
    /// Programs of this type can call it, if only with other arguments.
    Available,
}

/// Asks about every number, and compares the answers with the table.
pub(crate) fn compare() -> Result<String, String> {
    let (major, minor, _) = kernel_version();
    let release = (major, minor);
    // Capabilities are those of a thread.
    let unprivileged = thread::scope(|scope| scope.spawn(without_perfmon).join());
    let unprivileged = unprivileged.map_err(|_| "the thread without CAP_PERFMON panicked")??;
    let mut differences = Vec::new();
    let (mut available, mut number) = (0, *NUMBERS.start());
    for (privileged, unprivileged) in ask_all()?.into_iter().zip(unprivileged) {
        let helper = Helper::find(number).filter(|helper| helper.since <= release);
        let expected = expected(helper, release);
        let found = (privileged, unprivileged);
        if found != expected {
            let name = Helper::find(number).map_or("a helper", |helper| helper.name);
            differences.push(format!("{number} {name}: the kernel says {found:?}, the table {expected:?}"));
        }
        available += u32::from(helper.is_some());
        number += 1;
    }
    if differences.is_empty() { Ok(format!("{available} helpers")) } else { Err(differences.join("\n")) }
}

/// A program's answers by license: the GPL, and another.
type Answers = [Answer; 2];

/// What the table says about a helper that this kernel has, with all capabilities and without CAP_PERFMON.
fn expected(helper: Option<&Helper>, release: (u16, u16)) -> (Answers, Answers) {
    let none = [Answer::Unavailable; 2];
    let Some(helper) = helper else { return (none, none) };
    let called = if helper.might_sleep { Answer::MightSleep } else { Answer::Available };
    let privileged = [called, if helper.gpl_only { Answer::NeedsGpl } else { called }];
    let needs_perfmon = helper.perfmon_since.is_some_and(|since| since <= release);
    (privileged, if needs_perfmon { none } else { privileged })
}

/// The answers that this thread gets from now on, after giving up what it does not need for loading.
fn without_perfmon() -> Result<Vec<Answers>, String> {
    // With the one that raises the limit of locked memory, which other processes may have used up: not every machine has it.
    let kept = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::SYS_RESOURCE;
    let has = capabilities(None).map_err(|error| format!("capget: {error}"))?;
    let kept = kept & has.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|error| format!("capset: {error}"))?;
    ask_all()
}

fn ask_all() -> Result<Vec<Answers>, String> {
    NUMBERS.map(|number| Ok([ask(number, "GPL")?, ask(number, "Proprietary")?])).collect()
}

/// The verifier's answer about a call with zeros as arguments.
fn ask(number: u32, license: &str) -> Result<Answer, String> {
    let zero = |reg| Insn::mov(Width::W64, reg, 0);
    let mut insns: Vec<Insn> = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5].map(zero).to_vec();
    insns.extend([Insn::call_helper(number), zero(Reg::R0), Insn::exit()]);
    let license = Some(license.to_owned());
    let program = Program { name: "call".to_owned(), insns, license, ..Program::default() };
    let verified = verify(&program, &LoadOptions::default(), None).map_err(|error| error.to_string())?;
    let verdict = verified.into_iter().next().ok_or("there is no verdict")?.verdict;
    let VerifierVerdict::Rejected(rejection) = verdict else { return Ok(Answer::Available) };
    let reason = rejection.reason();
    let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    Ok(if says(&["cannot use helper", "unknown func", "invalid func"]) {
        Answer::Unavailable
    } else if says(&["GPL-restricted"]) {
        Answer::NeedsGpl
    } else if says(&["might sleep", "sleepable"]) {
        Answer::MightSleep
    } else {
        Answer::Available
    })
}
