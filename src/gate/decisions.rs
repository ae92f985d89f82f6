//! What the operator has said of held entries and of refused versions, kept in `state_dir/decisions.json`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, PatternError};
use crate::rule::Scope;
use crate::util::{UnixTime, write_whole};

/// How many decisions are kept; so many say that a check should be switched off instead.
pub const MAX_DECISIONS: usize = 100_000;
/// A larger file is not ours.
const MAX_FILE: u64 = 256 << 20;
/// Characters of a reason and of a name of who decided.
const MAX_TEXT: usize = 1000;
/// What the file says it is.
const FORMAT: u32 = 1;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is enforced all the same.
    Released,
    /// It stays unenforced and is no longer asked about.
    Dismissed,
}

/// About what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An entry, with its scope: `name`, `=name`, `*.name`.
    Pattern(String),
    /// A version of the whole list that was refused for its size, by its hash in hex.
    Version(String),
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// In which list.
    pub list: String,
    /// About what.
    #[serde(flatten)]
    pub subject: Subject,
    /// What.
    pub verdict: Verdict,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

/// All decisions, the newest of each subject.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    all: Vec<Decision>,
    lists: HashMap<String, OfList>,
    /// The file's bytes as they were read: whoever saves must know what he replaces.
    read: Option<Arc<[u8]>>,
}

/// Where the decisions about one list stand among all.
#[derive(Clone, Debug, Default)]
struct OfList {
    /// By name; one for each scope.
    entries: HashMap<Box<[u8]>, [Option<usize>; 3]>,
    versions: HashMap<String, usize>,
}

/// What every version of qalqan can read of the file.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    decisions: Vec<Decision>,
}

impl Decisions {
    /// Where they are kept.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("decisions.json")
    }

    /// Reads them; without a file there are none.
    ///
    /// # Errors
    /// The file cannot be read or is not ours. Go on without decisions then, and say so: nothing is lost, as
    /// [`Self::save`] does not replace what cannot be read.
    pub fn load(path: &Path) -> Result<Self, DecisionsError> {
        let Some(bytes) = read(path)? else { return Ok(Self::default()) };
        let unreadable = |why: String| DecisionsError::Unreadable { path: path.to_owned(), why };
        let broken = |error: serde_json::Error| unreadable(error.to_string());
        let Head { format } = serde_json::from_slice(&bytes).map_err(broken)?;
        if format != FORMAT {
            return Err(unreadable(format!("it is of format {format}, which another version of qalqan wrote")));
        }
        let saved: Saved = serde_json::from_slice(&bytes).map_err(broken)?;
        let mut decisions = Self { read: Some(bytes.into()), ..Self::default() };
        for decision in saved.decisions {
            let what = format!("{} in list {}", decision.subject, decision.list);
            decisions.put(decision).map_err(|error| unreadable(format!("{what}: {error}")))?;
        }
        Ok(decisions)
    }

    /// Writes them, atomically.
    ///
    /// # Errors
    /// The system refuses; or the file is not the one that was read, because somebody else decided meanwhile or
    /// because it could not be read. It is never overwritten then.
    pub fn save(&mut self, path: &Path) -> Result<(), DecisionsError> {
        if read(path)?.as_deref() != self.read.as_deref() {
            return Err(DecisionsError::Changed { path: path.to_owned() });
        }
        let failed = |error: io::Error| DecisionsError::Write { path: path.to_owned(), error: Arc::new(error) };
        let saved = Saved { format: FORMAT, decisions: self.all.clone() };
        let text = serde_json::to_vec_pretty(&saved).map_err(|error| failed(io::Error::other(error)))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        write_whole(path, &text).map_err(failed)?;
        self.read = Some(text.into());
        Ok(())
    }

    /// Decides about an entry; a decision about the same one before is replaced. Whether the entry may be released at
    /// all, [`super::Held::decide`] looks at.
    ///
    /// # Errors
    /// See [`DecideError`]: nothing is changed then.
    pub fn decide(
        &mut self,
        list: &str,
        pattern: &str,
        verdict: Verdict,
        by: &str,
        reason: &str,
        now: UnixTime,
    ) -> Result<Decision, DecideError> {
        let pattern = Pattern::parse(pattern).map_err(DecideError::Pattern)?;
        self.enter(list, Subject::Pattern(pattern.to_string()), verdict, by, reason, now)
    }

    /// Accepts one version of a list whatever its size, by its hash in hex.
    ///
    /// # Errors
    /// See [`DecideError`]: nothing is changed then.
    pub fn accept(
        &mut self,
        list: &str,
        version: &str,
        by: &str,
        reason: &str,
        now: UnixTime,
    ) -> Result<Decision, DecideError> {
        if version.len() != 64 || !version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DecideError::Version);
        }
        self.enter(list, Subject::Version(version.to_ascii_lowercase()), Verdict::Released, by, reason, now)
    }

    /// Takes a decision back. False: there is none.
    pub fn withdraw(&mut self, list: &str, subject: &Subject) -> bool {
        let before = self.all.len();
        self.all.retain(|decision| decision.list != list || decision.subject != *subject);
        let done = self.all.len() < before;
        if done {
            self.lists.clear();
            for decision in std::mem::take(&mut self.all) {
                // What was in before fits again.
                let _ = self.put(decision);
            }
        }
        done
    }

    /// What was decided about an entry.
    pub fn of(&self, list: &str, scope: Scope, name: &[u8]) -> Option<&Decision> {
        let place = self.lists.get(list)?.entries.get(name)?.get(slot(scope)).copied().flatten()?;
        self.all.get(place)
    }

    /// Whether this version of a list was accepted.
    pub fn accepts(&self, list: &str, version: &str) -> bool {
        let place = self.lists.get(list).and_then(|list| list.versions.get(version));
        place.and_then(|&place| self.all.get(place)).is_some_and(|decision| decision.verdict == Verdict::Released)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those about lists that are not among `lists`: kept, since a list may come back.
    pub fn about_others<'a>(&'a self, lists: &'a HashSet<&str>) -> impl Iterator<Item = &'a Decision> {
        self.all.iter().filter(|decision| !lists.contains(decision.list.as_str()))
    }

    /// Puts one in, with texts looked at.
    fn enter(
        &mut self,
        list: &str,
        subject: Subject,
        verdict: Verdict,
        by: &str,
        reason: &str,
        now: UnixTime,
    ) -> Result<Decision, DecideError> {
        for (what, text) in [("who decides", by), ("a reason", reason)] {
            if text.trim().is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(DecideError::Text(what));
            }
        }
        let time = Timestamp::from_second(now.0).map_err(|_| DecideError::Time)?;
        let (list, by, reason) = (list.to_owned(), by.trim().to_owned(), reason.trim().to_owned());
        let decision = Decision { list, subject, verdict, by, reason, time };
        self.put(decision.clone())?;
        Ok(decision)
    }

    /// Puts one in, for the one before about the same.
    fn put(&mut self, decision: Decision) -> Result<(), DecideError> {
        let next = self.all.len();
        let known = self.lists.get(&decision.list);
        let place = match &decision.subject {
            Subject::Pattern(text) => {
                let pattern = Pattern::parse(text).map_err(DecideError::Pattern)?;
                let known = known.and_then(|list| list.entries.get(pattern.name.wire()));
                let place = known.and_then(|places| places.get(slot(pattern.scope)).copied().flatten());
                if place.is_none() && next < MAX_DECISIONS {
                    let list = self.lists.entry(decision.list.clone()).or_default();
                    list.entries.entry(pattern.name.wire().into()).or_default()[slot(pattern.scope)] = Some(next);
                }
                place
            }
            Subject::Version(version) => {
                let place = known.and_then(|list| list.versions.get(version).copied());
                if place.is_none() && next < MAX_DECISIONS {
                    self.lists.entry(decision.list.clone()).or_default().versions.insert(version.clone(), next);
                }
                place
            }
        };
        match place.and_then(|place| self.all.get_mut(place)) {
            Some(old) => *old = decision,
            None if next < MAX_DECISIONS => self.all.push(decision),
            None => return Err(DecideError::TooMany),
        }
        Ok(())
    }
}

