//! The numbers that conditions compare.

use std::num::NonZeroU64;

use super::PolicyError;
use crate::{Integer, limits};

/// An integer in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A literal.
    Literal(Integer),
    /// `new`, `new[i]`, `each(new)`, or `new & 0x1f0`: numbers of a value, and which bits of them.
    Number(Value, Elements, Option<Mask>),
    /// `count(new)` or `count(old)`: how many numbers the value holds.
    Count(Value),
    /// `pos`: the file position as the hook shows it, which is its low 32 bits.
    Pos,
    /// `uid`: the real user id of the task, in the initial user namespace.
    Uid,
    /// `gid`: the real group id of the task, in the initial user namespace.
    Gid,
}

/// One of the two values of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// `new`: what the caller writes.
    New,
    /// `old`: what the knob holds.
    Old,
}

/// Which numbers of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Elements {
    /// `new`: the only one, of a value of exactly one number.
    Only,
    /// `new[i]`: the one at this index.
    At(ElementIndex),
    /// `each(new)`: every one. The comparison holds if there are some and it holds for all of them.
    Each,
}

/// The index of a number in a value: it counts from 0 and is below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementIndex(u8);

/// The bits of a number that count. The number must not be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mask(NonZeroU64);

impl Operand {
    /// `value`, which holds exactly one number.
    pub const fn only(value: Value) -> Self {
        Self::Number(value, Elements::Only, None)
    }

    /// `value[index]`
    ///
    /// # Errors
    /// As for [`ElementIndex::new`].
    pub fn element(value: Value, index: impl Into<i128>) -> Result<Self, PolicyError> {
        Ok(Self::Number(value, Elements::At(ElementIndex::new(index)?), None))
    }

    /// `each(value)`
    pub const fn each(value: Value) -> Self {
        Self::Number(value, Elements::Each, None)
    }

    /// The value of which it is each number.
    pub fn each_of(self) -> Option<Value> {
        match self {
            Self::Number(value, Elements::Each, _) => Some(value),
            _ => None,
        }
    }

    /// The value that it looks at.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Number(value, ..) | Self::Count(value) => Some(value),
            Self::Literal(_) | Self::Pos | Self::Uid | Self::Gid => None,
        }
    }

    pub(crate) fn is_literal(self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

impl ElementIndex {
    /// The element of this index.
    ///
    /// # Errors
    /// An index that is not below [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    pub fn new(index: impl Into<i128>) -> Result<Self, PolicyError> {
        let index = index.into();
        match u8::try_from(index) {
            Ok(small) if usize::from(small) < limits::ELEMENTS_MAX => Ok(Self(small)),
            _ => Err(PolicyError::NoElement { index }),
        }
    }

    /// The index.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl From<ElementIndex> for usize {
    fn from(index: ElementIndex) -> Self {
        index.0.into()
    }
}

impl std::fmt::Display for ElementIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Mask {
    /// The bits of `mask`.
    ///
    /// # Errors
    /// A mask that is not positive.
    pub fn new(mask: Integer) -> Result<Self, PolicyError> {
        let bits = u64::try_from(mask.get()).ok().and_then(NonZeroU64::new);
        bits.map(Self).ok_or(PolicyError::BadMask { mask })
    }

    /// The bits.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// What is left of `number`; `None` if it is negative.
    pub(crate) fn of(self, number: Integer) -> Option<Integer> {
        u64::try_from(number.get()).ok().map(|number| Integer::from_u64(number & self.get()))
    }
}

/// In hexadecimal.
impl std::fmt::Display for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
