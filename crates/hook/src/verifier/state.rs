//! What registers and stack may hold at one instruction: `struct bpf_func_state`.

use knobgate_bpf::{AluOp, Reg, Size, Width};

use super::scalar::Scalar;

/// What a register or eight bytes of stack may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abstract {
    /// Not initialized on any path.
    Uninit,
    /// A number, and its link to others.
    Number(Scalar, ScalarId),
    /// The context.
    Context,
    /// A pointer to the stack of this function, with its distance from the frame pointer.
    Stack(i64),
    /// A map, by its index in the program.
    Map(u16),
    /// A pointer to memory without pointers in it, such as a map value.
    Memory,
    /// Such a pointer, or null; its copies have the same id.
    MemoryOrNull(u32),
    /// Anything: other pointers, values that differ between paths, values that are uninitialized on some paths.
    Any,
}

impl Abstract {
    /// Any number.
    pub(super) const UNKNOWN: Self = Self::Number(Scalar::UNKNOWN, ScalarId::NONE);

    pub(super) const fn constant(value: u64) -> Self {
        Self::Number(Scalar::constant(value), ScalarId::NONE)
    }

    pub(super) fn of_size(size: Size) -> Self {
        Self::Number(Scalar::of_size(size), ScalarId::NONE)
    }

    /// Whether it is a number that is known not to be larger.
    pub(super) fn is_at_most(self, most: u64) -> bool {
        matches!(self, Self::Number(scalar, _) if scalar.unsigned.max <= most)
    }

    /// The union.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a, link), Self::Number(b, other)) => {
                Self::Number(a.join(b), if link == other { link } else { ScalarId::NONE })
            }
            (a, b) if a == b => a,
            _ => Self::Any,
        }
    }

    fn contains(self, other: Self) -> bool {
        match (self, other) {
            (Self::Number(a, link), Self::Number(b, other)) => {
                a.contains(b) && (link == ScalarId::NONE || link == other)
            }
            (Self::Any, _) => true,
            (a, b) => a == b,
        }
    }
}

/// Links copies of a number: those with the same id are equal, except for what was added since (`BPF_ADD_CONST`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScalarId {
    /// The id of the copy; 0: the number was not copied.
    origin: u32,
    added: i64,
    /// The upper half was lost.
    low_half: bool,
}

impl ScalarId {
    pub(super) const NONE: Self = Self { origin: 0, added: 0, low_half: false };

    /// The link of the number after adding `by`, which may have lost its upper half.
    pub(super) fn moved(self, by: i64, wraps: bool) -> Self {
        match self.added.checked_add(by) {
            Some(added) if self != Self::NONE => Self { added, low_half: self.low_half || wraps, ..self },
            _ => Self::NONE,
        }
    }
}

const SLOTS: usize = 64;

/// The state of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FuncState {
    registers: [Abstract; 10],
    /// Slots of eight bytes, the topmost first. Unknown slots are [`Abstract::Any`].
    slots: [Abstract; SLOTS],
    /// How many bytes of the slot, from its start, hold that value.
    sizes: [Size; SLOTS],
}

impl FuncState {
    /// The state at the start of a function with these arguments.
    pub(super) fn entry(arguments: [Abstract; 5]) -> Self {
        let mut registers = [Abstract::Uninit; 10];
        registers[1..6].copy_from_slice(&arguments);
        Self { registers, slots: [Abstract::Any; SLOTS], sizes: [Size::U64; SLOTS] }
    }

    pub(super) fn get(&self, register: Reg) -> Abstract {
        match register {
            Reg::R10 => Abstract::Stack(0),
            register => self.registers[register as usize],
        }
    }

    pub(super) fn set(&mut self, register: Reg, value: Abstract) {
        if let Some(place) = self.registers.get_mut(register as usize) {
            *place = value;
        }
    }

    /// The values of r1 to r5.
    pub(super) fn arguments(&self) -> [Abstract; 5] {
        std::array::from_fn(|index| self.registers[index + 1])
    }

    /// Loads bytes at an offset from the frame pointer.
    pub(super) fn load(&self, off: i64, size: Size, signed: bool) -> Abstract {
        let (held, held_size) =
            slot_of(off).map_or((Abstract::Any, Size::U64), |slot| (self.slots[slot], self.sizes[slot]));
        match held {
            Abstract::Number(scalar, _) if scalar.known() == Some(0) && held_size == Size::U64 => {
                Abstract::constant(0)
            }
            Abstract::Number(scalar, link) if off % 8 == 0 && size.bytes() <= held_size.bytes() => {
                let loaded = scalar.lowest(size, Width::W64, signed);
                Abstract::Number(loaded, if loaded == scalar { link } else { ScalarId::NONE })
            }
            held if size == Size::U64 && off % 8 == 0 => held,
            _ if size == Size::U64 => Abstract::Any,
            _ => Abstract::Number(Scalar::of_size(size).lowest(size, Width::W64, signed), ScalarId::NONE),
        }
    }

