//! BPF programs as data: their parts, how they are assembled, and how they are read.
//!
//! Nothing here runs or loads anything. A compiler emits instructions into an [`Assembler`] and makes a [`Program`] from
//! its [`Code`]. The kernel, or a model of it, loads the program.
//!
//! ```text
//!   Assembler ──► Code ──► Program ──┬──► encode      the bytes for the kernel
//!   ELF file ──► Object ─────┤       └──► ProgramBtf  its functions and source lines, for the kernel
//!   bytes ──► decode ──► [Insn] ──► Operation         what each instruction means
//!                                     └──► Display    in the verifier's syntax
//! ```
//!
//! The terms:
//!
//! - An [`Insn`] is eight bytes; an [`Operation`] is the meaning of one or two of them. It covers the whole instruction set
//!   up to v4 (`Documentation/bpf/standardization/instruction-set.rst`).
//! - A [`Label`] is a position in the code. Jumps and calls name labels, not offsets.
//! - A [`Helper`] is a function of the kernel that programs can call. One table has the numbers, names and prototypes of
//!   all.
//! - A [`Program`] is instructions with the maps that they use. Each use is a [`Relocation`]: only a loader knows the
//!   descriptor of a map, and puts it into the immediate of the instruction.
//! - An [`Object`] is an ELF file with programs, as clang compiles it; it is read from bytes.
//! - The [`LineTable`] maps every instruction to its source line.
//! - [`Features`] describe the kernel that a program is compiled for.
//!
//! All bytes are those of little-endian machines.
//!
//! ```
//! use knobgate_bpf::{Assembler, Cond, Program, Reg, Size};
//!
//! let mut asm = Assembler::new();
//! let allow = asm.new_label();
//! asm.set_line(1, 1, "default read allow");
//! asm.load(Size::U32, Reg::R2, Reg::R1, 0);
//! asm.mov(Reg::R0, 1);
//! asm.jump_if(Cond::Eq, Reg::R2, 0, allow);
//! asm.set_line(2, 1, "default write deny");
//! asm.mov(Reg::R0, 0);
//! asm.bind(allow);
//! asm.exit();
//! let program = Program::from(asm.finish(false)?);
//!
//! let text = "\
//! main:
//! ; 1:1 default read allow
//!    0: (61) r2 = *(u32 *)(r1 +0)
//!    1: (b7) r0 = 1
//!    2: (15) if r2 == 0x0 goto pc+1 <L4>
//! ; 2:1 default write deny
//!    3: (b7) r0 = 0
//! L4:
//!    4: (95) exit
//! ";
//! assert_eq!(program.listing().to_string(), text);
//! # Ok::<(), knobgate_bpf::AsmError>(())
//! ```

#![forbid(unsafe_code)]

mod asm;
mod btf;
mod btf_file;
mod btf_types;
mod disasm;
mod features;
mod helpers;
mod imm64;
mod insn;
mod isa;
mod kernel_structs;
mod layout;
mod map_btf;
mod map_btf_check;
mod map_def;
mod map_flags;
mod map_kind;
mod object;
pub mod opcode;
mod operation;
mod program;
mod set_new_value;
mod spin_lock;
mod struct_def;
mod struct_layouts;
pub mod uapi;

pub use asm::{AsmError, Assembler, Label};
pub use btf::ProgramBtf;
pub use btf_file::{BtfFileError, btf_of_file};
pub use disasm::Listing;
pub use features::{EventFeatures, Features, KnobOwner, TaskOffsets};
pub use helpers::{ArgType, FuncProto, Helper, ReturnType, helper_ids};
pub use imm64::Imm64;
pub use insn::{DecodeError, Insn, decode, encode};
pub use isa::{AluOp, AtomicOp, ByteOrder, Cond, Operand, Reg, Size, Width};
pub use kernel_structs::KernelStructs;
pub use map_btf::{MapBtf, SpecialField};
pub use map_def::MapDef;
pub use map_flags::map_flag_names;
pub use map_kind::{MapKind, MapSupport};
pub use object::{
    KernelSymbol, KernelTypes, Object, ObjectError, ObjectProgram, ObjectVariable, TargetKernel, WriteError,
    write_object,
};
pub use operation::{Callee, Operation};
pub use program::{
    Code, Function, InnerMap, LineEntry, LineTable, MapReference, Program, Relocation, TailCall, Unresolved,
    UnresolvedReason,
};
pub use set_new_value::{emit_length_check, emit_set_new_value, emit_set_new_value_from};
pub use spin_lock::InvalidLock;
pub use struct_def::{MemberDef, MemberType, StructDef, struct_btf};
pub use struct_layouts::{LayoutError, StructLayouts};
