//! One part of the cache behind one lock: a table of hashes over slots that stand in S3-FIFO's queues.
//!
//! S3-FIFO (Yang et al., SOSP 2023): what is new waits in a small queue; if nobody asks for it again it goes, and only a
//! fingerprint of it stays in the ghost. What is asked for again, or was and comes back, goes to the main queue. So names
//! that are asked for once cannot push out names that are asked for often.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::size_of;

use super::Key;
use super::entry::Entry;

/// No slot.
const NONE: u32 = u32::MAX;
/// The small queue's share of the room: one in so many.
const SMALL: usize = 10;
/// One fingerprint for so many octets of room.
const GHOST: usize = 256;

/// Entries, and the order in which they go.
#[derive(Debug)]
pub(super) struct Shard {
    budget: usize,
    /// Hash of a key → its slot. Two keys with one hash of 64 bits displace each other.
    table: HashMap<u64, u32, BuildHasherDefault<Passed>>,
    slots: Vec<Slot>,
    free: u32,
    queues: [Queue; 2],
    /// Fingerprints of what left the small queue, each where its hash says.
    ghost: Box<[u32]>,
    /// What the entries take beside their slots.
    cost: usize,
    pub(super) evicted: u64,
}

/// A place for an entry. Removed entries leave theirs empty until its turn in the queue comes.
#[derive(Debug)]
struct Slot {
    next: u32,
    place: Place,
    hash: u64,
    entry: Option<Entry>,
}

/// The queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Small,
    Main,
}

/// A queue of slots, linked through them.
#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
    cost: usize,
}

impl Queue {
    /// Nothing in it.
    const EMPTY: Self = Self { head: NONE, tail: NONE, cost: 0 };
}

