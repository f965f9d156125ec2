//! The control flow that is known before any path is followed: where states are compared, which instructions come before
//! which, and what loops (parts of `check_cfg()`, and `compute_scc()`).

use knobgate_bpf::{ArgType, Helper};

use super::structure::{Functions, successors};
use crate::step::Step;

/// What happens at an instruction besides its effect.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Point {
    /// States are compared here (`prune_point`).
    pub(super) is_prune: bool,
    /// Paths get here by jumping, so that backtracking has to know from where (`jmp_point`).
    pub(super) is_jump: bool,
    /// A state is kept whenever a path gets here (`force_checkpoint`).
    pub(super) is_forced: bool,
}

#[derive(Debug)]
pub(super) struct ControlFlow {
    pub(super) points: Vec<Point>,
    /// Where the predecessors of each instruction start in `sources`.
    starts: Vec<u32>,
    sources: Vec<u32>,
    /// The number of the loop that each instruction is in; 0: none. Only if there are loops whose end the verifier does
    /// not find by following them.
    pub(super) loops: Vec<u32>,
}

/// Whether a helper calls a function back.
pub(super) fn calls_back(helper: &Helper) -> bool {
    helper.args().contains(&ArgType::Func)
}

impl ControlFlow {
    pub(super) fn new(code: &[Step], functions: &Functions) -> Self {
        let points = points(code);
        let mut starts = vec![0_u32; code.len() + 1];
        let edges = || {
            let plain = code.iter().enumerate().filter(|(_, step)| !matches!(step, Step::SecondHalf));
            plain.flat_map(|(insn, step)| successors(*step, insn).map(move |next| (insn, next)))
        };
        for (_, next) in edges() {
            starts[next + 1] += 1;
        }
        for insn in 0..code.len() {
            starts[insn + 1] += starts[insn];
        }
        let mut filled = starts.clone();
        let mut sources = vec![0_u32; starts[code.len()] as usize];
        for (insn, next) in edges() {
            sources[filled[next] as usize] = insn as u32;
            filled[next] += 1;
        }
        let has_implicit_loops = points.iter().any(|point| point.is_forced);
        let loops = if has_implicit_loops { loops(code, functions, &points) } else { vec![0; code.len()] };
        Self { points, starts, sources, loops }
    }

    /// The instructions that may come before this one in its function.
    pub(super) fn predecessors(&self, insn: usize) -> impl Iterator<Item = usize> {
        let range = self.starts[insn] as usize..self.starts[insn + 1] as usize;
        self.sources[range].iter().map(|source| *source as usize)
    }
}

/// `visit_insn()`
fn points(code: &[Step]) -> Vec<Point> {
    let mut points = vec![Point::default(); code.len()];
    for (insn, step) in code.iter().enumerate() {
        match *step {
            Step::Jump { target } => {
                let target = &mut points[target as usize];
                (target.is_prune, target.is_jump) = (true, true);
            }
            Step::JumpIf { target, .. } => {
                points[insn].is_prune = true;
                let target = &mut points[target as usize];
                (target.is_prune, target.is_jump) = (true, true);
            }
            Step::MayGoto { target } => {
                (points[insn].is_prune, points[insn].is_forced) = (true, true);
                let target = &mut points[target as usize];
                (target.is_prune, target.is_jump) = (true, true);
                if let Some(next) = points.get_mut(insn + 1) {
                    (next.is_prune, next.is_jump) = (true, true);
                }
            }
            Step::Call { start } => {
                points[insn].is_prune = true;
                let start = &mut points[start as usize];
                (start.is_prune, start.is_jump) = (true, true);
                if let Some(next) = points.get_mut(insn + 1) {
                    (next.is_prune, next.is_jump) = (true, true);
                }
            }
            Step::Helper { helper } if calls_back(helper) => {
                points[insn] = Point { is_prune: true, is_jump: true, is_forced: true };
                if let Some(next) = points.get_mut(insn + 1) {
                    (next.is_prune, next.is_jump) = (true, true);
                }
            }
            Step::Function { start, .. } => {
                let start = &mut points[start as usize];
                (start.is_prune, start.is_jump) = (true, true);
            }
            _ => {}
        }
    }
    points
}

/// The strongly connected components of each function, by Tarjan's algorithm. A helper that calls back is a loop of its
/// own.
fn loops(code: &[Step], functions: &Functions, points: &[Point]) -> Vec<u32> {
    let mut numbers = vec![0_u32; code.len()];
    let mut lows = vec![0_u32; code.len()];
    let mut loops = vec![0_u32; code.len()];
    let (mut next_number, mut next_loop) = (1, 1);
    let mut on_stack = vec![false; code.len()];
    let mut stack = Vec::new();
    for (&start, &end) in functions {
        for root in start..end {
            if numbers[root] != 0 || matches!(code[root], Step::SecondHalf) {
                continue;
            }
            let mut calls: Vec<(usize, Vec<usize>)> = Vec::new();
            let mut entered = Some(root);
            loop {
                if let Some(insn) = entered.take() {
                    (numbers[insn], lows[insn]) = (next_number, next_number);
                    next_number += 1;
                    stack.push(insn);
                    on_stack[insn] = true;
                    calls.push((insn, successors(code[insn], insn).collect()));
                }
                let Some((insn, targets)) = calls.last_mut() else { break };
                let insn = *insn;
                if let Some(target) = targets.pop() {
                    if numbers[target] == 0 {
                        entered = Some(target);
                    } else if on_stack[target] {
                        lows[insn] = lows[insn].min(numbers[target]);
                    }
                    continue;
                }
                calls.pop();
                if let Some((caller, _)) = calls.last() {
                    lows[*caller] = lows[*caller].min(lows[insn]);
                }
                if lows[insn] != numbers[insn] {
                    continue;
                }
                let members = stack.split_off(stack.iter().rposition(|member| *member == insn).unwrap_or(0));
                let is_loop = members.len() > 1
                    || successors(code[insn], insn).any(|next| next == insn)
                    || points[insn].is_forced && matches!(code[insn], Step::Helper { .. });
                for member in &members {
                    on_stack[*member] = false;
                    loops[*member] = if is_loop { next_loop } else { 0 };
                }
                next_loop += u32::from(is_loop);
            }
        }
    }
    loops
}
