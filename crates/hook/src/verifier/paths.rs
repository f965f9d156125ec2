//! Following the paths through a program one by one, as the kernel does.

use std::collections::HashMap;

use knobgate_bpf::Reg;

use super::Rejection;
use super::branch::outcome;
use super::effect::{self, Returns, VerifierEnv};
use super::return_value::check_returned;
use super::state::{Abstract, FuncState, ScalarId};
use super::structure::successors;
use crate::step::Step;

/// How many instructions are visited. The kernel visits more, and prunes better. What is not found until then is found when
/// the program runs.
const STEPS_MAX: u32 = 100_000;

/// How many states are kept for an instruction, for pruning (`is_state_visited()`).
const KEPT_MAX: usize = 16;

/// One path: its current instruction, with the call stack.
#[derive(Clone)]
struct Path {
    insn: usize,
    state: FuncState,
    /// Where the callers continue, and their states; the innermost last.
    callers: Vec<(usize, FuncState)>,
}

/// Rejects a function if a path through it returns what is not known to be 0 or 1, or passes a helper a size that may be 0.
pub(super) fn check(
    code: &[Step],
    start: usize,
    entry: FuncState,
    bounded: Option<&'static str>,
    env: &VerifierEnv<'_>,
) -> Result<(), Rejection> {
    let returns = Returns::new();
    let mut kept: HashMap<usize, Vec<FuncState>> = HashMap::new();
    let mut pending = vec![Path { insn: start, state: entry, callers: Vec::new() }];
    let mut steps = 0;
    while let Some(mut path) = pending.pop() {
        loop {
            steps += 1;
            if steps > STEPS_MAX {
                return Ok(());
            }
            let step = code[path.insn];
            let arguments = path.state.arguments();
            effect::apply(step, path.insn, &mut path.state, env, &returns)?;
            match step {
                Step::Exit => {
                    let value = path.state.get(Reg::R0);
                    let Some((next, mut caller)) = path.callers.pop() else {
                        check_returned(path.insn, value, bounded)?;
                        break;
                    };
                    caller.called(if let Abstract::Stack(_) = value { Abstract::Any } else { value });
                    (path.insn, path.state) = (next, caller);
                    continue;
                }
                Step::Call { start } => {
                    let arguments = arguments.map(|argument| match argument {
                        // The callee has another stack frame.
                        Abstract::Stack(_) => Abstract::Any,
                        Abstract::Number(scalar, _) => Abstract::Number(scalar, ScalarId::NONE),
                        argument => argument,
                    });
                    let called = FuncState::entry(arguments);
                    path.callers.push((path.insn + 1, std::mem::replace(&mut path.state, called)));
                    path.insn = start as usize;
                    continue;
                }
                _ => {}
            }
            if let Step::JumpIf { target, .. } = step {
                let jumps = outcome(step, path.insn, target as usize, &path.state, env.profile);
                let falls = outcome(step, path.insn, path.insn + 1, &path.state, env.profile);
                let (insn, state, other) = match (falls, jumps) {
                    (Some(falls), other) => (path.insn + 1, falls, other),
                    (None, Some(jumps)) => (target as usize, jumps, None),
                    (None, None) => break,
                };
                if let Some(state) = other {
                    pending.push(Path { insn: target as usize, state, callers: path.callers.clone() });
                }
                (path.insn, path.state) = (insn, state);
            } else {
                let mut targets = successors(step, path.insn);
                let Some(target) = targets.next() else { break };
                for other in targets {
                    pending.push(Path { insn: other, ..path.clone() });
                }
                path.insn = target;
            }
            if matches!(step, Step::Jump { .. } | Step::JumpIf { .. } | Step::MayGoto { .. })
                && path.callers.is_empty()
            {
                let known = kept.entry(path.insn).or_default();
                if known.iter().any(|known| known.contains(&path.state)) {
                    break;
                }
                if known.len() < KEPT_MAX {
                    known.push(path.state.clone());
                }
            }
        }
    }
    Ok(())
}
