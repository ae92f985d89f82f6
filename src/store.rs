//! Statistics on disk: one SQLite file in `state_dir` that everybody's tools can read.
//!
//! One thread writes ([`Writer`]): each second what was counted is appended, each minute it is added to minutes, hours and
//! days. The schema is `store/schema.sql`; its views are what docs/statistics.md promises.

mod append;
mod backlog;
mod book;
mod db;
mod place;
pub mod read;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::util::Zone;

/// The version of the schema, in the file's `user_version`.
pub const VERSION: i64 = 1;

/// `[stats]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether hits are counted for statistics at all.
    pub enabled: bool,
    /// Queries of one client for one name within this time are one attempt.
    pub window: Duration,
    /// Where days begin.
    pub zone: Zone,
    /// Fewer clients than this are not told exactly.
    pub threshold: u64,
    /// How long minutes are kept …
    pub minutes: Duration,
    /// … and hours …
    pub hours: Duration,
    /// … and days.
    pub days: Duration,
    /// Bytes the file may have; beyond that the oldest of the finest level goes first.
    pub max_size: u64,
}

/// Where the store of a `state_dir` is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("statistics.db")
}
