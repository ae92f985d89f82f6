//! The slots: keyed hashes of names to rule numbers.

/// The most rules a slot can number beside its mark.
pub const MAX_RULES: u64 = 1 << 30;
/// Set in a slot whose name has several rules.
const SEVERAL: u32 = 1 << 31;

/// Open addressing, linear probing, at most three quarters full.
///
/// A slot is 0 (free) or, from the top: the mark [`SEVERAL`], as many bits of the hash as there is
/// room for, the rule's number plus one.
#[derive(Debug)]
pub struct Table {
    slots: Box<[u32]>,
    number_bits: u32,
    len: usize,
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The first rule with the name.
    pub rule: u32,
    /// There are more.
    pub several: bool,
}

impl Table {
    /// Room for `names` names of rules numbered below `rules`.
    pub fn new(names: usize, rules: u64) -> Self {
        let slots = names + names / 3 + 1;
        let number_bits = u64::BITS - rules.leading_zeros();
        Self { slots: vec![0; slots].into_boxed_slice(), number_bits: number_bits.max(1), len: 0 }
    }

    /// The slot whose name `is_it` recognises by its rule.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<Slot> {
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot & !SEVERAL) >> self.number_bits == tag {
                let rule = self.number(slot);
                if is_it(rule) {
                    return Some(Slot { rule, several: slot & SEVERAL != 0 });
                }
            }
            at = self.next(at);
        }
    }

    /// Enters rule number `rule` under `hash`. If a rule of the same name (as `is_it` says) is there
    /// already, that one is marked as having company and returned.
    pub fn insert(&mut self, hash: u64, rule: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = tag << self.number_bits | (rule + 1);
                self.len += 1;
                return None;
            }
            if (slot & !SEVERAL) >> self.number_bits == tag {
                let first = self.number(slot);
                if is_it(first) {
                    self.slots[at] = slot | SEVERAL;
                    return Some(first);
                }
            }
            at = self.next(at);
        }
    }

    /// Distinct names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        4 * self.slots.len()
    }

    /// The bits of the hash that stand in a slot; others than choose its place.
    fn tag(&self, hash: u64) -> u32 {
        (hash as u32 & !SEVERAL) >> self.number_bits
    }

    /// Where the search starts: the hash's upper half, scaled to the number of slots.
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// The slot after `at`, in a circle. Some slot is always free, so searches end.
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The rule number in a slot that is not free.
    fn number(&self, slot: u32) -> u32 {
        (slot & ((1 << self.number_bits) - 1)) - 1
    }
}
