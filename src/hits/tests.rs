use std::path::Path;
use std::time::Instant;

use super::*;
use crate::event::{AnswerKind, Cause, HitName, Transport};
use crate::rule::Mode;

/// Says that every name stands in one list.
struct Always;

impl Attribution for Always {
    fn causes(&self, _: &[u8], _: Mode) -> Vec<Cause> {
        let orders = vec!["1/25".into()];
        vec![Cause { list: "orders".into(), file: "orders/a.toml".into(), line: 1, rule: "example".into(), orders }]
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

/// A hit on a name of its own.
pub(super) fn hit(number: u16) -> Hit {
    let [high, low] = number.to_be_bytes();
    Hit {
        unix_ms: 1_769_860_800_000,
        generation: 1,
        client: [192, 0, 2, 7].into(),
        transport: Transport::Udp,
        qtype: 1,
        mode: Mode::Enforce,
        answer: AnswerKind::Sinkhole,
        name: HitName::new(&[2, high, low, 0]),
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
    let log = HitLog::start(&settings(&path)).expect("started");
    log.announce(1, Arc::new(Always));
    let mut first = log.sender();
    assert!(first.send(hit(0)));
    wait("an idle log is flushed", || log.counters().written == 1);
    assert_eq!(lines(&path).len(), 1);
    let workers: Vec<_> = (0..3u16)
        .map(|worker| {
            let mut sender = log.sender();
            std::thread::spawn(move || (0..500).filter(|&n| sender.send(hit(worker * 500 + n))).count())
        })
        .collect();
    let taken: usize = workers.into_iter().map(|worker| worker.join().expect("a worker")).sum();
    let counters = log.close();
    assert_eq!(counters, HitLogCounters { written: taken as u64 + 1, ..counters });
    assert_eq!((taken, counters.dropped_full, counters.dropped_write), (1500, 0, 0));
    let written = lines(&path);
    assert_eq!(written.len(), 1501);
    assert!(written.iter().all(|line| line["list"] == "orders" && line["client"] == "192.0.2.0/24"));
    assert!(!first.send(hit(1)), "closed");
}

#[test]
fn a_full_ring_is_counted_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    let log = HitLog::start(&settings(&path)).expect("started");
    let sent = 20 * RING as u64;
    let mut sender = log.sender();
    // Made ahead: sending must be so much faster than writing that the ring overflows.
    let hits: Vec<Hit> = (0..sent).map(|number| hit(number as u16)).collect();
    let taken = hits.into_iter().filter(|hit| sender.send(hit.clone())).count() as u64;
    let counters = log.close();
    assert!(counters.dropped_full > 0, "the ring never overflowed");
    assert_eq!(counters.dropped_full, sent - taken);
    assert_eq!(counters.written + counters.dropped_full + counters.dropped_write, sent);
    assert_eq!(lines(&path).len() as u64, counters.written);
}

#[test]
fn a_disk_that_stays_full_costs_lines_but_no_count() {
    let log = HitLog::start(&settings(Path::new("/dev/full"))).expect("started");
    let mut sender = log.sender();
    let mut sent = 0;
    wait("more lines than are held", || {
        for number in 0..500 {
            sender.send(hit(number));
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
    let log = HitLog::start(&settings(&path)).expect("started");
    std::fs::remove_dir_all(&inner).expect("removed");
    let mut sender = log.sender();
    assert!(sender.send(hit(1)));
    // The line is held: with no folder there is nowhere to write, and one line is far from too many.
    std::fs::create_dir(&inner).expect("a folder");
    assert!(sender.send(hit(2)));
    wait("both lines", || log.counters().written == 2);
    assert_eq!(lines(&path).len(), 2);
}

#[test]
fn without_a_file_hits_are_taken_and_forgotten() {
    let log = HitLog::start(&Settings { file: None, ..settings(Path::new("")) }).expect("started");
    assert!(log.sender().send(hit(1)));
    assert_eq!(log.close(), HitLogCounters::default());
}

#[test]
fn what_cannot_be_opened_is_said_with_path_and_remedy() {
    let error = HitLog::start(&settings(Path::new("/nowhere/hits.jsonl"))).expect_err("no such folder");
    assert_eq!(
        error.to_string(),
        "cannot open the hit log /nowhere/hits.jsonl: No such file or directory (os error 2); its folder must exist \
         and be writable for the user qalqan runs as (file = \"\" in [hits] turns the log off)"
    );
}
