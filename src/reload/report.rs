//! What a load found, in types: for the log, for `check`, for status pages.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clientele::Belonging;
use crate::gate::{Decisions, Gate, Held, SizeChange};
use crate::history::{HistoryError, Pin};
use crate::limit::Cidr;
use crate::list::{FileReport, Format, Refusal, SourceError};
use crate::rule::{Mode, Role};
use crate::set::Part;
use crate::signature::{self, SignatureError};
pub use crate::util::Digest;
use crate::util::UnixTime;

/// Everything one load gave.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rules of all files, and which of them are held.
    pub parts: Vec<Part>,
    /// Clients for whom other rules hold; of two a client belongs to, the first counts.
    pub groups: Vec<Group>,
    /// Which addresses are of which `[[clients]]`.
    pub clients: Arc<Belonging>,
    /// One a list, in config order.
    pub reports: Vec<ListReport>,
    /// Whether `parts`, `groups` or `clients` differ from those of the load before.
    pub changed: bool,
    /// Lists nothing of which is in force though they should hold something.
    pub missing: Vec<Missing>,
    /// A file was still being written: load again soon.
    pub retry: bool,
    /// What the entries were compared with.
    pub gate: Arc<Gate>,
    /// What the operator has decided about held entries.
    pub decisions: Arc<Decisions>,
    /// Files beside the lists that cannot be used as they are.
    pub gate_troubles: Vec<String>,
}

impl Loaded {
    /// Rules in force, over all lists.
    pub fn rules(&self) -> usize {
        self.parts.iter().map(|part| part.rules.len() - part.held.len()).sum()
    }

    /// Lists of which something could not be taken as it stands in the source.
    pub fn behind(&self) -> usize {
        self.reports.iter().filter(|report| report.error.is_some()).count()
    }
}

/// Clients on whom new versions of lists are tried.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Them.
    pub clients: Vec<Cidr>,
    /// The lists, as places in the configuration.
    pub lists: Vec<u16>,
    /// Their rules, in place of those in [`Loaded::parts`].
    pub parts: Vec<Part>,
    /// Counts what these clients ask; the same one as long as there is something to try.
    pub queries: Arc<AtomicU64>,
}

/// A version of a list on trial.
#[derive(Clone, Debug)]
pub struct TrialReport {
    /// Its hash.
    pub version: Digest,
    /// When all get it.
    pub until: UnixTime,
    /// Who has it.
    pub clients: Vec<Cidr>,
    /// What they asked.
    pub counts: Arc<TrialCounts>,
}

/// What came of a trial so far, as of a moment ago.
#[derive(Debug, Default)]
pub struct TrialCounts {
    queries: AtomicU64,
    hits: AtomicU64,
}

impl TrialCounts {
    /// Queries of its clients, and those it blocked.
    pub fn read(&self) -> (u64, u64) {
        (self.queries.load(Ordering::Relaxed), self.hits.load(Ordering::Relaxed))
    }

    /// Sets both.
    pub(super) fn tell(&self, queries: u64, hits: u64) {
        self.queries.store(queries, Ordering::Relaxed);
        self.hits.store(hits, Ordering::Relaxed);
    }
}

/// A list that could not be read and has no last good state.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Its name.
    pub list: String,
    /// What was tried and failed.
    pub why: LoadError,
}

/// One list after a load.
#[derive(Clone, Debug)]
pub struct ListReport {
    /// Its name.
    pub name: String,
    /// File or folder as the operator wrote it.
    pub source: String,
    /// Block or allow.
    pub role: Role,
    /// Enforce or shadow.
    pub mode: Mode,
    /// Where what is in force stands: the worst of the files, but for those that were never in force (see `error`).
    pub state: State,
    /// Its files, sorted by name.
    pub files: Vec<FileState>,
    /// Entries in force.
    pub entries: u64,
    /// Entries that were not used, over the files in force.
    pub rejected: u64,
    /// The first thing that went wrong, if anything did.
    pub error: Option<LoadError>,
    /// The version in the source, if it is not taken because it changes the list too much.
    pub refused: Option<Arc<SizeChange>>,
    /// The newest version, if only some clients have it yet. `files` and what the gate says are about it.
    pub trial: Option<TrialReport>,
    /// The version an operator keeps it at, whatever its source says.
    pub pinned: Option<Pin>,
    /// What the gate says of its entries.
    pub gate: GateReport,
    /// Reading and parsing.
    pub took: Duration,
}

/// What the gate says of the entries of a list. Every count is exact.
#[derive(Clone, Debug, Default)]
pub struct GateReport {
    /// Held, and nobody has decided.
    pub open: u64,
    /// Held for good.
    pub dismissed: u64,
    /// Enforced by the operator's word.
    pub released: u64,
    /// Entries that allow rules leave nothing of.
    pub excepted: u64,
    /// Of those held, how many were enforced until this load.
    pub taken_back: u64,
    /// How many were held until this load and are enforced now, because no check finds them any more.
    pub let_go: u64,
    /// The first of them, at most [`crate::gate::MAX_HELD`], whatever was decided.
    pub entries: Arc<[Held]>,
}

impl GateReport {
    /// Not enforced.
    pub fn held(&self) -> u64 {
        self.open + self.dismissed
    }
}

