//! What is written down. `docs/audit.md` explains each event to officers; the two change together.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NameSet, Names, Text};
use crate::rule;
use crate::util::Digest;

/// Something that happened to what is enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The server serves.
    ServerStarted(Server),
    /// It has ended in an orderly way.
    ServerStopped(Server),
    /// Another configuration is in force.
    ConfigChanged(ConfigChange),
    /// A new version of a list passed the gate.
    ListAccepted(AcceptedList),
    /// It did not; the version before stays in force.
    ListRefused(RefusedList),
    /// A list left the configuration.
    ListRemoved(RemovedList),
    /// An order blocks from now on.
    OrderInForce(OrderChange),
    /// An order no longer does.
    OrderLifted(OrderChange),
    /// Entries are not enforced until somebody looks at them.
    Held(HeldEntries),
    /// A held entry is enforced after all.
    Released(RuleVerdict),
    /// A held entry stays out.
    Dismissed(RuleVerdict),
    /// What was decided about a held entry is taken back.
    Undecided(RuleVerdict),
    /// An older version of a list is in force again.
    RolledBack(Rollback),
    /// A list stays at a version whatever its source says.
    Pinned(VersionChange),
    /// It follows its source again.
    Unpinned(VersionChange),
    /// A shadow list, or a version in its canary time, is enforced for all.
    Promoted(VersionChange),
    /// A new version is enforced for some clients first.
    CanaryStarted(Canary),
    /// That has ended.
    CanaryEnded(CanaryEnd),
    /// What decides queries was exchanged; says everything that is in force from then on.
    SnapshotPublished(Publication),
    /// Which addresses are of a group of clients.
    ClientsChanged(ClientsChange),
    /// A source could not be fetched.
    FetchFailed(FailedFetch),
    /// A half-written line at the end of this log was moved aside.
    Recovered(RecoveredTail),
    /// A file of this log was changed by another program.
    Disturbed(Disturbed),
    /// Events that could not be written.
    Lost(LostEvents),
}

/// The program and its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Of qalqan.
    pub version: Text,
    /// Of the configuration file.
    pub config_sha256: Digest,
}

/// From one configuration file to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Of the file before.
    pub before_sha256: Digest,
    /// Of the file now.
    pub after_sha256: Digest,
    /// Settings that differ.
    pub keys: Names,
}

/// A version of a list, and what is new in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedList {
    /// Its name.
    pub list: Text,
    /// Number in the history.
    pub version: u64,
    /// Its source as the operator wrote it.
    pub source: Text,
    /// Of the version before, if there was one.
    pub before_sha256: Option<Digest>,
    /// As the history counts it.
    pub after_sha256: Digest,
    /// Entries of the version before.
    pub entries_before: u64,
    /// Entries now.
    pub entries: u64,
    /// Rules that are new.
    pub added: Names,
    /// Rules that are gone.
    pub removed: Names,
    /// Entries not enforced until somebody looks.
    pub held: u64,
    /// Entries that could not be used.
    pub rejected: u64,
}

/// A version of a list that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedList {
    /// Its name.
    pub list: Text,
    /// Its source as the operator wrote it.
    pub source: Text,
    /// Of what was refused, if it could be read at all.
    pub sha256: Option<Digest>,
    /// Why.
    pub reason: Text,
}

/// A list that is no longer configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedList {
    /// Its name.
    pub list: Text,
    /// The version that was in force.
    pub version: Option<u64>,
    /// Of that version.
    pub sha256: Option<Digest>,
    /// Its entries.
    pub entries: u64,
}

/// An order that began or ceased to block, for the names of one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderChange {
    /// The authority's own number.
    pub order: Text,
    /// Who issued it.
    pub authority: Text,
    /// The list it stands in.
    pub list: Text,
    /// What made it so.
    pub reason: Why,
    /// The names it concerns.
    pub names: NameSet,
}

/// What brings an order into force or lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its `effective` date came.
    Effective,
    /// Its `expires` date came.
    Expired,
    /// Its `revoked` date came.
    Revoked,
    /// A new version of its list says so.
    ListVersion,
    /// Its list left the configuration or came into it.
    ListConfigured,
    /// An older version of its list is in force again.
    RolledBack,
    /// A held entry was released.
    Released,
    /// The list went from shadow to enforcing, or back.
    Mode,
    /// The server started and finds it so.
    Started,
}

/// Entries that wait for somebody to look at them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldEntries {
    /// Their list.
    pub list: Text,
    /// The version they came with.
    pub version: u64,
    /// All of them.
    pub entries: u64,
    /// At most [`super::MAX_SAMPLE`].
    pub sample: Vec<HeldEntry>,
    /// Where the sample is not all, of each entry the first 16 hex digits of the SHA-256 of its rule, one behind the
    /// other; empty if they are more than `MAX_MARKS`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub marks: String,
}

/// Held entries that are marked one by one.
const MAX_MARKS: usize = 4096;
/// Hex digits of a mark.
const MARK: usize = 16;

