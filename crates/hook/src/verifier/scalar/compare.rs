//! Refining numbers by comparisons.

use knobgate_bpf::{Cond, Width};

use super::{Range, Scalar};
use crate::verifier::bits::Bits;

impl Scalar {
    /// Both numbers after `left cond right` was found to be `holds`; `None` if that is impossible.
    pub(in crate::verifier) fn compare(
        width: Width,
        cond: Cond,
        holds: bool,
        left: Self,
        right: Self,
    ) -> Option<(Self, Self)> {
        let (cond, holds) = match cond.inverse() {
            Some(inverse) if !holds => (inverse, true),
            _ => (cond, holds),
        };
        let (mut a, mut b) = (left, right);
        match cond {
            Cond::Set => Self::test(width, holds, &mut a, &mut b)?,
            Cond::Eq => Self::equal(width, &mut a, &mut b)?,
            Cond::Ne => {
                Self::differ(width, &mut a, b);
                Self::differ(width, &mut b, a);
            }
            Cond::Gt | Cond::SGt => Self::below(width, cond == Cond::SGt, true, &mut b, &mut a)?,
            Cond::Ge | Cond::SGe => Self::below(width, cond == Cond::SGe, false, &mut b, &mut a)?,
            Cond::Lt | Cond::SLt => Self::below(width, cond == Cond::SLt, true, &mut a, &mut b)?,
            Cond::Le | Cond::SLe => Self::below(width, cond == Cond::SLe, false, &mut a, &mut b)?,
        }
        if !a.is_possible() || !b.is_possible() {
            return None;
        }
        let (a, b) = (a.settled(), b.settled());
        (a.is_possible() && b.is_possible()).then_some((a, b))
    }

    /// Whether `left cond right` holds, as far as the verifier looks (`is_scalar_branch_taken`). It also follows branches
    /// that turn out to be impossible.
    pub(in crate::verifier) fn is_branch_taken(
        width: Width,
        cond: Cond,
        left: Self,
        right: Self,
    ) -> Option<bool> {
        fn less<T: Ord + Copy>(a: Range<T>, b: Range<T>, strictly: bool) -> Option<bool> {
            let (always, never) =
                if strictly { (a.max < b.min, a.min >= b.max) } else { (a.max <= b.min, a.min > b.max) };
            (always || never).then_some(always)
        }
        fn overlap<T: Ord + Copy>(a: Range<T>, b: Range<T>) -> bool {
            a.min <= b.max && b.min <= a.max
        }
        let (one, other) = match width {
            Width::W64 => (left.bits, right.bits),
            Width::W32 => (left.bits.low(), right.bits.low()),
        };
        let is_narrow = width == Width::W32;
        let by = |cond: Cond, a: Self, b: Self| match (cond, is_narrow) {
            (Cond::Lt, false) => less(a.unsigned, b.unsigned, true),
            (Cond::Lt, true) => less(a.low_unsigned, b.low_unsigned, true),
            (Cond::Le, false) => less(a.unsigned, b.unsigned, false),
            (Cond::Le, true) => less(a.low_unsigned, b.low_unsigned, false),
            (Cond::SLt, false) => less(a.signed, b.signed, true),
            (Cond::SLt, true) => less(a.low_signed, b.low_signed, true),
            (_, false) => less(a.signed, b.signed, false),
            (_, true) => less(a.low_signed, b.low_signed, false),
        };
        match cond {
            Cond::Eq | Cond::Ne => {
                let equal = if one.mask == 0 && other.mask == 0 {
                    Some(one.value == other.value)
                } else {
                    let low = overlap(left.low_unsigned, right.low_unsigned)
                        && overlap(left.low_signed, right.low_signed);
                    let whole = is_narrow
                        || overlap(left.unsigned, right.unsigned) && overlap(left.signed, right.signed);
                    (one.meet(other).is_none() || !low || !whole).then_some(false)
                };
                equal.map(|equal| equal == (cond == Cond::Eq))
            }
            Cond::Set => {
                let (bits, mask) = if other.mask == 0 { (one, other) } else { (other, one) };
                if mask.mask != 0 {
                    None
                } else if bits.value & mask.value != 0 {
                    Some(true)
                } else {
                    (bits.most() & mask.value == 0).then_some(false)
                }
            }
            Cond::Lt | Cond::Le | Cond::SLt | Cond::SLe => by(cond, left, right),
            Cond::Gt => by(Cond::Lt, right, left),
            Cond::Ge => by(Cond::Le, right, left),
            Cond::SGt => by(Cond::SLt, right, left),
            Cond::SGe => by(Cond::SLe, right, left),
        }
    }

    /// What is left of a number on a branch that is impossible (`reg_bounds_sanity_check`).
    pub(in crate::verifier) fn without_bounds(self) -> Self {
        Self { bits: self.bits, ..Self::UNKNOWN }
    }

