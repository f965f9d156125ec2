//! The results of operations on numbers.

use knobgate_bpf::{AluOp, Size, Width};

use super::{Range, Scalar};
use crate::arithmetic;
use crate::verifier::bits::Bits;

impl Scalar {
    /// The lower half, zero-extended.
    pub(in crate::verifier) fn low_half(self) -> Self {
        let Range { min, max } = self.low_unsigned;
        let unsigned = Range { min: min.into(), max: max.into() };
        Self { unsigned, signed: Self::UNKNOWN.signed, bits: self.bits.low(), ..self }.settled()
    }

    /// The lowest bytes, zero-extended or sign-extended.
    pub(in crate::verifier) fn lowest(self, size: Size, width: Width, signed: bool) -> Self {
        if let Some(known) = self.known() {
            let value = arithmetic::truncate(size, known);
            return Self::constant(if signed { arithmetic::sign_extend(width, size, value) } else { value });
        }
        let most = u64::MAX >> (64 - size.bits());
        let positive = if signed { most >> 1 } else { most };
        if self.unsigned.max <= positive {
            return self;
        }
        if !signed {
            let bits = self.bits.and(Bits::constant(most));
            return if size == Size::U32 {
                self.low_half()
            } else {
                Self { bits, ..Self::UNKNOWN }.settled()
            };
        }
        if size == Size::U32 {
            let Range { min, max } = self.low_signed;
            let signed = Range { min: min.into(), max: max.into() };
            return Self { unsigned: Self::UNKNOWN.unsigned, signed, bits: Bits::UNKNOWN, ..self }.settled();
        }
        let Range { min, max } = self.signed;
        if min >> size.bits() == max >> size.bits() {
            let extend = |end: i64| arithmetic::sign_extend(Width::W64, size, end as u64) as i64;
            let (one, other) = (extend(min), extend(max));
            if (one < 0) == (other < 0) {
                let signed = Range { min: one.min(other), max: one.max(other) };
                let extended = Self { signed, ..Self::UNKNOWN }.settled();
                return if width == Width::W32 { extended.low_half() } else { extended };
            }
        }
        let half = 1_i64 << (size.bits() - 1);
        let extended = Self { signed: Range { min: -half, max: half - 1 }, ..Self::UNKNOWN }.settled();
        if width == Width::W32 { extended.low_half() } else { extended }
    }

