//! The thread of a stream: takes batches out of the queue, writes whole frames, opens again what was lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::place::{Place, Wrote};
use super::queue::{Batch, Queue};
use crate::util::{Now, Throttle};

/// How often an idle stream is looked at: whether its reader is still there, its file in its place.
const IDLE: Duration = Duration::from_secs(1);
/// What could not be opened or written is tried again after this long, then twice as long, at most the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// … and so soon when the end has come.
const CLOSING_RETRY: Duration = Duration::from_millis(50);
/// The same trouble is told this seldom, in milliseconds.
const WARNINGS: i64 = 60_000;

/// Everything the thread owns.
pub(super) struct Writer {
    queue: Arc<Queue>,
    place: Box<dyn Place>,
    /// The batch at hand, and how many of its frames are done with.
    batch: Option<(Batch, usize)>,
    /// When the place was looked at last.
    checked: Instant,
    open: bool,
    /// How long to wait before the next try; `None` if the last one was good.
    delay: Option<Duration>,
    warnings: Throttle,
}

impl Writer {
    /// Ready to run.
    pub(super) fn new(queue: Arc<Queue>, place: Box<dyn Place>) -> Self {
        let (checked, warnings) = (Instant::now(), Throttle::new(WARNINGS));
        Self { queue, place, batch: None, checked, open: false, delay: None, warnings }
    }

    /// Writes until there is nothing left after the end, or no time.
    pub(super) fn run(mut self) {
        while !self.queue.is_over() {
            if !self.open && !self.open() {
                continue;
            }
            if self.batch.is_none() {
                self.batch = self.queue.next(IDLE).map(|batch| (batch, 0));
            }
            if self.batch.is_none() && self.queue.is_closing() {
                break;
            }
            self.check();
            self.write();
        }
        if self.open {
            self.place.close();
            self.queue.counters().connected.store(false, Ordering::Relaxed);
        }
        self.count_what_is_left();
    }

    /// Opens the place; false if it could not be, after some waiting.
    fn open(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        match self.place.open(&|| queue.is_over()) {
            Ok(()) => {
                self.open = true;
                let counters = self.queue.counters();
                counters.connects.fetch_add(1, Ordering::Relaxed);
                counters.connected.store(true, Ordering::Relaxed);
                if self.delay.is_some() {
                    tracing::info!("the stream {} has a reader", counters.name());
                }
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Sees now and then that whoever reads is still there.
    fn check(&mut self) {
        if !self.open || (self.batch.is_none() && self.checked.elapsed() < IDLE) {
            return;
        }
        self.checked = Instant::now();
        if let Err(error) = self.place.check() {
            self.lost(&error);
        }
    }

    /// Writes as much of the batch at hand as goes.
    fn write(&mut self) {
        let Some((batch, from)) = self.batch.as_mut().filter(|_| self.open) else { return };
        let queue = &self.queue;
        let Wrote { sent, bounced, refused, error } = self.place.write(batch, *from, &|| queue.is_over());
        *from += sent + refused;
        let counters = queue.counters();
        counters.sent.fetch_add(sent as u64, Ordering::Relaxed);
        counters.sent.fetch_sub(bounced as u64, Ordering::Relaxed);
        counters.lost_write.fetch_add((refused + bounced) as u64, Ordering::Relaxed);
        let done = *from >= batch.frames();
        if sent > 0 {
            self.delay = None;
        }
        if done && let Some((batch, _)) = self.batch.take() {
            self.queue.give_back(batch);
        }
        if let Some(error) = error {
            self.lost(&error);
        }
    }

    /// The place has to be opened again.
    fn lost(&mut self, error: &io::Error) {
        self.open = false;
        self.queue.counters().connected.store(false, Ordering::Relaxed);
        self.failed(error);
    }

    /// Says so, now and then, and waits longer each time.
    fn failed(&mut self, error: &io::Error) {
        let delay = self.delay.map_or(RETRY.0, |delay| RETRY.1.min(delay * 2));
        self.delay = Some(delay);
        let counters = self.queue.counters();
        if self.warnings.pass(Now::read()).is_some() {
            let lost = counters.read().lost();
            tracing::warn!("the stream {}: {error}; it is tried again ({lost} hits lost so far)", counters.name());
        }
        if self.queue.is_closing() {
            // Not for ever: only until it is over.
            std::thread::sleep(CLOSING_RETRY);
        } else {
            self.queue.pause(delay);
        }
    }

    /// Counts the frames nobody will get.
    fn count_what_is_left(&mut self) {
        let at_hand = self.batch.take().map_or(0, |(batch, from)| batch.frames().saturating_sub(from));
        let mut left = at_hand as u64;
        while let Some(batch) = self.queue.next(Duration::ZERO) {
            left += batch.frames() as u64;
        }
        self.queue.counters().lost_write.fetch_add(left, Ordering::Relaxed);
    }
}
