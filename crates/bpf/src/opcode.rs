//! The numbers that opcodes and pseudo sources are made of: `include/uapi/linux/bpf.h` and
//! `include/uapi/linux/bpf_common.h`.
//!
//! An opcode is `class | size | mode` for loads and stores, `class | operation | source` for everything else.

/// The class of an opcode.
pub const CLASS_MASK: u8 = 0x07;
/// Non-standard loads: 64-bit immediates, packet data.
pub const LD: u8 = 0x00;
/// Loads into a register.
pub const LDX: u8 = 0x01;
/// Stores of an immediate.
pub const ST: u8 = 0x02;
/// Stores of a register, and atomic operations.
pub const STX: u8 = 0x03;
/// 32-bit arithmetic.
pub const ALU: u8 = 0x04;
/// 64-bit comparisons, calls, exit.
pub const JMP: u8 = 0x05;
/// 32-bit comparisons, and the long jump.
pub const JMP32: u8 = 0x06;
/// 64-bit arithmetic.
pub const ALU64: u8 = 0x07;

/// The size of a load or store.
pub const SIZE_MASK: u8 = 0x18;
/// Four bytes.
pub const W: u8 = 0x00;
/// Two bytes.
pub const H: u8 = 0x08;
/// One byte.
pub const B: u8 = 0x10;
/// Eight bytes.
pub const DW: u8 = 0x18;

/// The mode of a load or store.
pub const MODE_MASK: u8 = 0xe0;
/// A 64-bit immediate (with `LD | DW`).
pub const IMM: u8 = 0x00;
/// Packet data at a fixed offset.
pub const ABS: u8 = 0x20;
/// Packet data at an offset in a register.
pub const IND: u8 = 0x40;
/// Plain memory.
pub const MEM: u8 = 0x60;
/// Plain memory, sign-extended.
pub const MEMSX: u8 = 0x80;
/// Atomic operations; the operation is in the immediate.
pub const ATOMIC: u8 = 0xc0;

/// Where the second operand is.
pub const SOURCE_MASK: u8 = 0x08;
/// In the immediate.
pub const K: u8 = 0x00;
/// In a register.
pub const X: u8 = 0x08;

/// The operation of an arithmetic or jump instruction.
pub const OPERATION_MASK: u8 = 0xf0;
/// Two's complement negation.
pub const NEG: u8 = 0x80;
/// Move.
pub const MOV: u8 = 0xb0;
/// Change of byte order.
pub const END: u8 = 0xd0;
/// Unconditional jump.
pub const JA: u8 = 0x00;
/// Call.
pub const CALL: u8 = 0x80;
/// Return.
pub const EXIT: u8 = 0x90;
/// `may_goto` (`BPF_JCOND` with source register 0).
pub const JCOND: u8 = 0xe0;

/// Atomic modifier: the old value is put into the source register.
pub const FETCH: i32 = 0x01;
/// Atomic exchange.
pub const XCHG: i32 = 0xe1;
/// Atomic compare with r0 and exchange.
pub const CMPXCHG: i32 = 0xf1;
/// Load with acquire semantics.
pub const LOAD_ACQ: i32 = 0x100;
/// Store with release semantics.
pub const STORE_REL: i32 = 0x110;

/// `BPF_PSEUDO_MAP_FD`: a 64-bit immediate load takes a map.
pub const PSEUDO_MAP_FD: u8 = 1;
/// `BPF_PSEUDO_MAP_VALUE`: a 64-bit immediate load takes an address in a map's value.
pub const PSEUDO_MAP_VALUE: u8 = 2;
/// `BPF_PSEUDO_BTF_ID`: a 64-bit immediate load takes the address of a kernel variable.
pub const PSEUDO_BTF_ID: u8 = 3;
/// `BPF_PSEUDO_FUNC`: a 64-bit immediate load takes the address of a function of the program.
pub const PSEUDO_FUNC: u8 = 4;
/// `BPF_PSEUDO_MAP_IDX`: like [`PSEUDO_MAP_FD`], with an index into the loader's `fd_array`.
pub const PSEUDO_MAP_IDX: u8 = 5;
/// `BPF_PSEUDO_MAP_IDX_VALUE`: like [`PSEUDO_MAP_VALUE`], with an index into the loader's `fd_array`.
pub const PSEUDO_MAP_IDX_VALUE: u8 = 6;
/// `BPF_PSEUDO_CALL`: a call goes to a function of the program.
pub const PSEUDO_CALL: u8 = 1;
/// `BPF_PSEUDO_KFUNC_CALL`: a call goes to a kernel function, named by its BTF id.
pub const PSEUDO_KFUNC_CALL: u8 = 2;
