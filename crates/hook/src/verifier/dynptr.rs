//! Dynptrs on the stack: `process_dynptr_func()`, and what it calls.

use knobgate_bpf::{ArgType, Helper, Reg, helper_ids};

use super::check::Verifier;
use super::register::{Kind, Register, ScalarId};
use super::stack::{Byte, Slot, place, slot_mask};
use super::stack_access::Stored;
use super::state::Reference;
use super::violation::Violation;
use crate::constants::MAX_BPF_STACK;

/// Where a dynptr is: its frame, and the slot of its first half, which is the deeper one.
#[derive(Debug, Clone, Copy)]
struct DynptrPlace {
    frame: usize,
    slot: usize,
    off: i64,
}

impl Verifier<'_> {
    /// Checks an argument that is a dynptr, and makes it if the helper does. Returns its id for those that the helper uses.
    pub(super) fn check_dynptr(
        &mut self,
        register: Reg,
        arg_type: ArgType,
        helper: &Helper,
    ) -> Result<u32, Violation> {
        let at = self.dynptr_place(register)?;
        if arg_type == ArgType::UninitDynptr {
            return self.make_dynptr(at, helper.id == helper_ids::RINGBUF_RESERVE_DYNPTR);
        }
        // `mark_dynptr_read()`
        self.stack_accesses.read(at.frame, slot_mask(at.off, 16));
        let slots = [at.slot, at.slot - 1].map(|slot| self.state.frames[at.frame].stack.get(slot).copied());
        let found = match slots {
            [Some(first), Some(second)] if first.is_dynptr() && second.is_dynptr() => first.spilled,
            _ => Register::UNINIT,
        };
        let number = register.number();
        let Kind::Dynptr { of_ring, first: true } = found.kind else {
            return Err(if arg_type == ArgType::RingbufDynptr {
                Violation::UnacquiredReference { argument: number }
            } else {
                Violation::UninitDynptr { argument: number - 1 }
            });
        };
        self.push_stack_history(at.frame, at.slot);
        if arg_type == ArgType::RingbufDynptr {
            if !of_ring {
                return Err(Violation::UnacquiredReference { argument: number });
            }
            self.release(found.reference);
            self.clear_dynptr(at.frame, at.slot);
        }
        Ok(found.reference)
    }

    /// `dynptr_get_spi()`: a fixed and aligned place on the stack with room for 16 bytes.
    fn dynptr_place(&self, register: Reg) -> Result<DynptrPlace, Violation> {
        let pointer = self.state.get(register);
        let Kind::Stack(frame) = pointer.kind else { return Err(Violation::DynptrVariableOffset) };
        let Some(known) = pointer.scalar.known() else { return Err(Violation::DynptrVariableOffset) };
        let off = i64::from(pointer.off).wrapping_add(known as i64);
        if off % 8 != 0 || !(-(MAX_BPF_STACK as i64)..=-16).contains(&off) {
            return Err(Violation::DynptrOffset { off });
        }
        Ok(DynptrPlace { frame: usize::from(frame), slot: place(off).0, off })
    }

    /// `mark_stack_slots_dynptr()`
    fn make_dynptr(&mut self, at: DynptrPlace, of_ring: bool) -> Result<u32, Violation> {
        let start = self.state.frames[at.frame].start;
        self.state.frames[at.frame].grow_to(at.off);
        self.use_stack(start, at.off);
        for half in [0, 8] {
            self.spill(at.frame, at.off + half, 8, Stored::Unknown)?;
        }
        let id = self.new_id();
        if of_ring {
            let insn = self.state.insn;
            self.state.references.push(Reference { id, insn });
        }
        for (slot, first) in [(at.slot, true), (at.slot - 1, false)] {
            let half = Register { reference: id, ..Register::pointer(Kind::Dynptr { of_ring, first }) };
            *self.state.frames[at.frame].slot_mut(slot) = Slot { bytes: [Byte::Dynptr; 8], spilled: half };
        }
        Ok(id)
    }

    /// Before a slot is written: `destroy_if_dynptr_stack_slot()`.
    pub(super) fn destroy_dynptr(&mut self, frame: usize, slot: usize) -> Result<(), Violation> {
        let held = self.state.frames[frame].stack[slot];
        if !held.is_dynptr() {
            return Ok(());
        }
        let Kind::Dynptr { of_ring, first } = held.spilled.kind else { return Ok(()) };
        if of_ring {
            return Err(Violation::OverwrittenDynptr);
        }
        self.clear_dynptr(frame, if first { slot } else { slot + 1 });
        // What was a pointer to its data is a number.
        let id = held.spilled.reference;
        self.state.change(
            |held| held.reference == id && matches!(held.kind, Kind::Memory(_)),
            |held| *held = Register { link: ScalarId::NONE, ..Register::UNKNOWN },
        );
        Ok(())
    }

    fn clear_dynptr(&mut self, frame: usize, first: usize) {
        for slot in [first, first - 1] {
            *self.state.frames[frame].slot_mut(slot) = Slot::EMPTY;
        }
    }
}
