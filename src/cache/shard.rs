//! One part of the cache behind one lock: a table of hashes over slots that stand in S3-FIFO's queues.
//!
//! S3-FIFO (Yang et al., SOSP 2023): what is new waits in a small queue; if nobody asks for it again it goes, and only a
//! fingerprint of it stays in the ghost. What is asked for again, or was and comes back, goes to the main queue. So names
//! that are asked for once cannot push out names that are asked for often.

use std::mem::size_of;

use super::Key;
use super::entry::{self, Entry};
use super::index::Index;

/// No slot.
const NONE: u32 = u32::MAX;
/// The small queue's share of the room: one in so many.
const SMALL: usize = 10;
/// One fingerprint for so many octets of room.
const GHOST: usize = 256;
/// What a slot takes.
const SLOT: usize = size_of::<Slot>();

/// Entries, and the order in which they go.
#[derive(Debug)]
pub(super) struct Shard {
    budget: usize,
    /// The most slots: so many fit if all answers are as small as can be.
    most: usize,
    /// Hash of a key → its slot. Two keys with one hash of 64 bits displace each other.
    index: Index,
    slots: Vec<Slot>,
    free: u32,
    queues: [Queue; 2],
    /// Fingerprints of what left the small queue, each where its hash says.
    ghost: Box<[u32]>,
    /// What the entries take, slots included.
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

impl Shard {
    /// For at most `budget` octets, all told.
    pub fn new(budget: usize) -> Self {
        let most = (budget / (SLOT + entry::LEAST)).clamp(1, NONE as usize - 1);
        let index = Index::new(most);
        Self {
            budget,
            most: most.min(index.room()),
            index,
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
        self.slots.get(self.find(hash)? as usize)?.entry.as_ref().filter(|entry| entry.is_for(key))
    }

    /// Puts an entry in, in place of the one for the same key. What would take too much of the room is not taken.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> bool {
        if entry.cost() > self.budget / 8 {
            return false;
        }
        if let Some(at) = self.find(hash) {
            self.replace(at, entry);
        } else {
            self.make_place(entry.cost());
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
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        self.index.insert(hash, at);
        let cost = self.cost_at(at);
        self.cost += cost;
        self.push(place, at);
    }

    /// Sees that there is a free slot: more of them if they find room beside what is kept, or else one that something
    /// leaves.
    fn make_place(&mut self, cost: usize) {
        if self.free != NONE || self.slots.len() < self.slots.capacity() {
            return;
        }
        // By an eighth, not double: what is reserved counts as used.
        let more = (self.slots.len() / 8 + 16).min(self.most - self.slots.len());
        while more == 0 || self.used() + more * SLOT + cost > self.budget {
            if !self.evict() {
                break;
            }
            if self.free != NONE {
                return;
            }
        }
        self.slots.reserve_exact(more);
    }

    /// The slot of a hash.
    fn find(&self, hash: u64) -> Option<u32> {
        self.index.get(hash, |at| self.slots.get(at as usize).is_some_and(|slot| slot.hash == hash))
    }

    /// Takes an entry out.
    fn remove(&mut self, at: u32) {
        let cost = self.cost_at(at);
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        if slot.entry.take().is_some() {
            self.index.remove(slot.hash, at);
            self.queues[slot.place as usize].cost -= cost;
            self.cost -= cost;
        }
    }

    /// Takes out all in `step` slots from `start` on whose name `picked` picks; gives how many, and where to go on.
    pub fn flush(&mut self, start: usize, step: usize, picked: impl Fn(&[u8]) -> bool) -> (usize, Option<usize>) {
        let end = self.slots.len().min(start.saturating_add(step));
        let mut count = 0;
        for at in start..end {
            if self.slots[at].entry.as_ref().is_some_and(|entry| picked(entry.name())) {
                self.remove(at as u32);
                count += 1;
            }
        }
        (count, (end < self.slots.len()).then_some(end))
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
            self.cost -= entry.cost() + SLOT;
            self.index.remove(hash, at);
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

    /// What the entry of a slot takes, with its slot.
    fn cost_at(&self, at: u32) -> usize {
        self.slots.get(at as usize).and_then(|slot| slot.entry.as_ref()).map_or(0, |entry| entry.cost() + SLOT)
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
        let unused = self.slots.capacity() - self.index.len();
        self.cost + unused * SLOT + self.index.bytes() + self.ghost.len() * size_of::<u32>()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }
}
