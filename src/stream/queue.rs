//! Frames on their way from the thread that makes them to the one that writes them: batches, bounded in bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Counters;

/// A batch is handed over when it has grown to this many bytes; before, when no hit is there for the moment.
const HAND_OVER: usize = 64 << 10;
/// Less room than a frame ever needs.
const LITTLE: usize = 64;
/// What a frame takes beside its bytes: where it ends.
const END: usize = size_of::<u32>();
/// Emptied batches that are kept to be filled again.
const SPARE: usize = 4;
/// How long what waits is still written for after the end.
const DRAIN: Duration = Duration::from_secs(1);

/// Whole frames, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Batch {
    /// Adds one. Batches are far shorter than the 4 GiB their ends are counted in.
    pub(super) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len() as u32);
    }

    /// How many.
    pub(super) fn frames(&self) -> usize {
        self.ends.len()
    }

    /// All bytes from frame number `from` on.
    pub(super) fn rest(&self, from: usize) -> &[u8] {
        self.bytes.get(self.start(from)..).unwrap_or_default()
    }

    /// Frame number `at`; `None` behind the last.
    pub(super) fn frame(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)?;
        self.bytes.get(self.start(at)..end as usize)
    }

    /// How many frames end within the first `bytes` octets of [`Self::rest`].
    pub(super) fn whole(&self, from: usize, bytes: usize) -> usize {
        let reached = self.start(from) + bytes;
        self.ends.get(from..).unwrap_or_default().partition_point(|&end| end as usize <= reached)
    }

    /// Where frame number `at` begins.
    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends.get(before).map_or(self.bytes.len(), |&end| end as usize))
    }

    /// What it counts in the queue.
    fn size(&self) -> usize {
        self.bytes.len() + END * self.ends.len()
    }

    /// Nothing in it any more, but its memory.
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// What both threads hold.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    /// Size of all batches handed over and not given back yet.
    held: AtomicUsize,
    state: Mutex<State>,
    wake: Condvar,
    counters: Arc<Counters>,
}

/// What is under the lock.
#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    spare: Vec<Batch>,
    /// When to give up; set when no hit will come any more.
    closing: Option<Instant>,
}

impl Queue {
    /// Empty, with room for `limit` bytes.
    pub(super) fn new(limit: usize, counters: Arc<Counters>) -> Self {
        let (held, state, wake) = (AtomicUsize::new(0), Mutex::default(), Condvar::new());
        Self { limit, held, state, wake, counters }
    }

    /// The stream's counters.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The oldest batch, waited for up to `wait`.
    pub(super) fn next(&self, wait: Duration) -> Option<Batch> {
        let (mut state, _) = self
            .wake
            .wait_timeout_while(self.lock(), wait, |state| state.batches.is_empty() && state.closing.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.batches.pop_front()
    }

    /// Waits, but not beyond the end.
    pub(super) fn pause(&self, time: Duration) {
        let waited = self.wake.wait_timeout_while(self.lock(), time, |state| state.closing.is_none());
        drop(waited);
    }

    /// Whether no hit will come any more.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// Whether what still waits is not waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().closing.is_some_and(|end| Instant::now() >= end)
    }

    /// A batch of which nothing is needed any more.
    pub(super) fn give_back(&self, mut batch: Batch) {
        self.held.fetch_sub(batch.size(), Ordering::Relaxed);
        batch.clear();
        let mut state = self.lock();
        if state.spare.len() < SPARE {
            state.spare.push(batch);
        }
    }

    /// No hit will come any more.
    pub(super) fn close(&self) {
        self.lock().closing.get_or_insert_with(|| Instant::now() + DRAIN);
        self.wake.notify_all();
    }

    /// Takes a batch and gives an empty one for it. After the end it is counted as lost.
    fn swap(&self, batch: Batch) -> Batch {
        let mut state = self.lock();
        if state.closing.is_some() {
            // Nobody may be there any more to write it.
            self.counters.lost_write.fetch_add(batch.frames() as u64, Ordering::Relaxed);
            return Batch::default();
        }
        self.held.fetch_add(batch.size(), Ordering::Relaxed);
        state.batches.push_back(batch);
        let spare = state.spare.pop().unwrap_or_default();
        drop(state);
        self.wake.notify_all();
        spare
    }

