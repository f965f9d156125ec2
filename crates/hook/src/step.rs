//! Decoded instructions, for the verifier and the interpreter: jumps are resolved to indices, maps and helpers looked up.

use knobgate_bpf::{AluOp, AtomicOp, ByteOrder, Cond, Helper, Operand, Reg, Size, Width};

/// One instruction; see [`Operation`](knobgate_bpf::Operation). Targets are indices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Alu {
        width: Width,
        op: AluOp,
        dst: Reg,
        operand: Operand,
    },
    Mov {
        width: Width,
        dst: Reg,
        operand: Operand,
    },
    MovSigned {
        width: Width,
        size: Size,
        dst: Reg,
        src: Reg,
    },
    Neg {
        width: Width,
        dst: Reg,
    },
    Swap {
        order: ByteOrder,
        size: Size,
        dst: Reg,
    },
    Load {
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    Store {
        size: Size,
        base: Reg,
        off: i16,
        operand: Operand,
    },
    Atomic {
        op: AtomicOp,
        size: Size,
        base: Reg,
        off: i16,
        src: Reg,
    },
    Number {
        dst: Reg,
        value: u64,
    },
    Map {
        dst: Reg,
        map: u16,
    },
    MapValue {
        dst: Reg,
        map: u16,
        offset: u32,
    },
    Function {
        dst: Reg,
        start: u32,
    },
    Jump {
        target: u32,
    },
    JumpIf {
        width: Width,
        cond: Cond,
        dst: Reg,
        operand: Operand,
        target: u32,
    },
    MayGoto {
        target: u32,
    },
    Helper {
        helper: &'static Helper,
    },
    Call {
        start: u32,
    },
    Exit,
    /// Makes the verifier reject the program if a path gets to it.
    Rejected,
    /// The second half of a 64-bit immediate load: never run.
    SecondHalf,
}
