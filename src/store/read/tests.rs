use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

#[path = "../../../tests/support/statistics.rs"]
mod statistics;

use statistics::{Book, Hit, Subject as Told};

/// 2026-11-01T00:00Z, which is a Sunday and no month's beginning east of it.
const START: i64 = 1_793_491_200 / 60;
/// Its day.
const DAY: i64 = START / 1440;

/// A book with three names on two orders and two lists, nothing counted yet.
fn book() -> Book {
    let mut shadow = Told::blocked("shadow.example", "second", &[]);
    shadow.outcome = "shadow";
    let mut both = Told::blocked("both.example", "first", &[("1", "Agency"), ("2", "Court")]);
    both.lists.push("second".into());
    Book { subjects: vec![Told::blocked("one.example", "first", &[("1", "Agency")]), both, shadow], ..Book::default() }
}

/// What a reader of it says.
fn opened(book: &Book) -> (Reader, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("statistics.db");
    book.write(&path);
    (Reader::open(&path).expect("opened"), folder)
}

/// Minutes from [`START`] on.
fn span(from: i64, to: i64) -> Span {
    Span { from: START + from, to: START + to }
}

#[test]
fn what_is_under_way_counts_too() {
    let mut book = book();
    book.hit(0, START + 1, 3, 2);
    book.hit(0, START + 2, 4, 1);
    book.pending_from = START + 2;
    let (reader, _folder) = opened(&book);
    let subjects = reader.subjects().expect("subjects");
    let all = reader.all(&reader.plan(span(0, 1440)), &subjects, &Filter::default()).expect("all");
    assert_eq!((all.hits, all.attempts, all.names), ([7, 0, 0], Some(3), Some(1)));
    let minute = reader.all(&reader.plan(span(2, 3)), &subjects, &Filter::default()).expect("all");
    assert_eq!(minute.hits, [4, 0, 0]);
    assert_eq!(reader.first(), Some(START));
}

#[test]
fn a_hit_counts_under_each_of_its_orders_and_lists_and_once_in_all() {
    let mut book = book();
    book.hit(0, START, 10, 5);
    book.hit(1, START, 3, 1);
    book.hit(2, START, 4, 4);
    let clients =
        |of, key: &str, authority: &str, segment, estimate| (DAY, of, key.into(), authority.into(), segment, estimate);
    book.sketches = vec![
        clients("order", "1", "Agency", 1, 7),
        clients("order", "1", "Agency", 2, 2),
        clients("all", "", "", 1, 8),
    ];
    let (reader, _folder) = opened(&book);
    let subjects = reader.subjects().expect("subjects");
    let plan = reader.plan(span(0, 1440));
    let top = |by, filter: &Filter| {
        let told = |ranked: Ranked| {
            (format!("{}/{}", ranked.key, ranked.authority), ranked.total(), ranked.names.unwrap_or(0))
        };
        reader.top(&plan, by, &subjects, filter).expect("a ranking").into_iter().map(told).collect::<Vec<_>>()
    };
    let told = |said: &[(&str, u64, u64)]| {
        said.iter().map(|&(key, hits, names)| (key.to_owned(), hits, names)).collect::<Vec<_>>()
    };
    let all = Filter::default();
    assert_eq!(
        top(By::Name, &all),
        told(&[("one.example/", 10, 1), ("shadow.example/", 4, 1), ("both.example/", 3, 1)])
    );
    assert_eq!(top(By::Order, &all), told(&[("1/Agency", 13, 2), ("2/Court", 3, 1)]));
    assert_eq!(top(By::Authority, &all), told(&[("Agency/", 13, 2), ("Court/", 3, 1)]));
    assert_eq!(top(By::List, &all), told(&[("first/", 13, 2), ("second/", 7, 2)]));
    assert_eq!(top(By::Outcome, &all), told(&[("blocked/", 13, 2), ("shadow/", 4, 1)]));
    let court = Filter { authority: Some("COURT".into()), ..Filter::default() };
    assert_eq!(top(By::Order, &court), told(&[("2/Court", 3, 1)]));
    assert_eq!(top(By::Name, &court), told(&[("both.example/", 3, 1)]));
    let orders = reader.top(&plan, By::Order, &subjects, &all).expect("a ranking");
    assert_eq!(orders[0].clients, Some(Clients { low: 7, high: 9 }), "two sketches of a day cannot be joined");
    assert_eq!(reader.all(&plan, &subjects, &all).expect("all").clients, Some(Clients { low: 8, high: 8 }));
}

