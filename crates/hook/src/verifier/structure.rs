//! The structure of the code: `check_subprogs()`, `check_cfg()` and `check_max_stack_depth()` in kernel/bpf/verifier.c.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::Program;
use knobgate_bpf::uapi::BPF_COMPLEXITY_LIMIT_INSNS;

use super::Rejection;
use crate::Profile;
use crate::constants::MAX_BPF_STACK;
use crate::step::Step;

/// The functions of a program: where each starts and ends.
pub(super) type Functions = BTreeMap<usize, usize>;

pub(super) fn check(program: &Program, code: &[Step], profile: &Profile) -> Result<Functions, Rejection> {
    if code.is_empty() {
        return Err(Rejection::Empty);
    }
    if code.len() > BPF_COMPLEXITY_LIMIT_INSNS {
        return Err(Rejection::TooLarge { insns: code.len() });
    }
    let functions = functions(program, code);
    for (&start, &end) in &functions {
        check_jumps(code, start, end)?;
    }
    check_reachable(code)?;
    for (&start, &end) in &functions {
        check_loops(code, start, end, profile)?;
    }
    Ok(functions)
}

/// Functions start at 0, where the program says so, and at the targets of calls and function addresses.
fn functions(program: &Program, code: &[Step]) -> Functions {
    let named = program.functions.iter().map(|function| function.start).filter(|start| *start < code.len());
    let called = code.iter().filter_map(|step| match step {
        Step::Call { start } | Step::Function { start, .. } => Some(*start as usize),
        _ => None,
    });
    let starts: BTreeSet<usize> = std::iter::once(0).chain(named).chain(called).collect();
    let ends = starts.iter().copied().skip(1).chain([code.len()]);
    starts.iter().copied().zip(ends).collect()
}

/// The successors of a step in its function: by falling through and by jumping.
pub(super) fn successors(step: Step, index: usize) -> impl Iterator<Item = usize> {
    let (next, target) = match step {
        Step::Jump { target } => (None, Some(target)),
        Step::JumpIf { target, .. } | Step::MayGoto { target } => (Some(index + 1), Some(target)),
        Step::Exit => (None, None),
        Step::Number { .. } | Step::Map { .. } | Step::MapValue { .. } | Step::Function { .. } => {
            (Some(index + 2), None)
        }
        _ => (Some(index + 1), None),
    };
    next.into_iter().chain(target.map(|target| target as usize))
}

fn check_jumps(code: &[Step], start: usize, end: usize) -> Result<(), Rejection> {
    for insn in start..end {
        let step = code[insn];
        if matches!(step, Step::SecondHalf) {
            continue;
        }
        for target in successors(step, insn) {
            let jumps = matches!(step, Step::Jump { .. } | Step::JumpIf { .. } | Step::MayGoto { .. });
            if target == end && !jumps {
                return Err(Rejection::FallsOff { insn });
            }
            if !(start..end).contains(&target) {
                return Err(Rejection::JumpLeavesFunction { insn, target });
            }
            if matches!(code[target], Step::SecondHalf) {
                return Err(Rejection::JumpIntoLoad { insn, target: target - 1 });
            }
        }
        // The last instruction is a conditional jump, which may fall through.
        if matches!(step, Step::JumpIf { .. } | Step::MayGoto { .. }) && insn + 1 == end {
            return Err(Rejection::FallsOff { insn });
        }
    }
    Ok(())
}

/// Every instruction must be reachable, including callbacks and called functions.
fn check_reachable(code: &[Step]) -> Result<(), Rejection> {
    let mut reached = vec![false; code.len()];
    let mut pending = vec![0];
    while let Some(insn) = pending.pop() {
        if std::mem::replace(&mut reached[insn], true) {
            continue;
        }
        let step = code[insn];
        pending.extend(successors(step, insn));
        if let Step::Call { start } | Step::Function { start, .. } = step {
            pending.push(start as usize);
        }
    }
    let unreached = (0..code.len()).find(|insn| !reached[*insn] && !matches!(code[*insn], Step::SecondHalf));
    unreached.map_or(Ok(()), |insn| Err(Rejection::Unreachable { insn }))
}

/// Old kernels reject backward jumps.
fn check_loops(code: &[Step], start: usize, end: usize, profile: &Profile) -> Result<(), Rejection> {
    if !profile.bounded_loops {
        for (insn, step) in code.iter().enumerate().take(end).skip(start) {
            if let Some(target) = successors(*step, insn).find(|target| *target <= insn) {
                return Err(Rejection::BackEdge { insn, target });
            }
        }
    }
    Ok(())
}

/// Checks how much stack the functions on a chain of calls use together: `check_max_stack_depth()`. `used` has what each
/// function uses.
pub(super) fn check_stack(
    code: &[Step],
    functions: &Functions,
    used: &BTreeMap<usize, usize>,
    profile: &Profile,
) -> Result<(), Rejection> {
    let mut calls: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (&start, &end) in functions {
        for (insn, step) in code.iter().enumerate().take(end).skip(start) {
            if let Step::Call { start: target } | Step::Function { start: target, .. } = step {
                calls.entry(start).or_default().push((insn, *target as usize));
            }
        }
    }
    let depths = functions.keys().map(|start| {
        let used = used.get(start).copied().unwrap_or(0);
        (*start, round_up_stack_depth(used, profile))
    });
    let (frames, bytes) = descend(0, &calls, &depths.collect(), &mut Vec::new(), &mut BTreeMap::new())?;
    if bytes > MAX_BPF_STACK { Err(Rejection::StackTotal { frames, bytes }) } else { Ok(()) }
}

/// Since 6.8, programs that are compiled to machine code take less.
fn round_up_stack_depth(used: usize, profile: &Profile) -> usize {
    if profile.version >= (6, 8) { used.next_multiple_of(16) } else { used.max(1).next_multiple_of(32) }
}

/// The maximum of frames and of bytes of stack, from `function` on.
fn descend(
    function: usize,
    calls: &BTreeMap<usize, Vec<(usize, usize)>>,
    depths: &BTreeMap<usize, usize>,
    chain: &mut Vec<usize>,
    totals: &mut BTreeMap<usize, (usize, usize)>,
) -> Result<(usize, usize), Rejection> {
    if let Some(&known) = totals.get(&function) {
        return Ok(known);
    }
    chain.push(function);
    let (mut frames, mut bytes) = (0, 0);
    for &(insn, target) in calls.get(&function).into_iter().flatten() {
        if chain.contains(&target) {
            return Err(Rejection::Recursion { insn, target });
        }
        let below = descend(target, calls, depths, chain, totals)?;
        (frames, bytes) = (frames.max(below.0), bytes.max(below.1));
    }
    chain.pop();
    let total = (frames + 1, bytes + depths.get(&function).copied().unwrap_or(0));
    totals.insert(function, total);
    Ok(total)
}
