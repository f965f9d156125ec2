//! The values of a map: entries with stable numbers, each with the same number of values.

/// Entries of one value each, or of one for each CPU. The value of entry `e` for CPU `c` is in slot `e * cpus + c`.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    size: usize,
    cpus: usize,
    bytes: Vec<u8>,
    free: Vec<u32>,
}

impl Values {
    /// `count` entries, all zero.
    pub(crate) fn zeroed(size: usize, cpus: usize, count: usize) -> Self {
        Self { size, cpus, bytes: vec![0; size * cpus * count], free: Vec::new() }
    }

    /// The value in a slot.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> &[u8] {
        let start = place as usize * self.size;
        &self.bytes[start..start + self.size]
    }

    /// The value in a slot.
    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut [u8] {
        let start = place as usize * self.size;
        &mut self.bytes[start..start + self.size]
    }

    /// A new entry, all zero.
    pub(crate) fn insert(&mut self) -> u32 {
        let bytes = self.size * self.cpus;
        let entry = self.free.pop().unwrap_or_else(|| {
            let entry = self.bytes.len().checked_div(bytes).unwrap_or(0);
            self.bytes.resize(self.bytes.len() + bytes, 0);
            entry as u32
        });
        self.bytes[entry as usize * bytes..][..bytes].fill(0);
        entry
    }

    /// The maximum of entries that have existed at a time.
    pub(super) fn count(&self) -> usize {
        self.bytes.len().checked_div(self.size * self.cpus).unwrap_or(0)
    }

    /// Whether a new entry takes more memory.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Frees an entry. A program that still points there sees it until it is reused, as in the kernel.
    pub(crate) fn remove(&mut self, entry: u32) {
        self.free.push(entry);
    }
}
