//! What tampering shows, and what a crash, a full disk and a second process do.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use proptest::prelude::*;

use super::line::Link;
use super::testing::*;
use super::*;
use crate::util::Now;

/// Events of the log that is tampered with.
const EVENTS: u64 = 24;

/// That log: its segments and its head.
fn original() -> &'static (Segments, Head) {
    static ORIGINAL: OnceLock<(Segments, Head)> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let head = log(dir.path(), EVENTS);
        let segments = segments(dir.path());
        assert!(segments.len() > 4, "several segments are needed: {}", segments.len());
        (segments, head)
    })
}

/// Writes segments as a log.
fn lay(state_dir: &Path, segments: &[(String, Vec<u8>)]) {
    let folder = folder(state_dir);
    fs::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in segments {
        fs::write(folder.join(name), bytes).expect("written");
    }
}

/// What somebody may do to a log; numbers are taken modulo what is there.
#[derive(Clone, Debug)]
enum Tamper {
    Flip(usize, u8),
    InsertByte(usize, u8),
    RemoveByte(usize),
    RemoveLine(usize),
    SwapLines(usize, usize),
    CopyLine(usize, usize),
    InsertText(usize, String),
    RemoveSegment(usize),
    SwapSegments(usize, usize),
    Truncate(usize),
}

