//! Forgets numbers that change from one round of a loop to the next, so that its state comes to rest:
//! `widen_imprecise_scalars()`.

use super::equivalence::{Ids, is_exact};
use super::explored::Checkpoint;
use super::register::Register;
use super::state::State;

/// Forgets the numbers in `state` that differ from those of the round before and do not matter there.
pub(super) fn widen(before: &Checkpoint, state: &mut State) {
    let mut ids = Ids::default();
    let frames = before.state.frames.iter().zip(&before.precise);
    for (frame, (old, precise)) in state.frames.iter_mut().zip(frames) {
        for (register, held) in frame.registers.iter_mut().enumerate() {
            widen_number(&old.registers[register], held, precise.0 >> register & 1 == 1, &mut ids);
        }
        for (slot, held) in old.stack.iter().enumerate() {
            let Some(mine) = frame.stack.get(slot).filter(|mine| mine.is_spilled()) else { continue };
            if !held.is_spilled() {
                continue;
            }
            let mut spilled = mine.spilled;
            widen_number(&held.spilled, &mut spilled, precise.1 >> slot & 1 == 1, &mut ids);
            if spilled != mine.spilled {
                frame.slot_mut(slot).spilled = spilled;
            }
        }
    }
}

fn widen_number(old: &Register, held: &mut Register, is_precise: bool, ids: &mut Ids) {
    if old.is_scalar() && held.is_scalar() && !is_precise && !is_exact(old, held, ids) {
        *held = Register::UNKNOWN;
    }
}
