mod overload;

use std::path::Path;
use std::time::Instant;

use super::*;
use crate::event::{AnswerKind, Cause, Outcome, Transport};
use crate::name::MAX_WIRE;
use crate::rule::{Mode, Order};

/// An order with this number.
pub(super) fn order(id: &str) -> Arc<Order> {
    Arc::new(Order { id: id.into(), ..Order::default() })
}

/// Says that every name stands in one list.
struct Always;

impl Attribution for Always {
    fn causes(&self, _: &[u8], _: Mode, _: u16) -> Vec<Cause> {
        let orders = vec![order("1/25")];
        vec![Cause { list: "orders".into(), file: "orders/a.toml".into(), line: 1, rule: "example".into(), orders }]
    }

    fn causes_of(&self, _: u32) -> Option<Vec<Cause>> {
        None
    }

    fn rules(&self) -> u32 {
        1
    }

    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
        (rule == 0).then(|| (Outcome::Blocked, self.causes(&[], Mode::Enforce, 0)))
    }
}

/// A log with room for everything.
pub(super) fn settings(file: &Path) -> Settings {
    Settings {
        file: Some(file.to_owned()),
        clients: Clients::Truncate,
        max_size: 64 << 20,
        max_age: Duration::from_secs(86_400),
        keep: 10,
    }
}

/// A name of its own.
pub(super) fn name(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [2, high, low, 0]
}

/// A hit on it.
pub(super) fn hit(name: &[u8]) -> Hit<'_> {
    Hit {
        unix_ms: 1_769_860_800_000,
        generation: 1,
        client: [192, 0, 2, 7].into(),
        transport: Transport::Udp,
        group: 0,
        qtype: 1,
        outcome: Outcome::Blocked,
        answer: AnswerKind::Sinkhole,
        rule: 0,
        alone: false,
        name,
        target: None,
    }
}

/// Asks again and again until `done`, for as long as a slow machine may need.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("the log");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

#[test]
fn hits_of_several_workers_are_written_while_running_and_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    let log = HitLog::start(&settings(&path), Takers::default()).expect("started");
    log.announce(1, Arc::new(Always));
    let mut first = log.sender();
    assert!(first.send(&hit(&name(0))));
    wait("an idle log is flushed", || log.counters().written == 1);
    assert_eq!(lines(&path).len(), 1);
    let workers: Vec<_> = (0..3u16)
        .map(|worker| {
            let mut sender = log.sender();
            std::thread::spawn(move || (0..500).filter(|&n| sender.send(&hit(&name(worker * 500 + n)))).count())
        })
        .collect();
    let taken: usize = workers.into_iter().map(|worker| worker.join().expect("a worker")).sum();
    let counters = log.close();
    assert_eq!(counters, HitLogCounters { written: taken as u64 + 1, ..counters });
    assert_eq!((taken, counters.dropped_full, counters.dropped_write), (1500, 0, 0));
    let written = lines(&path);
    assert_eq!(written.len(), 1501);
    assert!(written.iter().all(|line| line["list"] == "orders" && line["client"] == "192.0.2.0/24"));
    assert!(!first.send(&hit(&name(1))), "closed");
}

#[test]
fn a_full_ring_is_counted_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    let log = HitLog::start(&settings(&path), Takers::default()).expect("started");
    let sent = 20 * RING as u64 / 36;
    let mut sender = log.sender();
    // The longest there are, of which 36 words are one: sending must be so much faster than writing that the ring overflows.
    let mut long = [b'a'; MAX_WIRE];
    for at in [0, 64, 128, 192] {
        long[at] = 63.min((MAX_WIRE - 2 - at) as u8);
    }
    long[MAX_WIRE - 1] = 0;
    let taken = (0..sent).filter(|_| sender.send(&hit(&long))).count() as u64;
    let counters = log.close();
    assert!(counters.dropped_full > 0, "the ring never overflowed");
    assert_eq!(counters.dropped_full, sent - taken);
    assert_eq!(counters.written + counters.dropped_full + counters.dropped_write, sent);
    assert_eq!(lines(&path).len() as u64, counters.written);
}

#[test]
fn clones_share_a_ring_and_each_hit_is_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    let log = HitLog::start(&settings(&path), Takers::default()).expect("started");
    log.announce(1, Arc::new(Always));
    let mut first = log.sender();
    let clones: Vec<_> = (0..4_u16)
        .map(|clone| {
            let mut sender = first.clone();
            std::thread::spawn(move || (0..300).all(|n| sender.send(&hit(&name(clone * 300 + n)))))
        })
        .collect();
    assert!((1200..1500).all(|n| first.send(&hit(&name(n)))));
    assert!(clones.into_iter().all(|clone| clone.join().expect("a clone")));
    let mut late = first.clone();
    let (mut unused, mut unused_clone) = (log.sender(), log.sender().clone());
    assert_eq!(log.close(), HitLogCounters { written: 1500, ..HitLogCounters::default() });
    let names: std::collections::BTreeSet<String> = lines(&path).iter().map(|line| line["name"].to_string()).collect();
    assert_eq!(names.len(), 1500, "each its own name");
    let closed = [&mut first, &mut late, &mut unused, &mut unused_clone].map(|sender| sender.send(&hit(&name(1))));
    assert_eq!(closed, [false; 4]);
}

#[test]
fn a_disk_that_stays_full_costs_lines_but_no_count() {
    let log = HitLog::start(&settings(Path::new("/dev/full")), Takers::default()).expect("started");
    let mut sender = log.sender();
    let mut sent = 0;
    wait("more lines than are held", || {
        for number in 0..500 {
            sender.send(&hit(&name(number)));
            sent += 1;
        }
        log.counters().dropped_write > 0
    });
    let counters = log.close();
    assert_eq!(counters.written, 0);
    assert_eq!(counters.dropped_full + counters.dropped_write, sent);
}

#[test]
fn the_log_goes_on_by_itself_when_it_can_be_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let path = inner.join("hits.jsonl");
    let log = HitLog::start(&settings(&path), Takers::default()).expect("started");
    std::fs::remove_dir_all(&inner).expect("removed");
    let mut sender = log.sender();
    assert!(sender.send(&hit(&name(1))));
    // The line is held: with no folder there is nowhere to write, and one line is far from too many.
    std::fs::create_dir(&inner).expect("a folder");
    assert!(sender.send(&hit(&name(2))));
    wait("both lines", || log.counters().written == 2);
    assert_eq!(lines(&path).len(), 2);
}

#[test]
fn without_a_file_hits_are_taken_and_forgotten() {
    let log = HitLog::start(&Settings { file: None, ..settings(Path::new("")) }, Takers::default()).expect("started");
    assert!(log.sender().send(&hit(&name(1))));
    assert_eq!(log.close(), HitLogCounters::default());
}

#[test]
fn what_cannot_be_opened_is_said_with_path_and_remedy() {
    let error =
        HitLog::start(&settings(Path::new("/nowhere/hits.jsonl")), Takers::default()).expect_err("no such folder");
    assert_eq!(
        error.to_string(),
        "cannot open the hit log /nowhere/hits.jsonl: No such file or directory (os error 2); its folder must exist \
         and be writable for the user qalqan runs as (file = \"\" in [hits] turns the log off)"
    );
}