fn tamper() -> impl Strategy<Value = Tamper> {
    let place = || any::<usize>();
    prop_oneof![
        4 => (place(), 1..=255u8).prop_map(|(at, bits)| Tamper::Flip(at, bits)),
        2 => (place(), any::<u8>()).prop_map(|(at, byte)| Tamper::InsertByte(at, byte)),
        1 => place().prop_map(Tamper::RemoveByte),
        2 => place().prop_map(Tamper::RemoveLine),
        2 => (place(), place()).prop_map(|(a, b)| Tamper::SwapLines(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Tamper::CopyLine(a, b)),
        1 => (place(), "(\\{.{0,40}\\}|[ -~]{0,90})").prop_map(|(at, text)| Tamper::InsertText(at, text)),
        1 => place().prop_map(Tamper::RemoveSegment),
        1 => (place(), place()).prop_map(|(a, b)| Tamper::SwapSegments(a, b)),
        1 => place().prop_map(Tamper::Truncate),
    ]
}

/// Lines of all segments, each with the segment it is in.
type Lines = Vec<(usize, Vec<u8>)>;

impl Tamper {
    fn apply(&self, segments: &mut Segments) {
        let total: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
        let lines = EVENTS as usize;
        match *self {
            Self::Flip(at, bits) => byte(segments, at % total, |bytes, at| bytes[at] ^= bits),
            Self::InsertByte(at, new) => byte(segments, at % total, |bytes, at| bytes.insert(at, new)),
            Self::RemoveByte(at) => byte(segments, at % total, |bytes, at| {
                bytes.remove(at);
            }),
            Self::Truncate(at) => truncate(segments, at % total),
            Self::RemoveSegment(at) => drop(segments.remove(at % segments.len())),
            Self::SwapSegments(a, b) => {
                let (a, b) = (a % segments.len(), b % segments.len());
                let first = segments[a].1.clone();
                segments[a].1 = std::mem::replace(&mut segments[b].1, first);
            }
            Self::RemoveLine(at) => by_lines(segments, |all| drop(all.remove(at % lines))),
            Self::SwapLines(a, b) => by_lines(segments, |all| {
                let (a, b) = (a % lines, b % lines);
                let first = all[a].1.clone();
                all[a].1 = std::mem::replace(&mut all[b].1, first);
            }),
            Self::CopyLine(from, to) => by_lines(segments, |all| {
                let copy = (all[to % lines].0, all[from % lines].1.clone());
                all.insert(to % lines, copy);
            }),
            Self::InsertText(at, ref text) => by_lines(segments, |all| {
                let line = format!("{text}\n").into_bytes();
                all.insert(at % lines, (all[at % lines].0, line));
            }),
        }
    }
}

/// Changes the byte at `at` of all bytes.
fn byte(segments: &mut [(String, Vec<u8>)], mut at: usize, change: impl FnOnce(&mut Vec<u8>, usize)) {
    for (_, bytes) in segments {
        if at < bytes.len() {
            return change(bytes, at);
        }
        at -= bytes.len();
    }
}

/// Keeps the first `left` of all bytes.
fn truncate(segments: &mut [(String, Vec<u8>)], mut left: usize) {
    for (_, bytes) in segments {
        bytes.truncate(left);
        left -= bytes.len();
    }
}

/// Changes the lines and puts them together again.
fn by_lines(segments: &mut [(String, Vec<u8>)], change: impl FnOnce(&mut Lines)) {
    let split = |(at, (_, bytes)): (usize, &(String, Vec<u8>))| {
        bytes.split_inclusive(|&byte| byte == b'\n').map(|line| (at, line.to_vec())).collect::<Vec<_>>()
    };
    let mut lines: Lines = segments.iter().enumerate().flat_map(split).collect();
    change(&mut lines);
    for (at, (_, bytes)) in segments.iter_mut().enumerate() {
        *bytes = lines.iter().filter(|(of, _)| *of == at).flat_map(|(_, line)| line.clone()).collect();
    }
}

/// The stupid twin of [`verify`]: all in memory, by the words of `docs/audit.md`. The number of lines, if all are right.
fn twin(segments: &[(String, Vec<u8>)]) -> Option<u64> {
    use crate::util::Digest;
    let mut seq = 0;
    let mut prev = "0".repeat(64);
    for (_, bytes) in segments {
        let text = std::str::from_utf8(bytes).ok()?;
        if !text.is_empty() && !text.ends_with('\n') {
            return None;
        }
        for line in text.split_terminator('\n') {
            let fields: serde_json::Value = serde_json::from_str(line).ok()?;
            let (body, rest) = line.split_at(line.rfind(",\"hash\":")?);
            let hash = Digest::of(body.as_bytes()).to_string();
            seq += 1;
            let right = rest == format!(",\"hash\":\"{hash}\"}}") && fields["seq"] == seq && fields["prev"] == *prev;
            if !right {
                return None;
            }
            prev = Digest::of(line.as_bytes()).to_string();
        }
    }
    Some(seq)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_is_changed_is_seen(tamper in tamper()) {
        let (segments, head) = original();
        let mut changed = segments.clone();
        tamper.apply(&mut changed);
        let dir = tempfile::tempdir().expect("a folder");
        lay(dir.path(), &changed);
        let report = proof(dir.path(), &[*head]);
        let same = segments.iter().map(|(_, bytes)| bytes).eq(changed.iter().map(|(_, bytes)| bytes));
        prop_assert_eq!(report.is_proven(), same, "{:?}", report);
        let twin = twin(&changed);
        prop_assert_eq!(twin.is_some(), report.broken.is_none());
        prop_assert!(twin.is_none_or(|lines| lines == report.events));
        // Without a noted head only the end can be missed: then what is left is a beginning of what was.
        let whole = |segments: &[(String, Vec<u8>)]| segments.iter().flat_map(|(_, b)| b.clone()).collect::<Vec<_>>();
        prop_assert!(report.broken.is_some() || whole(segments).starts_with(&whole(&changed)));
    }
}

#[test]
fn the_first_wrong_line_is_named() {
    let (segments, _) = original();
    type Case = (&'static str, fn(&mut Lines));
    let cases: [Case; 6] = [
        ("edited", |lines| lines[7].1[20] ^= 1),
        ("events 8 to 9 are missing here", |lines| drop(lines.drain(7..9))),
        ("event 8 should stand here, but event 3 does", |lines| lines[7] = (lines[7].0, lines[2].1.clone())),
        ("this is no line", |lines| lines[7].1.insert(0, b'x')),
        ("was replaced", |lines| {
            let mut forged = Vec::new();
            let mut link = line::Line::read(lines[5].1.trim_ascii_end()).expect("a line").link();
            let said = line::say(&By::Clock, &event(99), at(0)).expect("JSON");
            link.append(&said, &mut forged);
            lines[6].1 = forged;
        }),
        ("the log ends in the middle", |lines| {
            lines.truncate(8);
            lines[7].1.pop();
        }),
    ];
    for (says, change) in cases {
        let mut changed = segments.clone();
        let mut place = (String::new(), 0);
        by_lines(&mut changed, |lines| {
            let of = lines[7].0;
            place = (segments[of].0.clone(), lines[..=7].iter().filter(|(at, _)| *at == of).count());
            change(lines);
        });
        let dir = tempfile::tempdir().expect("a folder");
        lay(dir.path(), &changed);
        let broken = proof(dir.path(), &[]).broken.expect("broken").to_string();
        let at = format!("{}:{}: ", place.0, place.1);
        assert!(broken.contains(says) && broken.contains(&at), "{says} at {at}: {broken}");
    }
}

#[test]
fn who_rewrites_all_that_follows_is_caught_by_a_noted_head_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let head = log(dir.path(), 10);
    let noted: Vec<Head> = [1, 5, 10].map(|seq| noted(dir.path(), seq)).to_vec();
    assert_eq!(noted[2], head);
    assert!(proof(dir.path(), &noted).is_proven());
    // The same log, but event 5 says another name.
    let (mut link, mut lines) = (Link::START, Vec::new());
    for number in 0..10 {
        let told = if number == 4 { 666 } else { number };
        let said = line::say(&By::Cli("ада".into()), &event(told), at(number as i64)).expect("JSON");
        link.append(&said, &mut lines);
    }
    fs::remove_dir_all(folder(dir.path())).expect("removed");
    lay(dir.path(), &[(segment::name(1), lines)]);
    let report = proof(dir.path(), &noted);
    assert!(report.broken.is_none() && !report.is_proven());
    let found: Vec<bool> = report.expected.iter().map(|expected| expected.outcome == Outcome::Found).collect();
    assert_eq!(found, [true, false, false]);
    assert!(matches!(report.expected[1].outcome, Outcome::Other { .. }), "{:?}", report.expected);
    let beyond = Head { seq: 11, ..head };
    assert_eq!(proof(dir.path(), &[beyond]).expected[0].outcome, Outcome::Missing);
}

/// The head at a number.
fn noted(state_dir: &Path, seq: u64) -> Head {
    let mut records = records(&folder(state_dir), None, None).expect("a log");
    records.find_map(|record| record.ok().filter(|record| record.head.seq == seq)).expect("there").head
}

#[test]
fn a_kill_in_the_middle_of_a_line_loses_that_line_only() {
    let (segments, _) = original();
    let (name, last) = segments.last().expect("segments");
    let ends: Vec<usize> = last.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    let before: u64 = EVENTS - ends.len() as u64;
    for cut in (0..last.len()).step_by(7).chain(ends.iter().flat_map(|&end| [end - 1, end])) {
        let dir = tempfile::tempdir().expect("a folder");
        lay(dir.path(), segments);
        fs::write(folder(dir.path()).join(name), &last[..cut]).expect("cut");
        let whole = ends.iter().filter(|&&end| end <= cut).count() as u64;
        let audit = Audit::with(dir.path(), SMALL, at(100)).expect("opened");
        audit.record(By::System, event(1000), at(101));
        let report = proof(dir.path(), &[audit.status().head.expect("a head")]);
        let kept = ends.iter().rfind(|&&end| end <= cut).copied().unwrap_or(0);
        let torn = u64::from(kept < cut);
        assert!(report.is_proven(), "cut at {cut}: {report:?}");
        assert_eq!((report.events, report.recovered), (before + whole + torn + 1, torn), "cut at {cut}");
        let side = fs::read(folder(dir.path()).join(name.replace(".jsonl", ".torn-1")));
        assert_eq!(side.ok().as_deref(), (torn == 1).then(|| &last[kept..cut]), "cut at {cut}");
    }
}

#[test]
fn blocks_that_never_reached_the_disk_are_moved_aside_too() {
    let (segments, head) = original();
    let dir = tempfile::tempdir().expect("a folder");
    lay(dir.path(), segments);
    let (name, last) = segments.last().expect("segments");
    // A whole line whose first block is zeros, then a good one: neither was synced.
    let junk = [&[0; 512][..], b"x\"}\n{\"seq\":99}\n"].concat();
    fs::write(folder(dir.path()).join(name), [&last[..], &junk].concat()).expect("written");
    drop(Audit::with(dir.path(), SMALL, at(0)).expect("opened"));
    let report = proof(dir.path(), &[*head]);
    assert!(report.is_proven() && report.recovered == 1, "{report:?}");
    let recovered = events(dir.path()).pop().expect("an event");
    let Event::Recovered(tail) = &recovered else { panic!("{recovered:?}") };
    assert_eq!((tail.bytes, tail.sha256), (junk.len() as u64, crate::util::Digest::of(&junk)));
}

#[test]
fn a_wrong_line_that_no_crash_leaves_stays_and_shows() {
    let (segments, _) = original();
    for torn in ["", "{\"half"] {
        let dir = tempfile::tempdir().expect("a folder");
        lay(dir.path(), segments);
        let (name, last) = segments.last().expect("segments");
        let edited = String::from_utf8(last.clone()).expect("UTF-8").replace("=n23.example", "=n99.example");
        fs::write(folder(dir.path()).join(name), edited.clone() + torn).expect("written");
        let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
        let report = proof(dir.path(), &[]);
        assert!(matches!(report.broken, Some(Broken { fault: Fault::Edited { .. }, .. })), "{report:?}");
        assert_eq!(fs::read_to_string(folder(dir.path()).join(name)).expect("read"), edited + torn);
        let Some(Event::Disturbed(what)) = events(dir.path()).pop() else { panic!("nothing was said") };
        assert_eq!(what.file.as_str(), name);
        assert_eq!(audit.status().head.expect("a head").seq, EVENTS, "it goes on behind the last right line");
    }
}

#[test]
fn a_log_of_nothing_but_garbage_is_kept_and_gone_on_from() {
    for garbage in ["no line\n", "half a line", ""] {
        let dir = tempfile::tempdir().expect("a folder");
        lay(dir.path(), &[(segment::name(1), garbage.into()), (segment::name(2), Vec::new())]);
        let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
        audit.record(By::Clock, event(1), at(0));
        assert_eq!(fs::read_to_string(folder(dir.path()).join(segment::name(1))).expect("read"), garbage);
        assert_eq!(proof(dir.path(), &[]).is_proven(), garbage.is_empty());
        assert_eq!(audit.status().head.expect("a head").seq, 1 + u64::from(!garbage.is_empty()));
    }
}

#[test]
fn no_two_processes_write_one_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(dir.path(), at(0)).expect("opened");
    let second = Audit::open(dir.path(), at(0)).expect_err("taken").to_string();
    assert!(second.contains("another process") && second.contains("state_dir"), "{second}");
    let clone = audit.clone();
    drop(audit);
    assert!(Audit::open(dir.path(), at(0)).is_err(), "a clone still writes");
    drop(clone);
    Audit::open(dir.path(), at(0)).expect("free again");
}