    /// Stores `size` bytes.
    pub(super) fn store(&mut self, off: i64, size: Size, value: Abstract) {
        self.forget(off, i64::from(size.bytes()));
        let value = match value {
            Abstract::Number(scalar, link) if size != Size::U64 => {
                let stored = scalar.lowest(size, Width::W64, false);
                Abstract::Number(stored, if stored == scalar { link } else { ScalarId::NONE })
            }
            _ if size != Size::U64 => return,
            value => value,
        };
        if let (Some(slot), 0) = (slot_of(off), off % 8) {
            (self.slots[slot], self.sizes[slot]) = (value, size);
        }
    }

    /// Invalidates `size` bytes.
    pub(super) fn forget(&mut self, off: i64, size: i64) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let start = -8 * (index as i64 + 1);
            if off < start + 8 && start < off.saturating_add(size) {
                (*slot, self.sizes[index]) = (Abstract::Any, Size::U64);
            }
        }
    }

    /// Invalidates the whole stack.
    pub(super) fn forget_stack(&mut self) {
        (self.slots, self.sizes) = ([Abstract::Any; SLOTS], [Size::U64; SLOTS]);
    }

    /// The state after a call: r1 to r5 are clobbered, and r0 is `returned`.
    pub(super) fn called(&mut self, returned: Abstract) {
        self.registers[0] = returned;
        self.registers[1..6].fill(Abstract::Uninit);
    }

    /// The value of a register, linked to the copy that is made now. `fresh` is an unused id.
    pub(super) fn linked(&mut self, register: Reg, fresh: u32) -> Abstract {
        let value = self.get(register);
        let Abstract::Number(scalar, ScalarId::NONE) = value else { return value };
        if scalar.known().is_some() {
            return value;
        }
        for place in self.registers.iter_mut().chain(&mut self.slots) {
            if let Abstract::Number(_, link) = place
                && link.origin == fresh
            {
                *link = ScalarId::NONE;
            }
        }
        let linked = Abstract::Number(scalar, ScalarId { origin: fresh, ..ScalarId::NONE });
        self.set(register, linked);
        linked
    }

    /// Sets a register to this number, and updates all numbers that are linked to it (`sync_linked_regs`).
    pub(super) fn learn(&mut self, register: Reg, scalar: Scalar) {
        let Abstract::Number(_, link) = self.get(register) else { return };
        self.set(register, Abstract::Number(scalar, link));
        if link == ScalarId::NONE {
            return;
        }
        for place in self.registers.iter_mut().chain(&mut self.slots) {
            if let Abstract::Number(held, other) = place
                && other.origin == link.origin
                && (other.low_half || !link.low_half || held.unsigned.max <= u64::from(u32::MAX))
            {
                let by = Scalar::constant(other.added.wrapping_sub(link.added) as u64);
                let width = if other.low_half || link.low_half { Width::W32 } else { Width::W64 };
                *held = Scalar::compute(width, AluOp::Add, scalar, by);
            }
        }
    }

    /// Replaces a possible null pointer and all its copies with `value`.
    pub(super) fn find(&mut self, may_be_null: Abstract, value: Abstract) {
        for place in self.registers.iter_mut().chain(&mut self.slots) {
            if *place == may_be_null {
                *place = value;
            }
        }
    }

    /// Joins `other` into this state. Returns whether it changed. With `widen`, numbers that change become unknown, so that
    /// the analysis of loops ends.
    pub(super) fn join(&mut self, other: &Self, widen: bool) -> bool {
        let mut changed = false;
        for (slot, size) in self.sizes.iter_mut().enumerate() {
            if *size != other.sizes[slot] {
                // Slots of different sizes have nothing in common.
                changed |= self.slots[slot] != Abstract::Any;
                (self.slots[slot], *size) = (Abstract::Any, Size::U64);
            }
        }
        let mine = self.registers.iter_mut().chain(&mut self.slots);
        for (mine, other) in mine.zip(other.registers.iter().chain(&other.slots)) {
            let joined = mine.join(*other);
            if joined != *mine {
                *mine = match joined {
                    Abstract::Number(..) if widen => Abstract::UNKNOWN,
                    joined => joined,
                };
                changed = true;
            }
        }
        changed
    }

    /// Whether this state covers `other` (`states_equal()`).
    pub(super) fn contains(&self, other: &Self) -> bool {
        let sizes = self.sizes.iter().zip(&other.sizes).zip(&self.slots);
        if !sizes.into_iter().all(|((mine, other), held)| mine == other || *held == Abstract::Any) {
            return false;
        }
        let mine = self.registers.iter().chain(&self.slots);
        mine.zip(other.registers.iter().chain(&other.slots)).all(|(mine, other)| mine.contains(*other))
    }
}

/// The eight bytes that the byte at `off` is in.
fn slot_of(off: i64) -> Option<usize> {
    (-512..0).contains(&off).then(|| ((-off - 1) / 8) as usize)
}
