//! The audit log: what was decided about enforcement, when and by whom, in lines that are chained by hashes.
//!
//! ```text
//! state_dir/audit/audit-000001.jsonl    a segment; a new one begins beyond a size, the chain goes on
//! state_dir/audit/audit-000002.jsonl
//! state_dir/audit/audit-000002.torn-1   what a crash left of a half-written line
//! state_dir/audit/lock                  held by the process that writes
//! ```
//! A line is `{"seq":…,"time":…,"by":…,"event":…,…,"prev":"…","hash":"…"}`. `hash` is the SHA-256 of the bytes of the
//! line before `,"hash":`; `prev` is the SHA-256 of the line before, without its newline ([`Digest::ZERO`] in the
//! first). So a line cannot be changed, removed, added or moved without breaking the chain, except by who rewrites all
//! that follows; against that helps a noted [`Head`]. `docs/audit.md` tells officers all this.
//!
//! [`Audit`] writes, [`verify`] proves, [`records`] reads. Nothing here ever deletes a line.
//!
//! [`Digest::ZERO`]: crate::util::Digest::ZERO

mod by;
mod event;
mod line;
mod read;
mod segment;
mod text;
mod verify;
mod walk;
mod writer;

pub use by::By;
pub use event::{
    AcceptedList, Canary, CanaryEnd, CanaryOutcome, ClientsChange, ConfigChange, Disturbed, Event, FailedFetch,
    HeldEntries, HeldEntry, ListInForce, LostEvents, Mode, OrderChange, Publication, RecoveredTail, RefusedList,
    RemovedList, Rollback, RuleVerdict, Server, VersionChange, Why,
};
pub use read::{Record, Records, records};
pub use text::{MAX_SAMPLE, MAX_TEXT, NameSet, Names, Text};
pub use verify::{Expected, Outcome, Report, verify};
pub use walk::{Broken, Fault, ReadError};
pub use writer::{Audit, OpenError, Options, Status};

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::util::Digest;

/// Where the log of a `state_dir` lies.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("audit")
}

/// The end of a chain, or a place in it: noted elsewhere, it proves that nothing before it was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the line.
    pub seq: u64,
    /// Its `hash`.
    pub hash: Digest,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHead;

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a head; write it as `audit verify` prints it: the number, a colon, 64 digits 0-9 and a-f")
    }
}

impl std::error::Error for BadHead {}

impl FromStr for Head {
    type Err = BadHead;

    /// Capitals are as good: it may come from paper.
    fn from_str(text: &str) -> Result<Self, BadHead> {
        let (seq, hash) = text.trim().split_once(':').ok_or(BadHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or(BadHead)?;
        Ok(Self { seq, hash: hash.to_ascii_lowercase().parse().map_err(|_| BadHead)? })
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
