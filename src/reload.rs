//! Watch, read, compile, publish; the last good state is kept.

use std::time::Duration;

/// `[reload]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a source must have been quiet before it is read.
    pub quiet: Duration,
    /// Sources are looked at this often even if nothing was heard of them.
    pub rescan: Duration,
}
