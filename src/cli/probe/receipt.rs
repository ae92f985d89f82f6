//! The receipt: what was asked of whom, on which lists, and what came of it, with a digest of itself.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::names::{Census, NAMED};
use super::tally::{Counts, Failure, Tally};
use crate::config::Settings;
use crate::hits::type_name;
use crate::name::show;
use crate::reload::{Digest, ListReport};
use crate::util::{Now, UnixTime};

/// Changes when a field changes its meaning or goes; new fields do not change it.
const SCHEMA: u32 = 1;
/// Files of a list that are told one by one.
const MAX_FILES: usize = 1000;

/// What a receipt says.
#[derive(Debug, Serialize)]
pub struct Receipt {
    pub schema: u32,
    pub tool: &'static str,
    pub version: &'static str,
    /// RFC 3339, UTC.
    pub started: String,
    pub ended: String,
    /// Everything that was to be asked was asked.
    pub complete: bool,
    /// Everything asked was blocked as expected.
    pub all_blocked: bool,
    pub servers: Vec<ServerLine>,
    pub config: Option<ConfigLine>,
    /// What the server of this configuration says of itself, if it runs: before anything was asked.
    pub published: Option<PublishedLine>,
    pub lists: Vec<ListLine>,
    pub names: NamesLine,
    pub asking: AskingLine,
    pub counts: Counts,
    pub groups: Vec<GroupLine>,
    pub notes: Notes,
    /// The first ones, in full.
    pub failures: Vec<FailureLine>,
    pub failures_total: u64,
}

/// One server over one transport.
#[derive(Debug, Serialize)]
pub struct ServerLine {
    pub address: String,
    pub transport: &'static str,
    pub complete: bool,
    /// Why not all was asked.
    pub error: Option<String>,
}

/// The configuration.
#[derive(Debug, Serialize)]
pub struct ConfigLine {
    pub path: String,
    pub sha256: String,
}

/// What a server had in force.
#[derive(Debug, Serialize)]
pub struct PublishedLine {
    pub pid: u32,
    pub generation: u64,
    /// When that was published.
    pub published: Option<String>,
    /// From the first sight of a change to the last publish that one led to.
    pub publish_to_enforced_ms: Option<u64>,
    /// Something else was published before the end; `None`: it could not be asked then.
    pub changed: Option<bool>,
}

/// The version of a list that a server had in force.
#[derive(Debug, Serialize)]
pub struct InForceLine {
    /// In the history.
    pub version: Option<u64>,
    /// All its files are the ones that were read for this.
    pub as_read: bool,
    /// When its source was first seen changed; nothing if the server started with it.
    pub seen: Option<String>,
    pub published: Option<String>,
    /// From the one to the other, as the server measured it.
    pub publish_to_enforced_ms: Option<u64>,
}

/// A list as it was read for this.
#[derive(Debug, Serialize)]
pub struct ListLine {
    pub name: String,
    pub source: String,
    pub role: String,
    pub mode: String,
    pub entries: u64,
    /// What was read is what the source holds now, not an older copy.
    pub current: bool,
    pub file_count: usize,
    /// Of the lines `sha256sum` would print for all its files, in this order.
    pub files_sha256: String,
    pub files: Vec<FileLine>,
    /// What the server of this configuration has in force of it, if it runs.
    pub in_force: Option<InForceLine>,
}

/// One file of it.
#[derive(Debug, Serialize)]
pub struct FileLine {
    pub path: String,
    pub sha256: Option<String>,
    /// When a server took it, if `state_dir` says so.
    pub accepted: Option<String>,
}

/// Which names.
#[derive(Debug, Serialize)]
pub struct NamesLine {
    /// `lists`, or the file they were given in.
    pub from: String,
    pub lists: Vec<String>,
    pub orders: Vec<String>,
    pub patterns: u64,
    pub names: u64,
    pub sample: Option<u64>,
    pub seed: u32,
    pub repeated: u64,
    pub excepted: u64,
    /// Names of entries that the gate holds.
    pub held: u64,
    pub not_in_force: u64,
    pub too_long: u64,
    /// Entries of a given file that are no names.
    pub rejected: u64,
}

