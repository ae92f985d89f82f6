//! What is too old goes, and what there is no room for: a little at a time, so that counts never wait long.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Settings;
use super::db::{Db, LOG_SIZE, StoreError};
use crate::util::UnixTime;

/// How long one call may take.
const SLICE: Duration = Duration::from_millis(200);
/// Pages given back to the system at a time.
const PAGES: i64 = 2000;

/// A table, its time, how much of it goes at once, and in which unit it counts, in minutes.
struct Level {
    table: &'static str,
    at: &'static str,
    span: i64,
    minutes: i64,
}

/// Finest first: what goes first when there is no room.
const MINUTES: [Level; 2] = [level("minute", "at", 10, 1), level("total_minute", "at", 240, 1)];
const HOURS: [Level; 4] = [
    level("hour_block", "block", 1, 360),
    level("hour_unexamined", "at", 24, 60),
    level("kind_hour", "at", 24, 60),
    level("total_hour", "at", 240, 60),
];
const DAYS: [Level; 4] = [
    level("day", "at", 1, 1440),
    level("sketch", "day", 1, 1440),
    level("kind_day", "at", 10, 1440),
    level("total_day", "at", 100, 1440),
];

const fn level(table: &'static str, at: &'static str, span: i64, minutes: i64) -> Level {
    Level { table, at, span, minutes }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    /// There is more to do: call again soon.
    pub more: bool,
    /// Subjects may be gone: their rows must be looked up again.
    pub subjects: bool,
}

impl Db {
    /// Removes what is older than the settings say.
    pub(super) fn retire(&mut self, settings: &Settings, now: UnixTime) -> Result<Pruned, StoreError> {
        let end = Instant::now() + SLICE;
        let minute = now.0.div_euclid(60);
        let mut removed_days = false;
        for (levels, kept) in
            [(&MINUTES[..], settings.minutes), (&HOURS[..], settings.hours), (&DAYS[..], settings.days)]
        {
            let before = minute.saturating_sub((kept.as_secs() / 60) as i64);
            for level in levels {
                // What has begun before and goes on stays whole.
                while remove_oldest(&self.connection, level, before.div_euclid(level.minutes))? {
                    removed_days |= level.minutes == 1440;
                    if Instant::now() > end {
                        return Ok(Pruned { more: true, subjects: false });
                    }
                }
            }
        }
        let seen = now.0.saturating_sub(settings.days.as_secs() as i64);
        self.connection.prepare_cached("DELETE FROM run WHERE seen < ?")?.execute([seen])?;
        let subjects = removed_days && self.remove_unused()?;
        Ok(Pruned { more: false, subjects })
    }

    /// Keeps the file within its size: removes the oldest of the finest level, and gives pages back.
    pub(super) fn shrink(&mut self, settings: &Settings, now: UnixTime) -> Result<Pruned, StoreError> {
        let end = Instant::now() + SLICE;
        let page = self.number("PRAGMA page_size")?.max(1);
        // The log beside it counts too.
        let room = (settings.max_size as i64).saturating_sub(LOG_SIZE).max(1 << 20) / page;
        let used =
            |db: &Self| Ok::<_, StoreError>(db.number("PRAGMA page_count")? - db.number("PRAGMA freelist_count")?);
        let mut subjects = false;
        if used(self)? > room {
            // A little more, so that this is not done again at once.
            while used(self)? > room / 16 * 15 {
                if !self.remove_finest(now.0.div_euclid(60))? {
                    break;
                }
                if Instant::now() > end {
                    return Ok(Pruned { more: true, subjects: false });
                }
            }
            subjects = self.remove_unused()?;
        }
        let (all, free) = (self.number("PRAGMA page_count")?, self.number("PRAGMA freelist_count")?);
        // Free pages are used again; only when they are most of the file it is made smaller.
        let excess = if all > room {
            all - room
        } else if free > all / 2 {
            free / 2
        } else {
            0
        };
        if excess.min(free) > 0 {
            let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({})", PAGES.min(excess)))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(Pruned { more: excess.min(free) > PAGES, subjects })
    }

    /// Whether the file is larger than it may be though nothing can be removed any more.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        Ok((self.number("PRAGMA page_count")? * self.number("PRAGMA page_size")?).max(0) as u64)
    }

