//! Instructions as bytes.

use crate::{AluOp, AtomicOp, ByteOrder, Cond, Imm64, Operand, Reg, Size, Width, opcode};

/// An encoded instruction: `struct bpf_insn` in `include/uapi/linux/bpf.h`.
///
/// A 64-bit immediate load takes two of them. Any eight bytes are an `Insn`; [`Operation`](crate::Operation)
/// is their meaning, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// The opcode; see [`opcode`].
    pub opcode: u8,
    registers: u8,
    /// The offset: of a jump (counted from the next instruction), or of memory; of a few opcodes, a modifier.
    pub off: i16,
    /// The immediate.
    pub imm: i32,
}

impl Insn {
    /// How many bytes an instruction takes.
    pub const BYTES: usize = 8;

    /// An instruction from its fields. Only the low four bits of `dst` and `src` count.
    pub const fn new(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        Self { opcode, registers: (dst & 0xf) | (src << 4), off, imm }
    }

    /// The number in the destination field.
    pub const fn dst(self) -> u8 {
        self.registers & 0xf
    }

    /// The number in the source field: a register, or the kind of immediate or callee.
    pub const fn src(self) -> u8 {
        self.registers >> 4
    }

    /// The same instruction with another source field.
    #[must_use]
    pub const fn with_src(self, src: u8) -> Self {
        Self::new(self.opcode, self.dst(), src, self.off, self.imm)
    }

    /// The same instruction with another offset.
    #[must_use]
    pub const fn with_off(self, off: i16) -> Self {
        Self { off, ..self }
    }

    /// The same instruction with another immediate.
    #[must_use]
    pub const fn with_imm(self, imm: i32) -> Self {
        Self { imm, ..self }
    }

    /// The class of its opcode: [`opcode::LD`] to [`opcode::ALU64`].
    pub const fn class(self) -> u8 {
        self.opcode & opcode::CLASS_MASK
    }

    /// Whether this is the first of the two instructions of a 64-bit immediate load.
    pub const fn is_load_imm64(self) -> bool {
        self.opcode == opcode::LD | opcode::DW | opcode::IMM
    }

    /// `dst = dst op operand`
    pub fn alu(width: Width, op: AluOp, dst: Reg, operand: impl Into<Operand>) -> Self {
        let insn = Self::with_operand(alu_class(width) | op.code(), dst, operand.into());
        Self { off: op.offset(), ..insn }
    }

    /// `dst = operand`
    pub fn mov(width: Width, dst: Reg, operand: impl Into<Operand>) -> Self {
        Self::with_operand(alu_class(width) | opcode::MOV, dst, operand.into())
    }

    /// `dst = (s8, s16 or s32)src`, ISA v4. With [`Width::W32`] only one and two bytes exist.
    pub fn mov_signed(width: Width, size: Size, dst: Reg, src: Reg) -> Self {
        Self { off: size.bits() as i16, ..Self::mov(width, dst, src) }
    }

    /// `dst = -dst`
    pub fn neg(width: Width, dst: Reg) -> Self {
        Self::new(alu_class(width) | opcode::NEG, dst.number(), 0, 0, 0)
    }

    /// The low `size` bytes of `dst` in another byte order; a single byte cannot be swapped.
    pub fn swap(order: ByteOrder, size: Size, dst: Reg) -> Self {
        let opcode = match order {
            ByteOrder::ToLittle => opcode::ALU | opcode::END | opcode::K,
            ByteOrder::ToBig => opcode::ALU | opcode::END | opcode::X,
            ByteOrder::Swap => opcode::ALU64 | opcode::END | opcode::K,
        };
        Self::new(opcode, dst.number(), 0, 0, size.bits() as i32)
    }

    /// `dst = *(size *)(base + off)`, zero-extended
    pub fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Self {
        Self::new(opcode::LDX | opcode::MEM | size.code(), dst.number(), base.number(), off, 0)
    }

    /// `dst = *(size *)(base + off)`, sign-extended, ISA v4. Eight bytes do not exist.
    pub fn load_signed(size: Size, dst: Reg, base: Reg, off: i16) -> Self {
        Self::new(opcode::LDX | opcode::MEMSX | size.code(), dst.number(), base.number(), off, 0)
    }

    /// `*(size *)(base + off) = operand`
    pub fn store(size: Size, base: Reg, off: i16, operand: impl Into<Operand>) -> Self {
        match operand.into() {
            Operand::Imm(imm) => {
                Self::new(opcode::ST | opcode::MEM | size.code(), base.number(), 0, off, imm)
            }
            Operand::Reg(src) => {
                Self::new(opcode::STX | opcode::MEM | size.code(), base.number(), src.number(), off, 0)
            }
        }
    }

    /// `*(size *)(base + off) op= src`, atomically. Only four and eight bytes exist.
    pub fn atomic(op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg) -> Self {
        Self::new(opcode::STX | opcode::ATOMIC | size.code(), base.number(), src.number(), off, op.code())
    }

    /// `dst = *(size *)(base + off)` with acquire semantics.
    pub fn load_acquire(size: Size, dst: Reg, base: Reg, off: i16) -> Self {
        Self::new(
            opcode::STX | opcode::ATOMIC | size.code(),
            dst.number(),
            base.number(),
            off,
            opcode::LOAD_ACQ,
        )
    }

