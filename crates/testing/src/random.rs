//! Random choices that a seed repeats.

/// A small generator of random numbers (SplitMix64), with its seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// Whether one of so many.
    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// One of `choices`.
    pub fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// One of `choices`, by value.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A number as programs may meet it: small, large, or next to a power of two.
    pub fn number(&mut self) -> u64 {
        let number = match self.below(5) {
            0 => self.below(20),
            1 => self.next_u64(),
            2 => u64::from(self.next_u64() as u32),
            _ => (1_u64 << self.below(64)).wrapping_add(self.below(3)).wrapping_sub(1),
        };
        if self.one_in(4) { number.wrapping_neg() } else { number }
    }
}
