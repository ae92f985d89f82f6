//! What hits are counted under, each with a number, and the counts that are not handed over yet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::live::Labels;
use super::sketches::Places;
use crate::event::Why;
use crate::stats::{Delta, Row};

/// The most subjects that have a number at a time: with all that hangs on them 9 MB.
const MAX: usize = 12_288;
/// When there are more than this, those of which nothing was heard for longest are forgotten …
const MANY: usize = 10_240;
/// … until this many are left.
const FEW: usize = 8_192;
/// Reasons whose number is found at once. They are numbered one after the other, so these are the newest.
const RECENT: usize = 1 << 14;
/// Rows that wait to be handed over: when there are more, a subject's further hits stay in the minute it is at.
const MAX_ROWS: usize = 65_536;

/// All subjects that have a number.
pub(super) struct Subjects {
    recent: Box<[Recent]>,
    counts: Vec<Counts>,
    known: Vec<Option<Known>>,
    free: Vec<u32>,
    /// By hash.
    index: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// Those with hits since the last [`Self::hand_over`].
    dirty: Vec<u32>,
    /// Counts hand-overs.
    turn: u32,
    key: RandomState,
    coarse: u64,
}

/// The number of a reason's subject.
#[derive(Clone, Copy, Default)]
struct Recent {
    why: u64,
    number: u32,
    /// The number may stand for another subject by now.
    serial: u32,
}

/// The hits of a subject that are not handed over yet, all in one minute; a cache line, as each hit needs one.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Counts {
    minute: i64,
    hits: u64,
    attempts: u64,
    unexamined: u64,
    /// How many of the hits metrics know of.
    shown: u64,
    /// Stands for rule, list and outcome in attempts.
    pub(super) key: u64,
    serial: u32,
    /// The turn of its last hit.
    used: u32,
}

/// What else is known of a subject.
pub(super) struct Known {
    /// The first reason it came with.
    pub(super) why: Arc<Why>,
    /// Where its clients are counted.
    pub(super) places: Places,
    /// Where its hits are counted for metrics.
    pub(super) labels: Labels,
    hash: u64,
    /// The receiver knows the number.
    told: bool,
}

/// Hits of one subject.
#[derive(Clone, Copy, Default)]
pub(super) struct Added {
    pub(super) hits: u64,
    pub(super) attempts: u64,
    pub(super) unexamined: u64,
}