#[test]
fn operators_at_once_all_stand_in_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
    thread::scope(|scope| {
        for operator in 0..4 {
            let audit = audit.clone();
            scope.spawn(move || {
                for number in 0..25 {
                    audit.record(By::Api(format!("token {operator}").into()), event(number), at(0));
                }
            });
        }
    });
    let report = proof(dir.path(), &[audit.status().head.expect("a head")]);
    assert!(report.is_proven() && report.events == 100, "{report:?}");
}

#[test]
fn a_log_is_proven_while_it_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
    audit.record(By::Clock, event(0), at(0));
    let writer = thread::spawn(move || (1..300).for_each(|number| audit.record(By::Clock, event(number), at(0))));
    let mut noted = Vec::new();
    while !writer.is_finished() {
        let report = verify(&folder(dir.path()), &noted).expect("readable");
        assert!(report.is_proven(), "{report:?}");
        noted = report.head.into_iter().collect();
    }
    writer.join().expect("written");
    assert_eq!(proof(dir.path(), &noted).events, 300);
}

#[test]
fn a_group_larger_than_the_memory_for_it_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
    audit.record_all((0..1000).map(|number| (By::Clock, event(number))), at(0));
    let status = audit.status();
    assert_eq!((status.written, status.lost, status.waiting), (1000, 0, 0));
    assert!(proof(dir.path(), &[]).is_proven());
    assert_eq!(events(dir.path()), (0..1000).map(event).collect::<Vec<_>>());
}

