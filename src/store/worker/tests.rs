use std::fs;
use std::os::unix::fs::symlink;

use rusqlite::Connection;

use super::*;
use crate::store::testing::{Filled, delta, row, settings, why};

/// 2026-01-31T12:00Z
const NOON: i64 = 1_769_860_800;

/// Some seconds after noon.
fn at(seconds: i64) -> Now {
    Now { unix_ms: (NOON + seconds) * 1000 }
}

/// A store in a folder of its own, tried again at once.
struct Stage {
    folder: tempfile::TempDir,
    worker: Worker,
    seconds: i64,
}

impl Stage {
    fn new() -> Self {
        Self::at(|_| {})
    }

    /// With something done in the folder before.
    fn at(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let worker = Self::worker(folder.path());
        Self { folder, worker, seconds: 0 }
    }

    fn worker(folder: &Path) -> Worker {
        let tuning = Tuning { retry: Duration::ZERO, ..Tuning::default() };
        let mut worker = Worker::new(&crate::store::path(folder), settings(), tuning, at(0));
        worker.take(Delta { subjects: vec![(1, why("a.example", &[]))], ..Delta::default() });
        worker
    }

    fn path(&self) -> PathBuf {
        crate::store::path(self.folder.path())
    }

    /// Hits of a second.
    fn hits(&mut self, hits: u64) -> &Status {
        self.seconds += 1;
        let now = at(self.seconds);
        self.worker.take(delta([row(1, now.unix_ms / 60_000, hits)]));
        self.worker.tick(now);
        &self.worker.status
    }

    /// Hits that others can read.
    fn read(&self) -> i64 {
        read(&self.path())
    }

    /// Makes the path of the store lead into nothing, or lets it lead to the store again.
    fn cut_off(&self, off: bool) {
        let (path, away) = (self.path(), self.folder.path().join("away.db"));
        if off {
            fs::rename(&path, &away).expect("moved");
            symlink("/nonexistent/statistics.db", &path).expect("made");
        } else {
            fs::remove_file(&path).expect("removed");
            fs::rename(&away, &path).expect("moved");
        }
    }
}

/// Hits in a file.
fn read(path: &Path) -> i64 {
    let db = Connection::open(path).expect("opened");
    db.query_row("SELECT coalesce(sum(hits), 0) FROM hits_by_minute", [], |row| row.get(0)).expect("a number")
}

#[test]
fn what_is_counted_can_be_read_at_once_and_is_folded_each_minute() {
    let mut stage = Stage::new();
    for second in 1..=130 {
        let status = stage.hits(1);
        assert_eq!((&status.error, status.waiting), (&None, 0));
        if second % 50 == 1 {
            assert_eq!(stage.read(), second);
        }
    }
    let db = Connection::open(stage.path()).expect("opened");
    let pending: i64 = db.query_row("SELECT count(*) FROM pending", [], |row| row.get(0)).expect("a number");
    assert_eq!(pending, 10, "those of the minute that goes on");
    stage.worker.finish(at(131));
    let sums = "SELECT (SELECT sum(hits) FROM minute) || ' ' || (SELECT sum(hits0 + hits1) FROM hour_block) || ' ' || \
                (SELECT sum(hits) FROM day)";
    let folded: String = db.query_row(sums, [], |row| row.get(0)).expect("numbers");
    assert_eq!(folded, "130 130 130");
}

#[test]
fn another_start_adds_up() {
    let mut stage = Stage::new();
    stage.hits(3);
    // Killed: nothing is folded.
    drop(std::mem::replace(&mut stage.worker, Stage::worker(Path::new("/nonexistent"))));
    stage.worker = Stage::worker(stage.folder.path());
    stage.hits(4);
    assert_eq!(stage.read(), 7);
    let db = Connection::open(stage.path()).expect("opened");
    let runs: i64 = db.query_row("SELECT count(*) FROM run", [], |row| row.get(0)).expect("a number");
    assert_eq!(runs, 2);
}

#[test]
fn a_damaged_file_is_moved_aside_whenever_it_is_noticed() {
    let mut stage = Stage::at(|folder| fs::write(folder.join("statistics.db"), [7; 9000]).expect("written"));
    assert_eq!(stage.hits(2).moved_aside, 1);
    assert_eq!((stage.read(), &stage.worker.status.error), (2, &None));
    // While it is written.
    stage.worker.finish(at(stage.seconds));
    let mut bytes = fs::read(stage.path()).expect("read");
    bytes[4096..].fill(0xee);
    fs::write(stage.path(), bytes).expect("written");
    stage.worker = Stage::worker(stage.folder.path());
    assert_eq!(stage.hits(5).moved_aside, 1);
    assert_eq!(stage.read(), 5);
    let names = fs::read_dir(stage.folder.path()).expect("listed").flatten().map(|file| file.file_name());
    let aside = |name: &str| name.contains(".db.damaged-2026") && !name.ends_with("-wal") && !name.ends_with("-shm");
    let aside = names.filter(|name| aside(&name.to_string_lossy())).count();
    assert_eq!(aside, 2);
}

