//! Takes hits and seals batches of them. Runs on the thread that brings the hits, so it waits for nobody.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::Settings;
use super::batch::{Common, Header, Sealed};
use super::counters::{Counters, add};
use super::row::{Rows, moment};
use super::who::{Key, Who};
use crate::event::{Hit, Sink, Why};
use crate::fetch::FetchError;
use crate::util::Now;

/// A batch of so many bytes is sealed whatever its number of rows: a hundred thousand hits of ordinary names.
const MAX_BYTES: usize = 8 << 20;
/// Bytes of sealed batches the disk may be behind by: a second and a half of 200,000 hits a second.
const MAX_UNDER_WAY: usize = 32 << 20;

/// Where the hits of a server begin their way to ClickHouse.
pub struct ShipSink {
    rows: Rows,
    open: Open,
    ids: Ids,
    common: Common,
    max_rows: u32,
    age: Duration,
    /// `None` when no hit will come any more.
    sealed: Option<SyncSender<Sealed>>,
    counters: Arc<Counters>,
}

/// The batch that rows are added to.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    rows: u32,
    /// Of all rows: a batch stays within one partition, where an insert is there whole or not at all.
    day: i64,
    /// When the first row came.
    since: Option<Now>,
}

impl ShipSink {
    /// Batches made from now on have ids after `newest`.
    pub(super) fn new(
        settings: &Settings,
        newest: Option<&str>,
        sealed: SyncSender<Sealed>,
        counters: Arc<Counters>,
    ) -> Result<Self, FetchError> {
        let key = Key::read(settings.key_file.as_deref())?;
        let common = Common {
            server: settings.instance.clone(),
            key: key.fingerprint.clone(),
            window: settings.window.as_secs().max(1),
        };
        let who = Who::new(settings.clients, key, settings.zone.clone());
        Ok(Self {
            rows: Rows::new(who),
            open: Open::default(),
            ids: Ids::new(newest),
            common,
            max_rows: settings.rows.max(1),
            age: settings.age,
            sealed: Some(sealed),
            counters,
        })
    }

    /// Hands the open batch over, or drops it.
    fn seal(&mut self, now: Now) {
        if self.open.rows == 0 {
            return;
        }
        let room = self.open.bytes.len().next_power_of_two().min(MAX_BYTES + (MAX_BYTES >> 4));
        let Open { bytes, rows, day, .. } = std::mem::take(&mut self.open);
        let header = Header::new(self.ids.next(now), day, rows, &self.common);
        let size = bytes.len();
        let (sealed, under_way) = (self.sealed.as_ref(), &self.counters.under_way);
        // Only this thread adds to it.
        let sealed = sealed.filter(|_| under_way.load(Ordering::Relaxed) + size <= MAX_UNDER_WAY);
        under_way.fetch_add(size, Ordering::Relaxed);
        if sealed.is_some_and(|sealed| sealed.try_send(Sealed { header, rows: bytes }).is_ok()) {
            self.open.bytes.reserve(room);
        } else {
            // The disk is slower than the hits.
            under_way.fetch_sub(size, Ordering::Relaxed);
            add(&self.counters.dropped_full, rows);
        }
    }
}

impl Sink for ShipSink {
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>) {
        let now = Now { unix_ms: hit.unix_ms };
        let day = i64::from(moment(hit.unix_ms).0) / 86_400;
        if self.open.rows >= self.max_rows || self.open.bytes.len() >= MAX_BYTES || self.open.day != day {
            self.seal(now);
        }
        if self.open.rows == 0 {
            self.open.day = day;
            self.open.since = Some(now);
        }
        self.rows.push(self.open.rows, hit, why, &mut self.open.bytes);
        self.open.rows += 1;
        add(&self.counters.taken, 1_u64);
    }

    fn rest(&mut self, now: Now) {
        // A clock that was set makes it early, never late.
        let old = self
            .open
            .since
            .is_some_and(|since| u128::from(now.unix_ms.abs_diff(since.unix_ms)) >= self.age.as_millis());
        if old {
            self.seal(now);
        }
    }

    fn finish(&mut self, now: Now) {
        self.seal(now);
        self.sealed = None;
    }
}

impl Drop for ShipSink {
    fn drop(&mut self) {
        self.finish(Now::read());
    }
}

/// Makes ids that sort as they were made, and that no other server and no other run makes.
struct Ids {
    /// The time in the last one.
    last: u64,
    /// Of this run.
    run: u64,
    number: u32,
}

