//! The parts of the instruction set: registers, sizes, operations, conditions.

use std::fmt;

use crate::opcode;

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reg {
    /// What functions and helpers return.
    R0 = 0,
    /// The first argument; the context when the program starts.
    R1,
    /// The second argument.
    R2,
    /// The third argument.
    R3,
    /// The fourth argument.
    R4,
    /// The fifth argument.
    R5,
    /// Callee-saved.
    R6,
    /// Callee-saved.
    R7,
    /// Callee-saved.
    R8,
    /// Callee-saved.
    R9,
    /// The frame pointer: one past the end of the function's 512 bytes of stack. Cannot be written.
    R10,
}

impl Reg {
    /// All registers, in order.
    pub const ALL: [Self; 11] = [
        Self::R0,
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R10,
    ];

    /// The register of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.number())
    }
}

/// The second operand of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A constant, sign-extended where the operation is 64 bits wide.
    Imm(i32),
    /// A register.
    Reg(Reg),
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Self::Imm(value)
    }
}

impl From<Reg> for Operand {
    fn from(register: Reg) -> Self {
        Self::Reg(register)
    }
}

/// How many bits of its operands an operation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32; the result is zero-extended.
    W32,
    /// All 64.
    W64,
}

/// How many bytes of memory a load, a store or an atomic operation accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
}

impl Size {
    /// All sizes, smallest first.
    pub const ALL: [Self; 4] = [Self::U8, Self::U16, Self::U32, Self::U64];

    /// Its number of bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    /// Its number of bits.
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::U8 => opcode::B,
            Self::U16 => opcode::H,
            Self::U32 => opcode::W,
            Self::U64 => opcode::DW,
        }
    }

    pub(crate) fn from_code(code: u8) -> Self {
        match code & opcode::SIZE_MASK {
            opcode::B => Self::U8,
            opcode::H => Self::U16,
            opcode::W => Self::U32,
            _ => Self::U64,
        }
    }

    pub(crate) fn from_bits(bits: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|size| i64::from(size.bits()) == i64::from(bits))
    }
}

/// An arithmetic operation with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// Addition, wrapping.
    Add,
    /// Subtraction, wrapping.
    Sub,
    /// Multiplication, wrapping.
    Mul,
    /// Unsigned division; by zero it gives 0.
    Div,
    /// Signed division (ISA v4); by zero it gives 0.
    SDiv,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Left shift, by the operand modulo the width.
    Lsh,
    /// Logical right shift, by the operand modulo the width.
    Rsh,
    /// Unsigned remainder; by zero it leaves the dividend.
    Mod,
    /// Signed remainder with the dividend's sign (ISA v4); by zero it leaves the dividend.
    SMod,
    /// Bitwise exclusive or.
    Xor,
    /// Arithmetic right shift, by the operand modulo the width.
    Arsh,
}

impl AluOp {
    /// All operations.
    pub const ALL: [Self; 13] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::SDiv,
        Self::Or,
        Self::And,
        Self::Lsh,
        Self::Rsh,
        Self::Mod,
        Self::SMod,
        Self::Xor,
        Self::Arsh,
    ];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Add => 0x00,
            Self::Sub => 0x10,
            Self::Mul => 0x20,
            Self::Div | Self::SDiv => 0x30,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::Lsh => 0x60,
            Self::Rsh => 0x70,
            Self::Mod | Self::SMod => 0x90,
            Self::Xor => 0xa0,
            Self::Arsh => 0xc0,
        }
    }

    /// The offset field, which distinguishes signed division and remainder from unsigned.
    pub(crate) const fn offset(self) -> i16 {
        matches!(self, Self::SDiv | Self::SMod) as i16
    }

    pub(crate) fn from_code(code: u8, offset: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.code() == code & opcode::OPERATION_MASK && op.offset() == offset)
    }
}

/// The condition of a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cond {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>`, unsigned
    Gt,
    /// `>=`, unsigned
    Ge,
    /// `<`, unsigned
    Lt,
    /// `<=`, unsigned
    Le,
    /// `>`, signed
    SGt,
    /// `>=`, signed
    SGe,
    /// `<`, signed
    SLt,
    /// `<=`, signed
    SLe,
    /// `&`: they have a bit in common
    Set,
}

impl Cond {
    /// All conditions.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Ne,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
        Self::SGt,
        Self::SGe,
        Self::SLt,
        Self::SLe,
        Self::Set,
    ];

    /// The condition that holds exactly when this one does not; [`Set`](Self::Set) has none.
    pub const fn inverse(self) -> Option<Self> {
        Some(match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::SGt => Self::SLe,
            Self::SGe => Self::SLt,
            Self::SLt => Self::SGe,
            Self::SLe => Self::SGt,
            Self::Set => return None,
        })
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Eq => 0x10,
            Self::Gt => 0x20,
            Self::Ge => 0x30,
            Self::Set => 0x40,
            Self::Ne => 0x50,
            Self::SGt => 0x60,
            Self::SGe => 0x70,
            Self::Lt => 0xa0,
            Self::Le => 0xb0,
            Self::SLt => 0xc0,
            Self::SLe => 0xd0,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cond| cond.code() == code & opcode::OPERATION_MASK)
    }
}

/// What an atomic operation does to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Adds.
    Add,
    /// Sets bits.
    Or,
    /// Keeps bits.
    And,
    /// Flips bits.
    Xor,
    /// Adds; the source register gets the old value.
    FetchAdd,
    /// Sets bits; the source register gets the old value.
    FetchOr,
    /// Keeps bits; the source register gets the old value.
    FetchAnd,
    /// Flips bits; the source register gets the old value.
    FetchXor,
    /// Stores; the source register gets the old value.
    Exchange,
    /// Stores if memory equals r0; r0 gets the old value.
    CompareExchange,
}

impl AtomicOp {
    /// All operations.
    pub const ALL: [Self; 10] = [
        Self::Add,
        Self::Or,
        Self::And,
        Self::Xor,
        Self::FetchAdd,
        Self::FetchOr,
        Self::FetchAnd,
        Self::FetchXor,
        Self::Exchange,
        Self::CompareExchange,
    ];

    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Add => 0x00,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::Xor => 0xa0,
            Self::FetchAdd => opcode::FETCH,
            Self::FetchOr => 0x40 | opcode::FETCH,
            Self::FetchAnd => 0x50 | opcode::FETCH,
            Self::FetchXor => 0xa0 | opcode::FETCH,
            Self::Exchange => opcode::XCHG,
            Self::CompareExchange => opcode::CMPXCHG,
        }
    }

    pub(crate) fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.code() == code)
    }
}

/// A change of byte order. It uses the low 16, 32 or 64 bits, and clears the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// From the host's order to little endian.
    ToLittle,
    /// From the host's order to big endian.
    ToBig,
    /// Always reversed (ISA v4).
    Swap,
}
