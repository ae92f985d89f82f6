//! Stores to test with, filled by the plainest of means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::Settings;
use crate::event::{Outcome, Subject, Why};
use crate::rule::Order;
use crate::stats::{Delta, Row};
use crate::util::{Digest, Zone};

/// A store in a folder of its own, with days in UTC.
pub(super) struct Filled {
    folder: TempDir,
    pub(super) db: Connection,
}

/// Numbers of one subject in one minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub hits: i64,
    pub attempts: i64,
    pub unexamined: i64,
}

impl Filled {
    /// An empty store.
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let db = Connection::open(super::path(folder.path())).expect("a file");
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").expect("set");
        db.execute_batch(include_str!("schema.sql")).expect("the schema");
        db.pragma_update(None, "user_version", super::VERSION).expect("set");
        db.pragma_update(None, "application_id", super::place::APPLICATION).expect("set");
        let meta =
            [("created", "2026-01-01T00:00:00Z"), ("time_zone", "UTC"), ("threshold", "5"), ("software", "test")];
        for (key, value) in meta {
            db.execute("INSERT INTO meta VALUES (?, ?)", [key, value]).expect("inserted");
        }
        Self { folder, db }
    }

    /// The folder it is in.
    pub(super) fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        super::path(self.state_dir())
    }

    /// A subject: the deciding list, other lists, and orders as (number, authority, legal basis).
    pub(super) fn subject(
        &self,
        outcome: Outcome,
        rule: &str,
        list: &str,
        also: &[&str],
        orders: &[(&str, &str, &str)],
    ) -> i64 {
        let digest = Digest::of(format!("{outcome:?} {rule} {list} {also:?} {orders:?}").as_bytes());
        let digest = digest.to_string();
        let row = params![digest.as_bytes(), outcome.as_str(), rule, list];
        self.db
            .execute("INSERT INTO subject (digest, outcome, rule, list, seen) VALUES (?, ?, ?, ?, 0)", row)
            .expect("inserted");
        let subject = self.db.last_insert_rowid();
        for list in [&[list], also].concat() {
            self.db.execute("INSERT INTO subject_list VALUES (?, ?)", params![subject, list]).expect("inserted");
        }
        for (number, authority, basis) in orders {
            let row = [number, authority, basis];
            self.db
                .execute("INSERT OR IGNORE INTO orders (number, authority, legal_basis) VALUES (?, ?, ?)", row)
                .expect("inserted");
            self.db
                .execute(
                    "INSERT INTO subject_order SELECT ?, id FROM orders WHERE number = ? AND authority = ?",
                    params![subject, number, authority],
                )
                .expect("inserted");
        }
        subject
    }

    /// Hits of a minute, in minutes, hours and days.
    pub(super) fn hits(&self, subject: i64, minute: i64, numbers: Numbers) {
        let Numbers { hits, attempts, unexamined } = numbers;
        for (table, at) in [("minute", minute), ("day", minute.div_euclid(1440))] {
            let sql = format!(
                "INSERT INTO {table} VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, \
                 attempts = attempts + excluded.attempts, unexamined = unexamined + excluded.unexamined"
            );
            self.db.execute(&sql, [at, subject, hits, attempts, unexamined]).expect("inserted");
        }
        let (block, hour) = (minute.div_euclid(360), minute.div_euclid(60));
        let slot = hour.rem_euclid(6);
        self.db
            .execute(
                "INSERT OR IGNORE INTO hour_block VALUES (?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
                [block, subject],
            )
            .expect("inserted");
        let sql = format!(
            "UPDATE hour_block SET hits{slot} = hits{slot} + ?, attempts{slot} = attempts{slot} + ? WHERE block = ? AND subject = ?"
        );
        self.db.execute(&sql, [hits, attempts, block, subject]).expect("updated");
        if unexamined > 0 {
            let sql = "INSERT INTO hour_unexamined VALUES (?, ?, ?) \
                       ON CONFLICT DO UPDATE SET unexamined = unexamined + excluded.unexamined";
            self.db.execute(sql, [hour, subject, unexamined]).expect("inserted");
        }
    }

    /// Hits of a minute that are not folded yet.
    pub(super) fn pending(&self, subject: i64, minute: i64, numbers: Numbers) {
        let Numbers { hits, attempts, unexamined } = numbers;
        let row = [subject, minute, minute.div_euclid(1440), hits, attempts, unexamined];
        self.db.execute("INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?)", row).expect("inserted");
    }

    /// Hits of a minute by how they were asked and answered.
    pub(super) fn kind(&self, minute: i64, outcome: Outcome, kind: [&str; 3], hits: i64) {
        let [qtype, answer, transport] = kind;
        for (table, at) in [("kind_hour", minute.div_euclid(60)), ("kind_day", minute.div_euclid(1440))] {
            let sql = format!(
                "INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET hits = hits + excluded.hits"
            );
            self.db.execute(&sql, params![at, outcome.as_str(), qtype, answer, transport, hits]).expect("inserted");
        }
    }

    /// Queries of a minute.
    pub(super) fn total(&self, minute: i64, metric: &str, value: i64) {
        let levels =
            [("total_minute", minute), ("total_hour", minute.div_euclid(60)), ("total_day", minute.div_euclid(1440))];
        for (table, at) in levels {
            let sql = format!(
                "INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
            );
            self.db.execute(&sql, params![at, metric, value]).expect("inserted");
        }
    }

    /// A sketch's estimate; `of` is all, rule, list or order, `authority` an order's.
    pub(super) fn clients(&self, day: i64, of: &str, key: &str, authority: &str, segment: i64, estimate: i64) {
        self.db
            .execute("INSERT OR IGNORE INTO counted (of, key, authority) VALUES (?, ?, ?)", [of, key, authority])
            .expect("inserted");
        let sql =
            "INSERT OR REPLACE INTO sketch SELECT ?, id, ?, ? FROM counted WHERE of = ? AND key = ? AND authority = ?";
        self.db.execute(sql, params![day, segment, estimate, of, key, authority]).expect("inserted");
    }
}

