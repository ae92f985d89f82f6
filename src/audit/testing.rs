//! Logs to test with.

use std::fs;
use std::path::Path;

use super::walk::Walker;
use super::*;
use crate::util::Now;

/// 2026-01-31T12:00:00Z, in milliseconds.
pub(super) const NOON: i64 = 1_769_860_800_000;

/// Small segments, so that a few lines make several.
pub(super) const SMALL: Options = Options { segment: 1500, waiting: 100, waiting_bytes: 1 << 20 };

/// A moment `seconds` after noon.
pub(super) fn at(seconds: i64) -> Now {
    Now { unix_ms: NOON + seconds * 1000 }
}

/// An event that tells itself from others.
pub(super) fn event(number: u64) -> Event {
    Event::Released(RuleVerdict {
        list: "orders".into(),
        rule: format!("=n{number}.example").into(),
        reason: "a \"mistake\"\nof the feed, қате".into(),
    })
}

/// A log of so many events, in several segments; gives its head.
pub(super) fn log(state_dir: &Path, events: u64) -> Head {
    let audit = Audit::with(state_dir, SMALL, at(0)).expect("opened");
    for number in 0..events {
        audit.record(By::Cli("ада".into()), event(number), at(number as i64));
    }
    let status = audit.status();
    assert_eq!((status.written, status.error), (events, None));
    status.head.expect("a head")
}

/// Proves without waiting for a server that is not there.
pub(super) fn proof(state_dir: &Path, noted: &[Head]) -> Report {
    verify::prove(Walker::with(&folder(state_dir), 0).expect("a log"), noted).expect("readable")
}

/// Segments by name, with their bytes.
pub(super) type Segments = Vec<(String, Vec<u8>)>;

/// Every segment.
pub(super) fn segments(state_dir: &Path) -> Segments {
    let folder = folder(state_dir);
    let read = |number| {
        let name = segment::name(number);
        let bytes = fs::read(folder.join(&name)).expect("read");
        (name, bytes)
    };
    segment::numbers(&folder).expect("listed").into_iter().map(read).collect()
}

/// Every event of a log whose lines all can be read.
pub(super) fn events(state_dir: &Path) -> Vec<Event> {
    let records = records(&folder(state_dir), None, None).expect("a log");
    records.map(|record| record.expect("readable").event.expect("an event")).collect()
}