    /// `left op right`
    pub(in crate::verifier) fn compute(width: Width, op: AluOp, left: Self, right: Self) -> Self {
        // Only newer verifiers track divisions by a constant: `divided`.
        if matches!(op, AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod) {
            return if width == Width::W32 { Self::of_size(Size::U32) } else { Self::UNKNOWN };
        }
        if let (Some(left), Some(right)) = (left.known(), right.known()) {
            return Self::constant(arithmetic::alu(width, op, left, right));
        }
        let shift = match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                let bits = if width == Width::W32 { 32 } else { 64 };
                match right.known().filter(|shift| *shift < bits) {
                    Some(shift) => shift as u32,
                    None if width == Width::W32 => return Self::of_size(Size::U32),
                    None => return Self::UNKNOWN,
                }
            }
            _ => 0,
        };
        let mut result = Self::UNKNOWN;
        if width == Width::W64 {
            let (a, b) = (wide(left.unsigned), wide(right.unsigned));
            let (min, max) = bounds(op, a, b, shift, (0, u64::MAX.into()));
            result.unsigned = Range { min: min as u64, max: max as u64 };
            let (a, b) = (wide(left.signed), wide(right.signed));
            let (min, max) = bounds(op, a, b, shift, (i64::MIN.into(), i64::MAX.into()));
            result.signed = Range { min: min as i64, max: max as i64 };
        }
        // The lower half of the result is computed from lower halves, unless something is shifted into it.
        if width == Width::W32 || !matches!(op, AluOp::Rsh | AluOp::Arsh | AluOp::Lsh) {
            let (a, b) = (wide(left.low_unsigned), wide(right.low_unsigned));
            let (min, max) = bounds(op, a, b, shift, (0, u32::MAX.into()));
            result.low_unsigned = Range { min: min as u32, max: max as u32 };
            let (a, b) = (wide(left.low_signed), wide(right.low_signed));
            let (min, max) = bounds(op, a, b, shift, (i32::MIN.into(), i32::MAX.into()));
            result.low_signed = Range { min: min as i32, max: max as i32 };
        }
        let (a, b) = match width {
            Width::W64 => (left.bits, right.bits),
            Width::W32 => (left.bits.low(), right.bits.low()),
        };
        result.bits = match (op, width) {
            (AluOp::Add, _) => a.add(b),
            (AluOp::Sub, _) => a.sub(b),
            (AluOp::Mul, _) => a.mul(b),
            (AluOp::And, _) => a.and(b),
            (AluOp::Or, _) => a.or(b),
            (AluOp::Xor, _) => a.xor(b),
            (AluOp::Lsh, _) => a.map(|bits| bits << shift),
            (AluOp::Rsh, _) => a.map(|bits| bits >> shift),
            (AluOp::Arsh, Width::W64) => a.map(|bits| (bits as i64 >> shift) as u64),
            (AluOp::Arsh, Width::W32) => a.map(|bits| u64::from((bits as u32 as i32 >> shift) as u32)),
            _ => Bits::UNKNOWN,
        };
        match width {
            Width::W64 => result.settled(),
            Width::W32 => result.low_half(),
        }
    }

    /// `self op divisor` for one of the divisions, on verifiers that track them.
    pub(in crate::verifier) fn divided(self, width: Width, op: AluOp, divisor: u64) -> Self {
        let is_signed = matches!(op, AluOp::SDiv | AluOp::SMod);
        let (low, signed_low) = (divisor as u32, divisor as i32);
        let (dividend, by, domain) = match (width, is_signed) {
            (Width::W64, false) => (wide(self.unsigned), i128::from(divisor), (0, u64::MAX.into())),
            (Width::W64, true) => {
                (wide(self.signed), i128::from(divisor as i64), (i64::MIN.into(), i64::MAX.into()))
            }
            (Width::W32, false) => (wide(self.low_unsigned), i128::from(low), (0, u32::MAX.into())),
            (Width::W32, true) => {
                (wide(self.low_signed), i128::from(signed_low), (i32::MIN.into(), i32::MAX.into()))
            }
        };
        let is_quotient = matches!(op, AluOp::Div | AluOp::SDiv);
        let most = by.abs() - 1;
        if !is_quotient && (by == 0 || -most <= dividend.0 && dividend.1 <= most) {
            // It is its own remainder.
            return if width == Width::W32 { self.low_half() } else { self };
        }
        let (min, max) = if !is_quotient {
            match (dividend.0 >= 0, dividend.1 <= 0) {
                (true, _) => (0, dividend.1.min(most)),
                (_, true) => (dividend.0.max(-most), 0),
                // The verifier is not more precise.
                _ => (-most, most),
            }
        } else if by == 0 {
            return Self::constant(0);
        } else if dividend.1 / by > domain.1 || dividend.0 / by > domain.1 {
            // The smallest number divided by −1 is itself.
            if dividend.0 == dividend.1 { dividend } else { domain }
        } else {
            let (one, other) = (dividend.0 / by, dividend.1 / by);
            (one.min(other), one.max(other))
        };
        let mut result = Self::UNKNOWN;
        match (width, is_signed) {
            (Width::W64, false) => result.unsigned = Range { min: min as u64, max: max as u64 },
            (Width::W64, true) => result.signed = Range { min: min as i64, max: max as i64 },
            (Width::W32, false) => result.low_unsigned = Range { min: min as u32, max: max as u32 },
            (Width::W32, true) => result.low_signed = Range { min: min as i32, max: max as i32 },
        }
        match width {
            Width::W64 => result.settled(),
            Width::W32 => result.low_half(),
        }
    }
}

fn wide<T: Into<i128>>(range: Range<T>) -> (i128, i128) {
    (range.min.into(), range.max.into())
}

/// The ends of the result of an operation on numbers between these ends; those of `domain` if it may wrap around.
fn bounds(op: AluOp, a: (i128, i128), b: (i128, i128), shift: u32, domain: (i128, i128)) -> (i128, i128) {
    let is_signed = domain.0 < 0;
    let ends = match op {
        AluOp::Add => Some((a.0 + b.0, a.1 + b.1)),
        AluOp::Sub => Some((a.0 - b.1, a.1 - b.0)),
        AluOp::Mul => {
            let products =
                [(a.0, b.0), (a.0, b.1), (a.1, b.0), (a.1, b.1)].map(|(one, other)| one.checked_mul(other));
            let products: Option<Vec<i128>> = products.into_iter().collect();
            products.and_then(|products| Some((*products.iter().min()?, *products.iter().max()?)))
        }
        AluOp::And if !is_signed => Some((0, a.1.min(b.1))),
        AluOp::Or if !is_signed => Some((a.0.max(b.0), domain.1)),
        AluOp::Lsh if !is_signed => a.1.checked_shl(shift).map(|max| (a.0 << shift, max)),
        AluOp::Rsh if !is_signed => Some((a.0 >> shift, a.1 >> shift)),
        AluOp::Arsh if is_signed => Some((a.0 >> shift, a.1 >> shift)),
        _ => None,
    };
    ends.filter(|(min, max)| domain.0 <= *min && *max <= domain.1).unwrap_or(domain)
}
