//! The file's share of every hit: a line, held until there are many or the oldest has waited for long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::file::{LogFile, Wrote};
use super::line::Lines;
use super::{Clients, Counters};
use crate::event::Hit;
use crate::util::{Now, Throttle};

/// Lines are written when there are this many bytes of them (a byte costs a fifth less than with 64 KiB at a time, and
/// no more than with 4 MiB; and who watches the folder is woken seldom) …
const FLUSH_AT: usize = 512 << 10;
/// … or the oldest is this old, or nothing came at the last look.
const FLUSH_AFTER: Duration = Duration::from_millis(900);
/// Lines that cannot be written are held up to this many bytes, then new ones are dropped.
const MAX_HELD: usize = 1 << 20;
/// A file that cannot be written is tried again after this long, then twice as long, at most the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Writes the file.
pub(super) struct Writer {
    counters: Arc<Counters>,
    lines: Lines,
    held: Held,
    file: LogFile,
    /// When the oldest held line was seen to be there.
    since: Option<Instant>,
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
    /// With nothing held.
    pub(super) fn new(counters: Arc<Counters>, file: LogFile, clients: Clients) -> Self {
        Self {
            counters,
            lines: Lines::new(clients),
            held: Held { bytes: Vec::with_capacity(FLUSH_AT + (FLUSH_AT >> 4)), lines: 0 },
            file,
            since: None,
            trouble: None,
            warnings: Throttle::new(10_000),
        }
    }

    /// Holds the line of a hit, or drops it when too many are held already.
    pub(super) fn push(&mut self, hit: &Hit<'_>, fields: &[u8]) {
        let before = self.held.bytes.len();
        self.lines.push(hit, fields, &mut self.held.bytes);
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

    /// To be called after each look into the rings; `idle`: there was nothing.
    pub(super) fn rest(&mut self, idle: bool) {
        if !idle {
            self.since.get_or_insert_with(Instant::now);
        }
        if idle || self.since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER) {
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
        self.counters.written.fetch_add(lines, Ordering::Relaxed);
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
    pub(super) fn tick(&mut self) {
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
                self.counters.dropped_write.load(Ordering::Relaxed),
            );
        }
    }

    /// Tries a last time, whatever was before, and counts the rest, and what it was not even given.
    pub(super) fn finish(mut self, unwritten: u64) {
        self.trouble = None;
        self.flush();
        self.dropped(self.held.lines + unwritten);
    }

    /// Counts lines that will not be written.
    fn dropped(&self, lines: u64) {
        self.counters.dropped_write.fetch_add(lines, Ordering::Relaxed);
    }
}

/// JSON has no newline inside a line.
fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