    /// The lock is only ever held for a moment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that puts frames in.
pub(super) struct Filler {
    queue: Arc<Queue>,
    batch: Batch,
    closed: bool,
}

impl Filler {
    /// With an empty batch.
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, batch: Batch::default(), closed: false }
    }

    /// The stream's counters.
    pub(super) fn counters(&self) -> &Counters {
        &self.queue.counters
    }

    /// Whether there is room for at least a short frame.
    pub(super) fn may_have_room(&self) -> bool {
        self.has_room(LITTLE)
    }

    /// Puts a frame in, or counts it if there is no room.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if !self.has_room(frame.len()) {
            return self.lost();
        }
        self.batch.push(frame);
        if self.batch.bytes.len() >= HAND_OVER {
            self.hand_over();
        }
    }

    /// Counts a hit that found no room.
    pub(super) fn lost(&self) {
        self.queue.counters.lost_full.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes what is there known to the other end.
    pub(super) fn hand_over(&mut self) {
        if self.batch.frames() > 0 {
            let full = std::mem::take(&mut self.batch);
            self.batch = self.queue.swap(full);
        }
    }

    /// Hands over what is there as the last.
    pub(super) fn close(&mut self) {
        self.hand_over();
        self.closed = true;
        self.queue.close();
    }

    /// Whether a frame of so many bytes fits.
    fn has_room(&self, frame: usize) -> bool {
        let taken = self.queue.held.load(Ordering::Relaxed) + self.batch.size();
        !self.closed && taken + frame + END <= self.queue.limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::tests::counters;

    proptest! {
        #[test]
        fn a_batch_is_a_list_of_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20),
            from in 0..25_usize,
            bytes in 0..500_usize,
        ) {
            let mut batch = Batch::default();
            frames.iter().for_each(|frame| batch.push(frame));
            prop_assert_eq!(batch.frames(), frames.len());
            for (at, frame) in frames.iter().enumerate() {
                prop_assert_eq!(batch.frame(at), Some(&frame[..]));
            }
            prop_assert_eq!(batch.frame(frames.len()), None);
            let left = frames.get(from..).unwrap_or_default();
            prop_assert_eq!(batch.rest(from), &left.concat()[..]);
            let mut sum = 0;
            let whole = left.iter().take_while(|frame| { sum += frame.len(); sum <= bytes }).count();
            prop_assert_eq!(batch.whole(from, bytes), whole);
        }

        #[test]
        fn what_is_put_in_comes_out_in_order_and_the_rest_is_counted(
            limit in 100..2000_usize,
            // A frame of this length, or one batch taken out.
            steps in prop::collection::vec(prop_oneof![3 => (1..200_usize).prop_map(Some), 1 => Just(None)], 1..100),
        ) {
            let queue = Arc::new(Queue::new(limit, counters()));
            let mut filler = Filler::new(Arc::clone(&queue));
            let (mut put, mut got, mut lost) = (Vec::new(), Vec::new(), 0);
            for step in steps {
                match step {
                    Some(len) => {
                        let frame = vec![put.len() as u8; len];
                        // The twin: what is neither taken nor lost takes its place.
                        let waiting: usize = put[got.len()..].iter().map(|f: &Vec<u8>| f.len() + END).sum();
                        let fits = waiting + len + END <= limit;
                        filler.push(&frame);
                        if fits { put.push(frame) } else { lost += 1 }
                    }
                    None => {
                        filler.hand_over();
                        if let Some(batch) = queue.next(Duration::ZERO) {
                            got.extend((0..batch.frames()).filter_map(|at| batch.frame(at).map(<[u8]>::to_vec)));
                            queue.give_back(batch);
                        }
                    }
                }
                prop_assert_eq!(queue.counters().read().lost_full, lost);
            }
            filler.close();
            while let Some(batch) = queue.next(Duration::ZERO) {
                got.extend((0..batch.frames()).filter_map(|at| batch.frame(at).map(<[u8]>::to_vec)));
                queue.give_back(batch);
            }
            prop_assert_eq!(got, put);
            prop_assert_eq!(queue.held.load(Ordering::Relaxed), 0);
            filler.push(&[0]);
            prop_assert_eq!(queue.counters().read().lost_full, lost + 1, "closed");
        }
    }
}