    /// `*(size *)(base + off) = src` with release semantics.
    pub fn store_release(size: Size, base: Reg, off: i16, src: Reg) -> Self {
        Self::new(
            opcode::STX | opcode::ATOMIC | size.code(),
            base.number(),
            src.number(),
            off,
            opcode::STORE_REL,
        )
    }

    /// The two instructions of `dst = imm` with 64 bits, or with what the loader makes of them.
    pub fn load_imm64(dst: Reg, imm: Imm64) -> [Self; 2] {
        let (src, low, high) = imm.fields();
        [
            Self::new(opcode::LD | opcode::DW | opcode::IMM, dst.number(), src, 0, low),
            Self::new(0, 0, 0, 0, high),
        ]
    }

    /// `goto +off`
    pub const fn jump(off: i16) -> Self {
        Self::new(opcode::JMP | opcode::JA, 0, 0, off, 0)
    }

    /// `gotol +off`, ISA v4
    pub const fn jump_long(off: i32) -> Self {
        Self::new(opcode::JMP32 | opcode::JA, 0, 0, 0, off)
    }

    /// `if dst cond operand goto +off`
    pub fn jump_if(width: Width, cond: Cond, dst: Reg, operand: impl Into<Operand>, off: i16) -> Self {
        let class = match width {
            Width::W32 => opcode::JMP32,
            Width::W64 => opcode::JMP,
        };
        Self { off, ..Self::with_operand(class | cond.code(), dst, operand.into()) }
    }

    /// `may_goto +off`: jumps when the kernel's loop budget is used up.
    pub const fn may_goto(off: i16) -> Self {
        Self::new(opcode::JMP | opcode::JCOND, 0, 0, off, 0)
    }

    /// A call of a helper, by its number; see [`helper_ids`](crate::helper_ids).
    pub const fn call_helper(id: u32) -> Self {
        Self::new(opcode::JMP | opcode::CALL, 0, 0, 0, id as i32)
    }

    /// A call of a function of the program, `off` instructions after the next one.
    pub const fn call_function(off: i32) -> Self {
        Self::new(opcode::JMP | opcode::CALL, 0, opcode::PSEUDO_CALL, 0, off)
    }

    /// A call of a kernel function, by its id in the BTF of the module (0: the kernel's own) at this index of
    /// the loader's `fd_array`.
    pub const fn call_kfunc(btf_id: u32, module: i16) -> Self {
        Self::new(opcode::JMP | opcode::CALL, 0, opcode::PSEUDO_KFUNC_CALL, module, btf_id as i32)
    }

    /// `return r0`
    pub const fn exit() -> Self {
        Self::new(opcode::JMP | opcode::EXIT, 0, 0, 0, 0)
    }

    fn with_operand(opcode: u8, dst: Reg, operand: Operand) -> Self {
        match operand {
            Operand::Imm(imm) => Self::new(opcode | opcode::K, dst.number(), 0, 0, imm),
            Operand::Reg(src) => Self::new(opcode | opcode::X, dst.number(), src.number(), 0, 0),
        }
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let [off0, off1] = self.off.to_le_bytes();
        let [imm0, imm1, imm2, imm3] = self.imm.to_le_bytes();
        [self.opcode, self.registers, off0, off1, imm0, imm1, imm2, imm3]
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [opcode, registers, off0, off1, imm0, imm1, imm2, imm3] = bytes;
        Self {
            opcode,
            registers,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes([imm0, imm1, imm2, imm3]),
        }
    }
}

const fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => opcode::ALU,
        Width::W64 => opcode::ALU64,
    }
}

/// The bytes of a program on a little-endian machine, the only kind that is supported.
pub fn encode(insns: &[Insn]) -> Vec<u8> {
    insns.iter().flat_map(|insn| insn.to_bytes()).collect()
}

/// The instructions in the bytes of a program of a little-endian machine.
///
/// # Errors
///
/// The bytes are not whole instructions. Whether the instructions are valid is not checked.
pub fn decode(bytes: &[u8]) -> Result<Vec<Insn>, DecodeError> {
    let (chunks, rest) = bytes.as_chunks::<{ Insn::BYTES }>();
    if !rest.is_empty() {
        return Err(DecodeError::PartialInsn { bytes: bytes.len() });
    }
    Ok(chunks.iter().map(|chunk| Insn::from_bytes(*chunk)).collect())
}

/// Why bytes or instructions could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside an instruction.
    #[error("{bytes} bytes are not whole instructions of 8 bytes")]
    PartialInsn {
        /// How many bytes there were.
        bytes: usize,
    },
    /// The instruction set has no such instruction, or a reserved field is not zero.
    #[error("instruction {index}: opcode {:#04x} with source {}, offset {} and immediate {} is not a BPF instruction",
        insn.opcode, insn.src(), insn.off, insn.imm)]
    UnknownInsn {
        /// Where it is.
        index: usize,
        /// What it is.
        insn: Insn,
    },
    /// A 64-bit immediate load lacks its second half.
    #[error("instruction {index}: the second half of a 64-bit immediate load is missing")]
    HalfImm64 {
        /// Where its first half is.
        index: usize,
    },
}
