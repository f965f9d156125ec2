//! States that were seen before, where paths are cut short: `bpf_is_state_visited()` in kernel/bpf/states.c.

use std::collections::HashMap;

use super::check::Verifier;
use super::env::VerifierEnv;
use super::equivalence::{Exactness, are_equal};
use super::precision::{self, Wanted};
use super::register::{Register, ScalarId};
use super::stack::{Byte, Slot};
use super::state::State;
use super::violation::Violation;

/// A state that was kept: `struct bpf_verifier_state_list`.
pub(super) struct Checkpoint {
    pub(super) state: State,
    /// For each frame, the registers and the slots with numbers that matter, as masks.
    pub(super) precise: Vec<(u16, u64)>,
    /// How many paths from here are not at their end.
    branches: u32,
    /// How often a path was cut short here, and how often not.
    hits: u32,
    misses: u32,
    /// What is not live was removed.
    is_clean: bool,
}

/// The checkpoints.
pub(super) struct Explored {
    checkpoints: Vec<Checkpoint>,
    /// For each instruction, the numbers of those that are compared with, the oldest first.
    at: Vec<Vec<usize>>,
    loops: HashMap<LoopKey, Loop>,
    /// The instructions and jumps that were processed when the last one was added.
    insns_before: u32,
    jumps_before: u32,
}

/// A loop whose end the verifier does not find by following it, and the calls that lead to it: `struct bpf_scc_callchain`.
type LoopKey = (Vec<usize>, u32);

/// `struct bpf_scc_visit`
#[derive(Default)]
struct Loop {
    /// The checkpoint where the loop was entered, until all paths from there are at their end.
    entry: Option<usize>,
    /// States that are equal to a checkpoint from which not all paths are at their end, with that.
    back_edges: Vec<(State, usize)>,
}

/// `MAX_BACKEDGE_ITERS`: how often marks are passed on around a loop, before everything is marked.
const BACK_EDGE_ROUNDS: usize = 64;

impl Explored {
    pub(super) fn new(insns: usize) -> Self {
        Self {
            checkpoints: Vec::new(),
            at: vec![Vec::new(); insns],
            loops: HashMap::new(),
            insns_before: 0,
            jumps_before: 0,
        }
    }

    pub(super) fn get(&self, checkpoint: usize) -> &Checkpoint {
        &self.checkpoints[checkpoint]
    }

    pub(super) fn get_mut(&mut self, checkpoint: usize) -> &mut Checkpoint {
        &mut self.checkpoints[checkpoint]
    }

    /// Another path starts after this checkpoint.
    pub(super) fn add_branch(&mut self, checkpoint: usize) {
        self.checkpoints[checkpoint].branches += 1;
    }

    /// A path after this checkpoint has ended: `bpf_update_branch_counts()`.
    pub(super) fn end_path(&mut self, env: &VerifierEnv<'_>, parent: Option<usize>) {
        let mut next = parent;
        while let Some(number) = next {
            let checkpoint = &mut self.checkpoints[number];
            checkpoint.branches -= 1;
            next = checkpoint.state.parent;
            if checkpoint.branches > 0 {
                return;
            }
            self.leave_loop(env, number);
        }
    }

    /// The last state at `insn` on the way to `state` that has fewer than `depth` checkpoints before it:
    /// `find_prev_entry()`.
    pub(super) fn previous_entry(&self, state: &State, insn: usize, depth: u32) -> Option<usize> {
        self.at[insn].iter().rev().copied().find(|number| {
            let checkpoint = &self.checkpoints[*number];
            checkpoint.branches > 0
                && checkpoint.state.depth < depth
                && checkpoint.state.has_same_callsites(state)
        })
    }

    /// Whether marks of a checkpoint may still come from other paths around its loop.
    fn is_incomplete(&self, env: &VerifierEnv<'_>, state: &State) -> bool {
        let key = loop_of(env, state);
        key.and_then(|key| self.loops.get(&key)).is_some_and(|found| !found.back_edges.is_empty())
    }