/// A hasher for what is a hash already.
#[derive(Debug, Default)]
pub(super) struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Shard {
    /// For at most `budget` octets, all told.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            table: HashMap::default(),
            slots: Vec::new(),
            free: NONE,
            queues: [Queue::EMPTY; 2],
            ghost: vec![0; (budget / GHOST).max(1)].into(),
            cost: 0,
            evicted: 0,
        }
    }

    /// The entry for a key.
    pub fn get(&self, hash: u64, key: &Key<'_>) -> Option<&Entry> {
        let &at = self.table.get(&hash)?;
        self.slots.get(at as usize)?.entry.as_ref().filter(|entry| entry.is_for(key))
    }

    /// Puts an entry in, in place of the one for the same key. What would take too much of the room is not taken.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> bool {
        if entry.cost() > self.budget / 8 {
            return false;
        }
        if let Some(&at) = self.table.get(&hash) {
            self.replace(at, entry);
        } else {
            let remembered = self.fingerprint(hash).is_some_and(|(place, print)| *place == print);
            let place = if remembered { Place::Main } else { Place::Small };
            self.add(hash, place, entry);
        }
        while self.used() > self.budget && self.evict() {}
        true
    }

    /// Another entry in a slot, which keeps its place in the queue and how popular it is.
    fn replace(&mut self, at: u32, entry: Entry) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        let cost = entry.cost();
        let old = slot.entry.as_ref().map_or(0, Entry::cost);
        if let Some(old) = &slot.entry {
            entry.set_hits(old.hits());
        }
        slot.entry = Some(entry);
        let queue = &mut self.queues[slot.place as usize];
        queue.cost = queue.cost + cost - old;
        self.cost = self.cost + cost - old;
    }

    /// A new entry.
    fn add(&mut self, hash: u64, place: Place, entry: Entry) {
        let slot = Slot { next: NONE, place, hash, entry: Some(entry) };
        let at = if let Some(free) = self.slots.get_mut(self.free as usize) {
            let at = self.free;
            self.free = free.next;
            *free = slot;
            at
        } else {
            if self.slots.len() == self.slots.capacity() {
                // By an eighth, not double: what is reserved counts as used.
                self.slots.reserve_exact(self.slots.len() / 8 + 16);
            }
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        self.table.insert(hash, at);
        let cost = self.cost_at(at);
        self.cost += cost;
        self.push(place, at);
    }

    /// Takes an entry out.
    fn remove(&mut self, at: u32) {
        let cost = self.cost_at(at);
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        if slot.entry.take().is_some() {
            self.table.remove(&slot.hash);
            self.queues[slot.place as usize].cost -= cost;
            self.cost -= cost;
        }
    }

    /// Takes out all whose name `picked` picks; gives how many.
    pub fn flush(&mut self, picked: impl Fn(&[u8]) -> bool) -> usize {
        let mut count = 0;
        for at in 0..self.slots.len() {
            if self.slots[at].entry.as_ref().is_some_and(|entry| picked(entry.name())) {
                self.remove(at as u32);
                count += 1;
            }
        }
        count
    }

    /// Makes room: moves on or takes out one entry. `false`: there is none.
    fn evict(&mut self) -> bool {
        let small = self.queues[Place::Small as usize].cost > self.budget / SMALL
            || self.queues[Place::Main as usize].head == NONE;
        let place = if small { Place::Small } else { Place::Main };
        let Some(at) = self.pop(place) else { return false };
        let Some(slot) = self.slots.get_mut(at as usize) else { return false };
        let hits = slot.entry.as_ref().map_or(0, Entry::hits);
        if let Some(entry) = slot.entry.as_ref().filter(|_| hits > 0) {
            entry.set_hits(if small { 0 } else { hits - 1 });
            slot.place = Place::Main;
            self.push(Place::Main, at);
            return true;
        }
        if let Some(entry) = slot.entry.take() {
            let hash = slot.hash;
            self.cost -= entry.cost();
            self.table.remove(&hash);
            self.evicted += 1;
            if small && let Some((place, print)) = self.fingerprint(hash) {
                *place = print;
            }
        }
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.next = self.free;
            self.free = at;
        }
        true
    }

    /// Where the ghost keeps a hash, and what it keeps.
    fn fingerprint(&mut self, hash: u64) -> Option<(&mut u32, u32)> {
        let at = (hash as usize) % self.ghost.len();
        Some((self.ghost.get_mut(at)?, (hash >> 32) as u32 | 1))
    }

    /// What the entry of a slot takes.
    fn cost_at(&self, at: u32) -> usize {
        self.slots.get(at as usize).and_then(|slot| slot.entry.as_ref()).map_or(0, Entry::cost)
    }

    /// To the end of a queue.
    fn push(&mut self, place: Place, at: u32) {
        let cost = self.cost_at(at);
        let queue = &mut self.queues[place as usize];
        queue.cost += cost;
        let last = std::mem::replace(&mut queue.tail, at);
        if last == NONE {
            queue.head = at;
        } else if let Some(last) = self.slots.get_mut(last as usize) {
            last.next = at;
        }
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.next = NONE;
        }
    }

    /// From the head of a queue.
    fn pop(&mut self, place: Place) -> Option<u32> {
        let at = self.queues[place as usize].head;
        let next = self.slots.get(at as usize)?.next;
        let cost = self.cost_at(at);
        let queue = &mut self.queues[place as usize];
        queue.head = next;
        queue.cost -= cost;
        if next == NONE {
            queue.tail = NONE;
        }
        Some(at)
    }

    /// Octets of memory, all told: what is reserved counts.
    pub fn used(&self) -> usize {
        // hashbrown's table: a power of two of buckets, at most 7/8 full, a control octet each.
        let buckets = match self.table.capacity() {
            0 => 0,
            capacity => (capacity * 8 / 7).next_power_of_two(),
        };
        self.cost
            + self.slots.capacity() * size_of::<Slot>()
            + buckets * (size_of::<(u64, u32)>() + 1)
            + self.ghost.len() * size_of::<u32>()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.table.len()
    }
}
