//! Slots of the stack: `struct bpf_stack_state`.

use std::rc::Rc;

use super::register::Register;
use super::state::Frame;

/// What is known of one byte of the stack: `enum bpf_stack_slot_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Byte {
    /// Never written.
    Invalid,
    /// Of a spilled register.
    Spill,
    /// Of anything else.
    Misc,
    /// 0.
    Zero,
    /// Of a dynptr.
    Dynptr,
}

/// Eight bytes of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The bytes, the lowest first. Spilled registers start with it.
    pub(super) bytes: [Byte; 8],
    /// The spilled register.
    pub(super) spilled: Register,
}

/// Where a byte is: its slot, and its index in there.
pub(super) fn place(off: i64) -> (usize, usize) {
    let slot = (-off - 1) / 8;
    (slot as usize, (off + 8 * (slot + 1)) as usize)
}

/// The slots of some bytes, as a mask.
pub(super) fn slot_mask(off: i64, size: i64) -> u64 {
    let mut mask = 0;
    let mut at = off;
    while at < off + size {
        let (slot, byte) = place(at);
        mask |= 1_u64.checked_shl(slot as u32).unwrap_or(0);
        at += 8 - byte as i64;
    }
    mask
}

impl Slot {
    pub(super) const EMPTY: Self = Self { bytes: [Byte::Invalid; 8], spilled: Register::UNINIT };

    /// Whether it holds a spilled register (`is_spilled_reg`).
    pub(super) fn is_spilled(&self) -> bool {
        self.bytes[0] == Byte::Spill
    }

    /// Whether it holds a spilled number.
    pub(super) fn is_spilled_scalar(&self) -> bool {
        self.is_spilled() && self.spilled.is_scalar()
    }

    /// Whether it is a half of a dynptr.
    pub(super) fn is_dynptr(&self) -> bool {
        self.bytes[0] == Byte::Dynptr
    }

    /// How many bytes the spilled register has.
    pub(super) fn spill_size(&self) -> usize {
        self.bytes.iter().take_while(|byte| **byte == Byte::Spill).count()
    }

    /// Spills a register to its lowest `size` bytes (`save_register_state`).
    pub(super) fn spill(&mut self, register: Register, size: usize) {
        self.spilled = register;
        for (at, byte) in self.bytes.iter_mut().enumerate() {
            if at < size {
                *byte = Byte::Spill;
            } else if *byte == Byte::Spill {
                // Zeros stay, and what was never written can be read anyway.
                *byte = Byte::Misc;
            }
        }
    }

    /// Makes ordinary bytes of a spilled register.
    pub(super) fn scrub(&mut self) {
        self.spilled = Register::UNINIT;
        for byte in &mut self.bytes {
            if *byte == Byte::Spill {
                *byte = Byte::Misc;
            }
        }
    }
}

impl Frame {
    /// How many bytes of stack were accessed (`allocated_stack`).
    pub(super) fn allocated(&self) -> i64 {
        self.stack.len() as i64 * 8
    }

    /// Adds slots down to `off` (`grow_stack_state`).
    pub(super) fn grow_to(&mut self, off: i64) {
        let slots = (-off).max(0) as usize;
        let slots = slots.div_ceil(8);
        if slots > self.stack.len() {
            Rc::make_mut(&mut self.stack).resize(slots, Slot::EMPTY);
        }
    }

    /// A slot to change.
    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        &mut Rc::make_mut(&mut self.stack)[slot]
    }
}
