//! What became of the hits that were to be shipped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// As atomics.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) taken: AtomicU64,
    pub(super) shipped: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_spool: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) waiting_bytes: AtomicU64,
    /// Bytes of sealed batches that the disk has not taken yet.
    pub(super) under_way: AtomicUsize,
}

/// A copy. Once all threads rest, `taken` and what was waiting at the start are
/// `shipped + dropped_full + dropped_spool + refused + waiting` and what the open batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Hits that came.
    pub taken: u64,
    /// Hits that the other side has confirmed.
    pub shipped: u64,
    /// Batches of them.
    pub batches: u64,
    /// Tries to send a batch that failed.
    pub failures: u64,
    /// Hits dropped because the disk did not keep up.
    pub dropped_full: u64,
    /// Hits of batches dropped because the spool (or, with the disk full, memory) was full.
    pub dropped_spool: u64,
    /// Hits of batches that were damaged on disk or that the other side would never take; they are set aside.
    pub refused: u64,
    /// Hits that wait.
    pub waiting: u64,
    /// Bytes they take.
    pub waiting_bytes: u64,
}

impl Counters {
    /// Each number is exact by itself; between them a batch may be under way.
    pub fn read(&self) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            taken: of(&self.taken),
            shipped: of(&self.shipped),
            batches: of(&self.batches),
            failures: of(&self.failures),
            dropped_full: of(&self.dropped_full),
            dropped_spool: of(&self.dropped_spool),
            refused: of(&self.refused),
            waiting: of(&self.waiting),
            waiting_bytes: of(&self.waiting_bytes),
        }
    }
}

/// Adds to one.
pub(super) fn add(counter: &AtomicU64, number: impl Into<u64>) {
    counter.fetch_add(number.into(), Ordering::Relaxed);
}
