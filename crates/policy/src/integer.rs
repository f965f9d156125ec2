//! The integers of the language.

/// An integer between −2⁶³ and 2⁶⁴−1: whatever a signed or unsigned 64-bit handler of the kernel can store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(i128);

impl Integer {
    /// The least one, −2⁶³.
    pub const MIN: Self = Self(i64::MIN as i128);
    /// The greatest one, 2⁶⁴−1.
    pub const MAX: Self = Self(u64::MAX as i128);

    /// `value`, if it is in the range.
    pub fn new(value: i128) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&value).then_some(Self(value))
    }

    /// Its value.
    pub fn get(self) -> i128 {
        self.0
    }

    /// An unsigned integer.
    pub(crate) fn from_u64(value: u64) -> Self {
        Self(value.into())
    }

    /// Its low 64 bits, in two's complement.
    pub fn low_bits(self) -> u64 {
        self.0 as u64
    }

    /// Whether it is below 0.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl From<u32> for Integer {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl std::fmt::Display for Integer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
