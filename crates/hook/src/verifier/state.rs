//! The state of one path: `struct bpf_verifier_state`.

use std::rc::Rc;

use knobgate_bpf::Reg;

use super::register::{Kind, Register, index};
use super::spin_lock::HeldLock;
use super::stack::Slot;

/// The state of one function on the call stack: `struct bpf_func_state`.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// r0 to r9.
    pub(super) registers: [Register; 10],
    /// Slots of eight bytes, the topmost first; as many as were accessed (`allocated_stack`).
    pub(super) stack: Rc<Vec<Slot>>,
    /// The instruction that called it; unused in the main function.
    pub(super) callsite: usize,
    /// Its first instruction.
    pub(super) start: usize,
    /// Which of the functions of [`super::stack_liveness`] it is.
    pub(super) instance: usize,
    /// Whether a helper calls it.
    pub(super) is_callback: bool,
    /// How often the callback of the helper call that it is at was entered in a row.
    pub(super) callback_depth: u32,
}

/// A record that is reserved: `struct bpf_reference_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) id: u32,
    /// The instruction that reserved it.
    pub(super) insn: usize,
}

/// A register or stack slot of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Register { frame: u8, register: u8 },
    Slot { frame: u8, slot: u8 },
}

impl Place {
    pub(super) const fn frame(self) -> u8 {
        match self {
            Self::Register { frame, .. } | Self::Slot { frame, .. } => frame,
        }
    }
}

/// What backtracking has to know of one executed instruction: `struct bpf_jmp_history_entry`.
#[derive(Debug, Clone)]
pub(super) struct HistoryEntry {
    pub(super) insn: usize,
    /// The instruction before it on the path.
    pub(super) previous: usize,
    /// The stack slot that it spilled to or filled from.
    pub(super) stack: Option<(u8, u8)>,
    /// Whether it compares pointers to the stack: in its destination, in its source.
    pub(super) compares_stack: (bool, bool),
    /// The linked numbers of which it has learnt something.
    pub(super) linked: Option<Rc<[Place]>>,
}

impl HistoryEntry {
    pub(super) const fn new(insn: usize, previous: usize) -> Self {
        Self { insn, previous, stack: None, compares_stack: (false, false), linked: None }
    }
}

/// The state of one path.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The call stack, the main function first. It is never empty.
    pub(super) frames: Vec<Frame>,
    pub(super) references: Vec<Reference>,
    /// The lock that is held.
    pub(super) lock: Option<HeldLock>,
    /// The checkpoint that the path comes from, by its number.
    pub(super) parent: Option<usize>,
    /// The first instruction after that checkpoint.
    pub(super) first_insn: usize,
    /// The instruction that is looked at, and the one before it.
    pub(super) insn: usize,
    pub(super) last_insn: usize,
    /// The jumps and stack accesses since that checkpoint.
    pub(super) history: Vec<HistoryEntry>,
    pub(super) may_goto_depth: u32,
    pub(super) callback_depth: u32,
    /// How many checkpoints are on the path.
    pub(super) depth: u32,
}

impl Frame {
    pub(super) fn new(start: usize, callsite: usize, instance: usize) -> Self {
        Self {
            registers: [Register::UNINIT; 10],
            stack: Rc::default(),
            callsite,
            start,
            instance,
            is_callback: false,
            callback_depth: 0,
        }
    }

    /// The registers r1 to r5 after a call.
    pub(super) fn clobber_arguments(&mut self) {
        self.registers[1..6].fill(Register::UNINIT);
    }
}

impl State {
    /// The state at the start of the main function.
    pub(super) fn entry() -> Self {
        let mut frame = Frame::new(0, 0, 0);
        frame.registers[1] = Register::pointer(Kind::Context);
        Self {
            frames: vec![frame],
            references: Vec::new(),
            lock: None,
            parent: None,
            first_insn: 0,
            insn: 0,
            last_insn: 0,
            history: Vec::new(),
            may_goto_depth: 0,
            callback_depth: 0,
            depth: 0,
        }
    }

    /// The number of the innermost frame.
    pub(super) fn top(&self) -> usize {
        self.frames.len() - 1
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        let top = self.top();
        &mut self.frames[top]
    }

    pub(super) fn get(&self, register: Reg) -> Register {
        match register {
            Reg::R10 => Register::pointer(Kind::Stack(self.top() as u8)),
            register => self.frame().registers[index(register)],
        }
    }

    /// Sets a register. r10 is never set.
    pub(super) fn set(&mut self, register: Reg, value: Register) {
        if let Some(place) = self.frame_mut().registers.get_mut(index(register)) {
            *place = value;
        }
    }

    /// The instruction that a frame is at (`frame_insn_idx`).
    pub(super) fn insn_of(&self, frame: usize) -> usize {
        self.frames.get(frame + 1).map_or(self.insn, |callee| callee.callsite)
    }

    /// Whether both have been called from the same instructions.
    pub(super) fn has_same_callsites(&self, other: &Self) -> bool {
        self.frames.len() == other.frames.len()
            && self.frames.iter().zip(&other.frames).all(|(one, other)| one.callsite == other.callsite)
    }

    /// Calls `change` for every register and spilled register that `wanted` selects.
    pub(super) fn change(
        &mut self,
        wanted: impl Fn(&Register) -> bool,
        mut change: impl FnMut(&mut Register),
    ) {
        for frame in &mut self.frames {
            frame.registers.iter_mut().filter(|register| wanted(register)).for_each(&mut change);
            if frame.stack.iter().any(|slot| slot.is_spilled() && wanted(&slot.spilled)) {
                let slots = Rc::make_mut(&mut frame.stack).iter_mut();
                let spilled = slots.filter(|slot| slot.is_spilled()).map(|slot| &mut slot.spilled);
                spilled.filter(|register| wanted(register)).for_each(&mut change);
            }
        }
    }

    /// Every register and spilled register, with its place.
    pub(super) fn places(&self) -> impl Iterator<Item = (Place, &Register)> {
        self.frames.iter().zip(0_u8..).flat_map(|(frame, number)| {
            let registers = frame
                .registers
                .iter()
                .zip(0_u8..)
                .map(move |(value, register)| (Place::Register { frame: number, register }, value));
            let slots = frame.stack.iter().zip(0_u8..).filter(|(slot, _)| slot.is_spilled());
            registers
                .chain(slots.map(move |(slot, at)| (Place::Slot { frame: number, slot: at }, &slot.spilled)))
        })
    }
}