impl PartialEq for Decisions {
    /// The same was decided, wherever it was read.
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "released",
            Self::Dismissed => "dismissed",
        })
    }
}

/// Why nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecideError {
    /// No pattern.
    Pattern(PatternError),
    /// No hash.
    Version,
    /// Who or why is missing, too long or has control characters in it.
    Text(&'static str),
    /// No moment of any calendar.
    Time,
    /// [`MAX_DECISIONS`] are kept.
    TooMany,
    /// The check that holds the entry does not let anybody release it.
    NotReleasable {
        /// The entry.
        pattern: String,
        /// Why it is held.
        reason: String,
        /// What to change instead.
        instead: String,
    },
}

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(error) => error.fmt(f),
            Self::Version => f.write_str("a version is told by its SHA-256 in 64 hexadecimal digits"),
            Self::Text(what) => write!(f, "{what} is needed: one line of at most {MAX_TEXT} characters"),
            Self::Time => f.write_str("the clock shows no possible time"),
            Self::TooMany => {
                write!(
                    f,
                    "{MAX_DECISIONS} decisions are kept already; change the list's `gate` instead of deciding one by one"
                )
            }
            Self::NotReleasable { pattern, reason, instead } => {
                write!(f, "{pattern} cannot be released ({reason}): {instead}")
            }
        }
    }
}

impl std::error::Error for DecideError {}

/// Why decisions cannot be read or kept.
#[derive(Clone, Debug)]
pub enum DecisionsError {
    /// The file is there and cannot be used.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is not the one that was read.
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    Write {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: Arc<io::Error>,
    },
}

impl fmt::Display for DecisionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(
                f,
                "cannot read the decisions about held entries, {}: {why}; mend the file or move it away: until then it is not \
                 written, and nothing can be decided",
                path.display()
            ),
            Self::Changed { path } => {
                write!(f, "{} was changed by somebody else meanwhile; look at it and try again", path.display())
            }
            Self::Write { path, error } => {
                write!(f, "cannot write {}: {error}; nothing was decided", path.display())
            }
        }
    }
}

impl std::error::Error for DecisionsError {}

/// The bytes of the file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, DecisionsError> {
    let failed = |why: String| DecisionsError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    if bytes.len() as u64 > MAX_FILE { Err(failed("too large to be ours".into())) } else { Ok(Some(bytes)) }
}

/// Where a scope has its place.
fn slot(scope: Scope) -> usize {
    match scope {
        Scope::Subtree => 0,
        Scope::Exact => 1,
        Scope::Below => 2,
    }
}

#[cfg(test)]
mod tests;