impl Ids {
    /// The first will sort after `newest`.
    fn new(newest: Option<&str>) -> Self {
        let last = newest.and_then(|id| u64::from_str_radix(id.get(..12)?, 16).ok()).map_or(0, |last| last + 1);
        Self { last, run: RandomState::new().hash_one(last), number: 0 }
    }

    /// Twelve digits of time in milliseconds, sixteen of the run, eight of a number.
    fn next(&mut self, now: Now) -> Box<str> {
        // A clock set back must not make a new batch look like the oldest.
        self.last = self.last.max(u64::try_from(now.unix_ms).unwrap_or(0)).min((1 << 48) - 1);
        self.number = self.number.wrapping_add(1);
        format!("{:012x}{:016x}{:08x}", self.last, self.run, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::super::testing::{Reader, hit, settings, why};
    use super::*;
    use crate::event::Outcome;

    fn sink(rows: u32, room: usize) -> (ShipSink, Receiver<Sealed>, Arc<Counters>) {
        let dir = tempfile::tempdir().expect("a folder");
        let (sealed, batches) = sync_channel(room);
        let counters = Arc::new(Counters::default());
        let settings = Settings { rows, ..settings("http://127.0.0.1:9/", dir.path()) };
        (ShipSink::new(&settings, None, sealed, Arc::clone(&counters)).expect("a sink"), batches, counters)
    }

    /// A hit at a second since 1970.
    fn at(sink: &mut ShipSink, second: i64) {
        let why = why(1, Outcome::Blocked, "example", &[]);
        sink.take(&Hit { unix_ms: second * 1000, ..hit(b"\x07example\0") }, &why);
    }

    #[test]
    fn a_batch_is_sealed_by_rows_by_age_by_day_and_at_the_end() {
        let (mut sink, batches, counters) = sink(3, 10);
        (0..7).for_each(|second| at(&mut sink, second));
        sink.rest(Now { unix_ms: 15_999 });
        let rows = |batches: &Receiver<Sealed>| batches.try_iter().map(|b| b.header.rows).collect::<Vec<_>>();
        assert_eq!(rows(&batches), [3, 3]);
        sink.rest(Now { unix_ms: 16_000 });
        assert_eq!(rows(&batches), [1]);
        at(&mut sink, 86_399);
        at(&mut sink, 86_400);
        let batch = batches.try_recv().expect("that of the first day");
        assert_eq!((&*batch.header.day, batch.header.rows), ("1970-01-01", 1));
        sink.rest(Now { unix_ms: 0 });
        let batch = batches.try_recv().expect("a clock set back ends a batch early");
        assert_eq!(&*batch.header.day, "1970-01-02");
        assert_eq!(Reader(&batch.rows).u32(), 0, "rows are numbered from 0 in each batch");
        at(&mut sink, 86_401);
        drop(sink);
        assert_eq!(batches.iter().map(|b| b.header.rows).sum::<u32>(), 1);
        assert_eq!(counters.read().taken, 10);
    }

    #[test]
    fn what_the_disk_does_not_keep_up_with_is_counted() {
        let (mut sink, batches, counters) = sink(10, 1);
        (0..45).for_each(|second| at(&mut sink, second));
        sink.finish(Now { unix_ms: 0 });
        assert_eq!(batches.iter().map(|b| b.header.rows).sum::<u32>(), 10);
        assert_eq!((counters.read().taken, counters.read().dropped_full), (45, 35));
        at(&mut sink, 1);
        sink.finish(Now { unix_ms: 0 });
        assert_eq!(counters.read().dropped_full, 36, "after the end");
    }

    #[test]
    fn large_rows_make_small_batches() {
        let (mut sink, batches, _) = sink(1_000_000, 10);
        let why = why(1, Outcome::Blocked, &"x".repeat(1 << 20), &[]);
        (0..20).for_each(|_| sink.take(&hit(b"\0"), &why));
        drop(sink);
        let sizes: Vec<usize> = batches.iter().map(|b| b.rows.len()).collect();
        assert!(sizes.len() == 3 && sizes.iter().all(|&size| size < MAX_BYTES + (2 << 20)), "{sizes:?}");
    }

    #[test]
    fn ids_sort_as_they_were_made_whatever_the_clock_does() {
        let mut ids = Ids::new(Some("ffffffff0000"));
        let made: Vec<_> = [5, 0xffff_ffff_ffff, 0, -1].map(|unix_ms| ids.next(Now { unix_ms })).into();
        assert!(made.is_sorted() && made.iter().all(|id| id.len() == 36 && &id[..12] > "ffffffff0000"), "{made:?}");
        assert_ne!(Ids::new(None).next(Now { unix_ms: 1 }), Ids::new(None).next(Now { unix_ms: 1 }));
    }
}
