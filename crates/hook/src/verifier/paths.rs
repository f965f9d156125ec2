//! Following the ways through a program one by one, as the kernel does.

use std::collections::HashMap;

use knobgate_bpf::Reg;

use super::Rejection;
use super::branch::outcome;
use super::effect::{self, Returns, VerifierEnv};
use super::return_value::check_returned;
use super::state::{Abstract, Link, State};
use super::structure::successors;
use crate::step::Step;
/// How many instructions are looked at. The kernel looks at more, and knows better what it need not look at twice; what was
/// not found until then, the run of the program finds.
const STEPS_MAX: u32 = 100_000;

/// How many states are kept for a place where ways meet.
const KEPT_MAX: usize = 16;

/// One way, as far as it has come: in these functions, the innermost last.
#[derive(Clone)]
struct Way {
    insn: usize,
    state: State,
    /// Where the callers go on, and what they know.
    callers: Vec<(usize, State)>,
}

/// Rejects a function if there is a way through it that returns what is not known to be 0 or 1, or that hands a helper a
/// size that may be 0.
pub(super) fn check(
    code: &[Step],
    start: usize,
    entry: State,
    bounded: Option<&'static str>,
    env: &VerifierEnv<'_>,
) -> Result<(), Rejection> {
    let returns = Returns::new();
    let mut kept: HashMap<usize, Vec<State>> = HashMap::new();
    let mut pending = vec![Way { insn: start, state: entry, callers: Vec::new() }];
    let mut steps = 0;
    while let Some(mut way) = pending.pop() {
        loop {
            steps += 1;
            if steps > STEPS_MAX {
                return Ok(());
            }
            let step = code[way.insn];
            let arguments = way.state.arguments();
            effect::apply(step, way.insn, &mut way.state, env, &returns)?;
            match step {
                Step::Exit => {
                    let value = way.state.get(Reg::R0);
                    let Some((next, mut caller)) = way.callers.pop() else {
                        check_returned(way.insn, value, bounded)?;
                        break;
                    };
                    caller.called(if let Abstract::Stack(_) = value { Abstract::Any } else { value });
                    (way.insn, way.state) = (next, caller);
                    continue;
                }
                Step::Call { start } => {
                    let arguments = arguments.map(|argument| match argument {
                        // The stack of the caller is another one.
                        Abstract::Stack(_) => Abstract::Any,
                        Abstract::Number(scalar, _) => Abstract::Number(scalar, Link::NONE),
                        argument => argument,
                    });
                    let called = State::entry(arguments);
                    way.callers.push((way.insn + 1, std::mem::replace(&mut way.state, called)));
                    way.insn = start as usize;
                    continue;
                }
                _ => {}
            }
            if let Step::JumpIf { target, .. } = step {
                let jumps = outcome(step, way.insn, target as usize, &way.state, env.profile);
                let falls = outcome(step, way.insn, way.insn + 1, &way.state, env.profile);
                let (insn, state, other) = match (falls, jumps) {
                    (Some(falls), other) => (way.insn + 1, falls, other),
                    (None, Some(jumps)) => (target as usize, jumps, None),
                    (None, None) => break,
                };
                if let Some(state) = other {
                    pending.push(Way { insn: target as usize, state, callers: way.callers.clone() });
                }
                (way.insn, way.state) = (insn, state);
            } else {
                let mut targets = successors(step, way.insn);
                let Some(target) = targets.next() else { break };
                for other in targets {
                    pending.push(Way { insn: other, ..way.clone() });
                }
                way.insn = target;
            }
            if matches!(step, Step::Jump { .. } | Step::JumpIf { .. } | Step::MayGoto { .. })
                && way.callers.is_empty()
            {
                let known = kept.entry(way.insn).or_default();
                if known.iter().any(|known| known.contains(&way.state)) {
                    break;
                }
                if known.len() < KEPT_MAX {
                    known.push(way.state.clone());
                }
            }
        }
    }
    Ok(())
}