impl HeldEntries {
    /// Of `entries` in all, these first ones, or all of them, with their reasons.
    pub fn new<R: AsRef<str>, W: AsRef<str>>(
        list: &str,
        version: u64,
        entries: u64,
        sample: impl IntoIterator<Item = (R, W)>,
    ) -> Self {
        let entry = |(rule, reason): (R, W)| HeldEntry { rule: rule.into(), reason: reason.into() };
        let (mut kept, mut marks, mut given) = (Vec::new(), String::new(), 0_u64);
        for (rule, reason) in sample.into_iter().take(MAX_MARKS) {
            given += 1;
            marks.push_str(&mark(rule.as_ref()));
            if kept.len() < super::MAX_SAMPLE {
                kept.push(entry((rule, reason)));
            }
        }
        if given < entries || kept.len() as u64 >= entries {
            marks.clear();
        }
        Self { list: list.into(), version, entries, sample: kept, marks }
    }

    /// Whether an entry is one of them; `None` if they are not marked.
    pub fn is_marked(&self, rule: &str) -> Option<bool> {
        let (wanted, marks) = (mark(rule), self.marks.as_bytes());
        (!marks.is_empty()).then(|| marks.chunks(MARK).any(|mark| mark == wanted.as_bytes()))
    }
}

/// What stands for a rule.
fn mark(rule: &str) -> String {
    Digest::of(rule.as_bytes()).to_string().chars().take(MARK).collect()
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldEntry {
    /// As a `domains` list writes it.
    pub rule: Text,
    /// Why it is held.
    pub reason: Text,
}

/// What somebody said about a held entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleVerdict {
    /// Its list.
    pub list: Text,
    /// As a `domains` list writes it.
    pub rule: Text,
    /// The operator's words.
    pub reason: Text,
}

/// From one version back to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The list.
    pub list: Text,
    /// The version that was in force.
    pub from: u64,
    /// The version that is.
    pub to: u64,
    /// Of the former.
    pub before_sha256: Digest,
    /// Of the latter.
    pub after_sha256: Digest,
    /// Entries of the former.
    pub entries_before: u64,
    /// Entries of the latter.
    pub entries: u64,
    /// Why.
    pub reason: Text,
}

/// Something about one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionChange {
    /// The list.
    pub list: Text,
    /// The version.
    pub version: u64,
    /// Of the version.
    pub sha256: Digest,
    /// Why.
    pub reason: Text,
}

/// A version that some clients get first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The list.
    pub list: Text,
    /// The new version.
    pub version: u64,
    /// Of the new version.
    pub sha256: Digest,
    /// The version all others keep.
    pub others: Option<u64>,
    /// The clients, as address blocks.
    pub clients: Names,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Why.
    pub reason: Text,
}

/// The end of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryEnd {
    /// The list.
    pub list: Text,
    /// The version that was tried.
    pub version: u64,
    /// What came of it.
    pub outcome: CanaryOutcome,
    /// Why.
    pub reason: Text,
}

/// What comes of a version that some clients got first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryOutcome {
    /// Its time is over; all get it.
    Completed,
    /// Somebody gave it to all before.
    Promoted,
    /// It is withdrawn.
    RolledBack,
    /// A newer version came.
    Superseded,
}

impl fmt::Display for CanaryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "all have it",
            Self::Promoted => "promoted, all have it",
            Self::RolledBack => "nobody has it any more",
            Self::Superseded => "another version took its place",
        })
    }
}

/// Everything that decides queries from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Number of the snapshot in this run of the server.
    pub generation: u64,
    /// Every list in it, in config order, so that what was in force at a moment can be proved.
    pub lists: Vec<ListInForce>,
}

/// One list of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListInForce {
    /// Its name.
    pub name: Text,
    /// Number in the history, if it is there.
    pub version: Option<u64>,
    /// Of that version.
    pub sha256: Option<Digest>,
    /// Whether it acts.
    pub mode: Mode,
}

/// [`rule::Mode`], as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Queries are answered as its rules say.
    Enforce,
    /// Hits are only counted.
    Shadow,
}

impl From<rule::Mode> for Mode {
    fn from(mode: rule::Mode) -> Self {
        match mode {
            rule::Mode::Enforce => Self::Enforce,
            rule::Mode::Shadow => Self::Shadow,
        }
    }
}

/// The address blocks of a group of clients from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsChange {
    /// The group.
    pub clients: Text,
    /// How many blocks.
    pub blocks: u64,
    /// Of all of them in order of addresses, each followed by a newline.
    pub sha256: Digest,
}

/// A source that did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFetch {
    /// The list.
    pub list: Text,
    /// Its address.
    pub source: Text,
    /// What went wrong.
    pub reason: Text,
    /// How often in a row.
    pub failures: u64,
}

/// Bytes at the end of a segment that are no line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredTail {
    /// The segment.
    pub file: Text,
    /// The file they were moved to, beside it.
    pub moved_to: Text,
    /// How many.
    pub bytes: u64,
    /// Of them.
    pub sha256: Digest,
}

/// A segment that is not as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbed {
    /// The segment.
    pub file: Text,
    /// What is wrong with it.
    pub what: Text,
}

/// Events of which nothing is known but their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEvents {
    /// How many.
    pub events: u64,
    /// When the first of them happened.
    pub since: Text,
    /// Why the last of them could not be kept.
    pub reason: Text,
}
