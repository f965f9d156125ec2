//! Reads and writes of the stack: `check_stack_read()` and `check_stack_write()`.

use knobgate_bpf::Reg;

use super::check::Verifier;
use super::env::BPF_MAX_VAR_OFF;
use super::memory::{Access, extended};
use super::register::{Kind, Register, ScalarId};
use super::stack::{Byte, Slot, place, slot_mask};
use super::violation::Violation;
use crate::constants::MAX_BPF_STACK;

/// What is stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    Register(Reg),
    Constant(i32),
    /// Something: the result of an atomic operation, or what a helper writes.
    Unknown,
}

/// The offsets from the frame pointer that a pointer with an offset may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Offsets {
    pub(super) const fn is_fixed(self) -> bool {
        self.min == self.max
    }
}

impl Verifier<'_> {
    /// The bounds of an access: `check_stack_access_within_bounds()`.
    pub(super) fn check_stack_bounds(
        &mut self,
        base: Reg,
        insn_off: i32,
        size: u32,
        writes: bool,
    ) -> Result<Offsets, Violation> {
        let pointer = self.state.get(base);
        let Kind::Stack(number) = pointer.kind else { return Ok(Offsets { min: 0, max: 0 }) };
        let register = base.number();
        let access = if writes { " write to" } else { " read from" };
        let off = pointer.off.wrapping_add(insn_off);
        let fixed = pointer.scalar.known();
        let offsets = match fixed {
            Some(known) => {
                let at = (known as i64).wrapping_add(i64::from(off));
                Offsets { min: at, max: at }
            }
            None => {
                let bounds = pointer.scalar.signed;
                if bounds.max >= BPF_MAX_VAR_OFF || bounds.min <= -BPF_MAX_VAR_OFF {
                    return Err(Violation::UnboundedStackAccess { access, register });
                }
                Offsets { min: bounds.min + i64::from(off), max: bounds.max + i64::from(off) }
            }
        };
        let profile = self.env.profile;
        let frame = &mut self.state.frames[usize::from(number)];
        let least = if writes || profile.uninit_stack { -(MAX_BPF_STACK as i64) } else { -frame.allocated() };
        if offsets.min < least || offsets.min > -1 || offsets.max.saturating_add(i64::from(size)) > 0 {
            return Err(match fixed {
                Some(_) => Violation::StackAccess { access, register, off: offsets.min, size },
                None => Violation::VariableStackAccess {
                    access,
                    register,
                    var_off: pointer.var_off().to_string(),
                    off,
                    size,
                },
            });
        }
        frame.grow_to(offsets.min);
        let start = frame.start;
        self.use_stack(start, offsets.min);
        Ok(offsets)
    }

    /// Reads the stack.
    pub(super) fn read_stack(&mut self, access: Access, signed: bool) -> Result<Register, Violation> {
        let size = access.size.bytes();
        let Kind::Stack(number) = self.state.get(access.base).kind else { return Ok(Register::UNKNOWN) };
        let offsets = self.check_stack_bounds(access.base, access.off.into(), size, false)?;
        let frame = usize::from(number);
        let count = offsets.max - offsets.min + i64::from(size);
        self.stack_accesses.read(frame, slot_mask(offsets.min, count));
        let readable = self.env.profile.uninit_stack || self.env.profile.uninit_above_stored;
        if offsets.is_fixed() {
            return self.fill(frame, offsets.min, access, signed, readable);
        }
        let mut zeros = true;
        for off in offsets.min..offsets.min + count {
            let (slot, byte) = place(off);
            let slot = self.state.frames[frame].stack[slot];
            match slot.bytes[byte] {
                Byte::Zero => {}
                byte if byte == Byte::Dynptr || byte == Byte::Invalid && !readable => {
                    let register = access.base.number();
                    return Err(Violation::UninitStackArgument {
                        register,
                        off: offsets.min,
                        at: off - offsets.min,
                        size,
                    });
                }
                _ => zeros = false,
            }
        }
        let value = if zeros { Register::constant(0) } else { Register::UNKNOWN };
        Ok(extended(value, access.size, signed))
    }

    /// Reads the stack at a fixed offset: `check_stack_read_fixed_off()`.
    fn fill(
        &mut self,
        frame: usize,
        off: i64,
        access: Access,
        signed: bool,
        readable: bool,
    ) -> Result<Register, Violation> {
        let size = access.size.bytes();
        let (number, byte) = place(off);
        let slot = self.state.frames[frame].stack[number];
        let bytes = &slot.bytes[byte..][..size as usize];
        if let Some(at) =
            bytes.iter().position(|byte| *byte == Byte::Dynptr || *byte == Byte::Invalid && !readable)
        {
            return Err(Violation::UninitStack { off, at: at as i64, size });
        }
        let filled = if slot.is_spilled() {
            let spill_size = slot.spill_size();
            if (size != 8 || spill_size != 8) && !slot.spilled.is_scalar() {
                return Err(Violation::PartialFill);
            }
            if byte == 0 && size as usize <= spill_size {
                let is_whole = size as usize == spill_size && slot.spilled.scalar.fits(access.size);
                if is_whole && slot.spilled.is_scalar() {
                    self.link_slot(frame, number);
                }
                self.push_stack_history(frame, number);
                Some(self.state.frames[frame].stack[number].spilled)
            } else if bytes.iter().all(|byte| *byte == Byte::Spill) && slot.spilled.is_null() {
                self.push_stack_history(frame, number);
                Some(Register::constant(0))
            } else {
                None
            }
        } else {
            None
        };
        let value = match filled {
            Some(filled) => filled,
            None if bytes.iter().all(|byte| *byte == Byte::Zero) => Register::constant(0),
            None => Register::UNKNOWN,
        };
        Ok(extended(value, access.size, signed))
    }

    /// Writes the stack.
    pub(super) fn write_stack(&mut self, access: Access, stored: Stored) -> Result<(), Violation> {
        let size = access.size.bytes();
        let pointer = self.state.get(access.base);
        let Kind::Stack(number) = pointer.kind else { return Ok(()) };
        if pointer.scalar.known().is_none() && !self.env.profile.variable_stack {
            let var_off = pointer.var_off().to_string();
            let off = pointer.off.wrapping_add(access.off.into());
            return Err(Violation::VariableStackWrite { var_off, off, size });
        }
        let offsets = self.check_stack_bounds(access.base, access.off.into(), size, true)?;
        let frame = usize::from(number);
        if offsets.is_fixed() {
            return self.spill(frame, offsets.min, size, stored);
        }
        let is_zero = match stored {
            Stored::Register(register) => self.state.get(register).is_null(),
            Stored::Constant(imm) => imm == 0,
            Stored::Unknown => false,
        };
        let mut kept_zeros = false;
        for off in offsets.min..offsets.max + i64::from(size) {
            let (slot, byte) = place(off);
            self.destroy_dynptr(frame, slot)?;
            let slot = self.state.frames[frame].slot_mut(slot);
            match slot.bytes[byte] {
                Byte::Spill if is_zero && slot.spilled.is_null() => kept_zeros = true,
                Byte::Zero if is_zero => {
                    slot.spilled = Register::UNINIT;
                    kept_zeros = true;
                }
                _ => {
                    slot.spilled = Register::UNINIT;
                    slot.bytes[byte] = Byte::Misc;
                }
            }
        }
        if let (Stored::Register(register), true) = (stored, kept_zeros) {
            self.mark_precise(register);
        }
        Ok(())
    }

    /// Writes the stack at a fixed offset: `check_stack_write_fixed_off()`.
    pub(super) fn spill(
        &mut self,
        frame: usize,
        off: i64,
        size: u32,
        stored: Stored,
    ) -> Result<(), Violation> {
        let (number, byte) = place(off);
        self.destroy_dynptr(frame, number)?;
        let top = self.state.top();
        if size == 8 {
            self.stack_accesses.write(frame, 1 << number);
        }
        let value = match stored {
            Stored::Register(register) => {
                let value = self.state.get(register);
                if value.is_scalar() && byte == 0 {
                    let fits = value.scalar.fits_bytes(size);
                    let link = if fits { self.link(register) } else { ScalarId::NONE };
                    Some(Register { link, ..value })
                } else if value.is_pointer() || value.kind == Kind::Unknown {
                    if size != 8 {
                        return Err(Violation::PartialSpill);
                    }
                    if frame != top && matches!(value.kind, Kind::Stack(_)) {
                        return Err(Violation::StackPointerInCaller);
                    }
                    Some(value)
                } else {
                    None
                }
            }
            Stored::Constant(imm) if byte == 0 => Some(Register::constant(i64::from(imm) as u64)),
            _ => None,
        };
        if let Some(value) = value {
            self.state.frames[frame].slot_mut(number).spill(value, size as usize);
            self.push_stack_history(frame, number);
            return Ok(());
        }
        let is_zero = match stored {
            Stored::Register(register) => {
                let is_zero = self.state.get(register).is_null();
                if is_zero {
                    self.mark_precise(register);
                }
                is_zero
            }
            Stored::Constant(imm) => imm == 0,
            Stored::Unknown => false,
        };
        let slot: &mut Slot = self.state.frames[frame].slot_mut(number);
        slot.scrub();
        slot.bytes[byte..][..size as usize].fill(if is_zero { Byte::Zero } else { Byte::Misc });
        Ok(())
    }

    /// A helper reads or writes the stack, in part: `check_stack_range_initialized()`. Memory that it fills as a whole
    /// may be uninitialized.
    pub(super) fn check_stack_argument(
        &mut self,
        base: Reg,
        size: u32,
        may_be_empty: bool,
        writes: bool,
        fills: bool,
    ) -> Result<(), Violation> {
        if size == 0 && !may_be_empty {
            return Err(Violation::ZeroStackRead);
        }
        let Kind::Stack(number) = self.state.get(base).kind else { return Ok(()) };
        // Before 6.14, helpers that do not fill memory were taken to read it, and whatever they got to write it.
        let tells_apart = self.env.profile.version >= (6, 14);
        let offsets = self.check_stack_bounds(base, 0, size, fills || writes && tells_apart)?;
        let frame = usize::from(number);
        let count = offsets.max - offsets.min + i64::from(size);
        if fills && offsets.is_fixed() {
            for off in offsets.min..offsets.min + count {
                if self.state.frames[frame].stack[place(off).0].is_dynptr() {
                    return Err(Violation::DynptrWrite { off });
                }
            }
            for off in offsets.min..offsets.min + count {
                self.spill(frame, off, 1, Stored::Unknown)?;
            }
            return Ok(());
        }
        self.stack_accesses.read(frame, slot_mask(offsets.min, count));
        let readable = self.env.profile.uninit_stack || self.env.profile.uninit_above_stored;
        for off in offsets.min..offsets.min + count {
            let (slot, byte) = place(off);
            let held = &self.state.frames[frame].stack[slot];
            match held.bytes[byte] {
                found if found == Byte::Dynptr || found == Byte::Invalid && !readable => {
                    let (register, at) = (base.number(), off - offsets.min);
                    return Err(Violation::UninitStackArgument { register, off: offsets.min, at, size });
                }
                _ if !writes && tells_apart => {}
                Byte::Spill => self.state.frames[frame].slot_mut(slot).scrub(),
                _ => self.state.frames[frame].slot_mut(slot).bytes[byte] = Byte::Misc,
            }
        }
        Ok(())
    }
}
