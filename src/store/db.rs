//! Opens a store to write: makes it, brings it to this version's schema, or says why not.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::place::{self, APPLICATION, Id, Kind, Lock};
use super::{Settings, VERSION};
use crate::util::Now;

/// The steps from each version to the next: the first makes a store out of nothing.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];
/// How long a write waits for other writers, and the log's end for readers.
const BUSY: Duration = Duration::from_millis(500);
/// Beyond this the log is cut off when all of it is in the database.
const LOG_SIZE: i64 = 8 << 20;
/// Pages kept in memory, in KiB.
const CACHE: i64 = 4 << 10;
/// Statements that are kept ready.
const STATEMENTS: usize = 64;

/// A store open for writing; no other process can write it.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    id: Id,
    /// The row of this run.
    pub(super) run: Option<i64>,
}

impl Db {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    /// Why not; nothing was changed then.
    pub(super) fn open(path: &Path, settings: &Settings, now: Now) -> Result<Self, StoreError> {
        Self::open_with(path, settings, MIGRATIONS, now)
    }

    /// With other steps.
    fn open_with(path: &Path, settings: &Settings, migrations: &[&str], now: Now) -> Result<Self, StoreError> {
        let io = |error| StoreError::Io(path.into(), error);
        refuse(place::kind(path).map_err(io)?, path)?;
        let id = place::make(path).map_err(io)?;
        let mut connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // A later version's log stays as it is, too.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let version = number("user_version")?;
        refuse(place::judge(number("application_id")?, version, tables == 0), path)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        // A file's own settings have no effect once it has a table; in the log's mode readers and the writer never wait.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_SIZE, |_| Ok(()))?;
        migrate(&mut connection, version, migrations)?;
        let mut db = Self { connection, path: path.into(), id, run: None };
        db.describe(settings, now)?;
        Ok(db)
    }

    /// Whether the file is still in its place.
    pub(super) fn is_there(&self) -> bool {
        place::is_still(&self.path, self.id)
    }

    /// Writes down what this run counts by.
    fn describe(&mut self, settings: &Settings, now: Now) -> Result<(), StoreError> {
        let created = jiff::Timestamp::from_millisecond(now.unix_ms).unwrap_or_default().to_string();
        let meta = [
            ("time_zone", settings.zone.name()),
            ("threshold", &settings.threshold.to_string()),
            ("software", SOFTWARE),
        ];
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('created', ?)", [created])?;
        for (key, value) in meta {
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value \
                 WHERE value <> excluded.value",
                [key, value],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Who writes.
pub(super) const SOFTWARE: &str = concat!("qalqan ", env!("CARGO_PKG_VERSION"));

/// Refuses a file that must not be touched.
fn refuse(kind: Kind, path: &Path) -> Result<(), StoreError> {
    match kind {
        Kind::None | Kind::Ours => Ok(()),
        Kind::Newer(version) => Err(StoreError::Newer { path: path.into(), version }),
        Kind::Foreign => Err(StoreError::Foreign { path: path.into() }),
        Kind::Damaged => Err(StoreError::Damaged("its first bytes are not a database's".into())),
    }
}

/// Takes a store from its version to the last one, each step whole or not at all.
fn migrate(connection: &mut Connection, from: i64, migrations: &[&str]) -> Result<(), StoreError> {
    for (step, sql) in migrations.iter().enumerate().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        let version = step + 1;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", version as i64)?;
        transaction.commit()?;
        if from > 0 {
            tracing::info!("the statistics were brought to version {version} of their schema");
        }
    }
    Ok(())
}

/// Why a store cannot be written just now.
#[derive(Debug)]
pub(super) enum StoreError {
    /// Another process writes it.
    Locked(PathBuf),
    /// Of a later version, which is not touched.
    Newer { path: PathBuf, version: i64 },
    /// Not a store.
    Foreign { path: PathBuf },
    /// What SQLite says of a file whose content makes no sense.
    Damaged(String),
    /// The system.
    Io(PathBuf, io::Error),
    /// Anything else that SQLite says.
    Sql(rusqlite::Error),
}

impl StoreError {
    /// Whether it may be over in a second without anything being opened again.
    pub(super) fn passes(&self) -> bool {
        let code = match self {
            Self::Sql(error) => error.sqlite_error_code(),
            _ => None,
        };
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Sql(error),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => write!(
                f,
                "{} is written by another process; end that one, or give this one a state_dir of its own",
                path.display()
            ),
            Self::Newer { path, version } => write!(
                f,
                "{} is a store of version {version}, while this qalqan knows version {VERSION}: it is not touched, and counting \
                 goes on in {}; the later qalqan will add that up",
                path.display(),
                place::spare(path).display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is a database of something else: it is not touched, and counting goes on in {}; move it away",
                path.display(),
                place::spare(path).display()
            ),
            Self::Damaged(why) => write!(f, "the file is damaged ({why})"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    f.write_str("another program writes to the file or has it locked")
                }
                Some(ErrorCode::DiskFull) => f.write_str("the disk is full"),
                _ => write!(f, "{error}"),
            },
        }
    }
}

