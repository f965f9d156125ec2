//! Tracing a run, instruction by instruction.

use knobgate_bpf::{Operation, Reg};

use super::value::Value;

/// Observes a program while it runs. The default methods do nothing.
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
#[non_exhaustive]
pub struct TraceStep<'a> {
    /// The name of the program.
    pub program: &'a str,
    /// The index of the instruction.
    pub insn: usize,
    /// The decoded instruction.
    pub operation: Operation,
    /// The depth of the call stack; 0 in the main program.
    pub depth: usize,
    pub(crate) registers: &'a [Value; 11],
}

impl TraceStep<'_> {
    /// The value of a register.
    pub fn register(&self, register: Reg) -> Value {
        self.registers[register as usize]
    }
}
