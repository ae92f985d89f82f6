//! Statistics in one SQLite file.

pub mod read;

use std::path::{Path, PathBuf};

/// Where the store of a `state_dir` is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("statistics.db")
}
