//! The thread that takes hits out of the rings and writes them.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::file::{LogFile, Wrote};
use super::line::Lines;
use super::{Clients, DRAIN, RING, Shared};
use crate::event::Hit;
use crate::util::{Now, Throttle};

/// How often the rings are looked into while hits come, and while none do. The second leaves a full ring's worth of
/// room for 200,000 hits a second on every worker.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));
/// Lines are written when there are this many bytes of them …
const FLUSH_AT: usize = 64 << 10;
/// … or the oldest is this old, or nothing came at the last look.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Lines that cannot be written are held up to this many bytes, then new ones are dropped.
const MAX_HELD: usize = 1 << 20;
/// A file that cannot be written is tried again after this long, then twice as long, at most the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Everything the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    rings: Vec<Receiver<Hit>>,
    lines: Lines,
    /// Whole lines that are not in the file yet.
    held: Vec<u8>,
    /// Where a line is made before it is held or dropped.
    line: Vec<u8>,
    file: LogFile,
    /// When the oldest held line came.
    since: Option<Instant>,
    /// When the file may be looked at for age and place again.
    tick_at: Instant,
    trouble: Option<Trouble>,
    warnings: Throttle,
}

/// The file cannot be written.
struct Trouble {
    retry_at: Instant,
    delay: Duration,
}

impl Writer {
    /// Ready to run.
    pub(super) fn new(shared: Arc<Shared>, file: LogFile, clients: Clients) -> Self {
        Self {
            shared,
            rings: Vec::new(),
            lines: Lines::new(clients),
            held: Vec::with_capacity(2 * FLUSH_AT),
            line: Vec::new(),
            file,
            since: None,
            tick_at: Instant::now(),
            trouble: None,
            warnings: Throttle::new(10_000),
        }
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            let idle = self.drain() == 0;
            let overdue = self.since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER);
            if idle || overdue {
                self.flush();
            }
            if Instant::now() >= self.tick_at {
                self.tick();
            }
            // Only `close` unparks: a sender that had to would pay for a system call.
            std::thread::park_timeout(if idle { POLL.1 } else { POLL.0 });
        }
        self.finish(DRAIN);
    }

    /// Takes over the rings of workers that have come since the last look.
    fn adopt(&mut self) {
        self.rings.append(&mut self.shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes lines of what is in the rings, of each at most what it can hold, and says of how many hits.
    fn drain(&mut self) -> usize {
        self.adopt();
        let mut taken = 0;
        let mut rings = std::mem::take(&mut self.rings);
        rings.retain(|ring| {
            for _ in 0..RING {
                match ring.try_recv() {
                    Ok(hit) => {
                        taken += 1;
                        self.push(&hit);
                    }
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
            true
        });
        self.rings = rings;
        taken
    }

    /// Holds the line of a hit, or drops it when too many are held already.
    fn push(&mut self, hit: &Hit) {
        self.line.clear();
        self.lines.push(hit, &self.shared.attributions, &mut self.line);
        if self.held.len() + self.line.len() > MAX_HELD {
            self.dropped(1);
            return;
        }
        self.held.extend_from_slice(&self.line);
        self.since.get_or_insert_with(Instant::now);
        if self.held.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Writes the held lines, unless that failed a moment ago.
    fn flush(&mut self) {
        let waiting = self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.retry_at);
        if self.held.is_empty() || waiting {
            return;
        }
        let Wrote { bytes, error } = self.file.write(&self.held, Now::read());
        let lines = count_lines(self.held.get(..bytes).unwrap_or_default());
        self.shared.counters.written.fetch_add(lines, Ordering::Relaxed);
        self.held.drain(..bytes.min(self.held.len()));
        match error {
            Some(error) => self.failed(&error),
            None => {
                self.since = None;
                if self.trouble.take().is_some() {
                    tracing::info!("the hit log {} can be written again", self.file.path().display());
                }
            }
        }
    }

    /// Once a second: rotation by age, and a file that was moved away is made anew.
    fn tick(&mut self) {
        let now = Instant::now();
        self.tick_at = now + Duration::from_secs(1);
        self.shared.attributions.forget_late(now);
        if self.trouble.is_none()
            && let Err(error) = self.file.tick(Now::read())
        {
            self.failed(&error);
        }
    }

    /// Says so, now and then, and waits longer each time.
    fn failed(&mut self, error: &std::io::Error) {
        let delay = self.trouble.as_ref().map_or(RETRY.0, |trouble| RETRY.1.min(trouble.delay * 2));
        self.trouble = Some(Trouble { retry_at: Instant::now() + delay, delay });
        if self.warnings.pass(Now::read()).is_some() {
            tracing::warn!(
                "cannot write the hit log {}: {error}; {} lines wait, {} were dropped so far. It is tried again",
                self.file.path().display(),
                count_lines(&self.held),
                self.shared.counters.dropped_write.load(Ordering::Relaxed),
            );
        }
    }

    /// Writes what there is for as long as there is time, and counts the rest.
    fn finish(mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.drain() > 0 {}
        // One last try, whatever was before.
        self.trouble = None;
        self.flush();
        let held = count_lines(&self.held);
        self.adopt();
        let left: u64 = self.rings.iter().map(|ring| ring.try_iter().take(RING).map(|_| 1).sum::<u64>()).sum();
        self.dropped(held + left);
    }

    /// Counts lines that will not be written.
    fn dropped(&self, lines: u64) {
        self.shared.counters.dropped_write.fetch_add(lines, Ordering::Relaxed);
    }
}

/// JSON has no newline inside a line.
fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::hits::{HitLogCounters, tests};

    #[test]
    fn what_there_is_no_time_for_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = tests::settings(&folder.path().join("hits.jsonl"));
        let path = settings.file.as_deref().expect("a file");
        let shared = Arc::new(Shared::default());
        let file = LogFile::open(path, &settings, Arc::clone(&shared.counters), Now::read()).expect("opened");
        let (ring, hits) = sync_channel(RING);
        shared.new_rings.lock().expect("the rings").push(hits);
        for number in 0..10 {
            ring.try_send(tests::hit(number)).expect("room");
        }
        Writer::new(Arc::clone(&shared), file, Clients::Full).finish(Duration::ZERO);
        assert_eq!(shared.counters.read(), HitLogCounters { dropped_write: 10, ..HitLogCounters::default() });
    }
}
