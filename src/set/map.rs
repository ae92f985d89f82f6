//! Hashes to numbers in little room: what a large set has in place of a table.
//!
//! A binary fuse filter (Graf and Lemire, 2022) that carries a number beside its fingerprint. A hash points at three
//! slots; its fingerprint and its number are those of the three added up without carry. A hash that was never put in
//! passes once in 256 times, with any number: whoever asks has to look at what the number points at. There is about an
//! eighth more slots than hashes, and nothing else.
//!
//! Hashes are dealt to shards by their upper bits, so that working the slots out takes room for one shard only.

use crate::util::Packed;

/// Attempts at a shard with other seeds. One succeeds nine times in ten; that all fail is not going to happen unless
/// two hashes are the same.
const ATTEMPTS: u64 = 64;

/// A hash and its number; halves of the hash, so that no bytes are lost between entries.
pub type Entry = [u32; 3];

/// An entry.
pub fn entry(hash: u64, number: u32) -> Entry {
    [(hash >> 32) as u32, hash as u32, number]
}

/// The hash of an entry.
pub fn hash_of(entry: &Entry) -> u64 {
    u64::from(entry[0]) << 32 | u64::from(entry[1])
}

/// The map.
#[derive(Debug)]
pub struct Map {
    shards: Box<[Shard]>,
    shard_bits: u32,
    /// Fingerprints apart from numbers: a hash that is not there seldom needs more than these.
    prints: Box<[u8]>,
    numbers: Packed,
    len: usize,
}

/// Where the slots of some hashes are.
#[derive(Clone, Copy, Debug)]
struct Shard {
    seed: u64,
    /// The first slot.
    start: usize,
    /// The first of the three slots of a hash is one of this many.
    span: u64,
    /// Slots of a segment, a power of two; the three slots of a hash are in neighbouring segments.
    segment: u64,
}

impl Map {
    /// Of `entries`, sorted by hash, at most about `shard` to a shard. `None` if two hashes are the same.
    pub fn new(entries: &[Entry], shard: usize) -> Option<Self> {
        let shard_bits = (entries.len().div_ceil(shard.max(1)).next_power_of_two().trailing_zeros()).min(16);
        let max = entries.iter().map(|entry| entry[2]).max().unwrap_or(0);
        let mut shards = Vec::with_capacity(1 << shard_bits);
        let (mut slots, mut rest) = (0, entries);
        let mut shares = Vec::with_capacity(1 << shard_bits);
        for number in 0..1_usize << shard_bits {
            let here = rest.partition_point(|entry| shard_of(hash_of(entry), shard_bits) <= number);
            let (share, others) = rest.split_at(here);
            rest = others;
            let shard = Shard::layout(share.len(), slots);
            slots += shard.slots();
            shards.push(shard);
            shares.push(share);
        }
        let mut prints = vec![0_u8; slots].into_boxed_slice();
        let mut numbers = Packed::zeros(slots, max);
        for (shard, share) in shards.iter_mut().zip(shares) {
            let order = (0..ATTEMPTS).find_map(|_| {
                shard.seed = fold(shard.seed ^ 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03);
                shard.peel(share)
            })?;
            // From the last one peeled back, each has a slot that none before it cares about.
            for (index, slot) in order.into_iter().rev() {
                let entry = &share[index as usize];
                let hash = hash_of(entry);
                let [a, b, c] = shard.places(hash);
                let at = shard.start + slot as usize;
                prints[at] = print(hash) ^ prints[a] ^ prints[b] ^ prints[c];
                numbers.set(at, entry[2] ^ numbers.get(a) ^ numbers.get(b) ^ numbers.get(c));
            }
        }
        Some(Self { shards: shards.into(), shard_bits, prints, numbers, len: entries.len() })
    }

    /// The number of a hash that is here; of another mostly `None`, sometimes any number.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<u32> {
        let [a, b, c] = self.shards[shard_of(hash, self.shard_bits)].places(hash);
        if self.prints[a] ^ self.prints[b] ^ self.prints[c] != print(hash) {
            return None;
        }
        Some(self.numbers.get(a) ^ self.numbers.get(b) ^ self.numbers.get(c))
    }

    /// Hashes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.shards) + self.prints.len() + self.numbers.bytes()
    }
}

impl Shard {
    /// For `hashes` hashes, its slots from `start` on. The sizes are those of the authors of the filter.
    fn layout(hashes: usize, start: usize) -> Self {
        let n = hashes.max(8) as f64;
        let segment = 1_u64 << ((n.ln() / 3.33_f64.ln() + 2.25).floor() as u32).min(18);
        let factor = (0.875 + 0.25 * 1e6_f64.ln() / n.ln()).max(1.125);
        let segments = ((n * factor).round() as u64).div_ceil(segment).max(3);
        Self { seed: start as u64, start, span: (segments - 2) * segment, segment }
    }