impl ListReport {
    /// The formats its files were read as, each once.
    pub fn formats(&self) -> Vec<Format> {
        let mut formats = Vec::new();
        for format in self.files.iter().filter_map(|file| file.report.format) {
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
        formats
    }
}

/// One file of a list after a load.
#[derive(Clone, Debug)]
pub struct FileState {
    /// As the operator wrote it, joined with the folder's entry.
    pub path: Arc<str>,
    /// Of the content in force; `None` if nothing is.
    pub sha256: Option<Digest>,
    /// When the content in force was accepted.
    pub accepted: Option<UnixTime>,
    /// Where it stands.
    pub state: State,
    /// What was found in the content in force or, where there is none, in the refused one as far as it was read.
    pub report: Arc<FileReport>,
}

/// Where a list or a file stands.
#[derive(Clone, Debug)]
pub enum State {
    /// Read anew, and in force.
    Fresh,
    /// As it was at the load before.
    Unchanged,
    /// An older content is in force.
    LastGood {
        /// Why not the present one.
        why: LoadError,
        /// When the one in force was accepted.
        since: UnixTime,
    },
    /// Nothing of it is in force.
    NotUsed {
        /// Why not.
        why: LoadError,
    },
}

impl State {
    /// What is in force is what the source says now.
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Fresh | Self::Unchanged)
    }

    /// Why it is not current.
    pub fn why(&self) -> Option<&LoadError> {
        match self {
            Self::Fresh | Self::Unchanged => None,
            Self::LastGood { why, .. } | Self::NotUsed { why } => Some(why),
        }
    }

    /// The worse of two, the first where they are alike; of two last good ones the older.
    pub(super) fn worse(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::LastGood { since: mine, .. }, Self::LastGood { since: theirs, .. }) if theirs < mine => other,
            _ if other.rank() > self.rank() => other,
            _ => self,
        }
    }

    /// Order of [`Self::worse`].
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Unchanged => 0,
            Self::Fresh => 1,
            Self::LastGood { .. } => 2,
            Self::NotUsed { .. } => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::LastGood { why, since } => {
                write!(f, "last good state of {} stays in force: {why}", show_time(*since))
            }
            Self::NotUsed { why } => write!(f, "not in force: {why}"),
        }
    }
}

/// A moment as operators read it, in UTC.
pub(super) fn show_time(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at.0).map_or_else(|_| at.0.to_string(), |time| time.to_string())
}

/// Why a file or a whole list could not be taken as it is.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The source or one of its files cannot be read.
    Source(Arc<SourceError>),
    /// The file cannot be looked at.
    Stat {
        /// As the operator wrote it.
        path: Arc<str>,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// Somebody is still writing it.
    Unsettled(Arc<str>),
    /// It changed each time it was read.
    Torn(Arc<str>),
    /// It was read but is not a usable list.
    Refused {
        /// As the operator wrote it.
        path: Arc<str>,
        /// Why.
        why: Arc<Refusal>,
    },
    /// It has no signature that vouches for it, or not yet.
    Signature {
        /// As the operator wrote it.
        path: Arc<str>,
        /// Why not; without it, there is no signature.
        why: Option<SignatureError>,
        /// The file is so new that its signature may be on its way.
        awaited: bool,
    },
    /// The list as a whole would change too much.
    Size(Arc<SizeChange>),
    /// The version was tried on some clients and taken back.
    Withdrawn {
        /// Its hash.
        version: Digest,
        /// Why.
        why: Arc<str>,
    },
    /// The version it is kept at cannot be had.
    History(Arc<HistoryError>),
    /// A symbolic link that leads nowhere.
    Dangling(Arc<str>),
    /// More lists than a rule can refer to.
    TooManyLists,
}

impl LoadError {
    /// What was found in a file before it was refused.
    pub fn report(&self) -> Option<&FileReport> {
        match self {
            Self::Refused { why, .. } => why.report(),
            _ => None,
        }
    }

    /// Trying again soon may help without anybody doing anything.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Unsettled(_) | Self::Torn(_) | Self::Signature { awaited: true, .. })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "{error}"),
            Self::Stat { path, error } => {
                write!(f, "cannot look at {path}: {error}; check that it exists and is readable")
            }
            Self::Unsettled(path) => write!(f, "{path} is still being written; it is read once nobody writes it"),
            Self::Torn(path) => {
                write!(f, "{path} changed each time it was read; write it aside and rename it into place")
            }
            Self::Refused { path, why } => write!(f, "{path} is refused: {why}"),
            Self::Signature { path, awaited: true, .. } => {
                write!(f, "{path} is not signed yet; it is read once {path}{} has come", signature::ENDING)
            }
            Self::Signature { path, why: Some(why), .. } => write!(
                f,
                "{path} is refused: {path}{} does not vouch for it: {why}; sign it again (minisign -S)",
                signature::ENDING
            ),
            Self::Signature { path, why: None, .. } => write!(
                f,
                "{path} is refused: there is no readable {path}{}, and the list has a `public_key`; sign it (minisign -S)",
                signature::ENDING
            ),
            Self::History(error) => write!(f, "the version it is kept at cannot be read: {error}"),
            Self::Size(change) => write!(f, "the new version is not taken: {change}"),
            Self::Withdrawn { version, why } => write!(
                f,
                "the new version (sha256 {version}) was withdrawn: {why}; `qalqan lists promote` gives it to all"
            ),
            Self::Dangling(path) => write!(f, "{path} is a symbolic link to nothing; mend or remove the link"),
            Self::TooManyLists => write!(f, "more than {} lists are configured; join some into a folder", u16::MAX),
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_file_decides_and_the_oldest_copy_is_named() {
        let last = |since| State::LastGood { why: LoadError::TooManyLists, since: UnixTime(since) };
        let since = |state: State| match state {
            State::LastGood { since, .. } => since.0,
            _ => -1,
        };
        assert_eq!(since(last(20).worse(last(10))), 10);
        assert_eq!(since(State::Fresh.worse(last(30)).worse(State::Unchanged)), 30);
        assert!(matches!(State::Unchanged.worse(State::Fresh), State::Fresh));
    }
}