#[test]
fn a_later_version_s_store_is_left_alone_and_another_file_is_begun() {
    let newer = Filled::new();
    newer.db.execute_batch("PRAGMA user_version = 2; PRAGMA wal_checkpoint(TRUNCATE)").expect("set");
    let mut stage = Stage::at(|folder| {
        let _ = fs::copy(newer.path(), folder.join("statistics.db")).expect("copied");
    });
    let before = fs::read(stage.path()).expect("read");
    let status = stage.hits(2).clone();
    assert_eq!(status.error, None);
    assert!(status.elsewhere.as_deref().is_some_and(|why| why.contains("version 2")), "{status:?}");
    assert_eq!(read(&stage.folder.path().join("statistics-v1.db")), 2);
    assert_eq!(fs::read(stage.path()).expect("read"), before);
    assert_eq!(read(&crate::store::path_in_use(stage.folder.path())), 2);
    // When it is one of ours again, what was counted meanwhile is added to it.
    stage.worker.finish(at(stage.seconds));
    drop(newer);
    Connection::open(stage.path()).expect("opened").execute_batch("PRAGMA user_version = 1").expect("set");
    stage.worker = Stage::worker(stage.folder.path());
    let status = stage.hits(3).clone();
    assert_eq!((status.elsewhere, status.error, stage.read()), (None, None, 5));
    assert_eq!(crate::store::path_in_use(stage.folder.path()), stage.path());
}

#[test]
fn counts_wait_while_the_file_cannot_be_opened_and_come_back_by_themselves() {
    let mut stage = Stage::new();
    stage.hits(1);
    stage.worker.finish(at(1));
    stage.cut_off(true);
    for _ in 0..100 {
        stage.hits(1);
    }
    let status = stage.worker.status.clone();
    assert!(status.error.is_some() && status.waiting == 100 && status.failures > 0, "{status:?}");
    stage.cut_off(false);
    let status = stage.hits(1);
    assert_eq!((&status.error, status.waiting), (&None, 0));
    assert_eq!(stage.read(), 102);
}

#[test]
fn counts_wait_while_the_disk_is_full() {
    let mut stage = Stage::new();
    stage.hits(1);
    let room = |worker: &Worker, pages: i64| {
        let db = &worker.db.as_ref().expect("it stays open").connection;
        db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0)).expect("set");
    };
    room(&stage.worker, 1);
    // More names than the last page has room for.
    let subjects = (2..2000).map(|number| (number, why(&format!("n{number}.example"), &[]))).collect();
    stage.worker.take(Delta { subjects, ..delta((2..2000).map(|number| row(number, NOON / 60, 1))) });
    let status = stage.hits(1).clone();
    assert!(status.error.is_some_and(|error| error.contains("disk is full")) && status.waiting == 1999);
    stage.hits(1);
    assert_eq!((stage.read(), stage.worker.status.waiting), (1, 2000));
    room(&stage.worker, 1 << 20);
    assert_eq!(stage.hits(1).error, None);
    assert_eq!(stage.read(), 2002);
}

#[test]
fn a_file_that_was_removed_is_begun_again() {
    let mut stage = Stage::new();
    stage.hits(1);
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(stage.folder.path().join(format!("statistics.db{end}"))).expect("removed");
    }
    stage.hits(2);
    assert_eq!(stage.read(), 2);
}

#[test]
fn two_never_write_the_same_file() {
    let mut stage = Stage::new();
    stage.hits(1);
    let mut other = Stage::worker(stage.folder.path());
    other.take(delta([row(1, NOON / 60, 5)]));
    other.tick(at(2));
    let error = other.status.error.clone().unwrap_or_default();
    assert!(error.contains("another process"), "{error}");
    stage.worker.finish(at(3));
    other.tick(at(4));
    assert_eq!((other.status.waiting, stage.read()), (0, 6));
}

#[test]
fn a_reader_without_end_makes_counts_wait_and_not_the_log_grow() {
    let mut stage = Stage::new();
    stage.worker.tuning.log = 200 << 10;
    stage.hits(1);
    let reader = Connection::open(stage.path()).expect("opened");
    reader.execute_batch("BEGIN; SELECT count(*) FROM pending").expect("begun");
    let mut largest = 0;
    for _ in 0..3 {
        for _ in 0..40 {
            let (path, worker) = (stage.path(), &mut stage.worker);
            stage.seconds += 61;
            let now = at(stage.seconds);
            worker.take(delta([row(1, now.unix_ms / 60_000, 1)]));
            // Not what is waited for here.
            if worker.read.is_none() || stage.seconds % 7 == 0 {
                worker.tick(now);
            }
            largest = largest.max(place::log_size(&path));
        }
    }
    assert!(largest < 400 << 10, "{largest}");
    let error = stage.worker.status.error.clone().unwrap_or_default();
    assert!(error.contains("has been reading"), "{error}");
    reader.execute_batch("COMMIT").expect("done");
    let status = stage.hits(1);
    assert_eq!((&status.error, status.waiting), (&None, 0));
    assert_eq!((stage.read(), place::log_size(&stage.path()) < 200 << 10), (122, true));
}

#[test]
fn a_clock_set_back_or_far_ahead_loses_nothing() {
    let mut stage = Stage::new();
    stage.worker.tuning.retire = Duration::ZERO;
    stage.hits(1);
    for jump in [-3600, 40 * 366 * 86_400, -40 * 366 * 86_400, 3600] {
        stage.seconds += jump;
        stage.hits(1);
        stage.hits(1);
    }
    assert_eq!(stage.read(), 9);
}

#[test]
fn counters_are_added_as_they_grow() {
    let mut stage = Stage::new();
    for value in [5, 5, 9] {
        stage.worker.sample(&[("received", value), ("blocked", 0)], at(0));
        stage.worker.tick(at(0));
    }
    let db = Connection::open(stage.path()).expect("opened");
    let row = db.query_row("SELECT count(*), sum(value) FROM queries_by_day", [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(row.expect("numbers"), (1_i64, 9_i64));
}
