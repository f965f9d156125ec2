//! Which numbers matter: `bpf_mark_chain_precision()` in kernel/bpf/backtrack.c.
//!
//! Two states that differ only in numbers on which nothing depends are equal. So where a number decides something (a
//! branch, an offset, a size), the path is followed backwards, and every register and stack slot that the number was
//! computed from is marked in the checkpoints on it. The kernel does the same, so that a program is followed as far as
//! there.

use knobgate_bpf::{AtomicOp, Operand, Reg, helper_ids};

use super::control_flow::calls_back;
use super::env::VerifierEnv;
use super::explored::{Checkpoint, Explored};
use super::register::index;
use super::state::{HistoryEntry, Place, State};
use crate::step::Step;

/// The registers and slots that are looked for: `struct backtrack_state`.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    frame: usize,
    /// For each frame, masks of its registers and of its slots.
    frames: Vec<(u16, u64)>,
}

impl Wanted {
    fn new(frame: usize) -> Self {
        Self { frame, frames: vec![(0, 0); frame + 1] }
    }

    pub(super) fn of_register(frame: usize, register: usize) -> Self {
        let mut wanted = Self::new(frame);
        wanted.frames[frame].0 = 1 << register;
        wanted
    }

    pub(super) fn of_slot(top: usize, frame: usize, slot: usize) -> Self {
        let mut wanted = Self::new(top);
        wanted.frames[frame].1 = 1 << slot;
        wanted
    }

    /// What is precise in a checkpoint.
    pub(super) fn of_checkpoint(top: usize, precise: &[(u16, u64)]) -> Self {
        Self { frame: top, frames: precise.to_vec() }
    }

    fn is_empty(&self) -> bool {
        self.frames.iter().all(|masks| *masks == (0, 0))
    }

    fn has(&self, register: Reg) -> bool {
        index(register) < 10 && self.frames[self.frame].0 >> index(register) & 1 == 1
    }

    fn set(&mut self, register: Reg) {
        if register != Reg::R10 {
            self.frames[self.frame].0 |= 1 << index(register);
        }
    }

    fn clear(&mut self, register: Reg) {
        self.frames[self.frame].0 &= !(1 << index(register));
    }

    fn slot(&mut self, (frame, slot): (u8, u8)) -> Option<(&mut u64, u64)> {
        Some((&mut self.frames.get_mut(usize::from(frame))?.1, 1 << slot))
    }

    /// If one of several linked numbers is wanted, all are.
    fn follow_links(&mut self, entry: Option<&HistoryEntry>) {
        let Some(linked) = entry.and_then(|entry| entry.linked.as_ref()) else { return };
        let is_wanted = |place: &Place| match *place {
            Place::Register { frame, register } => {
                self.frames.get(usize::from(frame)).is_some_and(|masks| masks.0 >> register & 1 == 1)
            }
            Place::Slot { frame, slot } => {
                self.frames.get(usize::from(frame)).is_some_and(|masks| masks.1 >> slot & 1 == 1)
            }
        };
        if !linked.iter().any(is_wanted) {
            return;
        }
        for place in linked.iter() {
            match *place {
                Place::Register { frame, register } => {
                    if let Some(masks) = self.frames.get_mut(usize::from(frame)) {
                        masks.0 |= 1 << register;
                    }
                }
                Place::Slot { frame, slot } => {
                    if let Some(masks) = self.frames.get_mut(usize::from(frame)) {
                        masks.1 |= 1 << slot;
                    }
                }
            }
        }
    }
}

/// The path leads where this way of following it does not know on: everything is marked.
struct Unclear;