/// How it was asked.
#[derive(Debug, Serialize)]
pub struct AskingLine {
    pub types: Vec<String>,
    pub expect: &'static str,
    /// Addresses that count as blocked, beside 0.0.0.0 and ::.
    pub sinkholes: Vec<String>,
    pub control: Option<String>,
    pub rate: u32,
    pub in_flight: usize,
    pub timeout_ms: u64,
    pub tries: u8,
}

/// One row of the table.
#[derive(Debug, Serialize)]
pub struct GroupLine {
    pub server: String,
    /// `None` for given names.
    pub list: Option<String>,
    #[serde(rename = "type")]
    pub rtype: String,
    pub transport: &'static str,
    #[serde(flatten)]
    pub counts: Counts,
}

/// What else happened.
#[derive(Debug, Default, Serialize)]
pub struct Notes {
    pub retries: u64,
    pub asked_again_over_tcp: u64,
    pub ignored_messages: u64,
    pub silence_as_expected: u64,
    pub passed_by_transport: u64,
    /// An order began or ended while it was asked.
    pub orders_changed: bool,
}

/// One answer that was not as it should be.
#[derive(Debug, Serialize)]
pub struct FailureLine {
    pub server: String,
    pub list: Option<String>,
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub transport: &'static str,
    pub verdict: &'static str,
    pub expected: String,
    pub got: String,
}

impl Receipt {
    /// The head, with nothing asked yet.
    pub fn new(started: Now, names: NamesLine, asking: AskingLine) -> Self {
        Self {
            schema: SCHEMA,
            tool: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            started: moment(started),
            ended: String::new(),
            complete: false,
            all_blocked: false,
            servers: Vec::new(),
            config: None,
            published: None,
            lists: Vec::new(),
            names,
            asking,
            counts: Counts::default(),
            groups: Vec::new(),
            notes: Notes::default(),
            failures: Vec::new(),
            failures_total: 0,
        }
    }

    /// Puts in what was counted; `lists` has the names of the lists.
    pub fn fill(&mut self, tally: &Tally, lists: &[String], ended: Now) {
        self.ended = moment(ended);
        self.counts = tally.total();
        let list = |index: u16| if index == NAMED { None } else { lists.get(usize::from(index)).cloned() };
        let group = |(group, counts): (&super::tally::Group, &Counts)| GroupLine {
            server: group.server.to_string(),
            list: list(group.list),
            rtype: type_name(group.rtype).into_owned(),
            transport: group.transport,
            counts: *counts,
        };
        self.groups = tally.groups.iter().map(group).collect();
        let failure = |failure: &Failure| FailureLine {
            server: failure.group.server.to_string(),
            list: list(failure.group.list),
            name: shown(&failure.name),
            rtype: type_name(failure.group.rtype).into_owned(),
            transport: failure.group.transport,
            verdict: failure.verdict.as_str(),
            expected: failure.expected.clone(),
            got: failure.got.clone(),
        };
        self.failures = tally.failures.iter().map(failure).collect();
        // What is not blocked is read first.
        self.failures.sort_by_key(|failure| failure.verdict != super::judge::Verdict::Open.as_str());
        self.failures_total = self.counts.failed();
        self.notes.retries = tally.retries;
        self.notes.asked_again_over_tcp = tally.truncated;
        self.notes.ignored_messages = tally.ignored;
        self.notes.silence_as_expected = tally.silent;
        self.notes.passed_by_transport = tally.passing;
    }

    /// As JSON with its digest: text for people, and the digest.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn seal(&self) -> serde_json::Result<(String, Digest)> {
        let mut value = serde_json::to_value(self)?;
        let mut text = String::new();
        canonical(&value, &mut text);
        let digest = Digest::of(text.as_bytes());
        if let Value::Object(fields) = &mut value {
            fields.insert("sha256".into(), digest.to_string().into());
        }
        Ok((serde_json::to_string_pretty(&value)? + "\n", digest))
    }
}