    /// How many slots it has.
    fn slots(&self) -> usize {
        (self.span + 2 * self.segment) as usize
    }

    /// The three slots of a hash, different ones.
    #[inline]
    fn places(&self, hash: u64) -> [usize; 3] {
        let mixed = fold(hash ^ self.seed, 0x9fb2_1c65_1e98_df25);
        let first = ((u128::from(mixed) * u128::from(self.span)) >> 64) as u64;
        let mask = self.segment - 1;
        let second = (first + self.segment) ^ (mixed >> 18 & mask);
        let third = (first + 2 * self.segment) ^ (mixed & mask);
        [first, second, third].map(|slot| self.start + slot as usize)
    }

    /// An order in which every hash has a slot that no later one points at; `None` with this seed.
    fn peel(&self, share: &[Entry]) -> Option<Vec<(u32, u32)>> {
        let slots = self.slots();
        let local = |hash| self.places(hash).map(|slot| slot - self.start);
        // For each slot: how many point at it, and their indices added up without carry.
        let mut counts = vec![0_u16; slots];
        let mut indices = vec![0_u32; slots];
        for (index, entry) in share.iter().enumerate() {
            for slot in local(hash_of(entry)) {
                counts[slot] = counts[slot].checked_add(1)?;
                indices[slot] ^= index as u32;
            }
        }
        let mut order = Vec::with_capacity(share.len());
        let mut alone = Vec::new();
        for slot in 0..slots {
            if counts[slot] == 1 {
                alone.push(slot as u32);
            }
            while let Some(slot) = alone.pop() {
                if counts[slot as usize] != 1 {
                    continue;
                }
                let index = indices[slot as usize];
                order.push((index, slot));
                for other in local(hash_of(&share[index as usize])) {
                    counts[other] -= 1;
                    indices[other] ^= index;
                    if counts[other] == 1 {
                        alone.push(other as u32);
                    }
                }
            }
        }
        (order.len() == share.len()).then_some(order)
    }
}

/// The shard of a hash.
#[inline]
fn shard_of(hash: u64, bits: u32) -> usize {
    (hash >> 1 >> (63 - bits)) as usize
}

/// The fingerprint of a hash.
#[inline]
fn print(hash: u64) -> u8 {
    (hash ^ hash >> 20) as u8
}

/// Every bit of the result depends on every bit of `a`.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A map of what `plain` holds.
    fn map(plain: &BTreeMap<u64, u32>, shard: usize) -> Map {
        let entries: Vec<Entry> = plain.iter().map(|(&hash, &number)| entry(hash, number)).collect();
        Map::new(&entries, shard).expect("all different")
    }

    proptest! {
        /// A tree map is the stupid twin.
        #[test]
        fn every_hash_has_its_number(
            plain in proptest::collection::btree_map(any::<u64>(), any::<u32>(), 0..300),
            shard in 1..200_usize,
        ) {
            let map = map(&plain, shard);
            prop_assert_eq!(map.len(), plain.len());
            for (&hash, &number) in &plain {
                prop_assert_eq!(map.get(hash), Some(number));
            }
        }
    }

    /// Hashes as good as random ones, the same each time.
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (0..count)
            .map(|number| fold(fold(number ^ 0x2545_f491_4f6c_dd1d, 0x9e37_79b9_7f4a_7c15), 0xd1b5_4a32_d192_ed03))
    }

    #[test]
    fn strangers_seldom_pass_and_little_room_is_taken() {
        let plain: BTreeMap<u64, u32> = hashes(100_000).zip(0..).collect();
        let map = map(&plain, 1 << 15);
        assert!(plain.iter().all(|(&hash, &number)| map.get(hash) == Some(number)));
        let strangers = hashes(300_000).skip(100_000).filter(|&hash| map.get(hash).is_some()).count();
        assert!(strangers < 200_000 / 256 * 2, "{strangers} of 200,000 pass");
        // Seventeen bits of number, eight of fingerprint, and the slots that stay over.
        assert!(map.bytes() < 100_000 * 25 / 8 * 13 / 10, "{} bytes", map.bytes());
    }

    #[test]
    fn the_same_hash_twice_is_told() {
        let mut entries: Vec<Entry> = hashes(1000).map(|hash| entry(hash, 1)).collect();
        entries.push(entries[0]);
        entries.sort_unstable();
        assert!(Map::new(&entries, 100).is_none());
    }
}