/// Marks what `wanted` depends on in the checkpoints before `state`. Returns whether a mark is new.
pub(super) fn mark(
    env: &VerifierEnv<'_>,
    explored: &mut Explored,
    state: &State,
    mut wanted: Wanted,
) -> bool {
    let mut changed = false;
    let (mut insn, mut after) = (state.insn, None);
    let mut skips = true;
    let mut current: Option<usize> = None;
    while !wanted.is_empty() {
        // The part of the path after a checkpoint, backwards.
        let segment = current.map_or(state, |checkpoint| &explored.get(checkpoint).state);
        let mut left = segment.history.len();
        loop {
            if !std::mem::take(&mut skips) {
                let entry =
                    left.checked_sub(1).map(|last| &segment.history[last]).filter(|entry| entry.insn == insn);
                if backtrack(env, insn, after, entry, &mut wanted).is_err() {
                    return mark_all(explored, state);
                }
                if wanted.is_empty() {
                    return changed;
                }
            }
            after = Some(insn);
            match previous(segment, insn, &mut left) {
                Some(before) => insn = before,
                None => break,
            }
        }
        let first = segment.first_insn;
        let Some(parent) = segment.parent else { return mark_all(explored, state) };
        changed |= explored.get_mut(parent).mark(&mut wanted);
        after = Some(first);
        insn = explored.get(parent).state.last_insn;
        current = Some(parent);
    }
    changed
}

impl Checkpoint {
    /// Marks what is wanted, and keeps of it what was not marked before.
    fn mark(&mut self, wanted: &mut Wanted) -> bool {
        let mut changed = false;
        for (number, masks) in wanted.frames.iter_mut().enumerate() {
            let (Some(frame), Some(precise)) = (self.state.frames.get(number), self.precise.get_mut(number))
            else {
                *masks = (0, 0);
                continue;
            };
            for register in 0..10 {
                if masks.0 >> register & 1 == 1 && !frame.registers[register].is_scalar() {
                    masks.0 &= !(1 << register);
                }
            }
            for slot in 0..64 {
                let is_number = || frame.stack.get(slot).is_some_and(super::stack::Slot::is_spilled_scalar);
                if masks.1 >> slot & 1 == 1 && !is_number() {
                    masks.1 &= !(1 << slot);
                }
            }
            *masks = (masks.0 & !precise.0, masks.1 & !precise.1);
            changed |= *masks != (0, 0);
            *precise = (precise.0 | masks.0, precise.1 | masks.1);
        }
        changed
    }

    /// Marks every number: `bpf_mark_all_scalars_precise()`.
    fn mark_all(&mut self) -> bool {
        let mut changed = false;
        for (frame, precise) in self.state.frames.iter().zip(&mut self.precise) {
            let mut all = (0_u16, 0_u64);
            for (register, value) in frame.registers.iter().enumerate() {
                all.0 |= u16::from(value.is_scalar()) << register;
            }
            for (slot, held) in frame.stack.iter().enumerate() {
                all.1 |= u64::from(held.is_spilled_scalar()) << slot;
            }
            changed |= all.0 & !precise.0 != 0 || all.1 & !precise.1 != 0;
            *precise = (precise.0 | all.0, precise.1 | all.1);
        }
        changed
    }
}

/// Marks every number in all checkpoints before `state`.
pub(super) fn mark_all(explored: &mut Explored, state: &State) -> bool {
    let mut changed = false;
    let mut next = state.parent;
    while let Some(checkpoint) = next {
        let checkpoint = explored.get_mut(checkpoint);
        changed |= checkpoint.mark_all();
        next = checkpoint.state.parent;
    }
    changed
}

/// The instruction before `insn` on the path after a checkpoint: `get_prev_insn_idx()`.
fn previous(segment: &State, insn: usize, left: &mut usize) -> Option<usize> {
    let jumped = left.checked_sub(1).map(|last| &segment.history[last]).filter(|entry| entry.insn == insn);
    if insn == segment.first_insn && (*left == 0 || *left == 1 && jumped.is_some()) {
        return None;
    }
    match jumped {
        Some(entry) => {
            *left -= 1;
            Some(entry.previous)
        }
        None => insn.checked_sub(1),
    }
}

