//! Tracks what registers and stack may hold at every instruction: `do_check()` in kernel/bpf/verifier.c.
//!
//! The kernel follows every path through the program. Here the states of all paths to an instruction are joined, so that
//! each instruction is visited once, or a few times in loops. A program is rejected for what must go wrong. It is also
//! rejected if r0 is not known to be 0 or 1 at the end, or if a helper gets a size that may be 0; if the joined states are
//! too imprecise to tell, [each path is followed](super::paths).

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::Reg;

use super::Rejection;
use super::branch::outcome;
use super::effect::{self, Returns, VerifierEnv};
use super::paths;
use super::return_value::check_returned;
use super::state::{Abstract, FuncState, ScalarId};
use super::structure::{Functions, successors};
use crate::step::Step;

/// How often an instruction where paths meet is visited before the numbers that still change there become unknown.
const VISITS_MAX: u32 = 16;

pub(super) fn check(code: &[Step], functions: &Functions, env: &VerifierEnv<'_>) -> Result<(), Rejection> {
    let callbacks: BTreeSet<usize> = code
        .iter()
        .filter_map(|step| if let Step::Function { start, .. } = step { Some(*start as usize) } else { None })
        .collect();
    let mut returns = BTreeMap::new();
    // Callees come before their callers.
    let mut order = Vec::new();
    for &start in functions.keys() {
        visit(start, code, functions, &mut order);
    }
    for start in order {
        let end = functions.get(&start).copied().unwrap_or(code.len());
        let is_main = start == 0;
        let arguments = if is_main {
            [Abstract::Context, Abstract::Uninit, Abstract::Uninit, Abstract::Uninit, Abstract::Uninit]
        } else {
            [Abstract::Any; 5]
        };
        let bounded = match (is_main, callbacks.contains(&start)) {
            (true, _) => Some("program exit"),
            (false, true) => Some("callback return"),
            _ => None,
        };
        let entry = FuncState::entry(arguments);
        let mut flow = Flow::new(code, start, end, env, &returns);
        let returned = match flow.run(entry.clone(), bounded) {
            // Joined states are less precise than those of each path.
            Err(Rejection::ReturnValue { .. } | Rejection::ZeroSize { .. } | Rejection::Retval { .. }) => {
                paths::check(code, start, entry, bounded, env)?;
                Abstract::UNKNOWN
            }
            returned => returned?,
        };
        returns.insert(start, returned);
    }
    Ok(())
}

fn visit(start: usize, code: &[Step], functions: &Functions, order: &mut Vec<usize>) {
    if order.contains(&start) {
        return;
    }
    let end = functions.get(&start).copied().unwrap_or(code.len());
    for step in &code[start..end] {
        if let Step::Call { start } = step {
            visit(*start as usize, code, functions, order);
        }
    }
    order.push(start);
}

struct Flow<'a> {
    code: &'a [Step],
    start: usize,
    env: &'a VerifierEnv<'a>,
    returns: &'a Returns,
    /// For each instruction of the function, whether paths meet there.
    meets: Vec<bool>,
    /// The joined states where paths meet, and how often each was visited.
    states: BTreeMap<usize, (FuncState, u32)>,
}

impl<'a> Flow<'a> {
    fn new(
        code: &'a [Step],
        start: usize,
        end: usize,
        env: &'a VerifierEnv<'a>,
        returns: &'a Returns,
    ) -> Self {
        let mut meets = vec![false; end - start];
        for step in &code[start..end] {
            if let Step::Jump { target } | Step::JumpIf { target, .. } | Step::MayGoto { target } = step {
                meets[*target as usize - start] = true;
            }
        }
        Self { code, start, env, returns, meets, states: BTreeMap::new() }
    }

    /// Follows the function. Returns its return value.
    fn run(&mut self, entry: FuncState, bounded: Option<&'static str>) -> Result<Abstract, Rejection> {
        let mut returned: Option<Abstract> = None;
        let mut pending = BTreeSet::from([self.start]);
        self.states.insert(self.start, (entry, 0));
        while let Some(insn) = pending.pop_first() {
            let Some((known, visits)) = self.states.get_mut(&insn) else { continue };
            *visits += 1;
            let state = known.clone();
            self.follow(insn, state, bounded, &mut returned, &mut pending)?;
        }
        // A function without a reachable exit never returns.
        Ok(returned.unwrap_or(Abstract::Any))
    }

    /// Follows the code from `insn` to where paths meet or the function ends.
    fn follow(
        &mut self,
        mut insn: usize,
        mut state: FuncState,
        bounded: Option<&'static str>,
        returned: &mut Option<Abstract>,
        pending: &mut BTreeSet<usize>,
    ) -> Result<(), Rejection> {
        loop {
            let step = self.code[insn];
            effect::apply(step, insn, &mut state, self.env, self.returns)?;
            if let Step::Exit = step {
                let value = state.get(Reg::R0);
                check_returned(insn, value, bounded)?;
                *returned = Some(match (*returned, value) {
                    (None, value) => value,
                    (Some(Abstract::Number(a, _)), Abstract::Number(b, _)) => {
                        Abstract::Number(a.join(b), ScalarId::NONE)
                    }
                    (Some(before), value) if before == value => value,
                    _ => Abstract::Any,
                });
                return Ok(());
            }
            let Step::JumpIf { target: jumps_to, .. } = step else {
                let mut targets = successors(step, insn);
                let Some(target) = targets.next() else { return Ok(()) };
                for other in targets {
                    self.arrive(other, &state, pending);
                }
                if self.meets[target - self.start] {
                    self.arrive(target, &state, pending);
                    return Ok(());
                }
                insn = target;
                continue;
            };
            if let Some(there) = outcome(step, insn, jumps_to as usize, &state, self.env.profile) {
                self.arrive(jumps_to as usize, &there, pending);
            }
            let target = insn + 1;
            let Some(there) = outcome(step, insn, target, &state, self.env.profile) else { return Ok(()) };
            if self.meets[target - self.start] {
                self.arrive(target, &there, pending);
                return Ok(());
            }
            (insn, state) = (target, there);
        }
    }

    fn arrive(&mut self, target: usize, there: &FuncState, pending: &mut BTreeSet<usize>) {
        match self.states.get_mut(&target) {
            Some((known, visits)) => {
                if known.join(there, *visits > VISITS_MAX) {
                    pending.insert(target);
                }
            }
            None => {
                self.states.insert(target, (there.clone(), 0));
                pending.insert(target);
            }
        }
    }
}
