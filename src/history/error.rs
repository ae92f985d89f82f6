//! What can go wrong with the history.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a version could not be kept or read.
#[derive(Debug)]
pub enum HistoryError {
    /// The system refused.
    Io {
        /// `read`, `write`, `create`, `remove`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// It is not what was kept.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A content was not what it was said to be while it was being kept: its file changed.
    Changed {
        /// The list.
        list: String,
        /// The file, as the operator wrote it.
        file: String,
    },
    /// There is no such version.
    NoVersion {
        /// The list.
        list: String,
        /// What was asked for.
        number: u64,
    },
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing: "read", path, error } => {
                write!(f, "cannot read the kept version {}: {error}; check its owner and mode", path.display())
            }
            Self::Io { doing, path, error } => write!(
                f,
                "cannot {doing} {}: {error}; lists are enforced, but this version is missing in their history: make \
                 room and check that state_dir is writable",
                path.display()
            ),
            Self::Damaged { path, what } => write!(
                f,
                "{} is damaged: {what}; restore it from a backup, or remove it to give this version up",
                path.display()
            ),
            Self::Changed { list, file } => {
                write!(f, "{file} of list {list} changed while it was kept; its next version is kept instead")
            }
            Self::NoVersion { list, number } => {
                write!(f, "no version {number} of list {list} is kept; it may have been pruned")
            }
        }
    }
}

impl std::error::Error for HistoryError {}
