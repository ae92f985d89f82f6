//! Does all that is done with a store while the server runs, and goes on counting when nothing can be done.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Settings;
use super::backlog::Backlog;
use super::db::{self, Db, StoreError};
use super::place::{self, Lock};
use super::writer::Status;
use crate::stats::Delta;
use crate::util::{Now, Throttle, UnixTime};

/// A message about the same trouble comes at most so often, in milliseconds.
const TELL_AGAIN: i64 = 60_000;
/// For so long another program may write without this being trouble.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows a fold at the end may take.
const LAST_FOLD: i64 = 500_000;
/// Clocks that go apart by more were set.
const JUMP: i64 = 3_600_000;

/// What tests choose smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// How long a file that cannot be opened is left alone.
    pub retry: Duration,
    /// Bytes of the log at which a reader is waited for.
    pub log: u64,
    /// How often old numbers are looked for, also after the start and after the clock was set.
    pub retire: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { retry: Duration::from_secs(2), log: 128 << 20, retire: Duration::from_secs(600) }
    }
}

/// The writing of one store.
pub(super) struct Worker {
    settings: Settings,
    tuning: Tuning,
    /// Where the store should be, and where it is.
    main: PathBuf,
    path: PathBuf,
    backlog: Backlog,
    db: Option<Db>,
    lock: Option<Lock>,
    /// The counters when they were last looked at.
    totals: HashMap<&'static str, u64>,
    started: UnixTime,
    /// The minute of the last fold.
    minute: Option<i64>,
    clock: (Instant, Now),
    next_try: Option<Instant>,
    next_retire: Instant,
    /// Since when nothing could be written.
    failing: Option<Instant>,
    /// Since when a reader keeps the log from being cut off.
    read: Option<Instant>,
    told: Throttle,
    pub(super) status: Status,
}

impl Worker {
    /// Nothing is opened yet.
    pub(super) fn new(path: &Path, settings: Settings, tuning: Tuning, now: Now) -> Self {
        Self {
            main: path.into(),
            path: path.into(),
            backlog: Backlog::new(settings.zone.clone()),
            db: None,
            lock: None,
            totals: HashMap::new(),
            started: now.seconds(),
            minute: None,
            clock: (Instant::now(), now),
            next_try: None,
            next_retire: Instant::now() + tuning.retire,
            failing: None,
            read: None,
            told: Throttle::new(TELL_AGAIN),
            status: Status::default(),
            settings,
            tuning,
        }
    }

    /// Adds what the tally has counted.
    pub(super) fn take(&mut self, delta: Delta) {
        self.backlog.take(delta);
    }