    /// `maybe_enter_scc()`
    fn enter_loop(&mut self, env: &VerifierEnv<'_>, checkpoint: usize) {
        if let Some(key) = loop_of(env, &self.checkpoints[checkpoint].state) {
            self.loops.entry(key).or_default().entry.get_or_insert(checkpoint);
        }
    }

    /// When all paths from where a loop was entered are at their end, passes marks on around it: `maybe_exit_scc()`.
    fn leave_loop(&mut self, env: &VerifierEnv<'_>, checkpoint: usize) {
        let Some(key) = loop_of(env, &self.checkpoints[checkpoint].state) else { return };
        let Some(found) = self.loops.get_mut(&key).filter(|found| found.entry == Some(checkpoint)) else {
            return;
        };
        found.entry = None;
        let back_edges = std::mem::take(&mut found.back_edges);
        for round in 0.. {
            let mut changed = false;
            for (state, equal) in &back_edges {
                if round == BACK_EDGE_ROUNDS {
                    precision::mark_all(self, state);
                    continue;
                }
                let wanted = Wanted::of_checkpoint(state.top(), &self.checkpoints[*equal].precise);
                changed |= precision::mark(env, self, state, wanted);
            }
            if !changed {
                return;
            }
        }
    }
}

/// The outermost loop that a state is in: `compute_scc_callchain()`.
fn loop_of(env: &VerifierEnv<'_>, state: &State) -> Option<LoopKey> {
    let mut callsites = Vec::new();
    for frame in 0..state.frames.len() {
        let insn = state.insn_of(frame);
        match env.flow.loops[insn] {
            0 => callsites.push(insn),
            found => return Some((callsites, found)),
        }
    }
    None
}