#[test]
fn what_the_disk_does_not_take_waits_and_what_has_no_room_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::with(dir.path(), SMALL, at(0)).expect("opened");
    audit.record(By::Clock, event(0), at(0));
    // A file in place of the folder fails for root too, unlike a mode.
    let (folder, away) = (folder(dir.path()), dir.path().join("away"));
    fs::rename(&folder, &away).expect("moved");
    fs::write(&folder, "in the way").expect("written");
    for number in 1..=150 {
        audit.record(By::Clock, event(number), at(number as i64));
    }
    let status = audit.status();
    assert_eq!((status.written, status.waiting, status.lost, status.failures), (1, 100, 50, 150));
    assert!(status.error.is_some_and(|error| !error.is_empty()));
    fs::remove_file(&folder).expect("removed");
    fs::rename(&away, &folder).expect("moved back");
    audit.flush(at(200));
    let status = audit.status();
    assert_eq!((status.written, status.waiting, status.lost, status.error), (102, 0, 50, None));
    let report = proof(dir.path(), &[status.head.expect("a head")]);
    assert!(report.is_proven() && report.lost == 50, "{report:?}");
    let mut events = events(dir.path());
    let Some(Event::Lost(lost)) = events.pop() else { panic!("nothing was said") };
    assert_eq!((lost.events, lost.since.as_str()), (50, "2026-01-31T12:01:41.000Z"));
    assert_eq!(events, (0..=100).map(event).collect::<Vec<_>>());
}

