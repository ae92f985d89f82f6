//! Adds up what an earlier version had to write beside a later one's store ([`place::spare`]).

use std::path::PathBuf;

use rusqlite::{OptionalExtension, TransactionBehavior};

use super::db::{Db, StoreError};
use super::{Settings, VERSION, place};
use crate::util::Now;

/// From the attached `spare` into ours. Both count other moments, so everything adds up.
const ADD: &str = "
INSERT OR IGNORE INTO main.orders (number, authority, legal_basis) SELECT number, authority, legal_basis FROM spare.orders;
INSERT INTO main.subject (digest, outcome, rule, list, seen)
  SELECT digest, outcome, rule, list, seen FROM spare.subject WHERE true
  ON CONFLICT (digest) DO UPDATE SET seen = max(seen, excluded.seen);
CREATE TEMP TABLE same (theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL);
INSERT INTO temp.same SELECT t.id, o.id FROM spare.subject AS t JOIN main.subject AS o ON o.digest = t.digest;
INSERT OR IGNORE INTO main.subject_list SELECT s.ours, l.list FROM spare.subject_list AS l JOIN temp.same AS s ON s.theirs = l.subject;
INSERT OR IGNORE INTO main.subject_order SELECT s.ours, o.id FROM spare.subject_order AS so JOIN temp.same AS s ON s.theirs = so.subject
  JOIN spare.orders AS t ON t.id = so.orders JOIN main.orders AS o ON o.number = t.number AND o.authority = t.authority;
INSERT INTO main.pending SELECT s.ours, minute, day, hits, attempts, unexamined
  FROM spare.pending AS p JOIN temp.same AS s ON s.theirs = p.subject;
INSERT INTO main.minute SELECT at, s.ours, hits, attempts, unexamined FROM spare.minute AS p JOIN temp.same AS s ON s.theirs = p.subject
  WHERE true ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, attempts = attempts + excluded.attempts,
    unexamined = unexamined + excluded.unexamined;
INSERT INTO main.day SELECT at, s.ours, hits, attempts, unexamined FROM spare.day AS p JOIN temp.same AS s ON s.theirs = p.subject
  WHERE true ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, attempts = attempts + excluded.attempts,
    unexamined = unexamined + excluded.unexamined;
INSERT INTO main.hour_unexamined SELECT at, s.ours, unexamined FROM spare.hour_unexamined AS p JOIN temp.same AS s ON s.theirs = p.subject
  WHERE true ON CONFLICT DO UPDATE SET unexamined = unexamined + excluded.unexamined;
INSERT INTO main.hour_block
  SELECT block, s.ours, hits0, attempts0, hits1, attempts1, hits2, attempts2, hits3, attempts3, hits4, attempts4, hits5, attempts5
  FROM spare.hour_block AS p JOIN temp.same AS s ON s.theirs = p.subject
  WHERE true ON CONFLICT DO UPDATE SET
    hits0 = hits0 + excluded.hits0, attempts0 = attempts0 + excluded.attempts0,
    hits1 = hits1 + excluded.hits1, attempts1 = attempts1 + excluded.attempts1,
    hits2 = hits2 + excluded.hits2, attempts2 = attempts2 + excluded.attempts2,
    hits3 = hits3 + excluded.hits3, attempts3 = attempts3 + excluded.attempts3,
    hits4 = hits4 + excluded.hits4, attempts4 = attempts4 + excluded.attempts4,
    hits5 = hits5 + excluded.hits5, attempts5 = attempts5 + excluded.attempts5;
INSERT INTO main.kind_hour SELECT * FROM spare.kind_hour WHERE true ON CONFLICT DO UPDATE SET hits = hits + excluded.hits;
INSERT INTO main.kind_day SELECT * FROM spare.kind_day WHERE true ON CONFLICT DO UPDATE SET hits = hits + excluded.hits;
INSERT INTO main.total_minute SELECT * FROM spare.total_minute WHERE true ON CONFLICT DO UPDATE SET value = value + excluded.value;
INSERT INTO main.total_hour SELECT * FROM spare.total_hour WHERE true ON CONFLICT DO UPDATE SET value = value + excluded.value;
INSERT INTO main.total_day SELECT * FROM spare.total_day WHERE true ON CONFLICT DO UPDATE SET value = value + excluded.value;
INSERT OR IGNORE INTO main.counted (of, key, authority) SELECT of, key, authority FROM spare.counted;
INSERT OR REPLACE INTO main.sketch SELECT k.day, o.id, k.segment, k.estimate FROM spare.sketch AS k
  JOIN spare.counted AS t ON t.id = k.counted
  JOIN main.counted AS o ON o.of = t.of AND o.key = t.key AND o.authority = t.authority;
