//! Tracked numbers, some of whose bits are known: kernel/bpf/tnum.c.

/// `struct tnum`: every bit is either known, as in `value`, or unknown: set in `mask` and clear in `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl std::fmt::Display for Bits {
    /// `tnum_strn()`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.mask, self.value) {
            (0, small) if small <= u64::from(u16::MAX) => write!(f, "{small}"),
            (0, value) => match i16::try_from(value as i64) {
                Ok(small) => write!(f, "{small}"),
                Err(_) => write!(f, "{value:#x}"),
            },
            (mask, value) => write!(f, "({value:#x}; {mask:#x})"),
        }
    }
}

impl Bits {
    pub(super) const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    pub(super) const fn constant(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    /// The smallest tnum with all numbers from `min` to `max`.
    pub(super) fn between(min: u64, max: u64) -> Self {
        let mask = u64::MAX.checked_shr((min ^ max).leading_zeros()).unwrap_or(0);
        Self { value: min & !mask, mask }
    }

    /// Whether every matching number is a multiple of `size`, a power of two.
    pub(super) const fn is_aligned(self, size: u32) -> bool {
        self.most() & (size as u64 - 1) == 0
    }

    pub(super) const fn most(self) -> u64 {
        self.value | self.mask
    }

    /// The union.
    #[cfg(test)]
    pub(super) fn join(self, other: Self) -> Self {
        let mask = self.mask | other.mask | (self.value ^ other.value);
        Self { value: self.value & !mask, mask }
    }

    /// The intersection; `None` if it is empty.
    pub(super) fn meet(self, other: Self) -> Option<Self> {
        let contradicts = (self.value ^ other.value) & !self.mask & !other.mask != 0;
        let (value, mask) = (self.value | other.value, self.mask & other.mask);
        (!contradicts).then_some(Self { value: value & !mask, mask })
    }

    /// The smallest matching number that is not below `min`.
    pub(super) fn least_from(self, min: u64) -> Option<u64> {
        let fits = |number: u64, above: u32| {
            let looked_at = u64::MAX.checked_shl(above).unwrap_or(0);
            (number ^ self.value) & !self.mask & looked_at == 0
        };
        if fits(min, 0) {
            return Some(min);
        }
        // It keeps as many upper bits of `min` as possible, then has a 1 instead of a 0, and then the lowest bits.
        let turned =
            (0..64).find(|&bit| min >> bit & 1 == 0 && self.most() >> bit & 1 == 1 && fits(min, bit + 1))?;
        let lower = (1 << turned) - 1;
        Some(min & !lower | 1 << turned | self.value & lower)
    }

    /// The largest matching number that is not above `max`.
    pub(super) fn greatest_to(self, max: u64) -> Option<u64> {
        let turned = Self { value: !self.value & !self.mask, mask: self.mask };
        turned.least_from(!max).map(|number| !number)
    }

    pub(super) fn contains(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && self.value == other.value & !self.mask
    }

    pub(super) fn low(self) -> Self {
        let low = u64::from(u32::MAX);
        Self { value: self.value & low, mask: self.mask & low }
    }

    pub(super) fn high(self) -> Self {
        let high = !u64::from(u32::MAX);
        Self { value: self.value & high, mask: self.mask & high }
    }

    pub(super) fn or_halves(self, high: Self) -> Self {
        Self { value: self.value | high.value, mask: self.mask | high.mask }
    }

    pub(super) fn add(self, other: Self) -> Self {
        let (masks, values) = (self.mask.wrapping_add(other.mask), self.value.wrapping_add(other.value));
        let carries = masks.wrapping_add(values) ^ values;
        let mask = carries | self.mask | other.mask;
        Self { value: values & !mask, mask }
    }

    pub(super) fn sub(self, other: Self) -> Self {
        let difference = self.value.wrapping_sub(other.value);
        let borrows = difference.wrapping_add(self.mask) ^ difference.wrapping_sub(other.mask);
        let mask = borrows | self.mask | other.mask;
        Self { value: difference & !mask, mask }
    }

    pub(super) fn mul(self, other: Self) -> Self {
        let (mut one, mut another) = (self, other);
        let mut uncertain = Self::constant(0);
        while one.value != 0 || one.mask != 0 {
            if one.value & 1 == 1 {
                uncertain = uncertain.add(Self { value: 0, mask: another.mask });
            } else if one.mask & 1 == 1 {
                uncertain = uncertain.add(Self { value: 0, mask: another.most() });
            }
            one = one.map(|bits| bits >> 1);
            another = another.map(|bits| bits << 1);
        }
        Self::constant(self.value.wrapping_mul(other.value)).add(uncertain)
    }

    pub(super) fn and(self, other: Self) -> Self {
        let (one, another) = (self.most(), other.most());
        let value = self.value & other.value;
        Self { value, mask: one & another & !value }
    }

    pub(super) fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self { value, mask: (self.mask | other.mask) & !value }
    }

    pub(super) fn xor(self, other: Self) -> Self {
        let mask = self.mask | other.mask;
        Self { value: (self.value ^ other.value) & !mask, mask }
    }

    pub(super) fn map(self, shift: impl Fn(u64) -> u64) -> Self {
        Self { value: shift(self.value), mask: shift(self.mask) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every matching number of a few bits.
    fn numbers(bits: Bits) -> Vec<u64> {
        (0..16).filter(|number| number & !bits.mask == bits.value).collect()
    }

    #[test]
    fn computed_numbers_stay_within_their_known_bits() {
        let all: Vec<Bits> = (0..16)
            .flat_map(|mask| (0..16).map(move |value| Bits { value, mask }))
            .filter(|bits| bits.value & bits.mask == 0)
            .collect();
        for &left in &all {
            for end in 0..16 {
                let fits = numbers(left);
                let least = left.least_from(end).filter(|number| *number < 16);
                assert_eq!(least, fits.iter().copied().find(|number| *number >= end), "{left:?} {end}");
                assert_eq!(left.greatest_to(end), fits.iter().copied().rfind(|number| *number <= end));
            }
            for &right in &all {
                let (joined, met) = (left.join(right), left.meet(right));
                let results = [
                    left.add(right),
                    left.sub(right),
                    left.mul(right),
                    left.and(right),
                    left.or(right),
                    left.xor(right),
                ];
                for a in numbers(left) {
                    assert_eq!(a & !joined.mask, joined.value);
                    assert_eq!(numbers(right).contains(&a), met.is_some_and(|met| numbers(met).contains(&a)));
                    for b in numbers(right) {
                        let computed = [a.wrapping_add(b), a.wrapping_sub(b), a * b, a & b, a | b, a ^ b];
                        for (bits, number) in results.iter().zip(computed) {
                            assert_eq!(number & !bits.mask, bits.value, "{left:?} {right:?} {a} {b}");
                        }
                    }
                }
            }
        }
    }
}
