//! Reading statistics: whether or not a server runs, never writing, and as they stood at one moment.
//!
//! Every figure is a sum over rows of [`Level`]s that [`plan`] picks; what was counted in the last minute still lies in
//! `pending` and is always part of it.

mod clients;
mod error;
mod kinds;
mod rows;
mod span;
mod subjects;
mod timeline;
mod top;

pub use clients::{Clients, Of};
pub use error::ReadError;
pub use rows::{Key, MAX_ROWS, Moment, Row, Rows, Step};
pub use span::{Days, Kept, Level, Piece, Plan, Span, ceil_hour, floor_hour, plan, plan_of, timestamp};
pub use subjects::{Counts, Filter, OrderName, Subject, Subjects};
pub use timeline::{Bar, Timeline};
pub use top::{By, Ranked};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use self::error::Why;

/// The schema this code reads.
const SCHEMA: i64 = 1;
/// How long a writer may keep the file to itself, which it does for moments only.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statistics as they stood when they were opened.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
    path: PathBuf,
    about: About,
    days: Days,
    kept: Kept,
    first_day: Option<i64>,
}

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// When it was begun.
    pub created: String,
    /// The zone its days are of.
    pub time_zone: String,
    /// Numbers of clients below this are not shown.
    pub threshold: u64,
    /// What wrote it last.
    pub software: String,
}

impl Reader {
    /// Opens the file and fixes the moment that all further questions are about.
    ///
    /// # Errors
    /// It is not there, of another version, damaged, or not for this user.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        open(path).map_err(|why| ReadError::new(path, why))
    }

    /// What the file says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The days of its zone.
    pub fn days(&self) -> &Days {
        &self.days
    }

    /// What is left of finer levels.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// The first minute of the first day with hits.
    pub fn first(&self) -> Option<i64> {
        self.first_day.map(|day| self.days.start(day))
    }

    /// The pieces for a time.
    pub fn plan(&self, wanted: Span) -> Plan {
        plan(wanted, self.kept, &self.days)
    }

    /// What became of all queries, by the names of their counters.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn totals(&self, plan: &Plan) -> Result<BTreeMap<String, u64>, ReadError> {
        self.whole(|| {
            let mut totals = BTreeMap::new();
            for piece in &plan.pieces {
                let table = piece.level.as_str();
                let sql =
                    format!("SELECT metric, sum(value) FROM total_{table} WHERE at >= ?1 AND at < ?2 GROUP BY metric");
                let mut statement = self.db.prepare_cached(&sql)?;
                let mut rows = statement.query((piece.from, piece.to))?;
                while let Some(row) = rows.next()? {
                    *totals.entry(row.get(0)?).or_insert(0) += count(row, 1)?;
                }
            }
            Ok(totals)
        })
    }

    /// When a server counted: its part of each run, in minutes, in order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn runs(&self, span: Span) -> Result<Vec<(i64, i64)>, ReadError> {
        self.whole(|| {
            let mut runs = Vec::new();
            self.rows_of("SELECT started, seen FROM run ORDER BY started, seen", |row| {
                let (started, seen): (i64, i64) = (row.get(0)?, row.get(1)?);
                let run = (started.div_euclid(60).max(span.from), (seen.div_euclid(60) + 1).min(span.to));
                runs.extend(Some(run).filter(|run| run.0 < run.1));
                Ok(())
            })?;
            Ok(runs)
        })
    }

    /// Every row of the pieces, as the first minute it stands for, its level, subject and counts. Rows of one subject
    /// and time add up; they come in no order.
    fn each(&self, plan: &Plan, mut take: impl FnMut(i64, Level, i64, Counts)) -> Result<(), Why> {
        for piece in &plan.pieces {
            self.piece(*piece, &mut take)?;
        }
        let all = Piece { level: Level::Minute, from: plan.span.from, to: plan.span.to };
        self.rows("pending", "minute", all, &mut take)
    }

    /// Every row of one piece.
    fn piece(&self, piece: Piece, take: &mut impl FnMut(i64, Level, i64, Counts)) -> Result<(), Why> {
        match piece.level {
            Level::Minute => self.rows("minute", "at", piece, take),
            Level::Hour => self.hours(piece, take),
            Level::Day => self.rows("day", "at", piece, take),
        }
    }

    /// Rows of one time each.
    fn rows(
        &self,
        table: &str,
        at: &str,
        piece: Piece,
        take: &mut impl FnMut(i64, Level, i64, Counts),
    ) -> Result<(), Why> {
        let sql =
            format!("SELECT {at}, subject, hits, attempts, unexamined FROM {table} WHERE {at} >= ?1 AND {at} < ?2");
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query((piece.from, piece.to))?;
        let (mut last, mut minute) = (None, 0);
        while let Some(row) = rows.next()? {
            let at: i64 = row.get(0)?;
            if last != Some(at) {
                (last, minute) = (Some(at), self.start(piece.level, at));
            }
            let counts = Counts { hits: count(row, 2)?, attempts: count(row, 3)?, unexamined: count(row, 4)? };
            take(minute, piece.level, row.get(1)?, counts);
        }
        Ok(())
    }

    /// Rows of six hours each.
    fn hours(&self, piece: Piece, take: &mut impl FnMut(i64, Level, i64, Counts)) -> Result<(), Why> {
        const SQL: &str = "SELECT block, subject, hits0, attempts0, hits1, attempts1, hits2, attempts2, hits3, attempts3, \
            hits4, attempts4, hits5, attempts5 FROM hour_block WHERE block >= ?1 AND block <= ?2";
        const REST: &str = "SELECT at, subject, unexamined FROM hour_unexamined WHERE at >= ?1 AND at < ?2";
        let mut statement = self.db.prepare_cached(SQL)?;
        let mut rows = statement.query((piece.from.div_euclid(6), (piece.to - 1).div_euclid(6)))?;
        while let Some(row) = rows.next()? {
            let (first, subject) = (row.get::<_, i64>(0)? * 6, row.get(1)?);
            for hour in (0..6).filter(|hour| (piece.from..piece.to).contains(&(first + hour))) {
                let column = 2 + 2 * hour as usize;
                let counts = Counts { hits: count(row, column)?, attempts: count(row, column + 1)?, unexamined: 0 };
                if counts.hits > 0 {
                    take((first + hour) * 60, Level::Hour, subject, counts);
                }
            }
        }
        let mut statement = self.db.prepare_cached(REST)?;
        let mut rows = statement.query((piece.from, piece.to))?;
        while let Some(row) = rows.next()? {
            let counts = Counts { unexamined: count(row, 2)?, ..Counts::default() };
            take(row.get::<_, i64>(0)? * 60, Level::Hour, row.get(1)?, counts);
        }
        Ok(())
    }

    /// The first minute of a row of a level.
    fn start(&self, level: Level, at: i64) -> i64 {
        match level {
            Level::Minute => at,
            Level::Hour => at.saturating_mul(60),
            Level::Day => self.days.start(at),
        }
    }

    /// Says of which file an error is.
    fn whole<T>(&self, read: impl FnOnce() -> Result<T, Why>) -> Result<T, ReadError> {
        read().map_err(|why| ReadError::new(&self.path, why))
    }
}

