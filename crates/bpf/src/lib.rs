//! BPF programs as data.

#![forbid(unsafe_code)]

mod asm;
mod features;
pub mod helper_ids;
mod insn;
mod isa;
mod layout;
pub mod opcode;
mod operation;
mod program;

pub use asm::{AsmError, Assembler, Code, Label};
pub use features::Features;
pub use insn::{DecodeError, Insn, decode, encode};
pub use isa::{AluOp, AtomicOp, ByteOrder, Cond, Operand, Reg, Size, Width};
pub use operation::{Callee, Imm64, Operation};
pub use program::{
    Function, LineEntry, LineTable, MapDef, MapKind, MapReference, POLICY_TEXT_MAP, Program, RULE_HITS_MAP,
    Relocation, RuleEntry,
};
