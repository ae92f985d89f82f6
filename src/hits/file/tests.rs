use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::hits::Clients;

/// Noon, 2026-01-31 UTC.
const NOON: i64 = 1_769_860_800_000;

fn now(after_ms: i64) -> Now {
    Now { unix_ms: NOON + after_ms }
}

/// A log of at most 100 bytes a file and three rotated files.
fn open(path: &Path) -> LogFile {
    let settings = Settings {
        file: Some(path.to_owned()),
        clients: Clients::Full,
        max_size: 100,
        max_age: Duration::from_secs(3600),
        keep: 3,
    };
    LogFile::open(path, &settings, Arc::default(), now(0)).expect("opened")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    (folder, path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All lines must go.
fn write(log: &mut LogFile, lines: &str, at: Now) {
    let wrote = log.write(lines.as_bytes(), at);
    assert!(wrote.error.is_none(), "{:?}", wrote.error);
    assert_eq!(wrote.bytes, lines.len());
}

/// Rotated files, oldest first.
fn rotated(folder: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hits-")))
        .collect();
    // Without `.jsonl`, before which `-2` would stand in the alphabet.
    files.sort_unstable_by_key(|path| path.with_extension(""));
    files
}

#[test]
fn a_batch_is_split_between_lines_so_that_no_file_is_too_long() {
    let (folder, path) = folder();
    let mut log = open(&path);
    let lines = (0..12).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "line {number:024}");
        text
    });
    write(&mut log, &lines, now(0));
    let files = rotated(&folder);
    let text: String = files.iter().map(|path| read(path)).chain([read(&path)]).collect();
    assert_eq!(text, lines);
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|path| read(path).len() == 90));
    write(&mut log, &lines, now(5000));
    assert_eq!(rotated(&folder).len(), 3, "the oldest went");
    assert_eq!(log.counters.read().rotations, 7);
}

#[test]
fn a_line_longer_than_a_file_may_be_stands_alone() {
    let (folder, path) = folder();
    let mut log = open(&path);
    let long = format!("{}\n", "x".repeat(500));
    write(&mut log, &format!("a\n{long}b\n"), now(0));
    let texts: Vec<_> = rotated(&folder).iter().map(|path| read(path)).collect();
    assert_eq!(texts, ["a\n".into(), long]);
    assert_eq!(read(&path), "b\n");
}

#[test]
fn an_old_file_is_rotated_and_an_empty_one_is_not() {
    let (folder, path) = folder();
    let mut log = open(&path);
    log.tick(now(10 * 3_600_000)).expect("nothing to do");
    assert_eq!(rotated(&folder).len(), 0);
    write(&mut log, "a\n", now(10 * 3_600_000));
    log.tick(now(11 * 3_600_000 - 1)).expect("nothing to do");
    assert_eq!(rotated(&folder).len(), 0, "its age counts from its first line");
    log.tick(now(11 * 3_600_000)).expect("rotated");
    assert_eq!(rotated(&folder), [folder.path().join("hits-2026-01-31T230000Z.jsonl")]);
    assert_eq!(read(&path), "");
}

#[test]
fn a_clock_set_back_does_not_postpone_the_rotation() {
    let (folder, path) = folder();
    let mut log = open(&path);
    write(&mut log, "a\n", now(0));
    log.tick(now(-1_000_000_000)).expect("nothing to do");
    log.tick(now(-1_000_000_000 + 3_600_000)).expect("rotated");
    assert_eq!(rotated(&folder).len(), 1);
}

#[test]
fn a_file_that_was_moved_deleted_or_truncated_by_others() {
    let (folder, path) = folder();
    let mut log = open(&path);
    write(&mut log, "one\n", now(0));
    let moved = folder.path().join("hits.jsonl.1");
    fs::rename(&path, &moved).expect("moved");
    write(&mut log, "two\n", now(0));
    assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("one\n", "two\n"));
    fs::rename(&path, &moved).expect("moved");
    fs::write(&path, "theirs\n").expect("as logrotate's `create` does");
    write(&mut log, "ours\n", now(0));
    assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("two\n", "theirs\nours\n"));
    fs::remove_file(&path).expect("removed");
    write(&mut log, "three\n", now(0));
    assert_eq!(read(&path), "three\n");
    File::create(&path).expect("truncated");
    write(&mut log, "four\n", now(0));
    assert_eq!(read(&path), "four\n", "no hole where the old lines were");
    fs::remove_file(&path).expect("removed");
    log.tick(now(0)).expect("made anew");
    assert_eq!(read(&path), "", "also when nothing is written");
}

