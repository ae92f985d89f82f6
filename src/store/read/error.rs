//! Why statistics cannot be read, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What went wrong, with which file.
#[derive(Debug)]
pub struct ReadError {
    path: PathBuf,
    why: Why,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Why {
    /// There is no file.
    Nothing,
    /// A later version of qalqan wrote it.
    Newer { found: i64, known: i64 },
    /// An earlier one did, and no server has brought it up to date.
    Older { found: i64, known: i64 },
    /// It is there, but not for this user.
    Denied,
    /// It is no database, or a damaged one.
    Damaged(String),
    /// Something is missing in it, or makes no sense.
    Odd(String),
    /// What SQLite says.
    Other(rusqlite::Error),
}

impl ReadError {
    /// Of this file.
    pub(super) fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    /// Whether there are simply no statistics yet.
    pub fn is_nothing(&self) -> bool {
        matches!(self.why, Why::Nothing)
    }
}

impl From<rusqlite::Error> for Why {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Self::Denied,
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Nothing => write!(
                f,
                "there are no statistics yet: no {path}; a server writes them from its first second on, unless [stats] is off"
            ),
            Why::Newer { found, known } => write!(
                f,
                "{path} is of a newer version of qalqan (schema {found}, this one knows {known}): use that version to read it"
            ),
            Why::Older { found, known } => write!(
                f,
                "{path} is of an older version of qalqan (schema {found}, this one reads {known}): start the server once, it brings the file up to date"
            ),
            Why::Denied => write!(
                f,
                "cannot open {path}: this user may not read it, or the files beside it (-wal, -shm); try as root or as the server's user"
            ),
            Why::Damaged(why) => write!(
                f,
                "{path} is damaged ({why}): a running server puts it aside and begins a new one; what can be saved of it, `sqlite3 {path} .recover` shows"
            ),
            Why::Odd(why) => write!(f, "{path} is not as qalqan writes it: {why}"),
            Why::Other(error) => write!(f, "cannot read {path}: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Other(error) => Some(error),
            _ => None,
        }
    }
}
