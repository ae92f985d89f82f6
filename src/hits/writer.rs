//! The thread that takes hits out of the rings and writes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::file::{LogFile, Wrote};
use super::line::Lines;
use super::ring::{Consumer, Scratch};
use super::{Clients, DRAIN, Shared};
use crate::event::Hit;
use crate::util::{Now, Throttle};

/// How often the rings are looked into if no worker wakes the writer, which one does whose ring is a quarter full: few
/// hits come at most this much late, and many are taken out thousands at a time.
const POLL: Duration = Duration::from_millis(100);
/// Lines are written when there are this many bytes of them (a byte costs a fifth less than with 64 KiB at a time, and
/// no more than with 4 MiB; and who watches the folder is woken seldom) …
const FLUSH_AT: usize = 512 << 10;
/// … or the oldest is this old, or nothing came at the last look.
const FLUSH_AFTER: Duration = Duration::from_millis(900);
/// Lines that cannot be written are held up to this many bytes, then new ones are dropped.
const MAX_HELD: usize = 1 << 20;
/// A file that cannot be written is tried again after this long, then twice as long, at most the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Everything the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    rings: Vec<Consumer>,
    scratch: Scratch,
    lines: Lines,
    held: Held,
    file: LogFile,
    /// When the oldest held line came.
    since: Option<Instant>,
    /// When the file may be looked at for age and place again.
    tick_at: Instant,
    trouble: Option<Trouble>,
    warnings: Throttle,
}

/// Whole lines that are not in the file yet.
struct Held {
    bytes: Vec<u8>,
    lines: u64,
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
            scratch: Scratch::new(),
            lines: Lines::new(clients),
            held: Held { bytes: Vec::with_capacity(FLUSH_AT + (FLUSH_AT >> 4)), lines: 0 },
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
            std::thread::park_timeout(POLL);
        }
        self.finish(DRAIN);
    }

    /// Takes over the rings of workers that have come since the last look.
    fn adopt(&mut self) {
        if let Some(new) = self.shared.new_rings().as_mut() {
            self.rings.append(new);
        }
    }

    /// Makes lines of what is in the rings, and says of how many hits.
    fn drain(&mut self) -> usize {
        self.adopt();
        let mut all = 0;
        let mut rings = std::mem::take(&mut self.rings);
        let mut scratch = std::mem::replace(&mut self.scratch, Scratch::new());
        rings.retain_mut(|ring| {
            let taken = ring.drain(&mut scratch, |hit| self.push(hit));
            all += taken.unwrap_or(0);
            taken.is_some()
        });
        (self.rings, self.scratch) = (rings, scratch);
        if all > 0 {
            self.lines.rest();
            self.since.get_or_insert_with(Instant::now);
        }
        all
    }

    /// Holds the line of a hit, or drops it when too many are held already.
    fn push(&mut self, hit: &Hit<'_>) {
        let before = self.held.bytes.len();
        self.lines.push(hit, &self.shared.attributions, &mut self.held.bytes);
        if self.held.bytes.len() > MAX_HELD {
            self.held.bytes.truncate(before);
            self.dropped(1);
            return;
        }
        self.held.lines += 1;
        if self.held.bytes.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Writes the held lines, unless that failed a moment ago.
    fn flush(&mut self) {
        let waiting = self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.retry_at);
        if self.held.bytes.is_empty() || waiting {
            return;
        }
        let Wrote { bytes, error } = self.file.write(&self.held.bytes, Now::read());
        // Most often all of them, which need not be counted again.
        let written = self.held.bytes.get(..bytes).filter(|_| bytes < self.held.bytes.len());
        let lines = written.map_or(self.held.lines, count_lines);
        self.shared.counters.written.fetch_add(lines, Ordering::Relaxed);
        self.held.lines -= lines;
        self.held.bytes.drain(..bytes.min(self.held.bytes.len()));
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
                self.held.lines,
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
        self.rings.extend(self.shared.new_rings().take().into_iter().flatten());
        let left: u64 = self.rings.iter_mut().map(|ring| ring.close(&mut self.scratch)).sum();
        self.dropped(self.held.lines + left);
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
    use super::*;
    use crate::hits::{HitLogCounters, ring, tests};

    #[test]
    fn what_there_is_no_time_for_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = tests::settings(&folder.path().join("hits.jsonl"));
        let path = settings.file.as_deref().expect("a file");
        let shared = Arc::new(Shared::default());
        let file = LogFile::open(path, &settings, Arc::clone(&shared.counters), Now::read()).expect("opened");
        let (mut ring, hits) = ring(1 << 10, None);
        *shared.new_rings() = Some(vec![hits]);
        for number in 0..10 {
            assert!(ring.push(&tests::hit(&tests::name(number))), "room");
        }
        Writer::new(Arc::clone(&shared), file, Clients::Full).finish(Duration::ZERO);
        assert_eq!(shared.counters.read(), HitLogCounters { dropped_write: 10, ..HitLogCounters::default() });
    }
}
