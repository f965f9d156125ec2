//! What is known about a number: `struct bpf_reg_state` of a `SCALAR_VALUE`, with `adjust_scalar_min_max_vals`,
//! `reg_bounds_sync` and `regs_refine_cond_op` of kernel/bpf/verifier.c.

mod compare;
mod compute;

use knobgate_bpf::uapi::MAX_ERRNO;
use knobgate_bpf::{Size, Width};

use super::bits::Bits;

/// A number from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<T> {
    pub(super) min: T,
    pub(super) max: T,
}

/// The unsigned and signed bounds of a number and of its low half, and its known bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) unsigned: Range<u64>,
    pub(super) signed: Range<i64>,
    low_unsigned: Range<u32>,
    low_signed: Range<i32>,
    pub(super) bits: Bits,
}

impl<T: Ord + Copy> Range<T> {
    #[cfg(test)]
    fn join(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn narrow(&mut self, min: T, max: T) {
        self.min = self.min.max(min);
        self.max = self.max.min(max);
    }

    fn contains(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    fn is_possible(self) -> bool {
        self.min <= self.max
    }
}

impl Scalar {
    pub(super) const UNKNOWN: Self = Self {
        unsigned: Range { min: 0, max: u64::MAX },
        signed: Range { min: i64::MIN, max: i64::MAX },
        low_unsigned: Range { min: 0, max: u32::MAX },
        low_signed: Range { min: i32::MIN, max: i32::MAX },
        bits: Bits::UNKNOWN,
    };

    pub(super) const fn constant(value: u64) -> Self {
        let (low, signed) = (value as u32, value as i64);
        Self {
            unsigned: Range { min: value, max: value },
            signed: Range { min: signed, max: signed },
            low_unsigned: Range { min: low, max: low },
            low_signed: Range { min: low as i32, max: low as i32 },
            bits: Bits::constant(value),
        }
    }

    /// An unknown number of this size, zero-extended.
    pub(super) fn of_size(size: Size) -> Self {
        let mut scalar = Self::UNKNOWN;
        scalar.unsigned.max = u64::MAX >> (64 - size.bits());
        scalar.settled()
    }

    /// A number from 0 to `most`.
    pub(super) fn up_to(most: u64) -> Self {
        let mut scalar = Self::UNKNOWN;
        scalar.unsigned.max = most;
        scalar.settled()
    }

    /// What a helper returns that returns a length of at most `most`, or an errno: `do_refine_retval_range()`.
    pub(super) fn errno_or_up_to(most: u64) -> Self {
        let mut scalar = Self::UNKNOWN;
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        scalar.signed = Range { min: -i64::from(MAX_ERRNO), max: most.into() };
        scalar.low_signed = Range { min: -MAX_ERRNO, max: most };
        scalar.settled()
    }

    /// Whether it fits into this size.
    pub(super) fn fits(self, size: Size) -> bool {
        self.fits_bytes(size.bytes())
    }

    /// Whether it fits into this many bytes.
    pub(super) fn fits_bytes(self, bytes: u32) -> bool {
        self.unsigned.max <= u64::MAX >> (64 - bytes * 8)
    }

    /// The number, if it is known.
    pub(super) fn known(self) -> Option<u64> {
        (self.unsigned.min == self.unsigned.max).then_some(self.unsigned.min)
    }

    /// The number as an operation of this width sees it, if it is known.
    pub(super) fn known_to(self, width: Width) -> Option<u64> {
        match width {
            Width::W64 => self.known(),
            Width::W32 => {
                let Range { min, max } = self.low_unsigned;
                (min == max).then_some(min.into())
            }
        }
    }

    /// Whether its signed bounds, as an operation of this width sees them, exclude 0.
    pub(super) fn sign_excludes_zero(self, width: Width) -> bool {
        match width {
            Width::W64 => self.signed.min > 0 || self.signed.max < 0,
            Width::W32 => self.low_signed.min > 0 || self.low_signed.max < 0,
        }
    }

    /// Whether its low half, as an int, is known to be in this range.
    pub(super) fn is_int_within(self, least: i32, most: i32) -> bool {
        self.low_signed.min >= least && self.low_signed.max <= most
    }

    /// The union.
    #[cfg(test)]
    fn join(self, other: Self) -> Self {
        Self {
            unsigned: self.unsigned.join(other.unsigned),
            signed: self.signed.join(other.signed),
            low_unsigned: self.low_unsigned.join(other.low_unsigned),
            low_signed: self.low_signed.join(other.low_signed),
            bits: self.bits.join(other.bits),
        }
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.unsigned.contains(other.unsigned)
            && self.signed.contains(other.signed)
            && self.low_unsigned.contains(other.low_unsigned)
            && self.low_signed.contains(other.low_signed)
            && self.bits.contains(other.bits)
    }

    fn is_possible(self) -> bool {
        self.unsigned.is_possible()
            && self.signed.is_possible()
            && self.low_unsigned.is_possible()
            && self.low_signed.is_possible()
    }

    /// Refines each kind of bounds by the others. The result for an impossible number is meaningless.
    fn settled(mut self) -> Self {
        for _ in 0..3 {
            let before = self;
            self.settle();
            if self == before || !self.is_possible() {
                break;
            }
        }
        self
    }

    fn settle(&mut self) {
        let bits = self.bits;
        self.unsigned.narrow(bits.value, bits.most());
        let Range { min, max } = self.unsigned;
        if let (Some(least), Some(greatest)) = (bits.least_from(min), bits.greatest_to(max)) {
            self.unsigned.narrow(least, greatest);
        }
        let sign = 1 << 63;
        self.signed.narrow((bits.value | bits.mask & sign) as i64, (bits.value | bits.mask & !sign) as i64);
        let low = bits.low();
        self.low_unsigned.narrow(low.value as u32, low.most() as u32);
        let sign = 1 << 31;
        self.low_signed.narrow(
            (low.value | low.mask & sign) as u32 as i32,
            (low.value | low.mask & !sign) as u32 as i32,
        );

        // If both ends have the same sign, signed and unsigned numbers are in the same order.
        let Range { min, max } = self.unsigned;
        if min as i64 <= max as i64 {
            self.signed.narrow(min as i64, max as i64);
        }
        let Range { min, max } = self.signed;
        if min as u64 <= max as u64 {
            self.unsigned.narrow(min as u64, max as u64);
        } else if self.unsigned.max < min as u64 {
            // Only the non-negative numbers are possible, or only the negative ones.
            self.signed.min = self.unsigned.min as i64;
            self.unsigned.max = self.unsigned.max.min(max as u64);
        } else if (max as u64) < self.unsigned.min {
            self.signed.max = self.unsigned.max as i64;
            self.unsigned.min = self.unsigned.min.max(min as u64);
        }
        // If both ends have the same upper half, so do all numbers, and the lower halves are in the same order.
        let Range { min, max } = self.unsigned;
        if min >> 32 == max >> 32 {
            self.low_unsigned.narrow(min as u32, max as u32);
            if min as u32 as i32 <= max as u32 as i32 {
                self.low_signed.narrow(min as i32, max as i32);
            }
        }
        let Range { min, max } = self.signed;
        if min >> 32 == max >> 32 {
            self.low_unsigned.narrow(min as u32, max as u32);
        }
        let next = (min >> 32) as u32 == ((max >> 32) as u32).wrapping_sub(1);
        if min as i32 <= max as i32 && min >> 32 == max >> 32 || next && (min as i32) < 0 && max as i32 >= 0 {
            self.low_signed.narrow(min as i32, max as i32);
        }
        let Range { min, max } = self.low_unsigned;
        if min as i32 <= max as i32 {
            self.low_signed.narrow(min as i32, max as i32);
        }
        let Range { min, max } = self.low_signed;
        if min as u32 <= max as u32 {
            self.low_unsigned.narrow(min as u32, max as u32);
        } else if self.low_unsigned.max < min as u32 {
            self.low_signed.min = self.low_unsigned.min as i32;
            self.low_unsigned.max = self.low_unsigned.max.min(max as u32);
        } else if (max as u32) < self.low_unsigned.min {
            self.low_signed.max = self.low_unsigned.max as i32;
            self.low_unsigned.min = self.low_unsigned.min.max(min as u32);
        }
        // The lower half bounds the whole number where the upper half is that of an end.
        let low = u64::from(u32::MAX);
        let Range { min, max } = self.unsigned;
        let half = self.low_unsigned;
        self.unsigned.narrow(min & !low | u64::from(half.min), max & !low | u64::from(half.max));
        let Range { min, max } = self.signed;
        self.signed.narrow(
            (min as u64 & !low | u64::from(half.min)) as i64,
            (max as u64 & !low | u64::from(half.max)) as i64,
        );
        let half = self.low_signed;
        if half.min >= 0 && min >= i64::from(i32::MIN) && max <= i64::from(i32::MAX) {
            self.signed.narrow(half.min.into(), half.max.into());
        }
        if self.is_possible() {
            let Range { min, max } = self.unsigned;
            let met = self.bits.meet(Bits::between(min, max)).unwrap_or(self.bits);
            let Range { min, max } = self.low_unsigned;
            let low = Bits::between(min.into(), max.into());
            self.bits = met.low().meet(low).unwrap_or(met.low()).or_halves(met.high());
        }
    }
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::{AluOp, Cond};

    use super::*;
    use crate::arithmetic;

    fn holds(scalar: Scalar, value: u64) -> bool {
        scalar.contains(Scalar::constant(value))
    }

    /// Numbers to test, and ranges between neighbours.
    const NUMBERS: [u64; 14] = [
        0,
        1,
        2,
        7,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        0x1_0000_0000,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0xffff_ffff_8000_0000,
        0xffff_ffff_ffff_fffe,
        u64::MAX,
    ];

    fn scalars() -> Vec<(Scalar, Vec<u64>)> {
        let mut scalars = Vec::new();
        for (index, one) in NUMBERS.iter().enumerate() {
            for other in &NUMBERS[index..] {
                let joined = Scalar::constant(*one).join(Scalar::constant(*other)).settled();
                scalars.push((
                    joined,
                    NUMBERS.iter().copied().filter(|number| holds(joined, *number)).collect(),
                ));
            }
        }
        scalars
    }

    #[test]
    fn computed_values_stay_within_their_tracked_bounds() {
        let shifts = [0, 1, 31, 32, 63].map(|shift| (Scalar::constant(shift), vec![shift]));
        let scalars = scalars();
        for op in AluOp::ALL {
            let is_shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
            for width in [Width::W32, Width::W64] {
                for (left, lefts) in &scalars {
                    for (right, rights) in if is_shift { &shifts[..] } else { &scalars[..] } {
                        let result = Scalar::compute(width, op, *left, *right);
                        for (&a, &b) in lefts.iter().flat_map(|a| rights.iter().map(move |b| (a, b))) {
                            let value = arithmetic::alu(width, op, a, b);
                            let divides = matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod);
                            let divided = divides.then(|| left.divided(width, op, b));
                            for result in [Some(result), divided].into_iter().flatten() {
                                assert!(
                                    holds(result, value),
                                    "{width:?} {op:?} {a:x} {b:x}: {value:x} {result:x?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_comparison_rules_out_no_possible_value() {
        let scalars = scalars();
        for cond in Cond::ALL {
            for width in [Width::W32, Width::W64] {
                for (left, lefts) in &scalars {
                    for (right, rights) in &scalars {
                        for (&a, &b) in lefts.iter().flat_map(|a| rights.iter().map(move |b| (a, b))) {
                            let outcome = arithmetic::holds(width, cond, a, b);
                            let refined = Scalar::compare(width, cond, outcome, *left, *right);
                            assert!(
                                refined.is_some_and(|(one, other)| holds(one, a) && holds(other, b)),
                                "{a:x} {cond:?} {b:x} {width:?} is {outcome}: {left:x?} {right:x?} {refined:x?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
