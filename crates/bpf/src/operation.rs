//! Decoded instructions: the whole instruction set up to v4 as one type.

use crate::{AluOp, AtomicOp, ByteOrder, Cond, DecodeError, Imm64, Insn, Operand, Reg, Size, Width, opcode};

/// A decoded instruction.
///
/// Jump offsets count from the next instruction. Every `Operation` has one encoding: instructions with nonzero reserved
/// fields are not decoded, because the kernel's verifier rejects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields are called what they are in the forms given")]
pub enum Operation {
    /// `dst = dst op operand`
    Alu { width: Width, op: AluOp, dst: Reg, operand: Operand },
    /// `dst = operand`
    Mov { width: Width, dst: Reg, operand: Operand },
    /// `dst = (signed size)src`
    MovSigned { width: Width, size: Size, dst: Reg, src: Reg },
    /// `dst = -dst`
    Neg { width: Width, dst: Reg },
    /// `dst` in another byte order
    Swap { order: ByteOrder, size: Size, dst: Reg },
    /// `dst = *(size *)(base + off)`
    Load { size: Size, signed: bool, dst: Reg, base: Reg, off: i16 },
    /// `*(size *)(base + off) = operand`
    Store { size: Size, base: Reg, off: i16, operand: Operand },
    /// `*(size *)(base + off) op= src`
    Atomic { op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg },
    /// `dst = *(size *)(base + off)`, acquire
    LoadAcquire { size: Size, dst: Reg, base: Reg, off: i16 },
    /// `*(size *)(base + off) = src`, release
    StoreRelease { size: Size, base: Reg, off: i16, src: Reg },
    /// `dst = imm`; takes two instructions
    LoadImm64 { dst: Reg, imm: Imm64 },
    /// `r0 =` packet data at `imm`, plus `index` if there is one; of socket programs only
    LoadPacket { size: Size, index: Option<Reg>, imm: i32 },
    /// `goto off`; `long` when it is a `gotol`
    Jump { off: i32, long: bool },
    /// `if dst cond operand goto off`
    JumpIf { width: Width, cond: Cond, dst: Reg, operand: Operand, off: i16 },
    /// `may_goto off`
    MayGoto { off: i16 },
    /// `call callee`
    Call { callee: Callee },
    /// `return r0`
    Exit,
}

/// The target of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Callee {
    /// The helper of this number.
    Helper(u32),
    /// The function of the program, this far after the next instruction.
    Function(i32),
    /// The kernel function with this BTF id, of the module at this index of the loader's `fd_array` (0: none).
    Kfunc {
        /// Its id.
        btf_id: u32,
        /// The index of its module.
        module: i16,
    },
}

impl Operation {
    /// Decodes the instruction at `index`, which for a 64-bit immediate load is its first half.
    ///
    /// # Errors
    ///
    /// When it is not an instruction, or lacks its second half.
    ///
    /// # Panics
    ///
    /// When `index` is out of bounds.
    pub fn at(insns: &[Insn], index: usize) -> Result<Self, DecodeError> {
        let insn = insns[index];
        if insn.is_load_imm64() && index + 1 == insns.len() {
            return Err(DecodeError::HalfImm64 { index });
        }
        let second = insns.get(index + 1).copied().unwrap_or_default();
        let unknown = DecodeError::UnknownInsn { index, insn };
        let Some(operation) = Self::from_fields(insn, second) else { return Err(unknown) };
        // Whatever the fields above did not take into account would be lost in this encoding.
        let (first, half) = operation.halves();
        let is_canonical = first == insn && half.is_none_or(|half| half == second);
        if is_canonical { Ok(operation) } else { Err(unknown) }
    }

