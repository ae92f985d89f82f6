//! How large a store gets, measured: `cargo test --lib store::size -- --ignored --nocapture`.

use std::time::Instant;

use super::backlog::Backlog;
use super::db::Db;
use super::testing::{delta, order, settings, why};
use crate::stats::{Clients, Delta, Of, Row};
use crate::util::{Now, UnixTime, Zone};

/// Names with hits in every hour.
const NAMES: u32 = 3500;
/// Hits of a day.
const DAILY: u64 = 20_000_000;
/// 2026-01-01T00:00Z, in minutes.
const START: i64 = 1_767_225_600 / 60;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What share of all hits each name has: few have most (Zipf).
fn shares() -> Vec<f64> {
    let weights: Vec<f64> = (1..=NAMES).map(|rank| 1.0 / f64::from(rank)).collect();
    let all: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / all).collect()
}

/// Rows of a minute in which `hits` are expected.
fn rows(shares: &[f64], hits: f64, least: u64, minute: i64, dice: &mut Dice) -> Delta {
    let mut rows = Vec::new();
    for (share, subject) in shares.iter().zip(0..) {
        let expected = share * hits;
        // Rounded by chance, which is near enough to how such counts fall.
        let hits = ((expected * (0.5 + dice.roll())) + dice.roll()).floor() as u64;
        let hits = hits.max(least);
        if hits > 0 {
            rows.push(Row { subject, minute, hits, attempts: hits.div_ceil(3), unexamined: 0 });
        }
    }
    delta(rows)
}

/// Where numbers stand, in bytes.
fn table(db: &Db, name: &str) -> f64 {
    let sql = "SELECT sum(pgsize) FROM dbstat WHERE name = ?";
    let bytes: Option<i64> = db.connection.query_row(sql, [name], |row| row.get(0)).unwrap_or(None);
    bytes.unwrap_or(0) as f64 / 1e6
}

#[test]
#[ignore = "a measurement of some minutes"]
fn a_year_of_hours_of_3500_names_and_two_busy_days_of_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = Db::open(&super::path(folder.path()), &settings(), Now { unix_ms: START * 60_000 }).expect("made");
    let mut backlog = Backlog::new(Zone::utc());
    let orders: Vec<_> = (0..350).map(|number| order(&format!("25-01-25/{number}"), "Committee")).collect();
    let name = |number: u32| {
        let order = orders.get(number as usize / 10).into_iter().cloned().collect::<Vec<_>>();
        (number, why(&format!("name-number-{number}.example"), &order))
    };
    backlog.take(Delta { subjects: (0..NAMES).map(name).collect(), ..Delta::default() });
    let (shares, mut dice) = (shares(), Dice(7));
    let begun = Instant::now();
    let mut hits = 0;
    for day in 0..365_i64 {
        // The last two days by the minute, all others by the hour.
        let step = if day < 363 { 60 } else { 1 };
        for minute in (day * 1440..(day + 1) * 1440).step_by(step) {
            let minute = START + minute;
            let (expected, least) = (DAILY as f64 * step as f64 / 1440.0, u64::from(step == 60 || minute % 60 == 0));
            backlog.take(rows(&shares, expected, least, minute, &mut dice));
            backlog.add_total(minute, "received", 1);
            hits += backlog.hits();
            db.append(&mut backlog, UnixTime(START * 60), UnixTime(minute * 60)).expect("written");
            db.fold().expect("folded");
        }
        let clients = |number: u32| Clients {
            day: (START + day * 1440) / 1440,
            segment: 0x1234_5678_9abc + day as u64 / 30,
            of: Of::Rule(format!("name-number-{number}.example").into()),
            estimate: u64::from(number),
        };
        backlog.take(Delta { clients: (0..NAMES).map(clients).collect(), ..Delta::default() });
        db.append(&mut backlog, UnixTime(START * 60), UnixTime((START + day * 1440) * 60)).expect("written");
        while db.retire(&settings(), UnixTime((START + (day + 1) * 1440) * 60)).expect("retired").more {}
    }
    let written = begun.elapsed();
    let hours: i64 = db
        .connection
        .query_row("SELECT count(*) FROM hour_all WHERE hits > 0", [], |row| row.get(0))
        .expect("a number");
    let bytes = db.bytes().expect("asked");
    eprintln!(
        "{hits} hits, {hours} hours of names; written in {written:.0?}; the file has {:.0} MB",
        bytes as f64 / 1e6
    );
    for name in ["hour_block", "day", "minute", "sketch", "subject", "total_minute"] {
        eprintln!("{name}: {:.1} MB", table(&db, name));
    }
    let minutes: i64 = db.connection.query_row("SELECT count(*) FROM minute", [], |row| row.get(0)).expect("a number");
    eprintln!("{minutes} rows of minutes");
    let month = "SELECT count(*), sum(hits) FROM (SELECT rule, sum(hits) AS hits FROM hits_by_hour WHERE block BETWEEN ?1 / 360 AND ?2 / 360 GROUP BY rule)";
    let from = START + 330 * 1440;
    let begun = Instant::now();
    let found: (i64, i64) = db
        .connection
        .query_row(month, [from, from + 30 * 1440 - 1], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("numbers");
    eprintln!("a month by name through the view: {found:?} in {:.2?}", begun.elapsed());
    assert!(hours >= i64::from(NAMES) * 8760);
    let hours = table(&db, "hour_block");
    assert!(hours < 500.0, "{hours} MB");
    assert!(bytes < 500_000_000, "all of it: {bytes}");
}
