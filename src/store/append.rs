//! What waits goes into the store: each second appended in one transaction, each minute folded into minutes, hours and days.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::backlog::{Backlog, ClientsPlace, KindPlace};
use super::book::{Book, Key, Stored, digest};
use super::db::{Db, SOFTWARE, StoreError};
use crate::event::Subject;
use crate::hits::type_name;
use crate::stats::delta::Of;
use crate::util::UnixTime;

/// Kinds of types without a name.
const OTHER_TYPE: &str = "other";

/// Adds what waits to the three levels and forgets it.
const FOLD: &str = "
INSERT INTO minute SELECT minute, subject, sum(hits), sum(attempts), sum(unexamined) FROM pending WHERE true
  GROUP BY minute, subject ORDER BY minute, subject
  ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, attempts = attempts + excluded.attempts,
    unexamined = unexamined + excluded.unexamined;
INSERT INTO day SELECT day, subject, sum(hits), sum(attempts), sum(unexamined) FROM pending WHERE true
  GROUP BY day, subject ORDER BY day, subject
  ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, attempts = attempts + excluded.attempts,
    unexamined = unexamined + excluded.unexamined;
INSERT INTO hour_block SELECT six, subject,
    total0, tries0, total1, tries1, total2, tries2, total3, tries3, total4, tries4, total5, tries5 FROM (
    SELECT minute / 360 AS six, subject,
      sum(iif(slot = 0, hits, 0)) AS total0, sum(iif(slot = 0, attempts, 0)) AS tries0,
      sum(iif(slot = 1, hits, 0)) AS total1, sum(iif(slot = 1, attempts, 0)) AS tries1,
      sum(iif(slot = 2, hits, 0)) AS total2, sum(iif(slot = 2, attempts, 0)) AS tries2,
      sum(iif(slot = 3, hits, 0)) AS total3, sum(iif(slot = 3, attempts, 0)) AS tries3,
      sum(iif(slot = 4, hits, 0)) AS total4, sum(iif(slot = 4, attempts, 0)) AS tries4,
      sum(iif(slot = 5, hits, 0)) AS total5, sum(iif(slot = 5, attempts, 0)) AS tries5
    FROM (SELECT *, minute % 360 / 60 AS slot FROM pending)
    GROUP BY six, subject ORDER BY six, subject
  ) WHERE true
  ON CONFLICT DO UPDATE SET
    hits0 = hits0 + excluded.hits0, attempts0 = attempts0 + excluded.attempts0,
    hits1 = hits1 + excluded.hits1, attempts1 = attempts1 + excluded.attempts1,
    hits2 = hits2 + excluded.hits2, attempts2 = attempts2 + excluded.attempts2,
    hits3 = hits3 + excluded.hits3, attempts3 = attempts3 + excluded.attempts3,
    hits4 = hits4 + excluded.hits4, attempts4 = attempts4 + excluded.attempts4,
    hits5 = hits5 + excluded.hits5, attempts5 = attempts5 + excluded.attempts5;
INSERT INTO hour_unexamined SELECT minute / 60, subject, sum(unexamined) FROM pending
  WHERE unexamined > 0 GROUP BY 1, 2
  ON CONFLICT DO UPDATE SET unexamined = unexamined + excluded.unexamined;
DELETE FROM pending;
";

impl Db {
    /// Writes what waits, all or nothing, and says that this run was there until now.
    ///
    /// # Errors
    /// Nothing was written, and all of it still waits.
    pub(super) fn append(&mut self, backlog: &mut Backlog, started: UnixTime, now: UnixTime) -> Result<(), StoreError> {
        let mut touched = Vec::new();
        let result = self.try_append(backlog, &mut touched, started, now);
        match &result {
            Ok(()) => backlog.clear(),
            // Rows that were made are not there any more.
            Err(_) => touched.into_iter().for_each(|key| backlog.book.set_stored(key, None)),
        }
        result
    }

    fn try_append(
        &mut self,
        backlog: &mut Backlog,
        touched: &mut Vec<Key>,
        started: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let run = run(&transaction, self.run, started, now)?;
        let mut insert = transaction.prepare_cached("INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?)")?;
        for (place, counts) in &backlog.rows {
            let Some(id) = subject_id(&transaction, &mut backlog.book, place.key, place.day, touched)? else {
                continue;
            };
            let counts = [counts.hits, counts.attempts, counts.unexamined].map(|count| count as i64);
            insert.execute([id, place.minute, place.day, counts[0], counts[1], counts[2]])?;
        }
        drop(insert);
        for (place, hits) in &backlog.kinds {
            add_kind(&transaction, place, *hits as i64)?;
        }
        for (place, value) in &backlog.totals {
            let levels = [
                (
                    "INSERT INTO total_minute VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    place.minute,
                ),
                (
                    "INSERT INTO total_hour VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    place.minute.div_euclid(60),
                ),
                (
                    "INSERT INTO total_day VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    place.day,
                ),
            ];
            for (sql, at) in levels {
                transaction.prepare_cached(sql)?.execute(params![at, place.metric, *value as i64])?;
            }
        }
        for (place, estimate) in &backlog.clients {
            set_estimate(&transaction, place, (*estimate).min(i64::MAX as u64) as i64)?;
        }
        transaction.commit()?;
        self.run = Some(run);
        Ok(())
    }

    /// Folds what was appended into minutes, hours and days.
    ///
    /// # Errors
    /// It is still as it was.
    pub(super) fn fold(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(FOLD)?;
        transaction.commit()?;
        Ok(())
    }

