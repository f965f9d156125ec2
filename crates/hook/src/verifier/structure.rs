//! The structure of the code: `check_subprogs()`, `check_cfg()` and `check_max_stack_depth()` in kernel/bpf/verifier.c.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
use knobgate_bpf::{Program, helper_ids};

use super::Rejection;
use crate::Profile;
use crate::constants::MAX_BPF_STACK;
use crate::machine::stack_granularity;
use crate::step::Step;

/// `BPF_MAX_SUBPROGS`, with the main function.
const FUNCTIONS_MAX: usize = 256;

/// The functions of a program: where each starts and ends.
pub(super) type Functions = BTreeMap<usize, usize>;

/// Finds the functions, and checks that jumps stay in them.
pub(super) fn find_functions(code: &[Step]) -> Result<Functions, Rejection> {
    if code.is_empty() {
        return Err(Rejection::Empty);
    }
    if code.len() > BPF_COMPLEXITY_LIMIT_INSNS {
        return Err(Rejection::TooLarge { insns: code.len() });
    }
    let functions = functions(code);
    if functions.len() > FUNCTIONS_MAX {
        return Err(Rejection::TooManyFunctions);
    }
    for (&start, &end) in &functions {
        check_jumps(code, start, end)?;
    }
    Ok(functions)
}

/// `check_cfg()`
pub(super) fn check_control_flow(
    code: &[Step],
    functions: &Functions,
    profile: &Profile,
) -> Result<(), Rejection> {
    check_reachable(code)?;
    for (&start, &end) in functions {
        check_loops(code, start, end, profile)?;
    }
    Ok(())
}

/// Functions start at 0 and at the targets of calls and function addresses: `add_subprog_and_kfunc()`.
fn functions(code: &[Step]) -> Functions {
    let starts: BTreeSet<usize> = std::iter::once(0).chain(code.iter().filter_map(target)).collect();
    let ends = starts.iter().copied().skip(1).chain([code.len()]);
    starts.iter().copied().zip(ends).collect()
}

/// Whether the functions that have names are those that there are: `check_btf_func()`.
pub(super) fn check_names(program: &Program, functions: &Functions) -> Result<(), Rejection> {
    let named = &program.functions;
    if named.is_empty() {
        return Ok(());
    }
    if named.len() != functions.len() {
        return Err(Rejection::FunctionCount { named: named.len(), found: functions.len() });
    }
    let elsewhere = named.iter().zip(functions.keys()).find(|(named, start)| named.start != **start);
    elsewhere.map_or(Ok(()), |(_, start)| Err(Rejection::FunctionLayout { insn: *start }))
}

/// Whether it is a 64-bit immediate load, which takes two instructions.
pub(super) const fn is_wide(step: &Step) -> bool {
    matches!(step, Step::Number { .. } | Step::Map { .. } | Step::MapValue { .. } | Step::Function { .. })
}

/// The successors of a step in its function: by falling through and by jumping.
pub(super) fn successors(step: Step, index: usize) -> impl Iterator<Item = usize> {
    let (next, target) = match step {
        Step::Jump { target } => (None, Some(target)),
        Step::JumpIf { target, .. } | Step::MayGoto { target } => (Some(index + 1), Some(target)),
        Step::Exit => (None, None),
        step if is_wide(&step) => (Some(index + 2), None),
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

/// Checks how many functions a chain of calls has, and how much stack they use together: `check_max_stack_depth()`. Code
/// that no path gets to counts, too. `used` has what each function uses.
pub(super) fn check_stack(
    code: &[Step],
    functions: &Functions,
    used: &BTreeMap<usize, usize>,
    profile: &Profile,
) -> Result<(), Rejection> {
    let called = |start: usize, end: usize| Called {
        used: round_up_stack_depth(used.get(&start).copied().unwrap_or(0), profile),
        calls: code[start..end].iter().filter_map(target).collect(),
        has_tail_call: code[start..end].iter().any(is_tail_call),
    };
    let functions = functions.iter().map(|(&start, &end)| (start, called(start, end))).collect();
    Chains { functions, profile, checked: BTreeSet::new() }.check(0, 1, 0)
}

/// The kernel removes instructions that no path gets to. The address of a function that is gone becomes that of the next one. If
/// there is none, the program cannot be compiled (`jit_subprogs()`), unless only the main function is left.
pub(super) fn check_remaining(code: &[Step], functions: &Functions, seen: &[bool]) -> Result<(), Rejection> {
    if functions.keys().filter(|start| seen[**start]).count() == 1 {
        return Ok(());
    }
    let last = seen.iter().rposition(|seen| *seen);
    let refers = |step: &Step| target(step).is_some_and(|start| last.is_none_or(|last| last < start));
    let found = code.iter().zip(seen).position(|(step, seen)| *seen && refers(step));
    let Some(insn) = found else { return Ok(()) };
    let slots = |step: &Step| if is_wide(step) { 2 } else { 1 };
    let remaining = code.iter().zip(seen).filter(|(_, seen)| **seen).map(|(step, _)| slots(step)).sum();
    Err(Rejection::RemovedFunction { insn, remaining })
}

/// The function that an instruction calls or has called.
fn target(step: &Step) -> Option<usize> {
    match step {
        Step::Call { start } | Step::Function { start, .. } => Some(*start as usize),
        _ => None,
    }
}

fn is_tail_call(step: &Step) -> bool {
    matches!(step, Step::Helper { helper } if helper.id == helper_ids::TAIL_CALL)
}

/// What a chain of calls has to know of a function.
struct Called {
    /// Bytes of stack.
    used: usize,
    calls: Vec<usize>,
    has_tail_call: bool,
}

/// All chains of calls.
struct Chains<'a> {
    functions: BTreeMap<usize, Called>,
    profile: &'a Profile,
    /// Functions that were checked, with the number of frames and the stack of their callers.
    checked: BTreeSet<(usize, usize, usize)>,
}

impl Chains<'_> {
    /// Checks what `function` calls, as the last of `frames` functions. Its callers use `bytes` of stack.
    fn check(&mut self, function: usize, frames: usize, bytes: usize) -> Result<(), Rejection> {
        let Some(called) = self.functions.get(&function) else { return Ok(()) };
        if !self.checked.insert((function, frames, bytes)) {
            return Ok(());
        }
        // Since 5.10: the frames of the callers stay when the next program starts.
        let is_limited = function != 0 && called.has_tail_call && self.profile.version >= (5, 10);
        if is_limited && bytes >= MAX_BPF_STACK / 2 {
            return Err(Rejection::TailCallStack { bytes });
        }
        let bytes = bytes + called.used;
        if bytes > MAX_BPF_STACK {
            return Err(Rejection::StackTotal { frames, bytes });
        }
        for target in called.calls.clone() {
            if frames >= self.profile.call_frames {
                return Err(Rejection::TooDeep { frames });
            }
            self.check(target, frames + 1, bytes)?;
        }
        Ok(())
    }
}

fn round_up_stack_depth(used: usize, profile: &Profile) -> usize {
    // The interpreter, for which old kernels make room, has no empty frames.
    let least = if profile.version >= (6, 8) { 0 } else { 1 };
    used.max(least).next_multiple_of(stack_granularity(profile))
}