impl Subjects {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            recent: vec![Recent::default(); RECENT].into(),
            counts: Vec::new(),
            known: Vec::new(),
            free: Vec::new(),
            index: HashMap::default(),
            dirty: Vec::new(),
            turn: 1,
            key: RandomState::new(),
            coarse: 0,
        }
    }

    /// The number of a reason's subject, which gets one if there is one left; `labels` says where its hits are counted
    /// for metrics.
    pub(super) fn number(&mut self, why: &Arc<Why>, labels: impl FnOnce() -> Labels) -> Option<u32> {
        let place = why.id as usize % RECENT;
        let recent = &self.recent[place];
        if recent.why == why.id && self.counts.get(recent.number as usize).is_some_and(|c| c.serial == recent.serial) {
            return Some(recent.number);
        }
        let number = self.find(why, labels)?;
        self.recent[place] = Recent { why: why.id, number, serial: self.counts[number as usize].serial };
        Some(number)
    }

    /// See [`Self::number`].
    #[cold]
    fn find(&mut self, why: &Arc<Why>, labels: impl FnOnce() -> Labels) -> Option<u32> {
        let hash = self.index.hasher().hash_one(&why.subject);
        let is = |known: &Option<Known>| known.as_ref().is_some_and(|known| known.why.subject == why.subject);
        if let Some(&number) = self.index.get(&hash).filter(|&&number| is(&self.known[number as usize])) {
            return Some(number);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.counts.len() < MAX => {
                self.counts.push(Counts::default());
                self.known.push(None);
                self.counts.len() as u32 - 1
            }
            None => return None,
        };
        let subject = &why.subject;
        let counts = &mut self.counts[number as usize];
        counts.key = self.key.hash_one((subject.outcome, &subject.rule, &subject.list));
        counts.serial = counts.serial.wrapping_add(1);
        counts.used = self.turn;
        let (why, labels) = (Arc::clone(why), labels());
        self.known[number as usize] = Some(Known { why, places: Places::default(), labels, hash, told: false });
        self.index.insert(hash, number);
        Some(number)
    }

    /// The counts of a subject.
    pub(super) fn counts(&self, number: u32) -> &Counts {
        &self.counts[number as usize]
    }

    /// What is known of a subject.
    pub(super) fn known(&mut self, number: u32) -> Option<&mut Known> {
        self.known[number as usize].as_mut()
    }

    /// Counts hits of a subject; rows of minutes that are over go to `delta`.
    pub(super) fn add(&mut self, number: u32, minute: i64, added: Added, delta: &mut Delta) {
        let counts = &mut self.counts[number as usize];
        if counts.hits == 0 {
            counts.minute = minute;
            counts.used = self.turn;
            self.dirty.push(number);
        } else if counts.minute != minute {
            if delta.rows.len() < MAX_ROWS {
                self.row(number, delta);
                self.counts[number as usize].minute = minute;
            } else {
                self.coarse += added.hits;
            }
        }
        let counts = &mut self.counts[number as usize];
        counts.hits += added.hits;
        counts.attempts += added.attempts;
        counts.unexamined += added.unexamined;
    }

    /// Moves all counts to `delta`.
    pub(super) fn hand_over(&mut self, delta: &mut Delta) {
        for number in std::mem::take(&mut self.dirty) {
            self.row(number, delta);
        }
    }

    /// Lets metrics know of all counts without moving them.
    pub(super) fn show(&mut self) {
        for &number in &self.dirty {
            let counts = &mut self.counts[number as usize];
            if let Some(known) = &self.known[number as usize] {
                known.labels.count(counts.hits - counts.shown);
                counts.shown = counts.hits;
            }
        }
    }

    /// Forgets subjects without hits that are not handed over if there are too many; to be called when `delta` is a new
    /// one.
    pub(super) fn forget(&mut self, delta: &mut Delta) {
        let live = self.counts.len() - self.free.len();
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        if live <= MANY {
            return;
        }
        let idle = |&number: &u32| self.known[number as usize].is_some() && self.counts[number as usize].hits == 0;
        let mut idle: Vec<u32> = (0..self.counts.len() as u32).filter(idle).collect();
        let surplus = live - FEW;
        if idle.len() > surplus {
            // Those whose last hit is longest ago.
            idle.select_nth_unstable_by_key(surplus, |&number| {
                std::cmp::Reverse(turn.wrapping_sub(self.counts[number as usize].used))
            });
            idle.truncate(surplus);
        }
        for number in idle {
            let Some(known) = self.known[number as usize].take() else { continue };
            if self.index.get(&known.hash) == Some(&number) {
                self.index.remove(&known.hash);
            }
            if known.told {
                delta.forgotten.push(number);
            }
            let counts = &mut self.counts[number as usize];
            counts.serial = counts.serial.wrapping_add(1);
            self.free.push(number);
        }
    }

    /// Whether there is hardly room for further subjects.
    pub(super) fn crowded(&self) -> bool {
        self.counts.len() - self.free.len() > MANY
    }

    /// Hits that were counted in a minute before their own.
    pub(super) fn coarse(&self) -> u64 {
        self.coarse
    }

    /// Moves the counts of a subject to `delta`.
    fn row(&mut self, number: u32, delta: &mut Delta) {
        let counts = &mut self.counts[number as usize];
        let Counts { minute, hits, attempts, unexamined, shown, .. } = *counts;
        (counts.hits, counts.attempts, counts.unexamined, counts.shown) = (0, 0, 0, 0);
        let Some(known) = self.known[number as usize].as_mut().filter(|_| hits > 0) else { return };
        if !known.told {
            known.told = true;
            delta.subjects.push((number, Arc::clone(&known.why)));
        }
        known.labels.count(hits - shown);
        delta.rows.push(Row { subject: number, minute, hits, attempts, unexamined });
    }
}
