//! What registers and stack may hold at one place of a program, on all ways that lead there.

use knobgate_bpf::Reg;

/// What a register or eight bytes of stack may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abstract {
    /// Nothing was stored here, on any way.
    Uninit,
    /// A number from `min` to `max`, unsigned.
    Number { min: u64, max: u64 },
    /// The context.
    Context,
    /// The stack of this function, at this distance from its frame pointer.
    Stack(i64),
    /// Memory that holds numbers and no pointers, such as the value of a map, or null.
    Memory,
    /// Anything: other pointers, what differs between ways, what nothing was stored to on some of them.
    Any,
}

impl Abstract {
    /// Any number.
    pub(super) const UNKNOWN: Self = Self::Number { min: 0, max: u64::MAX };

    pub(super) const fn constant(value: u64) -> Self {
        Self::Number { min: value, max: value }
    }

    /// What holds both.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number { min: a, max: b }, Self::Number { min: c, max: d }) => {
                Self::Number { min: a.min(c), max: b.max(d) }
            }
            (a, b) if a == b => a,
            _ => Self::Any,
        }
    }
}

const SLOTS: usize = 64;

/// One state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    registers: [Abstract; 10],
    /// Eight bytes each, the topmost first. What is not known to be a number or a pointer of ours is [`Abstract::Any`].
    slots: [Abstract; SLOTS],
}

impl State {
    /// At the start of a function whose arguments are `arguments`.
    pub(super) fn entry(arguments: [Abstract; 5]) -> Self {
        let mut registers = [Abstract::Uninit; 10];
        registers[1..6].copy_from_slice(&arguments);
        Self { registers, slots: [Abstract::Any; SLOTS] }
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

    /// Eight bytes at a distance from the frame pointer.
    pub(super) fn load(&self, off: i64) -> Abstract {
        slot(off).map_or(Abstract::Any, |slot| self.slots[slot])
    }

    /// Stores `size` bytes.
    pub(super) fn store(&mut self, off: i64, size: i64, value: Abstract) {
        if let (Some(slot), 8) = (slot(off), size) {
            self.slots[slot] = value;
            return;
        }
        self.forget(off, size);
    }

    /// Forgets what `size` bytes hold.
    pub(super) fn forget(&mut self, off: i64, size: i64) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let start = -8 * (index as i64 + 1);
            if off < start + 8 && start < off.saturating_add(size) {
                *slot = Abstract::Any;
            }
        }
    }

    /// Forgets all of the stack.
    pub(super) fn forget_stack(&mut self) {
        self.slots = [Abstract::Any; SLOTS];
    }

    /// A call: r1 to r5 are gone, and r0 is `returned`.
    pub(super) fn called(&mut self, returned: Abstract) {
        self.registers[0] = returned;
        self.registers[1..6].fill(Abstract::Uninit);
    }

    /// Joins `other` to this one; whether it changed. With `widen`, numbers that change become unknown, so that loops
    /// come to an end here.
    pub(super) fn join(&mut self, other: &Self, widen: bool) -> bool {
        let mut changed = false;
        let mine = self.registers.iter_mut().chain(&mut self.slots);
        for (mine, other) in mine.zip(other.registers.iter().chain(&other.slots)) {
            let joined = mine.join(*other);
            if joined != *mine {
                *mine = match joined {
                    Abstract::Number { .. } if widen => Abstract::UNKNOWN,
                    joined => joined,
                };
                changed = true;
            }
        }
        changed
    }
}

fn slot(off: i64) -> Option<usize> {
    (off % 8 == 0 && (-512..0).contains(&off)).then(|| (-off / 8 - 1) as usize)
}