    /// Adds how much the counters have grown.
    pub(super) fn sample(&mut self, totals: &[(&'static str, u64)], now: Now) {
        for &(metric, value) in totals {
            let before = self.totals.insert(metric, value).unwrap_or(0);
            if value > before {
                self.backlog.add_total(now.unix_ms.div_euclid(60_000), metric, value - before);
            }
        }
    }

    /// Writes what waits, and does each minute what is done then.
    pub(super) fn tick(&mut self, now: Now) {
        self.watch_clock(now);
        // What is damaged is moved away, and a new file takes all there is; but only once at a time.
        let result = match self.work(now) {
            Err(StoreError::Damaged(why)) => self.replace_damaged(&why, now).and_then(|()| self.work(now)),
            Err(error @ (StoreError::Newer { .. } | StoreError::Foreign { .. })) if self.path == self.main => {
                self.go_elsewhere(&error);
                self.work(now)
            }
            other => other,
        };
        match result {
            Ok(()) => self.succeed(),
            Err(error) => self.fail(&error, now),
        }
        self.status.waiting = self.backlog.hits();
        self.status.nameless = self.backlog.nameless;
    }

    /// Writes what waits a last time.
    pub(super) fn finish(&mut self, now: Now) {
        self.next_try = None;
        self.tick(now);
        if let Some(db) = &mut self.db {
            // A reader that is still there does not matter any more.
            let mut result = match self.backlog.is_empty() {
                true => Ok(()),
                false => db.append(&mut self.backlog, self.started, now.seconds()),
            };
            if result.is_ok() && db.pending().is_ok_and(|rows| rows > 0 && rows <= LAST_FOLD) {
                result = db.fold();
            }
            if let Err(error) = result {
                self.fail(&error, now);
            }
        }
        if !self.backlog.is_empty() {
            tracing::error!(
                hits = self.backlog.hits(),
                "statistics of hits were never written to {}",
                self.path.display()
            );
        }
        self.close();
    }

    /// One round; what fails is tried again in the next.
    fn work(&mut self, now: Now) -> Result<(), StoreError> {
        if self.db.as_ref().is_some_and(|db| !db.is_there()) {
            tracing::warn!("{} is gone or another file now: a new one is begun", self.path.display());
            self.close();
            self.next_try = None;
        }
        let minute = now.unix_ms.div_euclid(60_000);
        let turned = self.minute != Some(minute);
        let seconds = now.seconds();
        let db = match &mut self.db {
            Some(db) => db,
            none => {
                if self.next_try.is_some_and(|next| Instant::now() < next) {
                    return Err(StoreError::Waiting);
                }
                if self.lock.is_none() {
                    self.lock = Some(db::lock(&self.path)?);
                }
                let mut db = Db::open(&self.path, &self.settings, now)?;
                if self.path == self.main {
                    take_in(&mut db, &self.settings, now);
                }
                none.insert(db)
            }
        };
        if place::log_size(&self.path) > self.tuning.log {
            let cut: i64 = db.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if cut != 0 {
                let since = *self.read.get_or_insert_with(Instant::now);
                return Err(StoreError::Read(since.elapsed()));
            }
        }
        self.read = None;
        if turned || !self.backlog.is_empty() {
            db.append(&mut self.backlog, self.started, seconds)?;
        }
        if turned {
            if db.pending()? > 0 {
                db.fold()?;
            }
            self.minute = Some(minute);
            let pruned = db.shrink(&self.settings, seconds)?;
            if pruned.subjects {
                self.backlog.book.forget_rows();
            }
            self.status.bytes = db.bytes()?;
            if pruned.more {
                self.minute = None;
            }
        }
        if Instant::now() >= self.next_retire {
            let pruned = db.retire(&self.settings, seconds)?;
            if pruned.subjects {
                self.backlog.book.forget_rows();
            }
            if !pruned.more {
                self.next_retire = Instant::now() + self.tuning.retire;
            }
        }
        Ok(())
    }

    /// A clock that was set may be set again: nothing is removed by it for a while.
    fn watch_clock(&mut self, now: Now) {
        let (instant, then) = std::mem::replace(&mut self.clock, (Instant::now(), now));
        let elapsed = i64::try_from(instant.elapsed().as_millis()).unwrap_or(i64::MAX);
        if (now.unix_ms - then.unix_ms).saturating_sub(elapsed).abs() > JUMP {
            self.next_retire = Instant::now() + self.tuning.retire.max(Duration::from_secs(3600));
            tracing::warn!("the clock was set: old statistics are kept for another hour");
        }
    }

    /// Begins a new store, the damaged one aside.
    fn replace_damaged(&mut self, why: &str, now: Now) -> Result<(), StoreError> {
        self.close();
        self.lock = Some(db::lock(&self.path)?);
        let aside = place::move_aside(&self.path, now).map_err(|error| StoreError::Io(self.path.clone(), error))?;
        self.status.moved_aside += 1;
        self.next_try = None;
        tracing::error!(
            "the statistics {} are damaged ({why}): the file was moved to {aside}, and a new one is begun",
            self.path.display()
        );
        Ok(())
    }

    /// Counts into a file of this version's own.
    fn go_elsewhere(&mut self, error: &StoreError) {
        tracing::error!("{error}");
        self.status.elsewhere = Some(error.to_string());
        self.close();
        self.path = place::spare(&self.main);
        self.next_try = None;
    }

    fn succeed(&mut self) {
        if self.status.error.take().is_some() {
            tracing::info!("the statistics {} are written again", self.path.display());
        }
        self.failing = None;
    }

    fn fail(&mut self, error: &StoreError, now: Now) {
        self.backlog.bound();
        if matches!(error, StoreError::Waiting) {
            return;
        }
        self.status.failures += 1;
        let since = *self.failing.get_or_insert_with(Instant::now);
        if !error.keeps_open() {
            self.close();
            self.next_try = Some(Instant::now() + self.tuning.retry);
        }
        if error.is_busy() && since.elapsed() < PATIENCE {
            return;
        }
        if self.told.pass(now).is_some() {
            tracing::error!(
                "cannot write the statistics {}: {error}; counting goes on, {} hits wait in memory",
                self.path.display(),
                self.backlog.hits()
            );
        }
        self.status.error = Some(error.to_string());
    }

    /// The file may be another when it is opened again.
    fn close(&mut self) {
        self.db = None;
        self.lock = None;
        self.minute = None;
        self.backlog.book.forget_rows();
    }
}

/// Adds up what was written beside; what cannot be is left for the next start.
fn take_in(db: &mut Db, settings: &Settings, now: Now) {
    match db.take_in(settings, now) {
        Ok(taken) => taken.iter().for_each(|path| tracing::info!("the statistics in {} were taken in", path.display())),
        Err(error) => tracing::warn!("statistics that were written beside {} wait there: {error}", db.path.display()),
    }
}

#[cfg(test)]
mod tests;