/// As shipped.
pub(super) fn settings() -> Settings {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    Settings {
        enabled: true,
        window: Duration::from_secs(60),
        zone: Zone::utc(),
        threshold: 5,
        minutes: days(2),
        hours: days(400),
        days: days(3650),
        max_size: 2 << 30,
    }
}

/// What hits of a rule are counted under, in list `orders`.
pub(super) fn why(rule: &str, orders: &[Arc<Order>]) -> Arc<Why> {
    let subject = Subject {
        outcome: Outcome::Blocked,
        rule: rule.into(),
        list: "orders".into(),
        also: Box::default(),
        orders: orders.into(),
    };
    Arc::new(Why { id: 0, subject, causes: Box::default(), group: None })
}

/// An order.
pub(super) fn order(id: &str, authority: &str) -> Arc<Order> {
    Arc::new(Order { id: id.into(), authority: authority.into(), legal_basis: "Law".into(), ..Order::default() })
}

/// Hits of a minute, each an attempt.
pub(super) fn row(subject: u32, minute: i64, hits: u64) -> Row {
    Row { subject, minute, hits, attempts: hits, unexamined: 0 }
}

/// Only rows.
pub(super) fn delta(rows: impl IntoIterator<Item = Row>) -> Delta {
    Delta { rows: rows.into_iter().collect(), ..Delta::default() }
}

/// The builder itself: every view reads, and all three levels agree.
#[test]
fn what_is_filled_in_stands_in_every_view() {
    let store = Filled::new();
    let order = ("25-4", "Ministry", "Law 1");
    let subject = store.subject(Outcome::Blocked, "bad.example", "orders", &["other"], &[order, ("7", "Court", "")]);
    let minute = 29_000_000;
    store.hits(subject, minute, Numbers { hits: 5, attempts: 2, unexamined: 1 });
    store.hits(subject, minute + 61, Numbers { hits: 1, attempts: 1, unexamined: 0 });
    store.pending(subject, minute, Numbers { hits: 2, attempts: 1, unexamined: 0 });
    store.kind(minute, Outcome::Blocked, ["A", "sinkhole", "udp"], 8);
    store.total(minute, "received", 10);
    store.clients(minute / 1440, "order", "25-4", "Ministry", 1, 3);
    store.clients(minute / 1440, "order", "25-4", "Ministry", 2, 4);
    let sum = |what: &str, view: &str| -> i64 {
        store.db.query_row(&format!("SELECT sum({what}) FROM {view}"), [], |row| row.get(0)).expect("a number")
    };
    for view in ["hits_by_minute", "hits_by_hour", "hits_by_day"] {
        assert_eq!([sum("hits", view), sum("attempts", view), sum("unexamined", view)], [8, 4, 1], "{view}");
    }
    assert_eq!([sum("hits", "order_hits_by_hour"), sum("hits", "order_hits_by_day")], [16, 16]);
    assert_eq!([sum("hits", "kinds_by_hour"), sum("hits", "kinds_by_day")], [8, 8]);
    let queries = ["queries_by_minute", "queries_by_hour", "queries_by_day"];
    assert_eq!(queries.map(|view| sum("value", view)), [10, 10, 10]);
    assert_eq!([sum("low", "clients_by_day"), sum("high", "clients_by_day")], [4, 7]);
    assert!(store.path().starts_with(store.state_dir()));
}