    /// How many instructions it takes: 2 for a 64-bit immediate load, otherwise 1.
    pub const fn slots(&self) -> usize {
        if matches!(self, Self::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// Whether the next instruction is never reached from here by falling through.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Jump { .. } | Self::Exit)
    }

    /// Its instructions: one or two.
    pub fn encode(&self) -> Vec<Insn> {
        let (first, half) = self.halves();
        std::iter::once(first).chain(half).collect()
    }

    fn halves(&self) -> (Insn, Option<Insn>) {
        let insn = match *self {
            Self::Alu { width, op, dst, operand } => Insn::alu(width, op, dst, operand),
            Self::Mov { width, dst, operand } => Insn::mov(width, dst, operand),
            Self::MovSigned { width, size, dst, src } => Insn::mov_signed(width, size, dst, src),
            Self::Neg { width, dst } => Insn::neg(width, dst),
            Self::Swap { order, size, dst } => Insn::swap(order, size, dst),
            Self::Load { size, signed: false, dst, base, off } => Insn::load(size, dst, base, off),
            Self::Load { size, signed: true, dst, base, off } => Insn::load_signed(size, dst, base, off),
            Self::Store { size, base, off, operand } => Insn::store(size, base, off, operand),
            Self::Atomic { op, size, base, off, src } => Insn::atomic(op, size, base, off, src),
            Self::LoadAcquire { size, dst, base, off } => Insn::load_acquire(size, dst, base, off),
            Self::StoreRelease { size, base, off, src } => Insn::store_release(size, base, off, src),
            Self::LoadImm64 { dst, imm } => {
                let [first, half] = Insn::load_imm64(dst, imm);
                return (first, Some(half));
            }
            Self::LoadPacket { size, index: None, imm } => {
                Insn::new(opcode::LD | opcode::ABS | size.code(), 0, 0, 0, imm)
            }
            Self::LoadPacket { size, index: Some(index), imm } => {
                Insn::new(opcode::LD | opcode::IND | size.code(), 0, index.number(), 0, imm)
            }
            Self::Jump { off, long: false } => Insn::jump(off as i16),
            Self::Jump { off, long: true } => Insn::jump_long(off),
            Self::JumpIf { width, cond, dst, operand, off } => Insn::jump_if(width, cond, dst, operand, off),
            Self::MayGoto { off } => Insn::may_goto(off),
            Self::Call { callee: Callee::Helper(id) } => Insn::call_helper(id),
            Self::Call { callee: Callee::Function(off) } => Insn::call_function(off),
            Self::Call { callee: Callee::Kfunc { btf_id, module } } => Insn::call_kfunc(btf_id, module),
            Self::Exit => Insn::exit(),
        };
        (insn, None)
    }

    fn from_fields(insn: Insn, second: Insn) -> Option<Self> {
        match insn.class() {
            opcode::ALU => Self::from_alu(insn, Width::W32),
            opcode::ALU64 => Self::from_alu(insn, Width::W64),
            opcode::JMP => Self::from_jump(insn, Width::W64),
            opcode::JMP32 => Self::from_jump(insn, Width::W32),
            _ => Self::from_memory(insn, second),
        }
    }

    fn from_alu(insn: Insn, width: Width) -> Option<Self> {
        let dst = Reg::from_number(insn.dst())?;
        match insn.opcode & opcode::OPERATION_MASK {
            opcode::NEG => Some(Self::Neg { width, dst }),
            opcode::END => {
                let size = Size::from_bits(insn.imm).filter(|size| *size != Size::U8)?;
                let order = match (width, insn.opcode & opcode::SOURCE_MASK) {
                    (Width::W32, opcode::K) => ByteOrder::ToLittle,
                    (Width::W32, _) => ByteOrder::ToBig,
                    (Width::W64, _) => ByteOrder::Swap,
                };
                Some(Self::Swap { order, size, dst })
            }
            opcode::MOV if insn.off != 0 => {
                let size = Size::from_bits(i32::from(insn.off)).filter(|size| match width {
                    Width::W32 => *size < Size::U32,
                    Width::W64 => *size < Size::U64,
                })?;
                Some(Self::MovSigned { width, size, dst, src: Reg::from_number(insn.src())? })
            }
            opcode::MOV => Some(Self::Mov { width, dst, operand: operand(insn)? }),
            code => {
                Some(Self::Alu { width, op: AluOp::from_code(code, insn.off)?, dst, operand: operand(insn)? })
            }
        }
    }

    fn from_jump(insn: Insn, width: Width) -> Option<Self> {
        match (insn.opcode & opcode::OPERATION_MASK, width) {
            (opcode::JA, Width::W64) => Some(Self::Jump { off: i32::from(insn.off), long: false }),
            (opcode::JA, Width::W32) => Some(Self::Jump { off: insn.imm, long: true }),
            (opcode::JCOND, Width::W64) => Some(Self::MayGoto { off: insn.off }),
            (opcode::EXIT, Width::W64) => Some(Self::Exit),
            (opcode::CALL, Width::W64) => {
                let callee = match insn.src() {
                    0 => Callee::Helper(insn.imm as u32),
                    opcode::PSEUDO_CALL => Callee::Function(insn.imm),
                    opcode::PSEUDO_KFUNC_CALL => Callee::Kfunc { btf_id: insn.imm as u32, module: insn.off },
                    _ => return None,
                };
                Some(Self::Call { callee })
            }
            (code, _) => {
                let dst = Reg::from_number(insn.dst())?;
                Some(Self::JumpIf {
                    width,
                    cond: Cond::from_code(code)?,
                    dst,
                    operand: operand(insn)?,
                    off: insn.off,
                })
            }
        }
    }

    fn from_memory(insn: Insn, second: Insn) -> Option<Self> {
        let size = Size::from_code(insn.opcode);
        let off = insn.off;
        let dst = Reg::from_number(insn.dst())?;
        let src = || Reg::from_number(insn.src());
        let is_word = matches!(size, Size::U32 | Size::U64);
        Some(match (insn.class(), insn.opcode & opcode::MODE_MASK) {
            (opcode::LDX, opcode::MEM) => Self::Load { size, signed: false, dst, base: src()?, off },
            (opcode::LDX, opcode::MEMSX) if size != Size::U64 => {
                Self::Load { size, signed: true, dst, base: src()?, off }
            }
            (opcode::ST, opcode::MEM) => {
                Self::Store { size, base: dst, off, operand: Operand::Imm(insn.imm) }
            }
            (opcode::STX, opcode::MEM) => Self::Store { size, base: dst, off, operand: Operand::Reg(src()?) },
            (opcode::STX, opcode::ATOMIC) => match insn.imm {
                opcode::LOAD_ACQ => Self::LoadAcquire { size, dst, base: src()?, off },
                opcode::STORE_REL => Self::StoreRelease { size, base: dst, off, src: src()? },
                code if is_word => {
                    Self::Atomic { op: AtomicOp::from_code(code)?, size, base: dst, off, src: src()? }
                }
                _ => return None,
            },
            (opcode::LD, opcode::IMM) if size == Size::U64 => {
                Self::LoadImm64 { dst, imm: Imm64::from_fields(insn.src(), insn.imm, second.imm)? }
            }
            (opcode::LD, opcode::ABS) if size != Size::U64 => {
                Self::LoadPacket { size, index: None, imm: insn.imm }
            }
            (opcode::LD, opcode::IND) if size != Size::U64 => {
                Self::LoadPacket { size, index: Some(src()?), imm: insn.imm }
            }
            _ => return None,
        })
    }
}

fn operand(insn: Insn) -> Option<Operand> {
    if insn.opcode & opcode::SOURCE_MASK == opcode::X {
        Reg::from_number(insn.src()).map(Operand::Reg)
    } else {
        Some(Operand::Imm(insn.imm))
    }
}
