//! Hands an immutable value from one publisher to many readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The publisher's side: the current value and a generation that grows with every publish.
///
/// A reader pays one atomic load a call while nothing changes; the lock is taken only when
/// the generation moved. (arc-swap has an open soundness report, and this is all we need.)
#[derive(Debug)]
pub struct Handover<T> {
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

impl<T> Handover<T> {
    /// Starts with `value` as generation 1.
    pub fn new(value: impl Into<Arc<T>>) -> Arc<Self> {
        Arc::new(Self { generation: AtomicU64::new(1), current: Mutex::new(value.into()) })
    }

    /// Replaces the value; every reader sees it at its next [`Reader::current`].
    pub fn publish(&self, value: Arc<T>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // The old value is dropped after the lock: it may be a set of a million names.
        let old = std::mem::replace(&mut *current, value);
        self.generation.fetch_add(1, Ordering::Release);
        drop(current);
        drop(old);
    }

    /// The current value, for code off the hot path.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A reader with its own copy of the pointer.
    pub fn reader(self: &Arc<Self>) -> Reader<T> {
        // Read before the value: a publish in between makes the next `current` look again.
        let seen = self.generation.load(Ordering::Acquire);
        Reader { source: Arc::clone(self), seen, value: self.load() }
    }
}

/// One thread's view of a [`Handover`].
#[derive(Debug)]
pub struct Reader<T> {
    source: Arc<Handover<T>>,
    seen: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    /// The newest published value; one atomic load unless something was published.
    pub fn current(&mut self) -> &Arc<T> {
        let generation = self.source.generation.load(Ordering::Acquire);
        if generation != self.seen {
            self.value = self.source.load();
            self.seen = generation;
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_each_publish_and_never_an_older_value() {
        let handover = Handover::new(0_u64);
        let writer = Arc::clone(&handover);
        let mut reader = handover.reader();
        let publisher = std::thread::spawn(move || {
            for value in 1..=1000 {
                writer.publish(Arc::new(value));
            }
        });
        let mut last = 0;
        while last < 1000 {
            let value = **reader.current();
            assert!(value >= last, "went back from {last} to {value}");
            last = value;
        }
        publisher.join().expect("publisher");
        assert_eq!(*handover.load(), 1000);
    }
}