INSERT INTO main.run (started, seen, software) SELECT started, seen, software FROM spare.run;
DROP TABLE temp.same;
";

impl Db {
    /// Takes in what was written beside this store while it was a later version's; gives the files' names.
    ///
    /// # Errors
    /// Why a file could not be taken in; it is still there then, and nothing of it was added.
    pub(super) fn take_in(&mut self, settings: &Settings, now: Now) -> Result<Vec<PathBuf>, StoreError> {
        let mut taken = Vec::new();
        for version in 1..=VERSION {
            let path = place::spare_of(&self.path, version);
            if path != self.path && path.exists() {
                // Brought to our schema first.
                drop(Db::open(&path, settings, now)?);
                self.add_up(&path)?;
                place::remove(&path);
                taken.push(path);
            }
        }
        Ok(taken)
    }

    /// Adds up one file, once only.
    fn add_up(&mut self, path: &std::path::Path) -> Result<(), StoreError> {
        self.connection.execute("ATTACH ? AS spare", [path.to_string_lossy()])?;
        let done = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let created = "SELECT value FROM spare.meta WHERE key = 'created'";
            let created: Option<String> = transaction.query_row(created, [], |row| row.get(0)).optional()?;
            // Whoever was killed between adding it up and removing it finds it again.
            let mark = format!("taken in {}", created.unwrap_or_default());
            let marked = "INSERT OR IGNORE INTO main.meta (key, value) VALUES (?, ?)";
            if transaction.execute(marked, [&mark, &*path.to_string_lossy()])? > 0 {
                transaction.execute_batch(ADD)?;
            }
            transaction.commit()
        })();
        self.connection.execute("DETACH spare", [])?;
        Ok(done?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::Outcome;
    use crate::store::testing::{Filled, Numbers, settings};

    const NOW: Now = Now { unix_ms: 1_769_860_800_000 };
    const MINUTE: i64 = NOW.unix_ms / 60_000;

    /// A store with something of everything, other names coming first in each.
    fn filled(names: &[&str]) -> Filled {
        let store = Filled::new();
        for name in names {
            let subject =
                store.subject(Outcome::Blocked, name, "orders", &["more"], &[(name, "A", ""), ("both", "B", "")]);
            let numbers = Numbers { hits: 4, attempts: 2, unexamined: 1 };
            store.hits(subject, MINUTE, numbers);
            store.hits(subject, MINUTE + 70, numbers);
            store.pending(subject, MINUTE, numbers);
            store.clients(MINUTE / 1440, "rule", name, "", names.len() as i64, 3);
        }
        store.kind(MINUTE, Outcome::Blocked, ["A", "sinkhole", "udp"], 5);
        store.total(MINUTE, "received", 7);
        store
    }

    #[test]
    fn what_was_written_beside_is_added_up_once() {
        let (ours, theirs) = (filled(&["a", "b"]), filled(&["x", "b", "y"]));
        let spare = place::spare(&ours.path());
        theirs.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written back");
        let mut db = Db::open(&ours.path(), &settings(), NOW).expect("opened");
        let state = || {
            let ask = |sql: &str| ours.db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
            [
                "SELECT sum(hits) FROM hits_by_minute WHERE rule = 'b'",
                "SELECT sum(hits) FROM hits_by_hour WHERE rule = 'b'",
                "SELECT coalesce(sum(hits), 0) FROM hits_by_day WHERE rule = 'y'",
                "SELECT sum(unexamined) FROM hits_by_hour",
                "SELECT sum(hits) FROM order_hits_by_day WHERE number = 'both'",
                "SELECT sum(hits) FROM kinds_by_hour",
                "SELECT sum(value) FROM queries_by_day",
                "SELECT sum(high) FROM clients_by_day WHERE key = 'b'",
                "SELECT count(*) FROM subject",
            ]
            .map(ask)
        };
        assert_eq!(state(), [12, 12, 0, 6, 24, 5, 7, 3, 2]);
        for _ in 0..2 {
            // The second time it is what a crash would have left.
            fs::copy(theirs.path(), &spare).expect("copied");
            assert_eq!(db.take_in(&settings(), NOW).expect("taken in"), std::slice::from_ref(&spare));
            assert_eq!(state(), [24, 24, 12, 15, 60, 10, 14, 6, 4]);
            assert!(!spare.exists());
        }
        assert!(db.take_in(&settings(), NOW).expect("nothing there").is_empty());
    }
}
