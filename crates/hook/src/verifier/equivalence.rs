//! Whether a state is as safe as another one: `states_equal()`, `regsafe()` and `stacksafe()` in kernel/bpf/states.c.

use super::env::VerifierEnv;
use super::register::{Kind, Register, ScalarId};
use super::stack::{Byte, Slot};
use super::state::{Frame, State};

/// How states are compared: `enum exact_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    /// Numbers that do not matter may differ.
    Safe,
    /// All numbers have to be within the bounds of the old ones.
    Ranges,
    /// Everything is the same.
    Exact,
}

/// Which id of the old state is which id of the new one: `struct bpf_idmap`.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pairs: Vec<(u32, u32)>,
    /// How many ids were made up for numbers that have none.
    made_up: u32,
}

impl Ids {
    /// `check_ids()`
    fn fit(&mut self, old: u32, new: u32) -> bool {
        if (old == 0) != (new == 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        match self.pairs.iter().find(|pair| pair.0 == old || pair.1 == new) {
            Some(pair) => *pair == (old, new),
            None => {
                self.pairs.push((old, new));
                true
            }
        }
    }

    /// `check_scalar_ids()`: links that the old state does not have are no harm.
    fn links_fit(&mut self, old: ScalarId, new: ScalarId) -> bool {
        if old.origin == 0 {
            return true;
        }
        if !old.has_same_delta(new) {
            return false;
        }
        let new = match new.origin {
            0 => {
                self.made_up += 1;
                u32::MAX - self.made_up
            }
            origin => origin,
        };
        self.fit(old.origin, new)
    }
}

/// Whether all paths from `new` are safe because those from `old` are. `precise` has the numbers of `old` that matter.
pub(super) fn are_equal(
    env: &VerifierEnv<'_>,
    old: &State,
    precise: &[(u16, u64)],
    new: &State,
    exactness: Exactness,
) -> bool {
    if !old.has_same_callsites(new) || old.references.len() != new.references.len() {
        return false;
    }
    let mut ids = Ids::default();
    let references = old.references.iter().zip(&new.references);
    if !references.into_iter().all(|(old, new)| ids.fit(old.id, new.id)) {
        return false;
    }
    let has_same_lock = match (old.lock, new.lock) {
        (None, None) => true,
        (Some(old), Some(new)) => old.map == new.map && ids.fit(old.id, new.id),
        _ => false,
    };
    if !has_same_lock {
        return false;
    }
    let frames = old.frames.iter().zip(&new.frames).zip(precise);
    frames.enumerate().all(|(frame, ((one, other), precise))| {
        let live = env.live_registers[old.insn_of(frame)];
        one.callback_depth <= other.callback_depth
            && (0..10).filter(|register| live >> register & 1 == 1).all(|register| {
                let is_precise = precise.0 >> register & 1 == 1;
                let (old, new) = (&one.registers[register], &other.registers[register]);
                is_safe(old, new, is_precise, &mut ids, exactness)
            })
            && is_stack_safe(env, one, other, precise.1, &mut ids, exactness)
    })
}

/// Whether both are the same, except for their ids: `regs_exact()`.
pub(super) fn is_exact(old: &Register, new: &Register, ids: &mut Ids) -> bool {
    let links_fit = match (old.is_scalar(), new.is_scalar()) {
        (true, true) => {
            let (old, new) = (old.link, new.link);
            old.has_same_delta(new) && ids.links_fit(old, new)
        }
        _ => true,
    };
    (old.kind, old.maybe_null, old.off, old.scalar) == (new.kind, new.maybe_null, new.off, new.scalar)
        && links_fit
        && ids.fit(old.id, new.id)
        && ids.fit(old.reference, new.reference)
}

/// `regsafe()`
fn is_safe(old: &Register, new: &Register, is_precise: bool, ids: &mut Ids, exactness: Exactness) -> bool {
    if exactness == Exactness::Exact {
        return is_exact(old, new, ids);
    }
    if old.kind == Kind::Uninit {
        return true;
    }
    if (old.kind, old.maybe_null) != (new.kind, new.maybe_null) {
        return false;
    }
    match old.kind {
        Kind::Scalar if !is_precise && exactness == Exactness::Safe => true,
        Kind::Scalar => ids.links_fit(old.link, new.link) && old.scalar.contains(new.scalar),
        Kind::MapValue(_) | Kind::MapKey(_) | Kind::Record(_) | Kind::Memory(_) => {
            old.off == new.off
                && old.scalar.contains(new.scalar)
                && ids.fit(old.id, new.id)
                && ids.fit(old.reference, new.reference)
        }
        _ => is_exact(old, new, ids),
    }
}

/// What is read from a slot as a number: `scalar_reg_for_stack()`. `None`: something else.
fn number_in(slot: &Slot, readable: bool) -> Option<Register> {
    if slot.is_spilled_scalar() && slot.spill_size() == 8 {
        return Some(slot.spilled);
    }
    let is_misc = |byte: &Byte| *byte == Byte::Misc || *byte == Byte::Invalid && readable;
    slot.bytes.iter().all(is_misc).then_some(Register::UNKNOWN)
}

/// `stacksafe()`
fn is_stack_safe(
    env: &VerifierEnv<'_>,
    old: &Frame,
    new: &Frame,
    precise: u64,
    ids: &mut Ids,
    exactness: Exactness,
) -> bool {
    let readable = env.profile.uninit_stack;
    old.stack.iter().enumerate().all(|(at, slot)| {
        let other = new.stack.get(at);
        if exactness == Exactness::Exact {
            let Some(other) = other.filter(|other| other.bytes == slot.bytes) else { return false };
            return !(slot.is_spilled() || slot.is_dynptr()) || is_exact(&slot.spilled, &other.spilled, ids);
        }
        let is_ignored = |byte: &Byte| *byte == Byte::Invalid || *byte == Byte::Misc && readable;
        if slot.bytes.iter().all(is_ignored) {
            return true;
        }
        let Some(other) = other else { return false };
        let is_precise = precise >> at & 1 == 1;
        if let (Some(old), Some(new)) = (number_in(slot, readable), number_in(other, readable)) {
            return is_safe(&old, &new, is_precise, ids, exactness);
        }
        let bytes_fit = slot
            .bytes
            .iter()
            .zip(&other.bytes)
            .all(|(old, new)| is_ignored(old) || old == new || (*old, *new) == (Byte::Misc, Byte::Zero));
        bytes_fit
            && (!slot.is_dynptr() || is_exact(&slot.spilled, &other.spilled, ids))
            && (!slot.is_spilled() || is_safe(&slot.spilled, &other.spilled, is_precise, ids, exactness))
    })
}
