//! Who explains hits: the snapshots of late, each with what could only be counted of its hits.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::overflow::Table;
use crate::event::Attribution;

/// Generations that are remembered; a hit is written long before that many reloads have passed.
const GENERATIONS: usize = 8;
/// How long a generation is remembered after the next one has come. Its last hits are written long before, and
/// until then a snapshot of a million names is held for nothing else.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// A generation and its attribution.
pub(super) type Source = (u64, Arc<dyn Attribution>);

/// The attributions of the newest snapshots, oldest first.
#[derive(Default)]
pub(super) struct Attributions(Mutex<Inner>);

/// What is known.
#[derive(Default)]
struct Inner {
    known: VecDeque<Announced>,
    /// No longer asked for explanations, but hits may have been counted in their tables.
    retired: Vec<Announced>,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Announced {
    /// Whose hits it explains.
    pub(super) source: Source,
    /// Hits of that generation that could only be counted. Workers hold it weakly: once it is taken apart nothing is
    /// added any more.
    pub(super) table: Arc<Table>,
    /// When it came.
    pub(super) at: Instant,
}

impl fmt::Debug for Attributions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attributions")
    }
}

impl Attributions {
    /// Adds one, retiring the oldest if there are too many.
    pub(super) fn announce(&self, generation: u64, attribution: Arc<dyn Attribution>) {
        let table = Arc::new(Table::new(attribution.rules()));
        let new = Announced { source: (generation, attribution), table, at: Instant::now() };
        let mut inner = self.lock();
        let Inner { known, retired } = &mut *inner;
        if let Some(again) = known.iter().position(|other| other.source.0 == generation) {
            retired.extend(known.remove(again));
        }
        known.push_back(new);
        if known.len() > GENERATIONS {
            retired.extend(known.pop_front());
        }
    }

    /// Retires those whose time has passed by `now`.
    pub(super) fn forget_late(&self, now: Instant) {
        let mut inner = self.lock();
        while inner.known.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= LATE) {
            let late = inner.known.pop_front();
            inner.retired.extend(late);
        }
    }

    /// Those that were retired since this was asked last. Dropping a large snapshot takes a while, in which the
    /// publisher need not wait: that is for the caller to do.
    pub(super) fn retired(&self) -> Vec<Announced> {
        std::mem::take(&mut self.lock().retired)
    }

    /// All that are known.
    pub(super) fn known(&self) -> Vec<Announced> {
        self.lock().known.iter().cloned().collect()
    }

    /// That of `generation`, or else the newest, with its own generation.
    pub(super) fn of(&self, generation: u64) -> Option<Source> {
        let inner = self.lock();
        let found = inner.known.iter().find(|other| other.source.0 == generation).or_else(|| inner.known.back())?;
        Some(found.source.clone())
    }

    /// Where hits of `generation` that can only be counted are counted, while it is known.
    pub(super) fn table(&self, generation: u64) -> Weak<Table> {
        let inner = self.lock();
        let found = inner.known.iter().find(|other| other.source.0 == generation);
        found.map_or_else(Weak::new, |found| Arc::downgrade(&found.table))
    }

    /// The lock is only ever held for a moment here.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
