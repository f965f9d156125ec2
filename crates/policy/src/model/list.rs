//! Lists of bounded length.

use std::ops::{Deref, DerefMut};

/// At least `MIN` and at most `MAX` items. It dereferences to a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MIN: usize, const MAX: usize = { usize::MAX }>(Vec<T>);

/// Too few items for a [`List`], or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {min} to {max} items, found {found}")]
pub struct WrongLength {
    /// The least number of items.
    pub min: usize,
    /// The greatest number of items.
    pub max: usize,
    /// How many there are.
    pub found: usize,
}

impl<T, const MIN: usize, const MAX: usize> List<T, MIN, MAX> {
    /// These items.
    ///
    /// # Errors
    /// Too few of them, or too many.
    pub fn new(items: impl Into<Vec<T>>) -> Result<Self, WrongLength> {
        let items = items.into();
        let (min, max, found) = (MIN, MAX, items.len());
        if (min..=max).contains(&found) { Ok(Self(items)) } else { Err(WrongLength { min, max, found }) }
    }
}

impl<T, const MIN: usize, const MAX: usize> Deref for List<T, MIN, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Items can be changed, but not added or removed.
impl<T, const MIN: usize, const MAX: usize> DerefMut for List<T, MIN, MAX> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T, const MIN: usize, const MAX: usize> IntoIterator for &'a List<T, MIN, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
