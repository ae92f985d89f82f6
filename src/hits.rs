//! The hit log: JSON lines, written off the query path, rotated by size and age.

use std::path::PathBuf;
use std::time::Duration;

/// How much of who asked is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clients {
    /// The whole address.
    Full,
    /// Its /24 or /56.
    Truncate,
    /// A keyed hash; the key is made anew at each start and never written.
    Hash,
    /// Nothing.
    None,
}

/// Where and how hits are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `None` turns the log off.
    pub file: Option<PathBuf>,
    /// Privacy of clients.
    pub clients: Clients,
    /// Rotate when the file has grown to this many bytes.
    pub max_size: u64,
    /// Rotate when the file has become this old.
    pub max_age: Duration,
    /// How many rotated files are kept.
    pub keep: usize,
}
