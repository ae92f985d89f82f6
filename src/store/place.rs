//! The files of a store: whose they are, which is written, and what is moved out of the way.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::VERSION;
use crate::util::Now;

/// Tells a store of ours from other SQLite files: "qalq".
pub(super) const APPLICATION: i64 = 0x7161_6c71;
/// Bytes of SQLite's header, and where in it the two numbers are (fileformat2, section 1.3).
const HEADER: usize = 100;
const VERSION_AT: usize = 60;
const APPLICATION_AT: usize = 68;
/// What a database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Damaged files that are kept.
const MAX_ASIDE: usize = 3;
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not there, or without content.
    None,
    /// One that this version can use, or make usable.
    Ours,
    /// A store of a later version.
    Newer(i64),
    /// A database of somebody else.
    Foreign,
    /// Not a database, which our own file only becomes by damage.
    Damaged,
}

/// Looks at a file without touching it.
pub(super) fn kind(path: &Path) -> io::Result<Kind> {
    let mut header = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(HEADER as u64).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kind::None),
        Err(error) => return Err(error),
    };
    if header.is_empty() {
        return Ok(Kind::None);
    }
    if header.len() < HEADER || !header.starts_with(MAGIC) {
        return Ok(Kind::Damaged);
    }
    let number = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        i64::from(u32::from_be_bytes(bytes))
    };
    // What was never written back from the log beside it has neither number yet; whoever opens it looks again.
    Ok(judge(number(APPLICATION_AT), number(VERSION_AT), true))
}

/// What a database with these numbers is.
pub(super) fn judge(application: i64, version: i64, empty: bool) -> Kind {
    match (application, version) {
        (APPLICATION, version) if version > VERSION => Kind::Newer(version),
        (APPLICATION, _) => Kind::Ours,
        (0, 0) if empty => Kind::Ours,
        _ => Kind::Foreign,
    }
}

/// Where this version writes when the store is of a later one, which must not be touched.
pub(super) fn spare(path: &Path) -> PathBuf {
    path.with_file_name(format!("statistics-v{VERSION}.db"))
}

/// The right to write a store; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// `None`: another process has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        // Not truncated: another process may hold it.
        let path = path.with_file_name("statistics.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Makes the file if it is not there, for its owner and group only: SQLite's own files beside it get the same rights.
pub(super) fn make(path: &Path) -> io::Result<Id> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).append(true).mode(0o640).open(path)?;
    file.metadata().map(|metadata| Id(metadata.dev(), metadata.ino()))
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64, u64);

/// Whether the file at `path` is still this one.
pub(super) fn is_still(path: &Path, id: Id) -> bool {
    // A folder that cannot be looked into says nothing about the file.
    fs::metadata(path).map_or_else(
        |error| error.kind() != io::ErrorKind::NotFound,
        |metadata| Id(metadata.dev(), metadata.ino()) == id,
    )
}

/// Renames a damaged store, with what belongs to it; gives its new name. Of earlier ones the newest stay.
pub(super) fn move_aside(path: &Path, now: Now) -> io::Result<String> {
    let base = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let time = jiff::Timestamp::from_second(now.seconds().0).unwrap_or_default();
    let mut name = format!("{base}.damaged-{}", time.strftime("%Y%m%dT%H%M%SZ"));
    while path.with_file_name(&name).exists() {
        name.push('+');
    }
    // The log first: without it a database is whole but old, while the other way round it would be taken for another's.
    for end in BESIDE.iter().rev() {
        match fs::rename(with_end(path, end), path.with_file_name(format!("{name}{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let prefix = format!("{base}.damaged-");
    let folder = fs::read_dir(path.parent().unwrap_or(Path::new(".")))?;
    let names = folder.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut aside: Vec<String> =
        names.filter(|name| name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")).collect();
    aside.sort_unstable();
    for old in aside.iter().rev().skip(MAX_ASIDE) {
        remove(&path.with_file_name(old));
    }
    Ok(name)
}

/// Removes a store with what belongs to it.
pub(super) fn remove(path: &Path) {
    for end in BESIDE {
        let _ = fs::remove_file(with_end(path, end));
    }
}

/// Bytes of the write-ahead log.
pub(super) fn log_size(path: &Path) -> u64 {
    fs::metadata(with_end(path, "-wal")).map_or(0, |metadata| metadata.len())
}

/// `statistics.db` and `-wal` are `statistics.db-wal`.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Filled;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        assert_eq!(kind(&path).expect("looked"), Kind::None);
        for (bytes, expected) in [(&b""[..], Kind::None), (b"SQLite", Kind::Damaged), (&[7; 5000], Kind::Damaged)] {
            fs::write(&path, bytes).expect("written");
            assert_eq!(kind(&path).expect("looked"), expected);
        }
        let store = Filled::new();
        store.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written back");
        assert_eq!(kind(&store.path()).expect("looked"), Kind::Ours);
        store.db.execute_batch("PRAGMA user_version = 7; PRAGMA wal_checkpoint(TRUNCATE)").expect("set");
        assert_eq!(kind(&store.path()).expect("looked"), Kind::Newer(7));
        store.db.execute_batch("PRAGMA application_id = 9; PRAGMA wal_checkpoint(TRUNCATE)").expect("set");
        assert_eq!(kind(&store.path()).expect("looked"), Kind::Foreign);
    }

    #[test]
    fn the_last_damaged_files_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        let names = |second: i64| {
            fs::write(&path, second.to_string()).expect("written");
            fs::write(folder.path().join("statistics.db-wal"), "log").expect("written");
            move_aside(&path, Now { unix_ms: second * 1000 }).expect("moved")
        };
        let all: Vec<String> = [1, 1, 2, 3, 4].map(names).into();
        assert_eq!(all[0], "statistics.db.damaged-19700101T000001Z");
        assert_eq!(all[1], "statistics.db.damaged-19700101T000001Z+");
        let there: Vec<bool> = all.iter().map(|name| folder.path().join(name).exists()).collect();
        assert_eq!(there, [false, false, true, true, true]);
        let logs = all.iter().filter(|name| folder.path().join(format!("{name}-wal")).exists()).count();
        assert_eq!((logs, fs::read_dir(folder.path()).expect("listed").count()), (3, 6));
    }

    #[test]
    fn one_writes_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        let lock = Lock::take(&path).expect("a lock");
        assert!(lock.is_some() && Lock::take(&path).expect("looked").is_none());
        drop(lock);
        assert!(Lock::take(&path).expect("a lock").is_some());
    }
}