    /// Removes the oldest of what is finest: never the last hour's minutes, the last day's hours and the last day, but when
    /// there is nothing else.
    fn remove_finest(&self, minute: i64) -> Result<bool, StoreError> {
        for recent in [true, false] {
            for (levels, kept) in [(&MINUTES[..], 60), (&HOURS[..], 1440), (&DAYS[..], 2880)] {
                for level in levels {
                    let before = if recent { (minute - kept).div_euclid(level.minutes) } else { i64::MAX };
                    if remove_oldest(&self.connection, level, before)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Removes subjects, orders and names of sketches that nothing is counted under any more.
    fn remove_unused(&mut self) -> Result<bool, StoreError> {
        let oldest = "SELECT min(day) FROM (
            SELECT min(at) AS day FROM day UNION ALL SELECT min(block) / 4 - 2 FROM hour_block
            UNION ALL SELECT min(at) / 1440 - 2 FROM minute UNION ALL SELECT min(day) FROM pending)";
        let oldest: Option<i64> = self.connection.query_row(oldest, [], |row| row.get(0))?;
        let transaction = self.connection.transaction()?;
        let unused = "SELECT id FROM subject WHERE seen < ?";
        let before = oldest.unwrap_or(i64::MAX);
        for table in ["subject_list", "subject_order"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE subject IN ({unused})"), [before])?;
        }
        let gone = transaction.execute("DELETE FROM subject WHERE seen < ?", [before])?;
        transaction.execute_batch(
            "DELETE FROM orders WHERE id NOT IN (SELECT orders FROM subject_order);
             DELETE FROM counted WHERE id NOT IN (SELECT counted FROM sketch);",
        )?;
        transaction.commit()?;
        Ok(gone > 0)
    }

    /// One number.
    fn number(&self, sql: &str) -> Result<i64, StoreError> {
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }
}

/// Removes a bit of what is before a time; whether there was any.
fn remove_oldest(db: &Connection, level: &Level, before: i64) -> rusqlite::Result<bool> {
    let Level { table, at, span, .. } = level;
    let sql = format!("SELECT min({at}) FROM {table}");
    let oldest: Option<i64> = db.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    let Some(oldest) = oldest.filter(|&oldest| oldest < before) else { return Ok(false) };
    let sql = format!("DELETE FROM {table} WHERE {at} < ?");
    db.prepare_cached(&sql)?.execute([before.min(oldest.saturating_add(*span))])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Delta;
    use crate::store::backlog::Backlog;
    use crate::store::testing::{delta, row, settings, why};
    use crate::util::{Now, Zone};

    /// 2026-01-31T12:00Z
    const NOON: i64 = 1_769_860_800 / 60;

    fn at(minute: i64) -> UnixTime {
        UnixTime(minute * 60)
    }

    fn ask(db: &Db, sql: &str) -> i64 {
        db.number(sql).expect("a number")
    }

    /// A store with hits of `names` subjects in each of these minutes.
    fn filled(
        minutes: impl IntoIterator<Item = i64>,
        names: u32,
        name: impl Fn(u32, i64) -> String,
    ) -> (tempfile::TempDir, Db, Backlog) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = crate::store::path(folder.path());
        let mut db = Db::open(&path, &settings(), Now { unix_ms: NOON * 60_000 }).expect("made");
        let mut backlog = Backlog::new(Zone::utc());
        for minute in minutes {
            let subjects = (0..names).map(|number| (number, why(&name(number, minute), &[]))).collect();
            let rows = (0..names).map(|number| row(number, minute, 1 + u64::from(number)));
            backlog.take(Delta { subjects, ..delta(rows) });
            backlog.add_total(minute, "received", 1);
            db.append(&mut backlog, at(minute), at(minute)).expect("written");
            db.fold().expect("folded");
        }
        (folder, db, backlog)
    }

    /// Until nothing is left to do.
    fn all(mut step: impl FnMut() -> Result<Pruned, StoreError>) -> bool {
        let mut subjects = false;
        for _ in 0..10_000 {
            let pruned = step().expect("pruned");
            subjects |= pruned.subjects;
            if !pruned.more {
                return subjects;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn each_level_is_kept_for_its_time_and_subjects_go_with_their_last_day() {
        let day = 1440;
        let ages = [0, day, 3 * day, 399 * day, 402 * day, 3649 * day, 3655 * day];
        let (_folder, mut db, _) = filled(ages.map(|age| NOON - age), 1, |_, minute| format!("n{minute}.example"));
        assert!(all(|| db.retire(&settings(), at(NOON))), "a subject is gone");
        let counts = ["minute", "hour_block", "day", "subject", "total_minute", "total_hour", "total_day"]
            .map(|table| ask(&db, &format!("SELECT count(*) FROM {table}")));
        assert_eq!(counts, [2, 4, 6, 6, 2, 4, 6]);
        assert_eq!(ask(&db, "SELECT count(*) FROM subject_list"), 6);
        assert!(
            !all(|| db.retire(&settings(), at(NOON - day))),
            "a clock set back brings nothing back and takes nothing"
        );
    }

    #[test]
    fn a_file_that_is_too_large_loses_its_oldest_minutes_first() {
        let minutes = (0..36).flat_map(|hour| (0..8).map(move |minute| NOON - hour * 60 - minute));
        let (_folder, mut db, _) = filled(minutes, 300, |number, _| format!("n{number}.example"));
        let before = db.bytes().expect("asked");
        let rest = || ["hour_block", "day", "subject"].map(|table| format!("SELECT count(*) FROM {table}"));
        let others = rest().map(|sql| ask(&db, &sql));
        let settings = Settings { max_size: before + LOG_SIZE as u64 - (200 << 10), ..settings() };
        all(|| db.shrink(&settings, at(NOON)));
        assert!(db.bytes().expect("asked") <= settings.max_size - LOG_SIZE as u64);
        let (oldest, last) = (ask(&db, "SELECT min(at) FROM minute"), ask(&db, "SELECT max(at) FROM minute"));
        assert!((NOON - 34 * 60..NOON - 60).contains(&oldest) && last == NOON, "{} hours", (NOON - oldest) / 60);
        assert_eq!(rest().map(|sql| ask(&db, &sql)), others, "all else is there");
    }

    #[test]
    fn when_nothing_else_is_left_even_today_goes_and_counting_goes_on() {
        let minutes = (0..100).map(|hour| NOON - hour * 60);
        let (_folder, mut db, mut backlog) = filled(minutes, 3, |number, _| format!("n{number}.example"));
        let mut order = Vec::new();
        while db.remove_finest(NOON).expect("removed") {
            let left = ["minute", "hour_block", "day"].map(|table| ask(&db, &format!("SELECT count(*) FROM {table}")));
            order.push(left);
        }
        assert_eq!(order.last(), Some(&[0, 0, 0]));
        let old = order.iter().position(|left| left[0] <= 6).expect("the last hour is left for now");
        assert_eq!(order[old][1..], [3 * 18, 3 * 5][..], "hours and days were not touched before");
        assert!(
            order.iter().any(|left| left[0] > 0 && left[2] < 3 * 4),
            "the last hour's minutes stay longer than old days"
        );
        assert!(db.remove_unused().expect("removed") && ask(&db, "SELECT count(*) FROM subject_list") == 0);
        backlog.book.forget_rows();
        backlog.take(delta([row(2, NOON, 5)]));
        db.append(&mut backlog, at(NOON), at(NOON)).expect("written");
        assert_eq!(ask(&db, "SELECT sum(hits) FROM hits_by_minute WHERE rule = 'n2.example'"), 5);
    }
}