#[test]
fn a_folder_that_is_gone_is_an_error_until_it_is_back() {
    let (folder, _) = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("a folder");
    let path = inner.join("hits.jsonl");
    let mut log = open(&path);
    fs::remove_dir_all(&inner).expect("removed");
    let wrote = log.write(b"one\n", now(0));
    assert_eq!((wrote.bytes, wrote.error.map(|e| e.kind())), (0, Some(io::ErrorKind::NotFound)));
    fs::create_dir(&inner).expect("a folder");
    write(&mut log, "two\n", now(0));
    assert_eq!(read(&path), "two\n");
}

#[test]
fn a_line_torn_by_a_kill_is_ended_before_the_next() {
    let (_folder, path) = folder();
    fs::write(&path, "{\"whole\":1}\n{\"to").expect("a file");
    let mut log = open(&path);
    write(&mut log, "{\"next\":1}\n", now(0));
    assert_eq!(read(&path), "{\"whole\":1}\n{\"to\n{\"next\":1}\n");
}

#[test]
fn a_link_stays_where_it_is() {
    let (folder, path) = folder();
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(elsewhere.path().join("real.jsonl"), &path).expect("a link");
    let mut log = open(&path);
    for number in 0..5 {
        write(&mut log, &format!("{number:090}\n"), now(number * 1000));
    }
    assert!(path.is_symlink());
    assert_eq!(rotated(&folder).len(), 0);
    assert_eq!(fs::read_dir(elsewhere.path()).expect("the folder").count(), 4, "three rotated and the live one");
}

#[test]
fn a_rotation_that_fails_lets_the_file_grow() {
    let (folder, path) = folder();
    let mut log = open(&path);
    let line = format!("{}\n", "x".repeat(90));
    write(&mut log, &line, now(0));
    // As if the folder had refused; for root, which tests may run as, none does.
    log.failed_ms = Some(NOON);
    write(&mut log, &line.repeat(3), now(59_999));
    assert_eq!(read(&path), line.repeat(4));
    assert_eq!(rotated(&folder).len(), 0);
    write(&mut log, &line, now(60_000));
    assert_eq!(rotated(&folder).len(), 1, "tried again after a minute");
}

#[test]
fn only_files_and_devices_are_opened() {
    let (folder, path) = folder();
    let counters = Arc::<Counters>::default();
    let settings = Settings { file: None, clients: Clients::Full, max_size: 1, max_age: Duration::ZERO, keep: 0 };
    let attempt = |path: &Path| LogFile::open(path, &settings, Arc::clone(&counters), now(0)).map(|_| ());
    assert_eq!(attempt(folder.path()).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
    let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    assert_eq!(attempt(&path).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
    assert!(attempt(Path::new("/dev/null")).is_ok());
}

#[test]
fn a_device_that_is_full() {
    let mut log = open(Path::new("/dev/full"));
    let wrote = log.write(b"one\n", now(0));
    assert_eq!((wrote.bytes, wrote.error.map(|e| e.kind())), (0, Some(io::ErrorKind::StorageFull)));
}

/// A file system of 64 KiB, taken away again on drop.
struct Tiny(TempDir);

impl Tiny {
    /// `None` where we may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_leaves_whole_lines_and_takes_more_once_there_is_room() {
    let Some(disk) = Tiny::mount() else {
        eprintln!("skipped: mounting a tmpfs is not possible here");
        return;
    };
    let path = disk.0.path().join("hits.jsonl");
    let mut log = open(&path);
    log.max_size = 0;
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 16 << 10]).expect("16 KiB");
    let line = format!("{}\n", "x".repeat(99));
    let lines = line.repeat(1000);
    let wrote = log.write(lines.as_bytes(), now(0));
    assert_eq!(wrote.error.map(|e| e.kind()), Some(io::ErrorKind::StorageFull));
    assert!(wrote.bytes > 0 && wrote.bytes.is_multiple_of(100), "{} bytes", wrote.bytes);
    assert_eq!(read(&path).len(), wrote.bytes, "the part of a line that fitted was taken away again");
    fs::remove_file(&ballast).expect("room");
    write(&mut log, &line, now(0));
    assert_eq!(read(&path), line.repeat(wrote.bytes / 100 + 1));
}
