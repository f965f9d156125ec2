//! The environment of a run: clocks, random numbers, the processor.

/// The clocks, the random numbers and the processor that helpers return. Only the random numbers change by themselves: two
/// runs in equal environments are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnv {
    /// `CLOCK_MONOTONIC` in nanoseconds: `bpf_ktime_get_ns` and `bpf_ktime_get_coarse_ns`.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_TAI` in nanoseconds.
    pub tai_ns: u64,
    /// `bpf_jiffies64`.
    pub jiffies: u64,
    /// The state of `bpf_get_prandom_u32`.
    pub random: u64,
    /// The processor that the program runs on.
    pub processor: u32,
    /// Its NUMA node.
    pub numa_node: u32,
}

impl Default for RunEnv {
    fn default() -> Self {
        let second = 1_000_000_000;
        Self {
            monotonic_ns: 1000 * second,
            boot_ns: 1000 * second,
            tai_ns: 1_750_000_000 * second,
            jiffies: (1 << 32) + 700_000,
            random: 0,
            processor: 0,
            numa_node: 0,
        }
    }
}

impl RunEnv {
    /// The next random number: splitmix64, its upper half.
    pub(crate) fn next_random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 32) as u32
    }
}