/// A number that is never negative.
fn count(row: &rusqlite::Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get(column).map(|number: i64| number.unsigned_abs())
}

/// See [`Reader::open`].
fn open(path: &Path) -> Result<Reader, Why> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Why::Nothing),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(Why::Denied),
        _ => {}
    }
    let db = connect(path)?;
    let found: i64 = db.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    match found {
        SCHEMA => {}
        // A server has made the file, but not its tables yet.
        0 if db.query_row("SELECT count(*) FROM sqlite_master", (), |row| row.get::<_, i64>(0))? == 0 => {
            return Err(Why::Nothing);
        }
        _ if found > SCHEMA => return Err(Why::Newer { found, known: SCHEMA }),
        _ => return Err(Why::Older { found, known: SCHEMA }),
    }
    let about = about(&db)?;
    let zone = zone(&about.time_zone)
        .ok_or_else(|| Why::Odd(format!("{} is no time zone this system knows", about.time_zone)))?;
    let kept = Kept { minutes: i64::MIN, hours: i64::MIN };
    let mut reader = Reader { path: path.to_owned(), about, days: Days::new(zone), kept, first_day: None, db };
    reader.look()?;
    Ok(reader)
}

impl Reader {
    /// Finds out from when on each level has everything.
    ///
    /// What a level has is what was not removed by its age. So from its first row on nothing is missing; and nothing is
    /// at all if that row is of the first time the next coarser level knows, and adds up to the same there.
    fn look(&mut self) -> Result<(), Why> {
        let min = |sql: &str| self.db.query_row(sql, (), |row| row.get::<_, Option<i64>>(0));
        let [minute, day] = [min("SELECT min(at) FROM minute")?, min("SELECT min(at) FROM day")?];
        let first_day = [day, min("SELECT min(day) FROM pending")?].into_iter().flatten().min();
        let all = |level, from, to| Piece { level, from, to };
        let hours = match (self.first_hour()?, day) {
            (_, None) => i64::MIN,
            (None, Some(_)) => i64::MAX,
            (Some(hour), Some(day)) => {
                let (from, to) = (self.days.start(day).div_euclid(60), self.days.start(day + 1).div_euclid(60));
                let same = self.sum(all(Level::Hour, from, to))? == self.sum(all(Level::Day, day, day + 1))?;
                if same { i64::MIN } else { hour }
            }
        };
        let minutes = match (minute, day) {
            (_, None) => i64::MIN,
            (None, Some(_)) => i64::MAX,
            (Some(minute), Some(_)) => {
                let hour = minute.div_euclid(60);
                let first = self.first_hour()? == Some(hour);
                let of_hour = all(Level::Minute, hour * 60, hour * 60 + 60);
                let same = first && self.sum(of_hour)? == self.sum(all(Level::Hour, hour, hour + 1))?;
                if same { hours.saturating_mul(60) } else { minute }
            }
        };
        (self.kept, self.first_day) = (Kept { minutes, hours }, first_day);
        Ok(())
    }