/// What an instruction computes its results from: `backtrack_insn()`.
fn backtrack(
    env: &VerifierEnv<'_>,
    insn: usize,
    after: Option<usize>,
    entry: Option<&HistoryEntry>,
    wanted: &mut Wanted,
) -> Result<(), Unclear> {
    wanted.follow_links(entry);
    let stack = entry.and_then(|entry| entry.stack);
    match env.code[insn] {
        Step::Alu { dst, operand: Operand::Reg(src), .. } if wanted.has(dst) => wanted.set(src),
        Step::Mov { dst, operand: Operand::Reg(src), .. } | Step::MovSigned { dst, src, .. }
            if wanted.has(dst) =>
        {
            wanted.clear(dst);
            wanted.set(src);
        }
        Step::Mov { dst, .. }
        | Step::Number { dst, .. }
        | Step::Map { dst, .. }
        | Step::MapValue { dst, .. }
        | Step::Function { dst, .. }
            if wanted.has(dst) =>
        {
            wanted.clear(dst);
        }
        Step::Load { dst, .. } if wanted.has(dst) => {
            wanted.clear(dst);
            want_slot(wanted, stack);
        }
        Step::Atomic { op, src, .. } => {
            let fetched = match op {
                AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => None,
                AtomicOp::CompareExchange => Some(Reg::R0),
                _ => Some(src),
            };
            if let Some(fetched) = fetched.filter(|fetched| wanted.has(*fetched)) {
                wanted.clear(fetched);
                want_slot(wanted, stack);
            }
        }
        Step::Store { base, operand, .. } => {
            if wanted.has(base) {
                // A difference of pointers.
                return Err(Unclear);
            }
            if let Some((mask, bit)) = stack.and_then(|stack| wanted.slot(stack))
                && *mask & bit != 0
            {
                *mask &= !bit;
                if let Operand::Reg(src) = operand {
                    wanted.set(src);
                }
            }
        }
        Step::JumpIf { dst, operand: Operand::Reg(src), .. } if wanted.has(dst) || wanted.has(src) => {
            let (dst_is_stack, src_is_stack) = entry.map_or((false, false), |entry| entry.compares_stack);
            if !src_is_stack {
                wanted.set(src);
            }
            if !dst_is_stack {
                wanted.set(dst);
            }
        }
        // The other program returns to the caller of the function.
        Step::Helper { helper } if helper.id == helper_ids::TAIL_CALL && after != Some(insn + 1) => {
            enter_callee(env, after, wanted)?;
            wanted.clear(Reg::R0);
        }
        Step::Helper { helper } => {
            // Not from straight-line code: the end of a callback is followed by its caller.
            let enters_callback = calls_back(helper) && after != Some(insn + 1);
            if enters_callback {
                let (registers, slots) = wanted.frames[wanted.frame];
                if registers & !0x3e != 0 || slots != 0 {
                    return Err(Unclear);
                }
                return leave(wanted);
            }
            wanted.clear(Reg::R0);
            if wanted.frames[wanted.frame].0 & 0x3e != 0 {
                return Err(Unclear);
            }
        }
        Step::Call { .. } => {
            let (registers, slots) = wanted.frames[wanted.frame];
            if registers & !0x3e != 0 || slots != 0 || wanted.frame == 0 {
                return Err(Unclear);
            }
            wanted.frames[wanted.frame - 1].0 |= registers;
            return leave(wanted);
        }
        Step::Exit => enter_callee(env, after, wanted)?,
        _ => {}
    }
    wanted.follow_links(entry);
    Ok(())
}

/// Goes on at the end of the function that returned to `after`.
fn enter_callee(env: &VerifierEnv<'_>, after: Option<usize>, wanted: &mut Wanted) -> Result<(), Unclear> {
    let is_call = |insn: usize| matches!(env.code.get(insn), Some(Step::Call { .. }));
    let returns_to = after.ok_or(Unclear)?;
    let after_call = returns_to.checked_sub(1).is_some_and(is_call);
    let in_callback =
        matches!(env.code[returns_to], Step::Helper { helper } if calls_back(helper)) || !after_call;
    let masks = &mut wanted.frames[wanted.frame].0;
    if in_callback {
        *masks &= !0x3e;
    }
    if *masks & 0x3e != 0 {
        return Err(Unclear);
    }
    let is_wanted = *masks & 1 == 1 && after_call;
    *masks &= !1;
    wanted.frame += 1;
    wanted.frames.truncate(wanted.frame);
    wanted.frames.push((u16::from(is_wanted), 0));
    Ok(())
}

/// Goes on in the caller.
fn leave(wanted: &mut Wanted) -> Result<(), Unclear> {
    wanted.frame = wanted.frame.checked_sub(1).ok_or(Unclear)?;
    wanted.frames.truncate(wanted.frame + 1);
    Ok(())
}

fn want_slot(wanted: &mut Wanted, stack: Option<(u8, u8)>) {
    if let Some((mask, bit)) = stack.and_then(|stack| wanted.slot(stack)) {
        *mask |= bit;
    }
}