impl Verifier<'_> {
    /// Whether a state as strict as this one was followed to the end from here, so that this path need not be. If not, the
    /// state may be kept.
    pub(super) fn is_visited(&mut self) -> Result<bool, Violation> {
        let insn = self.state.insn;
        let point = self.env.flow.points[insn];
        let must_add = point.is_forced || self.state.history.len() > 40;
        let jumps = self.jumps_processed - self.explored.jumps_before;
        let insns = self.insns_processed - self.explored.insns_before;
        let mut adds = must_add || jumps >= 2 && insns >= 8;
        let mut position = self.explored.at[insn].len();
        while position > 0 {
            position -= 1;
            let number = self.explored.at[insn][position];
            if let Some(is_loop) = self.matches(number, insn)? {
                self.hit(number, is_loop);
                return Ok(true);
            }
            let checkpoint = &mut self.explored.checkpoints[number];
            if checkpoint.branches > 0 && !must_add && jumps < 20 && insns < 100 {
                adds = false;
            }
            if adds {
                checkpoint.misses += 1;
            }
            let patience = if point.is_forced && checkpoint.branches > 0 { 64 } else { 3 };
            if checkpoint.misses > checkpoint.hits * patience + patience {
                self.explored.at[insn].remove(position);
            }
        }
        if adds {
            self.add_checkpoint();
        }
        Ok(false)
    }

    /// Whether this path can be cut short at a checkpoint: `Some`, with whether it is the end of a loop.
    fn matches(&mut self, number: usize, insn: usize) -> Result<Option<bool>, Violation> {
        use crate::step::Step;
        let env = self.env;
        let checkpoint = self.explored.get(number);
        if checkpoint.branches > 0 {
            let old = &checkpoint.state;
            let equal = |exactness| are_equal(env, old, &checkpoint.precise, &self.state, exactness);
            match env.code[insn] {
                Step::MayGoto { .. }
                    if old.may_goto_depth != self.state.may_goto_depth && equal(Exactness::Ranges) =>
                {
                    return Ok(Some(true));
                }
                Step::Helper { .. } if env.flow.points[insn].is_forced => {
                    return Ok(equal(Exactness::Ranges).then_some(true));
                }
                _ => {}
            }
            if old.may_goto_depth == self.state.may_goto_depth
                && old.callback_depth == self.state.callback_depth
                && equal(Exactness::Exact)
            {
                return Err(Violation::InfiniteLoop { insn });
            }
            return Ok(None);
        }
        let is_incomplete = self.explored.is_incomplete(env, &self.explored.get(number).state);
        if !is_incomplete {
            self.clean(number);
        }
        let exactness = if is_incomplete { Exactness::Ranges } else { Exactness::Safe };
        let checkpoint = self.explored.get(number);
        let equal = are_equal(env, &checkpoint.state, &checkpoint.precise, &self.state, exactness);
        Ok(equal.then_some(is_incomplete))
    }

    /// Ends the path at a checkpoint: what matters there matters here.
    fn hit(&mut self, number: usize, is_loop: bool) {
        self.explored.get_mut(number).hits += 1;
        if self.env.flow.points[self.state.insn].is_jump {
            self.history_entry();
        }
        let precise = &self.explored.get(number).precise;
        let wanted = Wanted::of_checkpoint(self.state.top(), precise);
        precision::mark(self.env, &mut self.explored, &self.state, wanted);
        if is_loop && let Some(key) = loop_of(self.env, &self.state) {
            self.explored.loops.entry(key).or_default().back_edges.push((self.state.clone(), number));
        }
    }

    fn add_checkpoint(&mut self) {
        self.explored.insns_before = self.insns_processed;
        self.explored.jumps_before = self.jumps_processed;
        clear_singular_ids(&mut self.state);
        let number = self.explored.checkpoints.len();
        let precise = vec![(0, 0); self.state.frames.len()];
        let kept = State { history: std::mem::take(&mut self.state.history), ..self.state.clone() };
        self.explored.checkpoints.push(Checkpoint {
            state: kept,
            precise,
            branches: 1,
            hits: 0,
            misses: 0,
            is_clean: false,
        });
        self.explored.at[self.state.insn].push(number);
        self.explored.enter_loop(self.env, number);
        self.state.parent = Some(number);
        self.state.first_insn = self.state.insn;
        self.state.depth += 1;
        // The entry that the current instruction has is in the checkpoint now.
        self.has_history = false;
    }

    /// Removes what is not live from a checkpoint whose paths are all at their end: `clean_verifier_state()`.
    fn clean(&mut self, number: usize) {
        let checkpoint = &mut self.explored.checkpoints[number];
        if std::mem::replace(&mut checkpoint.is_clean, true) {
            return;
        }
        for frame in 0..checkpoint.state.frames.len() {
            let insn = checkpoint.state.insn_of(frame);
            let live = self.env.live_registers[insn];
            let frame = &mut checkpoint.state.frames[frame];
            for (register, value) in frame.registers.iter_mut().enumerate() {
                if live >> register & 1 == 0 {
                    *value = Register::UNINIT;
                }
            }
            let live = self.stack_liveness.live(self.env.code, &self.env.flow, frame.instance, insn);
            // Dynptrs stay, whether they are live or not.
            let is_unused = |at: usize, slot: &Slot| {
                live >> at & 1 == 0 && !slot.is_dynptr() && slot.bytes != [Byte::Invalid; 8]
            };
            if frame.stack.iter().enumerate().any(|(at, slot)| is_unused(at, slot)) {
                let slots = std::rc::Rc::make_mut(&mut frame.stack);
                for (at, slot) in slots.iter_mut().enumerate() {
                    if is_unused(at, slot) {
                        *slot = Slot::EMPTY;
                    }
                }
            }
        }
        // Nothing is traced back through it any more.
        checkpoint.state.history = Vec::new();
    }
}

/// Removes the ids that only one number has: `clear_singular_ids()`.
fn clear_singular_ids(state: &mut State) {
    let mut origins: Vec<u32> =
        state.places().filter(|(_, value)| value.is_scalar()).map(|(_, value)| value.link.origin).collect();
    origins.sort_unstable();
    let is_singular = |origin: u32| {
        let first = origins.partition_point(|other| *other < origin);
        origins.get(first + 1) != Some(&origin)
    };
    state.change(
        |held| held.is_scalar() && held.link.origin != 0 && is_singular(held.link.origin),
        |held| held.link = ScalarId::NONE,
    );
}