#[test]
fn rows_know_their_first_and_last_hit_as_finely_as_it_is_kept() {
    let mut book = book();
    book.hit(0, START + 90, 1, 1);
    book.hit(0, START + 1440 * 3 + 125, 2, 1);
    book.hit(1, START + 1440 * 3 + 1439, 5, 5);
    book.minutes_from = START + 1440 * 2;
    let (reader, _folder) = opened(&book);
    let subjects = reader.subjects().expect("subjects");
    let rows =
        |step| reader.report(span(0, 1440 * 30), step, &subjects, &Filter::default()).expect("read").expect("kept");
    let total = rows(Step::Total);
    let told = |rows: &Rows| {
        let tell = |row: &Row| {
            let key = &rows.keys[row.key as usize];
            let order = key.order.as_ref().map_or("", |order| &*order.number).to_owned();
            (row.period - START, key.rule.to_string(), order, row.counts.hits)
        };
        rows.rows.iter().map(tell).collect::<Vec<_>>()
    };
    let row = |period, rule: &str, order: &str, hits| (period, rule.to_owned(), order.to_owned(), hits);
    let both = |period| [row(period, "both.example", "1", 5), row(period, "both.example", "2", 5)];
    assert_eq!(told(&total), [&both(0)[..], &[row(0, "one.example", "1", 3)]].concat());
    assert_eq!(total.keys[0].also, ["second".into()]);
    let one = total.rows[2];
    assert_eq!((one.first.minute - START, one.first.level), (60, Level::Hour), "its minutes are gone");
    assert_eq!((one.last.minute - START, one.last.level), (1440 * 3 + 125, Level::Minute));
    let daily = rows(Step::Day);
    let expected = [&[row(0, "one.example", "1", 1)], &both(4320)[..], &[row(4320, "one.example", "1", 2)]].concat();
    assert_eq!(told(&daily), expected);
    let hourly = rows(Step::Hour);
    assert_eq!(told(&hourly)[0], row(60, "one.example", "1", 1));
    assert_eq!(told(&hourly)[1], row(4320 + 120, "one.example", "1", 2));
}

#[test]
fn hours_that_are_gone_are_not_made_up() {
    let mut book = book();
    book.hit(0, START + 90, 1, 1);
    book.hit(0, START + 1440 * 3 + 125, 2, 1);
    book.minutes_from = i64::MAX;
    book.hours_from = (START + 1440 * 3) / 60;
    let (reader, _folder) = opened(&book);
    let subjects = reader.subjects().expect("subjects");
    let filter = Filter::default();
    assert_eq!(reader.report(span(0, 1440 * 30), Step::Hour, &subjects, &filter).expect("read"), None);
    let plan = reader.plan(span(60, 120));
    assert_eq!(plan.span, span(0, 1440), "the day is all there is");
    let timeline = reader.timeline(span(0, 1440 * 5), &subjects, &filter).expect("a timeline");
    assert_eq!(timeline.step, Level::Day);
    assert_eq!(timeline.bars.iter().map(|bar| bar.counts.hits).collect::<Vec<_>>(), [1, 0, 0, 2, 0]);
}