impl std::error::Error for StoreError {}

/// Takes the lock.
pub(super) fn lock(path: &Path) -> Result<Lock, StoreError> {
    match Lock::take(path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(StoreError::Locked(path.into())),
        Err(error) => Err(StoreError::Io(path.into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{Filled, settings};

    const NOW: Now = Now { unix_ms: 1_769_860_800_000 };

    /// One number.
    fn ask(db: &Connection, sql: &str) -> i64 {
        db.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    #[test]
    fn a_store_is_made_once_and_is_only_for_its_owner_and_group() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        drop(Db::open(&path, &settings(), NOW).expect("made"));
        let later = Now { unix_ms: NOW.unix_ms + 1000 };
        let zone = Settings { zone: crate::util::Zone::find("+05:00").expect("a zone"), ..settings() };
        let db = Db::open(&path, &zone, later).expect("opened");
        let meta = |key: &str| -> String {
            db.connection.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0)).expect("there")
        };
        assert_eq!([meta("created"), meta("time_zone"), meta("threshold")], ["2026-01-31T12:00:00Z", "+05:00", "5"]);
        assert_eq!(ask(&db.connection, "PRAGMA auto_vacuum"), 2);
        for end in ["", "-wal", "-shm"] {
            let file = fs::metadata(folder.path().join(format!("statistics.db{end}"))).expect("there");
            assert_eq!(file.permissions().mode() & 0o007, 0, "{end}");
        }
    }

    #[test]
    fn each_step_is_taken_once_and_the_last_version_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        drop(Db::open(&path, &settings(), NOW).expect("made"));
        // Another step after what is version 1 now.
        let steps =
            [MIGRATIONS[0], "ALTER TABLE run ADD COLUMN host TEXT; UPDATE meta SET value = 'x' WHERE key = 'created'"];
        for _ in 0..2 {
            let db = Db::open_with(&path, &settings(), &steps, NOW);
            match db {
                Ok(db) => {
                    assert_eq!(ask(&db.connection, "PRAGMA user_version"), 2);
                    assert_eq!(ask(&db.connection, "SELECT count(host) FROM run"), 0);
                }
                // The second time it is a store of a later version than VERSION.
                Err(error) => assert!(matches!(error, StoreError::Newer { version: 2, .. }), "{error}"),
            }
        }
        let before = fs::read(&path).expect("read");
        let error = Db::open(&path, &settings(), NOW).expect_err("it is newer");
        assert!(error.to_string().contains("is a store of version 2, while this qalqan knows version 1"), "{error}");
        assert_eq!(fs::read(&path).expect("read"), before);
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        drop(Db::open(&path, &settings(), NOW).expect("made"));
        let steps = [MIGRATIONS[0], "DROP TABLE run; SELECT nonsense"];
        assert!(Db::open_with(&path, &settings(), &steps, NOW).is_err());
        let db = Db::open(&path, &settings(), NOW).expect("as before");
        assert_eq!(ask(&db.connection, "SELECT count(*) FROM run"), 0);
    }

    #[test]
    fn files_that_are_not_ours_are_not_touched() {
        let store = Filled::new();
        store.db.execute_batch("PRAGMA user_version = 9").expect("set");
        let snapshot = || {
            let mut files: Vec<_> = fs::read_dir(store.state_dir()).expect("listed").flatten().collect();
            files.sort_by_key(std::fs::DirEntry::path);
            let read = |file: std::fs::DirEntry| fs::read(file.path()).expect("read");
            // What readers note for each other is no content.
            files.into_iter().filter(|file| !file.path().ends_with("statistics.db-shm")).map(read).collect::<Vec<_>>()
        };
        let before = snapshot();
        // The version stands in the log only.
        let newer = Db::open(&store.path(), &settings(), NOW).expect_err("it is newer");
        assert!(matches!(newer, StoreError::Newer { version: 9, .. }), "{newer}");
        assert!(before == snapshot(), "changed");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("statistics.db");
        Connection::open(&path).expect("opened").execute_batch("CREATE TABLE notes (text)").expect("made");
        let before = fs::read(&path).expect("read");
        let foreign = Db::open(&path, &settings(), NOW).expect_err("it is somebody's");
        assert!(matches!(foreign, StoreError::Foreign { .. }), "{foreign}");
        assert_eq!(fs::read(&path).expect("read"), before);
        fs::write(&path, [0; 4096]).expect("written");
        let damaged = Db::open(&path, &settings(), NOW).expect_err("it is nothing");
        assert!(matches!(damaged, StoreError::Damaged(_)), "{damaged}");
    }
}
