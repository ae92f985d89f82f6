//! What a version is, and the hash that stands for all of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::util::{Digest, Hasher, UnixTime};

/// An accepted version of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// From 1 on; a number is never used twice.
    pub number: u64,
    /// The list's name; a slug may be shortened.
    pub list: String,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// See [`whole`].
    pub sha256: Digest,
    /// It was tried on some clients first; without this, all had it from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The rest.
    #[serde(flatten)]
    pub what: Accepted,
}

/// Where a version stands that was tried on some clients first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// It is tried; all others have the one before.
    Running,
    /// All have it, or had it.
    Passed,
    /// It was taken back, and all others never had it.
    Withdrawn,
    /// Another came before its time was over, and all others never had it.
    Superseded,
}

/// What is told of a version when it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The list's source as the operator wrote it.
    pub source: String,
    /// Who brought it, as the audit log says it.
    pub by: String,
    /// What it holds.
    #[serde(flatten)]
    pub counts: Counts,
    /// Its files, sorted by name.
    pub files: Vec<FileEntry>,
}

/// What a version holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries in use.
    pub entries: u64,
    /// Entries that could not be used.
    pub rejected: u64,
    /// Entries not enforced until somebody looks.
    pub held: u64,
    /// Rules the version before had not.
    pub added: u64,
    /// Rules only the version before had.
    pub removed: u64,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// As the operator wrote it, joined with the folder's entry. Never a path to anything.
    pub file: String,
    /// Of its content.
    pub sha256: Digest,
    /// Of its content, in bytes.
    pub size: u64,
}

/// A version that is in force whatever the source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Version {
    /// The next one of a list.
    pub(super) fn new(list: &str, number: u64, mut what: Accepted, trial: Option<Trial>, now: UnixTime) -> Self {
        what.files.sort_by(|a, b| a.file.cmp(&b.file));
        let accepted = Timestamp::from_second(now.0).unwrap_or_default();
        Self { number, list: list.to_owned(), accepted, sha256: whole(&what.files), trial, what }
    }

    /// Whether it ever was for all.
    pub fn is_for_all(&self) -> bool {
        matches!(self.trial, None | Some(Trial::Passed))
    }

    /// Whether it has the same contents under the same names.
    pub(super) fn is(&self, other: &Accepted) -> bool {
        let mut files: Vec<&FileEntry> = other.files.iter().collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        self.what.files.iter().eq(files)
    }
}

/// The hash that stands for a version: of a single file its content's, of several the SHA-256 of what
/// `sha256sum FILE… | LC_ALL=C sort` prints for them.
pub fn whole(files: &[FileEntry]) -> Digest {
    if let [only] = files {
        return only.sha256;
    }
    let mut lines: Vec<String> = files.iter().map(sum_line).collect();
    lines.sort_unstable();
    let mut hasher = Hasher::new();
    for line in &lines {
        hasher.update(line.as_bytes());
    }
    hasher.finish()
}

/// A line of `sha256sum`, which marks and escapes names that would break it.
fn sum_line(entry: &FileEntry) -> String {
    let FileEntry { file, sha256, .. } = entry;
    if file.contains(['\\', '\n', '\r']) {
        let escaped = file.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        format!("\\{sha256}  {escaped}\n")
    } else {
        format!("{sha256}  {file}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_hash_of_several_files_is_what_sha256sum_and_sort_say() {
        let dir = tempfile::tempdir().expect("a folder");
        let names = ["b.txt", "a.txt", "with space", "new\nline", "back\\slash", "тізім"];
        let entry = |name: &&str| {
            std::fs::write(dir.path().join(name), name).expect("written");
            FileEntry { file: (*name).into(), sha256: Digest::of(name.as_bytes()), size: name.len() as u64 }
        };
        let files: Vec<FileEntry> = names.iter().map(entry).collect();
        let script = "sha256sum -- \"$@\" | LC_ALL=C sort | sha256sum";
        let run = Command::new("sh").args(["-c", script, "sh"]).args(names).current_dir(dir.path()).output();
        let said = String::from_utf8(run.expect("sh runs").stdout).expect("UTF-8");
        assert_eq!(said.split(' ').next(), Some(whole(&files).to_string().as_str()));
        assert_eq!(whole(&files[..1]), files[0].sha256);
        assert_eq!(whole(&[]), Digest::of(b""));
    }
}
