//! Where maps keep values: equal places, one after another, each with a number that stays.

/// Places for values.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    size: usize,
    bytes: Vec<u8>,
    free: Vec<u32>,
}

impl Values {
    /// `count` places, all zero.
    pub(crate) fn zeroed(size: usize, count: usize) -> Self {
        Self { size, bytes: vec![0; size * count], free: Vec::new() }
    }

    /// What place `slot` holds.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.size;
        &self.bytes[start..start + self.size]
    }

    /// What place `slot` holds.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut [u8] {
        let start = slot as usize * self.size;
        &mut self.bytes[start..start + self.size]
    }

    /// A place with `value` in it.
    pub(crate) fn insert(&mut self, value: &[u8]) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.bytes.len().checked_div(self.size).unwrap_or(0);
            self.bytes.resize(self.bytes.len() + self.size, 0);
            slot as u32
        });
        self.get_mut(slot).copy_from_slice(value);
        slot
    }

    /// Gives a place back. A program that still points there sees it until it is used again, as in the kernel.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.free.push(slot);
    }
}
