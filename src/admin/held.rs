//! Held entries and refused versions, as operators see and decide them.

use serde::{Deserialize, Serialize};

/// How many entries one request decides about.
pub const MAX_RULED: usize = 1000;

/// What to decide about held entries of a list: about all of them or, where one of them is wrong, about none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// The list.
    pub list: String,
    /// What.
    pub verb: RulingVerb,
    /// About these entries, as a `domains` list writes them.
    #[serde(default)]
    pub entries: Vec<String>,
    /// About the version refused for its size: the beginning of its hash in hex, or nothing for the one there is.
    #[serde(default)]
    pub whole: Option<String>,
    /// Why; taking a decision back needs no reason.
    #[serde(default)]
    pub reason: String,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulingVerb {
    /// Enforce it all the same.
    Release,
    /// Keep it out, and ask no more.
    Dismiss,
    /// Take back what was decided.
    Undecide,
}

/// What [`super::Request::Decide`] did; it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruled {
    /// The list.
    pub list: String,
    /// What.
    pub verb: RulingVerb,
    /// About what, as decisions.json names it.
    pub subjects: Vec<String>,
    /// Of the snapshot in force.
    pub generation: u64,
    /// Entries of the list that still wait for a decision.
    pub open: u64,
}

/// The lists with something to decide, or something decided, in order of configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLists {
    /// Them.
    pub lists: Vec<HeldList>,
}

/// One of them. Counts are exact; of many entries only the first are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldList {
    /// Its name.
    pub name: String,
    /// Entries held, about which nobody has decided.
    pub open: u64,
    /// Entries held for good.
    pub dismissed: u64,
    /// Entries enforced by an operator's word.
    pub released: u64,
    /// A version that was not taken for its size.
    pub refused: Option<RefusedLine>,
    /// The entries.
    pub entries: Vec<HeldLine>,
}

/// A version that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// Its hash in hex.
    pub sha256: String,
    /// Entries in force.
    pub before: Option<u64>,
    /// Entries it would have.
    pub after: u64,
    /// Why, and what to do.
    pub reason: String,
}

/// A held entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLine {
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// It, as a `domains` list writes it.
    pub entry: String,
    /// The check that holds it.
    pub check: String,
    /// Why, in words.
    pub reason: String,
    /// What to do where it cannot be released.
    pub instead: Option<String>,
    /// Somebody has to decide.
    pub open: bool,
    /// What was decided.
    pub decided: Option<DecidedLine>,
}

/// What somebody has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedLine {
    /// `released` or `dismissed`.
    pub verdict: String,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339.
    pub time: String,
}