    /// Rows that wait to be folded.
    pub(super) fn pending(&self) -> Result<i64, StoreError> {
        // The table only grows until all of it goes: its last row's number is how many there are.
        let most = "SELECT coalesce(max(rowid) - min(rowid) + 1, 0) FROM pending";
        Ok(self.connection.query_row(most, [], |row| row.get(0))?)
    }
}

/// The row of this run, seen now.
fn run(db: &Connection, known: Option<i64>, started: UnixTime, now: UnixTime) -> rusqlite::Result<i64> {
    if let Some(id) = known {
        let sql = "UPDATE run SET seen = max(seen, ?) WHERE id = ?";
        if db.prepare_cached(sql)?.execute([now.0, id])? > 0 {
            return Ok(id);
        }
    }
    db.execute("INSERT INTO run (started, seen, software) VALUES (?, ?, ?)", params![started.0, now.0, SOFTWARE])?;
    Ok(db.last_insert_rowid())
}

/// The row of a subject, made if there is none, with a hit on `day`.
fn subject_id(
    db: &Connection,
    book: &mut Book,
    key: Key,
    day: i64,
    touched: &mut Vec<Key>,
) -> rusqlite::Result<Option<i64>> {
    let known = book.stored(key);
    if let Some(Stored { id, seen }) = known
        && seen >= day
    {
        return Ok(Some(id));
    }
    let Some(subject) = book.subject(key) else { return Ok(None) };
    let id = match known {
        Some(Stored { id, .. }) => id,
        None => find_or_make(db, subject, day)?,
    };
    db.prepare_cached("UPDATE subject SET seen = ? WHERE id = ? AND seen < ?")?.execute([day, id, day])?;
    touched.push(key);
    book.set_stored(key, Some(Stored { id, seen: day }));
    Ok(Some(id))
}

/// Looks a subject up by its digest, or writes it down.
fn find_or_make(db: &Connection, subject: &Subject, day: i64) -> rusqlite::Result<i64> {
    let digest = digest(subject);
    let found: Option<i64> = db
        .prepare_cached("SELECT id FROM subject WHERE digest = ?")?
        .query_row([digest.as_slice()], |row| row.get(0))
        .optional()?;
    let id = match found {
        Some(id) => id,
        None => {
            let sql = "INSERT INTO subject (digest, outcome, rule, list, seen) VALUES (?, ?, ?, ?, ?)";
            db.prepare_cached(sql)?.execute(params![
                digest.as_slice(),
                subject.outcome.as_str(),
                subject.rule,
                subject.list,
                day
            ])?;
            let id = db.last_insert_rowid();
            let mut list = db.prepare_cached("INSERT OR IGNORE INTO subject_list VALUES (?, ?)")?;
            for name in std::iter::once(&subject.list).chain(&subject.also).filter(|name| !name.is_empty()) {
                list.execute(params![id, name])?;
            }
            id
        }
    };
    // An order's number and authority are what it is; that its legal basis was put in other words is news to an old row too.
    for order in &subject.orders {
        let sql = "INSERT INTO orders (number, authority, legal_basis) VALUES (?, ?, ?) \
                   ON CONFLICT DO UPDATE SET legal_basis = excluded.legal_basis WHERE legal_basis <> excluded.legal_basis";
        db.prepare_cached(sql)?.execute([&order.id, &order.authority, &order.legal_basis])?;
        if found.is_none() {
            let sql = "INSERT OR IGNORE INTO subject_order SELECT ?, id FROM orders WHERE number = ? AND authority = ?";
            db.prepare_cached(sql)?.execute(params![id, order.id, order.authority])?;
        }
    }
    Ok(id)
}

/// Adds to a kind's hour and day.
fn add_kind(db: &Connection, place: &KindPlace, hits: i64) -> rusqlite::Result<()> {
    let qtype = place.qtype.map_or(Cow::Borrowed(OTHER_TYPE), type_name);
    let levels = [
        (
            "INSERT INTO kind_hour VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET hits = hits + excluded.hits",
            place.hour,
        ),
        (
            "INSERT INTO kind_day VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET hits = hits + excluded.hits",
            place.day,
        ),
    ];
    for (sql, at) in levels {
        let (outcome, answer, transport) = (place.outcome.as_str(), place.answer.as_str(), place.transport.as_str());
        db.prepare_cached(sql)?.execute(params![at, outcome, qtype, answer, transport, hits])?;
    }
    Ok(())
}

/// A sketch says something else now.
fn set_estimate(db: &Connection, place: &ClientsPlace, estimate: i64) -> rusqlite::Result<()> {
    let (of, key, authority) = match &place.of {
        Of::All => ("all", "", ""),
        Of::Rule(rule) => ("rule", &**rule, ""),
        Of::List(list) => ("list", &**list, ""),
        Of::Order { id, authority } => ("order", &**id, &**authority),
    };
    let names = [of, key, authority];
    let sql = "SELECT id FROM counted WHERE of = ? AND key = ? AND authority = ?";
    let found: Option<i64> = db.prepare_cached(sql)?.query_row(names, |row| row.get(0)).optional()?;
    let counted = match found {
        Some(id) => id,
        None => {
            db.prepare_cached("INSERT INTO counted (of, key, authority) VALUES (?, ?, ?)")?.execute(names)?;
            db.last_insert_rowid()
        }
    };
    // The bits of a number as SQLite knows it; only that segments differ matters.
    let segment = place.segment as i64;
    let sql = "INSERT INTO sketch VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET estimate = excluded.estimate";
    db.prepare_cached(sql)?.execute([place.day, counted, segment, estimate])?;
    Ok(())
}

#[cfg(test)]
mod tests;
