use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::params;

use super::*;
use crate::event::{AnswerKind, Outcome, Transport};
use crate::stats::delta::{Clients, Delta, Kind, Row};
use crate::store::testing::{Filled, Numbers, delta, order, row, settings, why};
use crate::util::{Now, Zone};

const NOW: UnixTime = UnixTime(1_769_860_800);
/// 2026-01-31T12:00Z
const NOON: i64 = NOW.0 / 60;

/// An empty store and what waits for it.
fn empty() -> (tempfile::TempDir, Db, Backlog) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::store::path(folder.path());
    let db = Db::open(&path, &settings(), Now { unix_ms: NOW.0 * 1000 }).expect("made");
    (folder, db, Backlog::new(Zone::utc()))
}

/// All rows of a view added up: by rule, by time.
fn sums(db: &Connection, view: &str) -> BTreeMap<(i64, String), [i64; 3]> {
    let sql = format!("SELECT at, rule, sum(hits), sum(attempts), sum(unexamined) FROM {view} GROUP BY at, rule");
    let mut statement = db.prepare(&sql).expect("a query");
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), [row.get(2)?, row.get(3)?, row.get(4)?]));
    statement.query_map([], row).expect("asked").map(|row| row.expect("a row")).collect()
}

/// A number.
fn ask(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).expect("a number")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_cut_into_seconds_and_folds_it_is_what_was_counted(
        rows in proptest::collection::vec((0_u32..6, 0_i64..900, 1_u64..9, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let (_folder, mut db, mut backlog) = empty();
        let twin = Filled::new();
        let names: Vec<String> = (0..6).map(|number| format!("n{number}.example")).collect();
        let known: Vec<i64> =
            names.iter().map(|name| twin.subject(Outcome::Blocked, name, "orders", &[], &[])).collect();
        let subjects = names.iter().zip(0..).map(|(name, number)| (number, why(name, &[]))).collect();
        backlog.take(Delta { subjects, ..Delta::default() });
        for (subject, minute, hits, write, fold) in rows {
            let minute = NOON + minute;
            let (attempts, unexamined) = (hits / 2, hits / 4);
            backlog.take(delta([Row { subject, minute, hits, attempts, unexamined }]));
            let numbers = Numbers { hits: hits as i64, attempts: attempts as i64, unexamined: unexamined as i64 };
            twin.hits(known[subject as usize], minute, numbers);
            if write {
                db.append(&mut backlog, NOW, NOW).expect("written");
                prop_assert!(backlog.is_empty());
            }
            if fold {
                db.fold().expect("folded");
                prop_assert_eq!(db.pending().expect("asked"), 0);
            }
        }
        db.append(&mut backlog, NOW, NOW).expect("written");
        for view in ["hits_by_minute", "hits_by_hour", "hits_by_day"] {
            prop_assert_eq!(sums(&db.connection, view), sums(&twin.db, view), "{} before", view);
        }
        db.fold().expect("folded");
        for view in ["hits_by_minute", "hits_by_hour", "hits_by_day"] {
            prop_assert_eq!(sums(&db.connection, view), sums(&twin.db, view), "{} after", view);
        }
    }
}

#[test]
fn a_subject_has_one_row_whoever_explains_it_and_whenever() {
    let (_folder, mut db, mut backlog) = empty();
    for round in 0..3_u32 {
        // A new snapshot explains anew; the server starts again.
        if round == 2 {
            backlog = Backlog::new(Zone::utc());
        }
        let why = why("a.example", &[order("1", "A"), order("2", "B")]);
        backlog.take(Delta { subjects: vec![(round, why)], ..delta([row(round, NOON, 1)]) });
        db.append(&mut backlog, NOW, NOW).expect("written");
    }
    let db = &db.connection;
    assert_eq!(ask(db, "SELECT count(*) FROM subject"), 1);
    assert_eq!(ask(db, "SELECT sum(hits) FROM order_hits_by_day WHERE number = '1' AND authority = 'A'"), 3);
    assert_eq!(ask(db, "SELECT count(*) FROM subject_list"), 1);
}

#[test]
fn what_could_not_be_written_waits_and_its_rows_are_not_believed_in() {
    let (folder, mut db, mut backlog) = empty();
    backlog.take(Delta { subjects: vec![(1, why("a.example", &[]))], ..delta([row(1, NOON, 2)]) });
    // Written up to the last thing, which fails.
    db.connection.execute_batch("ALTER TABLE total_minute RENAME TO gone").expect("renamed");
    backlog.add_total(NOON, "received", 1);
    assert!(db.append(&mut backlog, NOW, NOW).is_err());
    assert_eq!((backlog.hits(), ask(&db.connection, "SELECT count(*) FROM subject")), (2, 0));
    db.connection.execute_batch("ALTER TABLE gone RENAME TO total_minute").expect("renamed");
    db.append(&mut backlog, NOW, NOW).expect("written");
    assert_eq!(ask(&db.connection, "SELECT sum(hits) FROM hits_by_minute WHERE rule = 'a.example'"), 2);
    // Somebody else who writes for long.
    let other = Connection::open(crate::store::path(folder.path())).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("begun");
    backlog.take(delta([row(1, NOON, 1)]));
    let error = db.append(&mut backlog, NOW, NOW).expect_err("locked");
    assert!(error.passes() && error.to_string().contains("another program"), "{error}");
    other.execute_batch("COMMIT").expect("done");
    db.append(&mut backlog, NOW, NOW).expect("written");
    assert_eq!(ask(&db.connection, "SELECT sum(hits) FROM hits_by_minute WHERE rule = 'a.example'"), 3);
}

#[test]
fn kinds_totals_and_sketches_are_added_or_replaced() {
    let (_folder, mut db, mut backlog) = empty();
    let kind = |qtype, hits| Kind {
        minute: NOON,
        outcome: Outcome::Shadow,
        qtype,
        answer: AnswerKind::Passed,
        transport: Transport::Tcp,
        hits,
    };
    let sketch = |segment, of, estimate| Clients { day: NOON / 1440, segment, of, estimate };
    let of = Of::Order { id: "1".into(), authority: "A".into() };
    for estimate in [3, 4] {
        let kinds = vec![kind(1, 2), kind(65_280, 1), kind(65_281, 1)];
        let clients = vec![sketch(7, of.clone(), estimate), sketch(7, Of::All, 9)];
        backlog.take(Delta { kinds, clients, ..Delta::default() });
        backlog.add_total(NOON, "received", 5);
        db.append(&mut backlog, NOW, NOW).expect("written");
    }
    backlog.take(Delta { clients: vec![sketch(u64::MAX, of, 2)], ..Delta::default() });
    db.append(&mut backlog, NOW, NOW).expect("written");
    let db = &db.connection;
    for view in ["kinds_by_hour", "kinds_by_day"] {
        let of = |qtype: &str| {
            let sql = format!("SELECT hits FROM {view} WHERE type = ? AND answer = 'passed' AND transport = 'tcp'");
            db.query_row(&sql, [qtype], |row| row.get::<_, i64>(0)).expect("one row")
        };
        assert_eq!([of("A"), of("other")], [4, 4], "{view}");
    }
    for view in ["queries_by_minute", "queries_by_hour", "queries_by_day"] {
        assert_eq!(ask(db, &format!("SELECT value FROM {view} WHERE metric = 'received'")), 10);
    }
    let bounds =
        db.query_row("SELECT low, high FROM clients_by_day WHERE of = 'order' AND authority = 'A'", params![], |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
    assert_eq!(bounds.expect("one row"), (4_i64, 6_i64));
}

#[test]
fn a_run_is_one_row_that_says_until_when() {
    let (_folder, mut db, mut backlog) = empty();
    for seconds in [0, 60, 30] {
        db.append(&mut backlog, NOW, UnixTime(NOW.0 + seconds)).expect("written");
    }
    let runs = "SELECT count(*) * 1000 + max(seen) - min(started) FROM run";
    assert_eq!(ask(&db.connection, runs), 1060, "a clock set back takes nothing away");
}
