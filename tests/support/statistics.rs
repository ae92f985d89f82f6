//! A store of statistics as a server would have left it, from hits that are simply told: what readers are tested on.
#![allow(dead_code)] // Each test uses its own part.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};

/// The tables, as the server makes them.
const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/schema.sql"));

/// Hits of a subject in a minute.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// Index of [`Book::subjects`].
    pub subject: usize,
    /// Since 1970.
    pub minute: i64,
    pub hits: u64,
    pub attempts: u64,
    pub unexamined: u64,
}

/// What hits are counted under: outcome, rule, lists (the first decided), orders (number, authority).
#[derive(Clone, Debug)]
pub struct Subject {
    pub outcome: &'static str,
    pub rule: String,
    pub lists: Vec<String>,
    pub orders: Vec<(String, String)>,
}

/// A sketch: day, whose (`rule`, …), key, authority, segment, estimate.
pub type Sketch = (i64, &'static str, String, String, i64, u64);

/// Everything that is to stand in the file.
#[derive(Clone, Debug)]
pub struct Book {
    pub subjects: Vec<Subject>,
    pub hits: Vec<Hit>,
    /// The last hits that are not folded yet begin here.
    pub pending_from: i64,
    /// Minutes before this are gone.
    pub minutes_from: i64,
    /// Hours before this are gone.
    pub hours_from: i64,
    pub sketches: Vec<Sketch>,
    /// Hour, outcome, type, answer, transport, hits.
    pub kinds: Vec<(i64, &'static str, &'static str, &'static str, &'static str, u64)>,
    /// Minute, metric, value.
    pub totals: Vec<(i64, &'static str, u64)>,
    /// When a server ran: from and to, in minutes.
    pub runs: Vec<(i64, i64)>,
    /// As `[stats]` says it.
    pub time_zone: String,
    /// The same in minutes.
    pub offset: i64,
    pub threshold: u64,
    pub user_version: i64,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            subjects: Vec::new(),
            hits: Vec::new(),
            pending_from: i64::MAX,
            minutes_from: i64::MIN,
            hours_from: i64::MIN,
            sketches: Vec::new(),
            kinds: Vec::new(),
            totals: Vec::new(),
            runs: Vec::new(),
            time_zone: "UTC".into(),
            offset: 0,
            threshold: 5,
            user_version: 1,
        }
    }
}

impl Subject {
    /// A blocked name of one list, resting on these orders.
    pub fn blocked(rule: &str, list: &str, orders: &[(&str, &str)]) -> Self {
        let orders = orders.iter().map(|(number, authority)| ((*number).into(), (*authority).into())).collect();
        Self { outcome: "blocked", rule: rule.into(), lists: vec![list.into()], orders }
    }
}

impl Book {
    /// One more hit, or several of them at once.
    pub fn hit(&mut self, subject: usize, minute: i64, hits: u64, attempts: u64) {
        self.hits.push(Hit { subject, minute, hits, attempts, unexamined: 0 });
    }

    /// The day a minute is in.
    pub fn day(&self, minute: i64) -> i64 {
        (minute + self.offset).div_euclid(1440)
    }

    /// Writes the file, and leaves it as a server that ended does.
    pub fn write(&self, path: &Path) {
        let mut db = Connection::open(path).expect("a database");
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").expect("WAL");
        db.execute_batch(SCHEMA).expect("the schema");
        db.pragma_update(None, "user_version", self.user_version).expect("a version");
        let all = db.transaction().expect("a transaction");
        self.meta(&all);
        self.write_subjects(&all);
        self.write_hits(&all);
        self.write_kinds(&all);
        all.commit().expect("written");
    }