#[test]
fn a_log_that_others_change_meanwhile_says_so_and_goes_on() {
    type Case = (&'static str, fn(&Path));
    let cases: [Case; 4] = [
        ("removed", |path| fs::remove_file(path).expect("removed")),
        ("appended", |path| fs::write(path, [&fs::read(path).expect("read")[..], b"x\n"].concat()).expect("written")),
        ("cut off", |path| fs::write(path, "").expect("written")),
        ("in its place", |path| {
            fs::copy(path, path.with_extension("new")).expect("copied");
            fs::rename(path.with_extension("new"), path).expect("moved");
        }),
    ];
    for (says, change) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        let audit = Audit::open(dir.path(), at(0)).expect("opened");
        audit.record(By::Clock, event(0), at(0));
        change(&folder(dir.path()).join(segment::name(1)));
        audit.flush(at(1));
        audit.record(By::Clock, event(1), at(1));
        let events = events(dir.path());
        let [.., Event::Disturbed(what), last] = &events[..] else { panic!("{says}: {events:?}") };
        assert!(what.what.as_str().contains(says) && *last == event(1), "{what:?}");
        assert_eq!(proof(dir.path(), &[]).is_proven(), says == "in its place", "{says}");
        assert_eq!(audit.status().head.expect("a head").seq, 3);
    }
}

#[test]
fn a_clock_set_back_is_seen_and_breaks_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(dir.path(), at(0)).expect("opened");
    for (number, second) in [10, 20, 5, 30].into_iter().enumerate() {
        audit.record(By::Clock, event(number as u64), at(second));
    }
    let report = proof(dir.path(), &[]);
    assert!(report.is_proven() && report.clock_back == 1);
    let read = |from: Option<Now>, to| {
        let records = records(&folder(dir.path()), from, to).expect("a log");
        records.map(|record| record.expect("read").head.seq).collect::<Vec<_>>()
    };
    assert_eq!(read(Some(at(5)), Some(at(20))), [1, 3]);
    assert_eq!(read(Some(at(11)), None), [2, 4]);
    assert_eq!(read(None, Some(at(6))), [3]);
}

#[test]
fn what_a_later_version_wrote_is_proven_and_read_as_far_as_it_is_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut link, mut lines) = (Link::START, Vec::new());
    let when = "\"time\":\"2026-01-31T12:00:00.000Z\"";
    link.append(&format!("{when},\"by\":{{\"kind\":\"moon\"}},\"event\":\"eclipse\",\"depth\":[1]"), &mut lines);
    link.append(&format!("{when},\"by\":{{\"kind\":\"clock\",\"tz\":1}},\"event\":\"released\",\"list\":\"l\",\"rule\":\"r\",\"reason\":\"x\",\"more\":{{}}"), &mut lines);
    lay(dir.path(), &[(segment::name(1), lines)]);
    assert!(proof(dir.path(), &[]).is_proven());
    let records: Vec<Record> =
        records(&folder(dir.path()), None, None).expect("a log").map(|record| record.expect("read")).collect();
    assert_eq!((&records[0].by, &records[0].event), (&None, &None));
    assert!(matches!((&records[1].by, &records[1].event), (Some(By::Clock), Some(Event::Released(_)))), "{records:?}");
}

#[test]
fn without_a_log_it_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a folder");
    let none = |dir: &Path| verify(&folder(dir), &[]).expect_err("nothing there").to_string();
    assert!(none(dir.path()).contains("audit"), "{}", none(dir.path()));
    fs::create_dir(folder(dir.path())).expect("a folder");
    assert!(none(dir.path()).contains("there is no audit log"));
    fs::create_dir(folder(dir.path()).join(segment::name(1))).expect("a folder");
    assert!(none(dir.path()).contains("it is not a file"), "{}", none(dir.path()));
}

#[test]
fn heads_are_read_as_they_are_printed() {
    let head = original().1;
    assert_eq!(head.to_string().parse(), Ok(head));
    assert_eq!(format!(" {}\n", head.to_string().to_uppercase()).parse(), Ok(head));
    for text in ["", "1", "1:", ":", "0:x", &format!("0:{}", head.hash), &format!("-1:{}", head.hash)] {
        assert_eq!(text.parse::<Head>(), Err(BadHead), "{text}");
    }
}
