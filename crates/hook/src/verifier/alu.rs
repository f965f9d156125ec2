//! Arithmetic: `check_alu_op()`, `adjust_reg_min_max_vals()` and `adjust_ptr_min_max_vals()`.

use knobgate_bpf::{AluOp, Operand, Reg, Size, Width};

use super::check::Verifier;
use super::env::BPF_MAX_VAR_OFF;
use super::register::{Kind, Register, ScalarId};
use super::scalar::Scalar;
use super::violation::Violation;
use crate::arithmetic;

impl Verifier<'_> {
    /// `dst = dst op operand`
    pub(super) fn alu(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        operand: Operand,
    ) -> Result<(), Violation> {
        if let Operand::Reg(src) = operand {
            self.read(src)?;
        }
        let left = self.read(dst)?;
        let bits = if width == Width::W32 { 32 } else { 64 };
        let divides = matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod);
        match operand {
            Operand::Imm(0) if divides => return Err(Violation::DivisionByZero),
            Operand::Imm(by)
                if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) && !(0..bits).contains(&by) =>
            {
                return Err(Violation::Shift { by });
            }
            _ => {}
        }
        self.check_written(dst)?;
        let (right, is_itself) = match operand {
            Operand::Imm(imm) => (Register::constant(i64::from(imm) as u64), false),
            Operand::Reg(src) => (self.state.get(src), src == dst),
        };
        let result = if left.is_pointer() && right.is_pointer() {
            if op != AluOp::Sub {
                let operator = operator(op);
                return Err(Violation::PointerPointer { register: dst.number(), operator });
            }
            Register::UNKNOWN
        } else if left.is_pointer() {
            if let Operand::Reg(src) = operand {
                self.mark_precise(src);
            }
            if right.is_scalar() {
                pointer_alu(width, op, dst, &left, &right, false)?
            } else {
                Register::UNKNOWN
            }
        } else if right.is_pointer() {
            self.mark_precise(dst);
            if left.is_scalar() {
                pointer_alu(width, op, dst, &right, &left, true)?
            } else {
                Register::UNKNOWN
            }
        } else if left.is_scalar() && right.is_scalar() {
            self.scalar_alu(width, op, &left, &right, is_itself)
        } else {
            Register::UNKNOWN
        };
        self.state.set(dst, result);
        Ok(())
    }

    fn scalar_alu(
        &self,
        width: Width,
        op: AluOp,
        left: &Register,
        right: &Register,
        is_itself: bool,
    ) -> Register {
        let (a, b) = (left.scalar, right.scalar);
        let divides = matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod);
        let shifts = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
        let bits = if width == Width::W32 { 32 } else { 64 };
        let is_safe = !divides && (!shifts || b.known_to(width).is_some() && b.unsigned.max < bits);
        let result = match b.known_to(width).filter(|_| divides && self.env.profile.divisions_followed) {
            Some(divisor) => a.divided(width, op, divisor),
            // `is_safe_to_compute_dst_reg_range`: not even the upper half of a 32-bit result is known.
            None if !is_safe && self.env.profile.version >= (6, 10) => Scalar::UNKNOWN,
            None => Scalar::compute(width, op, a, b),
        };
        let delta = b.known().filter(|_| !is_itself).and_then(|by| self.delta(width, op, by as i64));
        let link = delta.map_or(ScalarId::NONE, |by| {
            let wraps = width == Width::W32 && Scalar::compute(Width::W64, op, a, b) != result;
            left.link.moved(by, wraps)
        });
        Register { link, ..Register::number(result) }
    }

    /// What an operation by a constant adds to a number, if its link to others stays: since 6.11, a positive constant that
    /// is added to 64 bits. 6.18.44 also follows other constants, subtraction and 32 bits.
    fn delta(&self, width: Width, op: AluOp, by: i64) -> Option<i32> {
        let by = i32::try_from(by).ok()?;
        match op {
            AluOp::Add if self.env.profile.version >= (6, 18) => Some(by),
            AluOp::Sub if self.env.profile.version >= (6, 18) => by.checked_neg(),
            AluOp::Add if self.env.profile.version >= (6, 11) && width == Width::W64 && by >= 0 => Some(by),
            _ => None,
        }
    }

    /// `dst = operand`
    pub(super) fn mov(&mut self, width: Width, dst: Reg, operand: Operand) -> Result<(), Violation> {
        let value = match (operand, width) {
            (Operand::Imm(imm), Width::W64) => Register::constant(i64::from(imm) as u64),
            (Operand::Imm(imm), Width::W32) => Register::constant(u64::from(imm as u32)),
            (Operand::Reg(src), Width::W64) => {
                self.read(src)?;
                self.check_written(dst)?;
                self.linked(src)
            }
            (Operand::Reg(src), Width::W32) => {
                let value = self.read(src)?;
                self.check_written(dst)?;
                match value.kind {
                    // A truncated number stays linked if that does not change it.
                    Kind::Scalar if value.scalar.fits(Size::U32) => self.linked(src),
                    Kind::Scalar => Register::number(value.scalar.low_half()),
                    _ => Register::of_size(Size::U32),
                }
            }
        };
        self.check_written(dst)?;
        self.state.set(dst, value);
        Ok(())
    }

    /// `dst = (signed size)src`
    pub(super) fn mov_signed(
        &mut self,
        width: Width,
        size: Size,
        dst: Reg,
        src: Reg,
    ) -> Result<(), Violation> {
        let value = self.read(src)?;
        self.check_written(dst)?;
        let is_same = value.is_scalar() && value.scalar.unsigned.max <= u64::MAX >> (64 - size.bits()) >> 1;
        let value = match value.kind {
            Kind::Scalar if is_same => self.linked(src),
            Kind::Scalar => Register::number(value.scalar.lowest(size, width, true)),
            _ if width == Width::W32 => Register::of_size(Size::U32),
            _ => Register::UNKNOWN,
        };
        self.state.set(dst, value);
        Ok(())
    }

    /// `dst = -dst`
    pub(super) fn neg(&mut self, width: Width, dst: Reg) -> Result<(), Violation> {
        let value = self.read(dst)?;
        self.check_written(dst)?;
        let value = match value.kind {
            // Before, nothing is known of the result.
            Kind::Scalar if self.env.profile.version >= (6, 17) => {
                Register::number(Scalar::compute(width, AluOp::Sub, Scalar::constant(0), value.scalar))
            }
            _ => Register::UNKNOWN,
        };
        self.state.set(dst, value);
        Ok(())
    }

    /// `dst` in another byte order
    pub(super) fn swap(
        &mut self,
        order: knobgate_bpf::ByteOrder,
        size: Size,
        dst: Reg,
    ) -> Result<(), Violation> {
        let value = self.read(dst)?;
        self.check_written(dst)?;
        let value = match value.known() {
            // Before, nothing is known of the result. Observed on 6.18.44.
            _ if self.env.profile.version < (6, 18) => Register::UNKNOWN,
            Some(known) => Register::constant(arithmetic::swap(order, size, known)),
            None => Register::of_size(size),
        };
        self.state.set(dst, value);
        Ok(())
    }
}