#[test]
fn kinds_and_totals_add_up() {
    let mut book = book();
    book.hit(0, START, 9, 1);
    let hour = START / 60;
    book.kinds = vec![
        (hour, "blocked", "A", "sinkhole", "udp", 5),
        (hour + 1, "blocked", "A", "sinkhole", "tcp", 1),
        (hour + 30, "shadow", "AAAA", "passed", "udp", 3),
    ];
    book.totals = vec![(START, "received", 100), (START + 61, "received", 11), (START + 61, "cached", 4)];
    let (reader, _folder) = opened(&book);
    let subjects = reader.subjects().expect("subjects");
    let top = |by, span| {
        let ranked = reader.top(&reader.plan(span), by, &subjects, &Filter::default()).expect("a ranking");
        ranked.into_iter().map(|ranked| (ranked.key, ranked.hits)).collect::<Vec<_>>()
    };
    assert_eq!(top(By::Type, span(0, 2880)), [("A".into(), [6, 0, 0]), ("AAAA".into(), [0, 3, 0])]);
    assert_eq!(top(By::Transport, span(30, 59)), [("udp".into(), [5, 0, 0])], "the hour is the finest");
    assert_eq!(top(By::Answer, span(1440, 2880)), [("passed".into(), [0, 3, 0])]);
    let totals = reader.totals(&reader.plan(span(0, 61))).expect("totals");
    assert_eq!(totals, BTreeMap::from([("received".to_owned(), 100)]));
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("statistics.db");
    let said = |path: &Path| Reader::open(path).expect_err("not readable").to_string();
    assert!(said(&path).starts_with("there are no statistics yet: no "), "{}", said(&path));
    Book { user_version: 7, ..book() }.write(&path);
    assert!(said(&path).contains("of a newer version of qalqan (schema 7, this one knows 1)"), "{}", said(&path));
    let other = folder.path().join("other.db");
    Connection::open(&other).and_then(|db| db.execute_batch("CREATE TABLE t (a)")).expect("another database");
    assert!(said(&other).contains("of an older version"), "{}", said(&other));
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database at all, but long enough to be mistaken for one by its length ".repeat(20),
    )
    .expect("written");
    assert!(said(&text).contains("is damaged (file is not a database"), "{}", said(&text));
    let zone = folder.path().join("zone.db");
    Book { time_zone: "Mars/Olympus".into(), ..book() }.write(&zone);
    assert!(said(&zone).contains("Mars/Olympus is no time zone"), "{}", said(&zone));
}

#[test]
fn a_page_that_is_garbage_is_told_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("statistics.db");
    let mut book = book();
    (0..5000).for_each(|at| book.hit(0, START + at * 10, 1, 1));
    book.write(&path);
    let mut bytes = std::fs::read(&path).expect("read");
    // The first pages hold the schema; behind them rows begin.
    bytes.iter_mut().skip(40 * 4096).for_each(|byte| *byte = 0xa5);
    std::fs::write(&path, bytes).expect("written");
    let subjects = Subjects::default();
    let read = Reader::open(&path).and_then(|reader| reader.timeline(span(0, 150), &subjects, &Filter::default()));
    let said = read.expect_err("damaged").to_string();
    assert!(said.contains("is damaged"), "{said}");
}