impl NamesLine {
    /// What was counted of names.
    pub fn of(census: &Census, from: String, seed: u32) -> Self {
        Self {
            from,
            lists: Vec::new(),
            orders: Vec::new(),
            patterns: census.patterns,
            names: census.names,
            sample: None,
            seed,
            repeated: census.repeated,
            excepted: census.excepted,
            held: census.held,
            not_in_force: census.not_in_force,
            too_long: census.too_long,
            rejected: 0,
        }
    }
}

impl ListLine {
    /// Of the configured lists as they were read from `began` on; the two are in the same order.
    pub fn all(settings: &Settings, reports: &[ListReport], began: UnixTime) -> Vec<Self> {
        let line = |(list, report): (&crate::config::ListSettings, &ListReport)| {
            let mut sums = String::new();
            for file in &report.files {
                // Writing to a String cannot fail.
                let _ = file.sha256.map(|sha256| writeln!(sums, "{sha256}  {}", file.path));
            }
            let files = report.files.iter().take(MAX_FILES).map(|file| FileLine {
                path: file.path.to_string(),
                sha256: file.sha256.map(|sha256| sha256.to_string()),
                // What was accepted by this very reading says nothing about a server.
                accepted: file.accepted.filter(|&at| at < began).map(at_second),
            });
            Self {
                name: report.name.clone(),
                source: report.source.clone(),
                role: list.spec.role.to_string(),
                mode: list.spec.mode.to_string(),
                entries: report.entries,
                current: report.state.is_current() && report.error.is_none(),
                file_count: report.files.len(),
                files_sha256: Digest::of(sums.as_bytes()).to_string(),
                files: files.collect(),
                in_force: None,
            }
        };
        settings.lists.iter().zip(reports).map(line).collect()
    }
}

/// The one way to write a value that its digest is taken of: no blanks, keys sorted by their bytes.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|&(key, _)| key);
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                let _ = write!(out, "{}:", Value::String(key.clone()));
                canonical(value, out);
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                canonical(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

/// A whole second, likewise.
fn at_second(UnixTime(at): UnixTime) -> String {
    moment(Now { unix_ms: at.saturating_mul(1000) })
}

/// RFC 3339 in UTC.
pub fn moment(at: Now) -> String {
    jiff::Timestamp::from_millisecond(at.unix_ms).map_or_else(|_| at.unix_ms.to_string(), |time| time.to_string())
}

/// A name as people write it.
pub fn shown(wire: &[u8]) -> String {
    let mut text = String::new();
    let _ = show(wire, &mut text);
    text
}

/// A file that will be there whole or not at all. Opened before anything is asked: an hour later is too late to find
/// that it cannot be written.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    aside: PathBuf,
    file: Option<File>,
}

impl Aside {
    /// Beside `path`.
    ///
    /// # Errors
    /// It cannot be made there.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.file_name().is_none() || path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let aside = PathBuf::from(name);
        let file = File::create(&aside)?;
        Ok(Self { path: path.to_owned(), aside, file: Some(file) })
    }

    /// Writes it and moves it into place.
    ///
    /// # Errors
    /// The disk is full, say; what was there before is then still there.
    pub fn write(mut self, text: &str) -> io::Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let mut put = || -> io::Result<()> {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&self.aside, &self.path)
        };
        put().inspect_err(|_| drop(fs::remove_file(&self.aside)))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_a_value() {
        let value = serde_json::json!({"b": [1, {"z": null, "a": "ж\n\""}, []], "a": {}, "c": true});
        let mut text = String::new();
        canonical(&value, &mut text);
        assert_eq!(text, r#"{"a":{},"b":[1,{"a":"ж\n\"","z":null},[]],"c":true}"#);
    }

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipt.json");
        let left = || fs::read_dir(folder.path()).expect("a folder").count();
        drop(Aside::open(&path).expect("opened"));
        assert_eq!(left(), 0);
        Aside::open(&path).expect("opened").write("one").expect("written");
        Aside::open(&path).expect("opened").write("two").expect("written");
        assert_eq!((fs::read_to_string(&path).expect("there").as_str(), left()), ("two", 1));
        assert!(Aside::open(folder.path()).is_err() && Aside::open(&folder.path().join("no/such")).is_err());
    }
}