/// `pointer op offset`, or `offset op pointer` if `is_reversed`.
fn pointer_alu(
    width: Width,
    op: AluOp,
    dst: Reg,
    pointer: &Register,
    offset: &Register,
    is_reversed: bool,
) -> Result<Register, Violation> {
    let register = dst.number();
    let (of, operator) = (pointer.type_name(), operator(op));
    if width == Width::W32 {
        return match op {
            AluOp::Sub => Ok(Register::UNKNOWN),
            _ => Err(Violation::NarrowPointerArithmetic { register }),
        };
    }
    if pointer.maybe_null {
        return Err(Violation::NullableArithmetic { register, of });
    }
    let known = offset.scalar.known().map(|known| known as i64);
    if matches!(pointer.kind, Kind::Map(_)) && !(known == Some(0) && op == AluOp::Add) {
        return Err(Violation::PointerArithmetic { register, of });
    }
    check_sane_offset(offset, of)?;
    check_sane_offset(pointer, of)?;
    let fixed = |off: i64| i32::try_from(off).ok();
    let result = match op {
        AluOp::Add => match known.and_then(|by| fixed(i64::from(pointer.off) + by)) {
            Some(off) => Register { off, ..*pointer },
            None => {
                let scalar = Scalar::compute(Width::W64, AluOp::Add, pointer.scalar, offset.scalar);
                Register { scalar, ..*pointer }
            }
        },
        AluOp::Sub if is_reversed => return Err(Violation::PointerFromScalar { register }),
        AluOp::Sub if matches!(pointer.kind, Kind::Stack(_)) => {
            return Err(Violation::StackSubtraction { register });
        }
        AluOp::Sub => match known.and_then(|by| fixed(i64::from(pointer.off).checked_sub(by)?)) {
            Some(off) => Register { off, ..*pointer },
            None => {
                let scalar = Scalar::compute(Width::W64, AluOp::Sub, pointer.scalar, offset.scalar);
                Register { scalar, ..*pointer }
            }
        },
        AluOp::And | AluOp::Or | AluOp::Xor => {
            return Err(Violation::BitwiseOnPointer { register, operator });
        }
        _ => return Err(Violation::PointerOperator { register, operator }),
    };
    check_sane_offset(&result, of)?;
    Ok(result)
}

/// `check_reg_sane_offset()`
fn check_sane_offset(register: &Register, of: &'static str) -> Result<(), Violation> {
    let is_large = |value: i64| value >= BPF_MAX_VAR_OFF || value <= -BPF_MAX_VAR_OFF;
    if let Some(value) = register.scalar.known().map(|known| known as i64).filter(|known| is_large(*known)) {
        return Err(Violation::PointerMath { of, value });
    }
    if is_large(register.off.into()) {
        return Err(Violation::PointerOffset { of, off: register.off });
    }
    match register.scalar.signed.min {
        i64::MIN => Err(Violation::UnboundedMath { of }),
        value if is_large(value) => Err(Violation::PointerOutOfBounds { value, of }),
        _ => Ok(()),
    }
}

/// The operator, as the kernel prints it (`bpf_alu_string`).
const fn operator(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div | AluOp::SDiv => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod | AluOp::SMod => "%=",
        AluOp::Xor => "^=",
        AluOp::Arsh => "s>>=",
    }
}
