//! Statistics on disk: one SQLite file in `state_dir` that everybody's tools can read.
//!
//! One thread writes ([`Writer`]): each second what was counted is appended, each minute it is added to minutes, hours and
//! days. The schema is `store/schema.sql`; its views are what docs/statistics.md promises.

#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};

/// The version of the schema, in the file's `user_version`.
pub const VERSION: i64 = 1;

/// Where the store of a `state_dir` is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("statistics.db")
}
