//! A perfect hash: no two keys have the same slot, so one comparison shows whether a string is among the keys.
//!
//! Two rounds of multiplication: the first, over the words of the string, finds a bucket; the second, with the multiplier
//! of that bucket, finds the slot. Multipliers are tried until no two keys have the same slot, the fullest buckets first
//! ("hash, displace": Belazzougui, Botelho and Dietzfelbinger, 2009).

/// The hash of a set of keys.
#[derive(Debug)]
pub(crate) struct PerfectHash {
    /// For each word of the string, odd.
    pub(crate) multipliers: Vec<u64>,
    /// For each bucket, odd. Their number is a power of two, at least 2.
    pub(crate) buckets: Vec<u64>,
    /// For each slot the index of its key. Their number is a power of two, at least 2.
    pub(crate) slots: Vec<Option<usize>>,
}

/// The multiplier of the sum over the words.
pub(crate) const LAST_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl PerfectHash {
    /// The hash of `keys`, which are different from each other, equally long, and none all zeros.
    pub(crate) fn new(keys: &[Vec<u64>]) -> Self {
        let mut numbers = SplitMix64(0);
        let words = keys.first().map_or(0, Vec::len);
        let bucket_count = keys.len().div_ceil(2).next_power_of_two().max(2);
        let slot_count = (keys.len() + keys.len() / 4 + 1).next_power_of_two().max(2);
        loop {
            let multipliers: Vec<u64> = (0..words).map(|_| numbers.next_odd()).collect();
            let hashes: Vec<u64> = keys.iter().map(|key| sum(key, &multipliers)).collect();
            if let Some((buckets, slots)) = displace(&hashes, bucket_count, slot_count, &mut numbers) {
                return Self { multipliers, buckets, slots };
            }
        }
    }

    /// The slot of `key`, if it is one of the keys.
    pub(crate) fn slot_of(&self, key: &[u64]) -> usize {
        let sum = sum(key, &self.multipliers);
        let multiplier = self.buckets[(sum >> self.bucket_shift()) as usize];
        (sum.wrapping_mul(multiplier) >> self.slot_shift()) as usize
    }

    /// By how many bits a hash is shifted to find its bucket.
    pub(crate) fn bucket_shift(&self) -> u32 {
        shift(self.buckets.len())
    }

    /// By how many bits a hash, multiplied, is shifted to find its slot.
    pub(crate) fn slot_shift(&self) -> u32 {
        shift(self.slots.len())
    }
}

/// The first round. The upper half of a word is folded into the lower one, for multiplication carries only upward.
fn sum(key: &[u64], multipliers: &[u64]) -> u64 {
    let sum = key.iter().zip(multipliers).fold(0u64, |sum, (word, multiplier)| {
        sum.wrapping_add((word ^ (word >> 32)).wrapping_mul(*multiplier))
    });
    (sum ^ (sum >> 32)).wrapping_mul(LAST_MULTIPLIER)
}

fn shift(count: usize) -> u32 {
    64 - count.ilog2()
}

/// How many multipliers are tried for one bucket. If one works, it is among the first few dozen.
const TRIES_MAX: usize = 1 << 16;

/// Multipliers for the buckets, and the key in each slot. None if no multipliers work, for instance because two hashes are
/// equal.
fn displace(
    hashes: &[u64],
    bucket_count: usize,
    slot_count: usize,
    numbers: &mut SplitMix64,
) -> Option<(Vec<u64>, Vec<Option<usize>>)> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); bucket_count];
    for (key, hash) in hashes.iter().enumerate() {
        members[(hash >> shift(bucket_count)) as usize].push(key);
    }
    let mut order: Vec<usize> = (0..bucket_count).collect();
    order.sort_by_key(|&bucket| std::cmp::Reverse(members[bucket].len()));
    let (mut buckets, mut slots) = (vec![1; bucket_count], vec![None; slot_count]);
    for bucket in order.into_iter().take_while(|&bucket| !members[bucket].is_empty()) {
        buckets[bucket] = (0..TRIES_MAX).map(|_| numbers.next_odd()).find(|multiplier| {
            let mut taken = Vec::new();
            for &key in &members[bucket] {
                let slot = (hashes[key].wrapping_mul(*multiplier) >> shift(slot_count)) as usize;
                if slots[slot].is_some() {
                    taken.into_iter().for_each(|slot: usize| slots[slot] = None);
                    return false;
                }
                slots[slot] = Some(key);
                taken.push(slot);
            }
            true
        })?;
    }
    Some((buckets, slots))
}

/// Pseudorandom numbers, the same every time (splitmix64).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next_odd(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_slot_of_its_own() {
        let last_bytes = |byte: u64| vec![byte << 56, (byte % 16) << 56];
        let dense = |number: u64| vec![number, 0];
        for count in [1, 2, 3, 16, 100, 255] {
            for key in [last_bytes, dense] {
                let keys: Vec<Vec<u64>> = (1..=count).map(key).collect();
                let hash = PerfectHash::new(&keys);
                for (index, key) in keys.iter().enumerate() {
                    assert_eq!(hash.slots[hash.slot_of(key)], Some(index));
                }
            }
        }
    }

    #[test]
    fn ten_thousand_names_find_room_soon() {
        let keys: Vec<Vec<u64>> = (0..10_000u64)
            .map(|number| vec![u64::from_le_bytes(*b"net/ipv4"), number << 48 | 0x2f, 0])
            .collect();
        let hash = PerfectHash::new(&keys);
        assert_eq!(hash.slots.len(), 16_384);
        assert!(keys.iter().enumerate().all(|(index, key)| hash.slots[hash.slot_of(key)] == Some(index)));
    }
}
