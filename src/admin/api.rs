//! What can be asked, and what comes back.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::held::Ruling;

/// One request of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the server is: [`Status`].
    Status,
    /// Read configuration and lists again, whatever time stamps say: a [`Status`] of afterwards.
    Reload,
    /// Forget cached answers: [`Flushed`].
    Flush {
        /// The name.
        name: String,
        /// And everything below it.
        subtree: bool,
    },
    /// What the gate holds: [`super::HeldLists`].
    Held,
    /// Decide about it: [`super::Ruled`], once that is in force.
    Decide(Ruling),
    /// Give the version of a list that is on trial, or was withdrawn, to all: a [`Status`] of afterwards.
    Promote {
        /// The list.
        list: String,
        /// The operator's words.
        reason: String,
    },
    /// Take the version of a list that is on trial back: a [`Status`] of afterwards.
    Withdraw {
        /// The list.
        list: String,
        /// The operator's words.
        reason: String,
    },
    /// Keep a list at an older version until it is unpinned: a [`Status`] of afterwards.
    Rollback {
        /// The list.
        list: String,
        /// The version; without one, that before the one in force.
        version: Option<u64>,
        /// Why.
        reason: String,
    },
    /// Let a list follow its source again: a [`Status`] of afterwards.
    Unpin {
        /// The list.
        list: String,
        /// Why.
        reason: String,
    },
}

/// Why a request came to nothing, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Who asks, as the system says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user's name, or `uid 1000` where it has none.
    pub user: String,
}

/// A request on its way to who can answer it. Dropped unanswered, the operator is told so.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// By whom.
    pub who: Who,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Value, Refused>>,
}

/// A server and its lists, as of the last reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of qalqan.
    pub version: String,
    /// Of the server.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: i64,
    /// Counts publishes since then.
    pub generation: u64,
    /// When the present generation was published, in seconds since 1970.
    pub published: i64,
    /// The same in milliseconds, but for what order dates changed since.
    #[serde(default)]
    pub published_ms: Option<i64>,
    /// How long the last publish took from the first sight of a change on, in milliseconds; nothing for a start.
    #[serde(default)]
    pub publish_to_enforced_ms: Option<u64>,
    /// Why what was read last could not be put in force.
    pub failed: Option<String>,
    /// Why the audit log cannot be written just now.
    #[serde(default)]
    pub audit: Option<String>,
    /// Files of the gate that cannot be used as they are; a check may be off.
    #[serde(default)]
    pub gate: Vec<String>,
    /// What is wrong with the statistics' store.
    #[serde(default)]
    pub statistics: Option<String>,
    /// In order of configuration.
    pub lists: Vec<ListLine>,
    /// How the orders in them stand.
    #[serde(default)]
    pub orders: Orders,
}

/// Orders in numbers, and those whose deadline is near or past while something of them is not enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// They block.
    pub in_force: u64,
    /// `effective` has not come.
    pub pending: u64,
    /// `expires` has passed.
    pub expired: u64,
    /// `revoked` has passed.
    pub revoked: u64,
    /// The deadline is near, and something is not enforced.
    pub due: u64,
    /// The deadline has passed, and something is not enforced.
    pub overdue: u64,
    /// Files tell them differently.
    pub conflicts: u64,
    /// When one of them next changes its state or comes near its deadline, in seconds since 1970.
    pub next_change: Option<i64>,
    /// The next deadline of any order that is not over, met or not, in seconds since 1970.
    #[serde(default)]
    pub next_deadline: Option<i64>,
    /// The first that are due or overdue.
    pub alerts: Vec<OrderAlert>,
}

/// An order somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAlert {
    /// The authority's own number.
    pub id: String,
    /// Who issued it.
    pub authority: String,
    /// `due` or `overdue`.
    pub standing: String,
    /// Its deadline, in seconds since 1970.
    pub deadline: i64,
    /// What is not enforced and why.
    pub why: String,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLine {
    /// Its name.
    pub name: String,
    /// File, folder or URL.
    pub source: String,
    /// `block` or `allow`.
    pub role: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// `current`, `refused` (a version was not taken for its size), `last good` or `not used`.
    pub state: String,
    /// Its version in force, if that is in the history.
    #[serde(default)]
    pub version: Option<u64>,
    /// An operator keeps it at that version.
    #[serde(default)]
    pub pinned: bool,
    /// When the newest content in force was accepted, in seconds since 1970.
    pub accepted: Option<i64>,
    /// When the source of the version that all have was first seen changed, in milliseconds since 1970; nothing if the
    /// server started with it.
    #[serde(default)]
    pub seen_ms: Option<i64>,
    /// When that version was published, likewise.
    #[serde(default)]
    pub published_ms: Option<i64>,
    /// From the one to the other, on a clock that nobody sets.
    #[serde(default)]
    pub publish_to_enforced_ms: Option<u64>,
    /// Entries in force.
    pub entries: u64,
    /// Entries the gate holds, about which nobody has decided.
    #[serde(default)]
    pub held: u64,
    /// The version not taken for its size, by its hash in hex.
    #[serde(default)]
    pub refused: Option<String>,
    /// Entries that could not be used.
    pub rejected: u64,
    /// The first thing that went wrong, if anything did.
    pub error: Option<String>,
    /// The newest version, if only some clients have it yet; the numbers above are of that one.
    #[serde(default)]
    pub canary: Option<CanaryLine>,
    /// Its files.
    pub files: Vec<FileLine>,
}

/// A version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryLine {
    /// Its number, if it is in the history.
    #[serde(default)]
    pub version: Option<u64>,
    /// Of the version, as the history counts it.
    pub sha256: String,
    /// When all get it, in seconds since 1970.
    pub until: i64,
    /// Who has it, as address blocks.
    pub clients: Vec<String>,
    /// What they asked since it began, or since the server started.
    pub queries: u64,
    /// How many of these it blocked.
    pub hits: u64,
}

/// One file of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// As the operator wrote it.
    pub file: String,
    /// Of the content in force; `None` if nothing is.
    pub sha256: Option<String>,
    /// When that was accepted, in seconds since 1970.
    pub accepted: Option<i64>,
    /// As for the list.
    pub state: String,
    /// Entries in force.
    pub entries: u64,
}

/// What [`Request::Flush`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Answers forgotten.
    pub answers: usize,
}

/// An answer as it goes over the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// What was asked for.
    Ok(Value),
    /// Why not.
    Error(String),
}

impl From<Result<Value, Refused>> for Answer {
    fn from(result: Result<Value, Refused>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(Refused(why)) => Self::Error(why),
        }
    }
}