    /// The same for a number that has none of the bits of `mask`, if that is a constant: those bits are known.
    pub(in crate::verifier) fn without_bits(self, width: Width, mask: Self) -> Self {
        let Some(mask) = mask.known_to(width) else { return self };
        let bits = Bits { value: self.bits.value & !mask, mask: self.bits.mask & !mask };
        Self { bits, ..Self::UNKNOWN }.settled()
    }

    /// A number that was compared with itself, which the verifier treats like two numbers.
    pub(in crate::verifier) fn compare_itself(self, width: Width, cond: Cond, holds: bool) -> Option<Self> {
        let (mut one, other) = Self::compare(width, cond, holds, self, self)?;
        one.unsigned.narrow(other.unsigned.min, other.unsigned.max);
        one.signed.narrow(other.signed.min, other.signed.max);
        one.low_unsigned.narrow(other.low_unsigned.min, other.low_unsigned.max);
        one.low_signed.narrow(other.low_signed.min, other.low_signed.max);
        one.is_possible().then(|| one.settled()).filter(|met| met.is_possible())
    }

    /// `a & b`, found to be zero or not.
    fn test(width: Width, holds: bool, a: &mut Self, b: &mut Self) -> Option<()> {
        let (one, other) = match width {
            Width::W64 => (a.bits, b.bits),
            Width::W32 => (a.bits.low(), b.bits.low()),
        };
        let possible = if holds { one.most() & other.most() != 0 } else { one.value & other.value == 0 };
        let constant = |bits: Bits| match width {
            Width::W64 => (bits.mask == 0).then_some(bits.value),
            Width::W32 => (bits.low().mask == 0).then_some(bits.low().value),
        };
        let (a, mask) = match (constant(a.bits), constant(b.bits)) {
            (_, Some(mask)) => (a, mask),
            (Some(mask), None) => (b, mask),
            (None, None) => return possible.then_some(()),
        };
        if !holds {
            a.bits = Bits { value: a.bits.value & !mask, mask: a.bits.mask & !mask };
        } else if mask.is_power_of_two() {
            a.bits = Bits { value: a.bits.value | mask, mask: a.bits.mask & !mask };
        }
        possible.then_some(())
    }

    fn equal(width: Width, a: &mut Self, b: &mut Self) -> Option<()> {
        a.low_unsigned.narrow(b.low_unsigned.min, b.low_unsigned.max);
        a.low_signed.narrow(b.low_signed.min, b.low_signed.max);
        if width == Width::W64 {
            a.unsigned.narrow(b.unsigned.min, b.unsigned.max);
            a.signed.narrow(b.signed.min, b.signed.max);
            a.bits = a.bits.meet(b.bits)?;
            *b = *a;
        } else {
            let low = a.bits.low().meet(b.bits.low())?;
            (b.low_unsigned, b.low_signed) = (a.low_unsigned, a.low_signed);
            a.bits = low.or_halves(a.bits.high());
            b.bits = low.or_halves(b.bits.high());
        }
        Some(())
    }

    /// Excludes `other`, if it is known, from the ends of `number`.
    fn differ(width: Width, number: &mut Self, other: Self) {
        fn cut<T: Ord + Copy>(
            range: &mut Range<T>,
            value: T,
            up: impl Fn(T) -> Option<T>,
            down: impl Fn(T) -> Option<T>,
        ) {
            let (at_min, at_max) = (range.min == value, range.max == value);
            // If nothing is left, the range becomes an impossible one.
            if at_min && at_max {
                if let Some(more) = up(value) {
                    range.min = more;
                } else if let Some(less) = down(value) {
                    range.max = less;
                }
            } else if at_min {
                range.min = up(value).unwrap_or(value);
            } else if at_max {
                range.max = down(value).unwrap_or(value);
            }
        }
        if width == Width::W64 {
            if let Some(value) = other.known() {
                cut(&mut number.unsigned, value, |one| one.checked_add(1), |one| one.checked_sub(1));
                cut(&mut number.signed, value as i64, |one| one.checked_add(1), |one| one.checked_sub(1));
            }
        } else if other.low_unsigned.min == other.low_unsigned.max {
            let value = other.low_unsigned.min;
            cut(&mut number.low_unsigned, value, |one| one.checked_add(1), |one| one.checked_sub(1));
            cut(&mut number.low_signed, value as i32, |one| one.checked_add(1), |one| one.checked_sub(1));
        }
    }

    /// `less` is below `more`, or equal to it.
    fn below(width: Width, signed: bool, strictly: bool, less: &mut Self, more: &mut Self) -> Option<()> {
        macro_rules! narrow {
            ($range:ident) => {{
                let step = strictly.into();
                let (highest, lowest) =
                    (more.$range.max.checked_sub(step)?, less.$range.min.checked_add(step)?);
                less.$range.max = less.$range.max.min(highest);
                more.$range.min = more.$range.min.max(lowest);
            }};
        }
        match (width, signed) {
            (Width::W64, false) => narrow!(unsigned),
            (Width::W64, true) => narrow!(signed),
            (Width::W32, false) => narrow!(low_unsigned),
            (Width::W32, true) => narrow!(low_signed),
        }
        Some(())
    }
}