    fn meta(&self, db: &Connection) {
        let threshold = self.threshold.to_string();
        let said = [
            ("created", "2026-01-01T00:00:00Z"),
            ("time_zone", &self.time_zone),
            ("threshold", &threshold),
            ("software", "qalqan 0.1.0"),
        ];
        for (key, value) in said {
            db.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (key, value)).expect("meta");
        }
        for (from, to) in &self.runs {
            let sql = "INSERT INTO run (started, seen, software) VALUES (?1, ?2, 'qalqan 0.1.0')";
            db.execute(sql, (from * 60, to * 60)).expect("a run");
        }
    }

    fn write_subjects(&self, db: &Connection) {
        let mut orders: Vec<&(String, String)> = self.subjects.iter().flat_map(|subject| &subject.orders).collect();
        orders.sort();
        orders.dedup();
        for (id, (number, authority)) in orders.iter().enumerate() {
            let sql = "INSERT INTO orders (id, number, authority, legal_basis) VALUES (?1, ?2, ?3, ?4)";
            db.execute(sql, params![id as i64, number, authority, "Law 1"]).expect("an order");
        }
        for (id, subject) in self.subjects.iter().enumerate() {
            let id = id as i64;
            let sql = "INSERT INTO subject (id, digest, outcome, rule, list, seen) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
            let list = &subject.lists[0];
            db.execute(sql, params![id, id.to_be_bytes(), subject.outcome, subject.rule, list]).expect("a subject");
            for list in &subject.lists {
                let sql = "INSERT OR IGNORE INTO subject_list (subject, list) VALUES (?1, ?2)";
                db.execute(sql, params![id, list]).expect("a list");
            }
            for order in &subject.orders {
                let order = orders.iter().position(|known| *known == order).expect("known") as i64;
                let sql = "INSERT INTO subject_order (subject, orders) VALUES (?1, ?2)";
                db.execute(sql, params![id, order]).expect("an order");
            }
        }
    }

    fn write_hits(&self, db: &Connection) {
        let (mut minutes, mut hours, mut days) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let sql =
            "INSERT INTO pending (subject, minute, day, hits, attempts, unexamined) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut pending = db.prepare(sql).expect("SQL");
        for &Hit { subject, minute, hits, attempts, unexamined } in &self.hits {
            let subject = subject as i64;
            if minute >= self.pending_from {
                let values =
                    params![subject, minute, self.day(minute), hits as i64, attempts as i64, unexamined as i64];
                pending.execute(values).expect("pending");
                continue;
            }
            let levels = [
                (&mut minutes, minute, minute >= self.minutes_from),
                (&mut hours, minute.div_euclid(60), minute.div_euclid(60) >= self.hours_from),
                (&mut days, self.day(minute), true),
            ];
            for (level, at, _) in levels.into_iter().filter(|(.., kept)| *kept) {
                let sum: &mut [u64; 3] = level.entry((at, subject)).or_default();
                *sum = [sum[0] + hits, sum[1] + attempts, sum[2] + unexamined];
            }
        }
        for (table, level) in [("minute", &minutes), ("day", &days)] {
            let sql =
                format!("INSERT INTO {table} (at, subject, hits, attempts, unexamined) VALUES (?1, ?2, ?3, ?4, ?5)");
            let mut insert = db.prepare(&sql).expect("SQL");
            for ((at, subject), [hits, attempts, unexamined]) in level {
                let values = params![at, subject, *hits as i64, *attempts as i64, *unexamined as i64];
                insert.execute(values).expect("a row");
            }
        }
        Self::write_hours(db, &hours);
    }

    fn write_hours(db: &Connection, hours: &BTreeMap<(i64, i64), [u64; 3]>) {
        let mut blocks: BTreeMap<(i64, i64), [i64; 12]> = BTreeMap::new();
        let mut rest =
            db.prepare("INSERT INTO hour_unexamined (at, subject, unexamined) VALUES (?1, ?2, ?3)").expect("SQL");
        for (&(at, subject), &[hits, attempts, unexamined]) in hours {
            let block = blocks.entry((at.div_euclid(6), subject)).or_default();
            let column = 2 * at.rem_euclid(6) as usize;
            (block[column], block[column + 1]) = (hits as i64, attempts as i64);
            if unexamined > 0 {
                rest.execute(params![at, subject, unexamined as i64]).expect("a row");
            }
        }
        let marks: Vec<String> = (1..=14).map(|mark| format!("?{mark}")).collect();
        let sql = format!("INSERT INTO hour_block VALUES ({})", marks.join(", "));
        let mut insert = db.prepare(&sql).expect("SQL");
        for ((block, subject), counts) in blocks {
            let values = [block, subject].into_iter().chain(counts);
            insert.execute(rusqlite::params_from_iter(values)).expect("a block");
        }
    }

    fn write_kinds(&self, db: &Connection) {
        for &(hour, outcome, qtype, answer, transport, hits) in &self.kinds {
            for (table, at) in [("kind_hour", hour), ("kind_day", self.day(hour * 60))] {
                let sql = format!(
                    "INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET hits = hits + ?6"
                );
                db.execute(&sql, params![at, outcome, qtype, answer, transport, hits as i64]).expect("a kind");
            }
        }
        for &(minute, metric, value) in &self.totals {
            let levels = [("minute", minute), ("hour", minute.div_euclid(60)), ("day", self.day(minute))];
            for (table, at) in levels {
                let sql = format!(
                    "INSERT INTO total_{table} VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = value + ?3"
                );
                db.execute(&sql, params![at, metric, value as i64]).expect("a total");
            }
        }
        for (day, of, key, authority, segment, estimate) in &self.sketches {
            let sql = "INSERT OR IGNORE INTO counted (of, key, authority) VALUES (?1, ?2, ?3)";
            db.execute(sql, params![of, key, authority]).expect("counted");
            let sql =
                "INSERT INTO sketch SELECT ?1, id, ?2, ?3 FROM counted WHERE of = ?4 AND key = ?5 AND authority = ?6";
            db.execute(sql, params![day, segment, *estimate as i64, of, key, authority]).expect("a sketch");
        }
    }
}
