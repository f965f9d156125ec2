//! Watching a run, instruction by instruction.

use knobgate_bpf::{Operation, Reg};

use super::value::Value;

/// Gets told what a program does. Every method does nothing unless it is given.
pub trait Tracer {
    /// An instruction is about to be executed.
    fn instruction(&mut self, step: &TraceStep<'_>) {
        let _ = step;
    }

    /// `bpf_trace_printk` has printed `text`.
    fn print(&mut self, text: &[u8]) {
        let _ = text;
    }
}

/// An instruction that is about to be executed.
#[derive(Debug)]
pub struct TraceStep<'a> {
    /// The name of the program.
    pub program: &'a str,
    /// The index of the instruction.
    pub insn: usize,
    /// What it means.
    pub operation: Operation,
    /// How many functions called each other to get here; 0 in the main program.
    pub depth: usize,
    pub(crate) registers: &'a [Value; 11],
}

impl TraceStep<'_> {
    /// What a register holds.
    pub fn register(&self, register: Reg) -> Value {
        self.registers[register as usize]
    }
}
