//! Which slots of the stack may still be read: kernel/bpf/liveness.c. What is in the others does not matter when states are
//! compared.
//!
//! While paths are followed, it is noted which slots each instruction reads and writes: of every function, for each chain of
//! calls that leads to it. From that, the slots that are live follow as usual, by going backwards.

use std::collections::HashMap;

use super::control_flow::ControlFlow;
use super::structure::{Functions, successors};
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
pub(super) struct StackLiveness<'a> {
    /// The functions, by their caller, the call and their first instruction.
    numbers: HashMap<(usize, usize, usize), usize>,
    instances: Vec<Instance>,
    functions: &'a Functions,
}

/// A function, as it is called by a chain of calls.
#[derive(Debug)]
struct Instance {
    start: usize,
    /// For each of its instructions.
    slots: Vec<Slots>,
    /// Instructions whose live slots have to be computed anew.
    pending: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Slots {
    /// Read by some execution of the instruction.
    read: u64,
    /// Written as a whole by every execution; of an instruction that was never executed, all.
    written: u64,
    live: u64,
}

impl<'a> StackLiveness<'a> {
    pub(super) fn new(functions: &'a Functions) -> Self {
        let mut liveness = Self { numbers: HashMap::new(), instances: Vec::new(), functions };
        liveness.add(0);
        liveness
    }

    fn add(&mut self, start: usize) -> usize {
        let end = self.functions.get(&start).copied().unwrap_or(start);
        let slots = vec![Slots { read: 0, written: u64::MAX, live: 0 }; end - start];
        self.instances.push(Instance { start, slots, pending: Vec::new() });
        self.instances.len() - 1
    }

    /// The function that starts at `start`, called by the instruction `callsite` of the function `caller`.
    pub(super) fn instance(&mut self, caller: usize, callsite: usize, start: usize) -> usize {
        if let Some(known) = self.numbers.get(&(caller, callsite, start)) {
            return *known;
        }
        let number = self.add(start);
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
        instance.slots[insn - instance.start].live
    }
}

impl Instance {
    fn commit(&mut self, insn: usize, read: u64, written: u64) {
        let slots = &mut self.slots[insn - self.start];
        let before = (slots.read, slots.written);
        slots.read |= read;
        slots.written &= written;
        if before != (slots.read, slots.written) {
            self.pending.push(insn);
        }
    }

    fn settle(&mut self, code: &[Step], flow: &ControlFlow) {
        let Self { start, slots, pending } = self;
        while let Some(insn) = pending.pop() {
            let after = successors(code[insn], insn)
                .filter_map(|next| slots.get(next - *start))
                .fold(0, |after, next| after | next.live);
            let own = &mut slots[insn - *start];
            let live = own.read | after & !own.written;
            if live != own.live {
                own.live = live;
                pending.extend(flow.predecessors(insn));
            }
        }
    }
}