#[test]
fn a_zone_is_a_name_or_an_offset() {
    let offset = |text| zone(text).map(|zone| zone.to_offset(jiff::Timestamp::UNIX_EPOCH).seconds());
    assert_eq!([offset("UTC"), offset("+05:00"), offset("-03:30")], [Some(0), Some(18_000), Some(-12_600)]);
    assert_eq!([offset("+99:00"), offset("nowhere"), offset("+5 o'clock")], [None, None, None]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_are_those_of_a_plain_list_of_hits(
        hits in prop::collection::vec((0_usize..3, 0_i64..8000, 1_u64..9, 0_u64..2, 0_u64..2), 1..60),
        from in -100_i64..8000, len in 1_i64..5000, minutes_from in -1_i64..8000, hours_from in -1_i64..100,
        pending in 7000_i64..8001, offset in prop::sample::select(vec![0, 300, 330, -570]),
    ) {
        let sign = if offset < 0 { '-' } else { '+' };
        let time_zone = format!("{sign}{:02}:{:02}", i64::abs(offset) / 60, i64::abs(offset) % 60);
        let mut book = Book { time_zone, offset, pending_from: START + pending, ..book() };
        book.minutes_from = START + minutes_from;
        // Hours go six by six.
        book.hours_from = (START / 60 + hours_from).div_euclid(6) * 6;
        book.hits = hits.iter().map(|&(subject, minute, hits, attempts, unexamined)| {
            Hit { subject, minute: START + minute, hits, attempts, unexamined }
        }).collect();
        let (reader, _folder) = opened(&book);
        let subjects = reader.subjects().expect("subjects");
        let wanted = span(from, from + len);
        let plan = reader.plan(wanted);
        let inside = |hit: &&Hit| (plan.span.from..plan.span.to).contains(&hit.minute);
        for by in [By::Name, By::Order, By::List] {
            let mut twin: BTreeMap<(String, String), [u64; 3]> = BTreeMap::new();
            for hit in book.hits.iter().filter(inside) {
                let subject = &book.subjects[hit.subject];
                let keys: Vec<(String, String)> = match by {
                    By::Name => vec![(subject.rule.clone(), String::new())],
                    By::Order => subject.orders.clone(),
                    _ => subject.lists.iter().map(|list| (list.clone(), String::new())).collect(),
                };
                for key in keys {
                    let sum = twin.entry(key).or_default();
                    *sum = [sum[0] + hit.hits, sum[1] + hit.attempts, sum[2] + hit.unexamined];
                }
            }
            let ranked = reader.top(&plan, by, &subjects, &Filter::default()).expect("a ranking");
            let told = ranked.iter().map(|ranked| {
                ((ranked.key.clone(), ranked.authority.clone()), [ranked.total(), ranked.attempts.unwrap_or(0), ranked.unexamined])
            });
            prop_assert_eq!(told.collect::<BTreeMap<_, _>>(), twin);
        }
        for step in [Step::Total, Step::Day, Step::Hour] {
            let Some(rows) = reader.report(wanted, step, &subjects, &Filter::default()).expect("rows") else { continue };
            let inside = |hit: &&Hit| (rows.plan.span.from..rows.plan.span.to).contains(&hit.minute);
            let per_key = |hit: &Hit| book.subjects[hit.subject].orders.len().max(1) as u64;
            let sum: u64 = book.hits.iter().filter(inside).map(|hit| hit.hits * per_key(hit)).sum();
            prop_assert_eq!(rows.rows.iter().map(|row| row.counts.hits).sum::<u64>(), sum);
            for row in &rows.rows {
                let rule = &rows.keys[row.key as usize].rule;
                let mine = |hit: &&Hit| *book.subjects[hit.subject].rule == **rule && inside(hit) && (step == Step::Total
                    || hit.minute >= row.period && hit.minute < row.period + if step == Step::Hour { 60 } else { 1440 });
                let minutes = || book.hits.iter().filter(mine).map(|hit| hit.minute);
                let ends = |moment: Moment| match moment.level {
                    Level::Minute => moment.minute + 1,
                    Level::Hour => floor_hour(moment.minute) + 60,
                    Level::Day => reader.days().ceil(moment.minute + 1),
                };
                let first = minutes().min().expect("a hit");
                prop_assert!((row.first.minute..ends(row.first)).contains(&first), "{row:?} {first}");
                let last = minutes().max().expect("a hit");
                prop_assert!((row.last.minute..ends(row.last)).contains(&last), "{row:?} {last}");
            }
        }
        let timeline = reader.timeline(wanted, &subjects, &Filter::default()).expect("a timeline");
        let inside = |hit: &&Hit| (timeline.span.from..timeline.span.to).contains(&hit.minute);
        let sum: u64 = book.hits.iter().filter(inside).map(|hit| hit.hits).sum();
        prop_assert_eq!(timeline.bars.iter().map(|bar| bar.counts.hits).sum::<u64>(), sum);
    }
}
