//! Hashes over places of a shard: a table of one size for good, so that it never takes more than was counted at the start.
//!
//! Open addressing, the next place when one is taken, and no gravestones: what is taken out is closed up behind.

/// No slot.
const EMPTY: u64 = u64::MAX;

/// The table. A place is the low half of a hash and a slot.
#[derive(Debug)]
pub(super) struct Index {
    places: Box<[u64]>,
    len: usize,
}

impl Index {
    /// For about `most` slots, each below `u32::MAX`; [`Self::room`] says for how many.
    pub fn new(most: usize) -> Self {
        Self { places: vec![EMPTY; most.next_power_of_two().max(8)].into(), len: 0 }
    }

    /// How many slots find a place. Some places stay free, so that no search is long and every one ends.
    pub fn room(&self) -> usize {
        self.places.len() / 8 * 7
    }

    /// The slot under a hash that `is_it` knows as the right one: several hashes have the same half.
    pub fn get(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let place = self.places[at];
            if place == EMPTY {
                return None;
            }
            if place >> 32 == hash & 0xffff_ffff && is_it(place as u32) {
                return Some(place as u32);
            }
            at = self.after(at);
        }
    }

    /// Puts a slot in. `false`: there is no room.
    pub fn insert(&mut self, hash: u64, slot: u32) -> bool {
        if self.len >= self.room() {
            return false;
        }
        let mut at = self.home(hash);
        while self.places[at] != EMPTY {
            at = self.after(at);
        }
        self.places[at] = hash << 32 | u64::from(slot);
        self.len += 1;
        true
    }

    /// Takes a slot out, and moves up what its place kept from its own.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        let wanted = hash << 32 | u64::from(slot);
        let mut hole = self.home(hash);
        while self.places[hole] != wanted {
            if self.places[hole] == EMPTY {
                return;
            }
            hole = self.after(hole);
        }
        let mut at = self.after(hole);
        while self.places[at] != EMPTY {
            // As far from its home as it is from the hole, or farther: the hole is on its way.
            let way = at.wrapping_sub(self.home(self.places[at] >> 32)) & self.mask();
            if way >= at.wrapping_sub(hole) & self.mask() {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.places[hole] = EMPTY;
        self.len -= 1;
    }

    /// How many slots.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Octets of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    /// Where a hash belongs.
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask()
    }

    /// The place after one.
    fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    /// The number of places is a power of two.
    fn mask(&self) -> usize {
        self.places.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0_u64..12, 0_u64..3, any::<bool>()), 1..300)) {
            const MOST: usize = 12;
            let mut index = Index::new(MOST);
            let mut map: HashMap<u64, u32> = HashMap::new();
            let mut next = 0;
            for (low, high, put) in steps {
                // Homes that lie together at both ends of the table, and hashes with the same low half.
                let hash = (low.wrapping_sub(4) & 0xffff_ffff) | high << 32;
                let hashes: HashMap<u32, u64> = map.iter().map(|(&hash, &slot)| (slot, hash)).collect();
                let is_it = |slot: u32| hashes[&slot] == hash;
                prop_assert_eq!(index.get(hash, is_it), map.get(&hash).copied());
                match map.get(&hash) {
                    None if put && map.len() < MOST => {
                        next += 1;
                        prop_assert!(index.insert(hash, next));
                        map.insert(hash, next);
                    }
                    Some(&slot) if !put => {
                        index.remove(hash, slot);
                        map.remove(&hash);
                    }
                    _ => index.remove(hash, u32::MAX - 1),
                }
                prop_assert_eq!(index.len(), map.len());
                for (&hash, &slot) in &map {
                    prop_assert_eq!(index.get(hash, |found| found == slot), Some(slot));
                }
            }
        }
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut index = Index::new(10);
        let taken = (0..100).filter(|&number| index.insert(u64::from(number), number)).count();
        assert_eq!((taken, index.room()), (14, 14));
        assert_eq!(index.get(1000, |_| true), None, "and the search for what is not there ends");
    }
}
