//! The results of operations: Documentation/bpf/standardization/instruction-set.rst.
//!
//! Operations of 32 bits take the low halves of their operands and clear the upper half of the result.

use knobgate_bpf::{AluOp, AtomicOp, ByteOrder, Cond, Size, Width};

/// `left op right`.
#[inline]
pub(crate) fn alu(width: Width, op: AluOp, left: u64, right: u64) -> u64 {
    match width {
        Width::W64 => alu64(op, left, right),
        Width::W32 => u64::from(alu32(op, left as u32, right as u32)),
    }
}

#[inline]
fn alu64(op: AluOp, left: u64, right: u64) -> u64 {
    match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::SDiv if right == 0 => 0,
        AluOp::SDiv => (left as i64).wrapping_div(right as i64) as u64,
        AluOp::SMod if right == 0 => left,
        AluOp::SMod => (left as i64).wrapping_rem(right as i64) as u64,
        AluOp::Or => left | right,
        AluOp::And => left & right,
        AluOp::Xor => left ^ right,
        AluOp::Lsh => left.wrapping_shl(right as u32),
        AluOp::Rsh => left.wrapping_shr(right as u32),
        AluOp::Arsh => (left as i64).wrapping_shr(right as u32) as u64,
    }
}

#[inline]
fn alu32(op: AluOp, left: u32, right: u32) -> u32 {
    match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::SDiv if right == 0 => 0,
        AluOp::SDiv => (left as i32).wrapping_div(right as i32) as u32,
        AluOp::SMod if right == 0 => left,
        AluOp::SMod => (left as i32).wrapping_rem(right as i32) as u32,
        AluOp::Or => left | right,
        AluOp::And => left & right,
        AluOp::Xor => left ^ right,
        AluOp::Lsh => left.wrapping_shl(right),
        AluOp::Rsh => left.wrapping_shr(right),
        AluOp::Arsh => (left as i32).wrapping_shr(right) as u32,
    }
}

/// `-value`.
#[inline]
pub(crate) fn neg(width: Width, value: u64) -> u64 {
    match width {
        Width::W64 => value.wrapping_neg(),
        Width::W32 => u64::from((value as u32).wrapping_neg()),
    }
}

/// The low `size` bytes of `value`, sign-extended to `width` bits, and then zero-extended.
#[inline]
pub(crate) fn sign_extend(width: Width, size: Size, value: u64) -> u64 {
    let unused = 64 - size.bits();
    let extended = ((value << unused) as i64 >> unused) as u64;
    match width {
        Width::W64 => extended,
        Width::W32 => u64::from(extended as u32),
    }
}

/// The low `size` bytes of `value` in another order; the host is little endian.
#[inline]
pub(crate) fn swap(order: ByteOrder, size: Size, value: u64) -> u64 {
    let low = truncate(size, value);
    match order {
        ByteOrder::ToLittle => low,
        ByteOrder::ToBig | ByteOrder::Swap => low.swap_bytes() >> (64 - size.bits()),
    }
}

/// The low `size` bytes of `value`.
#[inline]
pub(crate) fn truncate(size: Size, value: u64) -> u64 {
    value & (u64::MAX >> (64 - size.bits()))
}

/// Whether `left cond right`.
#[inline]
pub(crate) fn holds(width: Width, cond: Cond, left: u64, right: u64) -> bool {
    // Sign-extended halves compare like the halves, signed and unsigned.
    let (left, right) = match width {
        Width::W64 => (left, right),
        Width::W32 => (left as i32 as u64, right as i32 as u64),
    };
    match cond {
        Cond::Eq => left == right,
        Cond::Ne => left != right,
        Cond::Gt => left > right,
        Cond::Ge => left >= right,
        Cond::Lt => left < right,
        Cond::Le => left <= right,
        Cond::SGt => left as i64 > right as i64,
        Cond::SGe => left as i64 >= right as i64,
        Cond::SLt => (left as i64) < right as i64,
        Cond::SLe => left as i64 <= right as i64,
        Cond::Set => left & right != 0,
    }
}

/// The new value after an atomic operation on memory that held `old`. Both have `size` bytes.
#[inline]
pub(crate) fn atomic(op: AtomicOp, size: Size, old: u64, operand: u64, r0: u64) -> u64 {
    let new = match op {
        AtomicOp::Add | AtomicOp::FetchAdd => old.wrapping_add(operand),
        AtomicOp::Or | AtomicOp::FetchOr => old | operand,
        AtomicOp::And | AtomicOp::FetchAnd => old & operand,
        AtomicOp::Xor | AtomicOp::FetchXor => old ^ operand,
        AtomicOp::Exchange => operand,
        AtomicOp::CompareExchange if old == truncate(size, r0) => operand,
        AtomicOp::CompareExchange => old,
    };
    truncate(size, new)
}