    /// The first hour with hits.
    fn first_hour(&self) -> Result<Option<i64>, Why> {
        const SQL: &str = "SELECT block, sum(hits0), sum(hits1), sum(hits2), sum(hits3), sum(hits4), sum(hits5) \
            FROM hour_block WHERE block = (SELECT min(block) FROM hour_block) GROUP BY block";
        let first = |row: &rusqlite::Row<'_>| {
            let hit = |hour: &i64| count(row, 1 + *hour as usize).is_ok_and(|hits| hits > 0);
            Ok(row.get::<_, i64>(0)? * 6 + (0..6).find(hit).unwrap_or(0))
        };
        Ok(self.db.query_row(SQL, (), first).optional()?)
    }

    /// Hits in rows of one level.
    fn sum(&self, piece: Piece) -> Result<u64, Why> {
        let mut sum = 0_u64;
        let mut take = |_, _, _, counts: Counts| sum = sum.saturating_add(counts.hits);
        self.piece(piece, &mut take)?;
        Ok(sum)
    }
}

/// A connection that cannot write, in a transaction.
fn connect(path: &Path) -> Result<Connection, Why> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let begin = |db: Connection| {
        db.busy_timeout(PATIENCE)?;
        db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master")?;
        Ok::<_, rusqlite::Error>(db)
    };
    let opened = Connection::open_with_flags(path, flags).and_then(begin).map_err(Why::from);
    match opened {
        // Without a server there is nothing beside the file, and a folder this user may not write in lets nothing be
        // made there: but then nothing is under way either, and the file alone is all there is.
        Err(Why::Denied) if !wal(path) && std::fs::File::open(path).is_ok() => {
            let address = format!("file:{}?immutable=1", escape(path));
            Ok(Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_URI).and_then(begin)?)
        }
        opened => opened,
    }
}

/// Whether something was written that is not in the file itself yet.
fn wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    Path::new(&wal).metadata().is_ok_and(|data| data.len() > 0)
}

/// A path as a part of an address.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

/// What `meta` says.
fn about(db: &Connection) -> Result<About, Why> {
    let mut statement = db.prepare("SELECT value FROM meta WHERE key = ?1")?;
    let mut get = |key: &str| {
        let value: Option<String> = statement.query_row([key], |row| row.get(0)).optional()?;
        value.ok_or_else(|| Why::Odd(format!("meta has no {key}")))
    };
    let threshold = get("threshold")?;
    Ok(About {
        created: get("created")?,
        time_zone: get("time_zone")?,
        threshold: threshold.parse().map_err(|_| Why::Odd(format!("{threshold} is no threshold")))?,
        software: get("software")?,
    })
}

/// A zone by its name, or an offset as `+05:00`.
fn zone(text: &str) -> Option<TimeZone> {
    if text == "UTC" {
        return Some(TimeZone::UTC);
    }
    if text.starts_with(['+', '-']) {
        let offset = jiff::fmt::strtime::parse("%:z", text).ok()?.offset()?;
        return Some(TimeZone::fixed(offset));
    }
    TimeZone::get(text).ok()
}

#[cfg(test)]
mod tests;
