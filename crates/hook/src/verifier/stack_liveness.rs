//! Which slots of the stack may still be read: kernel/bpf/liveness.c. What is in the others does not matter when states are
//! compared.
//!
//! While paths are followed, it is noted which slots each instruction reads and writes: of every function, for each chain of
//! calls that leads to it. From that, the slots that are live follow as usual, by going backwards.

use std::collections::HashMap;

use super::control_flow::ControlFlow;
use super::structure::successors;
use crate::step::Step;

/// What one instruction does with the stack of its own frame and those of its callers.
#[derive(Debug, Default)]
pub(super) struct StackAccesses {
    /// For each frame, the slots that are read, and those that are written as a whole.
    frames: Vec<(u64, u64)>,
}

impl StackAccesses {
    pub(super) fn read(&mut self, frame: usize, slots: u64) {
        self.of(frame).0 |= slots;
    }

    pub(super) fn write(&mut self, frame: usize, slots: u64) {
        self.of(frame).1 |= slots;
    }

    fn of(&mut self, frame: usize) -> &mut (u64, u64) {
        if self.frames.len() <= frame {
            self.frames.resize(frame + 1, (0, 0));
        }
        &mut self.frames[frame]
    }

    /// What was read and written in a frame since the last time.
    pub(super) fn take(&mut self, frame: usize) -> (u64, u64) {
        self.frames.get_mut(frame).map(std::mem::take).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct StackLiveness {
    /// The functions, by their caller, the call and their first instruction.
    numbers: HashMap<(usize, usize, usize), usize>,
    instances: Vec<Instance>,
}

/// A function, as it is called by a chain of calls.
#[derive(Debug, Default)]
struct Instance {
    /// For each of its instructions that was executed: there may be many instances of large functions, of which little is
    /// executed before the limit on instructions.
    slots: HashMap<usize, Slots>,
    /// Instructions whose live slots have to be computed anew.
    pending: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Slots {
    /// Read by some execution of the instruction.
    read: u64,
    /// Written as a whole by every execution.
    written: u64,
    live: u64,
}

impl StackLiveness {
    /// The main function is instance 0.
    pub(super) fn new() -> Self {
        Self { numbers: HashMap::new(), instances: vec![Instance::default()] }
    }

    /// The function that starts at `start`, called by the instruction `callsite` of the function `caller`.
    pub(super) fn instance(&mut self, caller: usize, callsite: usize, start: usize) -> usize {
        if let Some(known) = self.numbers.get(&(caller, callsite, start)) {
            return *known;
        }
        self.instances.push(Instance::default());
        let number = self.instances.len() - 1;
        self.numbers.insert((caller, callsite, start), number);
        number
    }

    /// Keeps which slots of a function's stack one execution of an instruction has read, and written as a whole.
    pub(super) fn commit(&mut self, instance: usize, insn: usize, (read, written): (u64, u64)) {
        self.instances[instance].commit(insn, read, written);
    }

    /// The slots that may be read from this instruction on.
    pub(super) fn live(&mut self, code: &[Step], flow: &ControlFlow, instance: usize, insn: usize) -> u64 {
        let instance = &mut self.instances[instance];
        instance.settle(code, flow);
        instance.slots.get(&insn).map_or(0, |slots| slots.live)
    }
}

impl Instance {
    fn commit(&mut self, insn: usize, read: u64, written: u64) {
        let Some(slots) = self.slots.get_mut(&insn) else {
            self.slots.insert(insn, Slots { read, written, live: 0 });
            self.pending.push(insn);
            return;
        };
        let before = (slots.read, slots.written);
        slots.read |= read;
        slots.written &= written;
        if before != (slots.read, slots.written) {
            self.pending.push(insn);
        }
    }

    fn settle(&mut self, code: &[Step], flow: &ControlFlow) {
        let Self { slots, pending } = self;
        while let Some(insn) = pending.pop() {
            let after = successors(code[insn], insn)
                .filter_map(|next| slots.get(&next))
                .fold(0, |after, next| after | next.live);
            // Nothing is live where no execution was.
            let Some(own) = slots.get_mut(&insn) else { continue };
            let live = own.read | after & !own.written;
            if live != own.live {
                own.live = live;
                pending.extend(flow.predecessors(insn));
            }
        }
    }
}
