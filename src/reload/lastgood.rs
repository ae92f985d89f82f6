//! Copies of accepted list files in `state_dir`, for a start when the sources are unreadable.
//!
//! ```text
//! state_dir/lists/<slug>/manifest.json     which contents make up the list
//! state_dir/lists/<slug>/<sha256>.copy     one content
//! ```
//! Contents are written before the manifest that names them and removed after it, so a crash at any point leaves a
//! complete older or a complete newer state.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::report::Digest;
use crate::util::{self, TEMPORARY, UnixTime, slug};

/// Ends the names of contents.
const COPY: &str = ".copy";
/// Larger manifests are not ours.
const MAX_MANIFEST: u64 = 64 << 20;

/// `state_dir/lists`.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
}

/// What `manifest.json` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The list's name; a slug may be shortened.
    pub(super) list: String,
    /// Its source as the operator wrote it.
    pub(super) source: String,
    /// Its files: the version all clients have.
    pub(super) files: Vec<Entry>,
    /// The newest version, where not all have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) beside: Option<Beside>,
}

/// A version on trial, or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beside {
    /// Its files.
    pub(super) files: Vec<Entry>,
    /// Since when some clients have it, in milliseconds since 1970.
    pub(super) started_ms: i64,
    /// Nobody has it any more, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) withdrawn: Option<String>,
}

impl Manifest {
    /// The newest version, whoever has it.
    pub(super) fn newest(&self) -> Self {
        let files = self.beside.as_ref().map_or(&self.files, |beside| &beside.files);
        Self { files: files.clone(), beside: None, ..self.clone() }
    }

    /// Every file, those of both versions.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().chain(self.beside.iter().flat_map(|beside| &beside.files))
    }
}

/// One accepted file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// As the operator wrote it, joined with the folder's entry.
    pub(super) file: String,
    /// Of its content, in hex.
    pub(super) sha256: String,
    /// Of its content, in bytes.
    pub(super) size: u64,
    /// When it was accepted, in seconds since 1970.
    pub(super) accepted: i64,
    /// How many entries it had, for those that count.
    #[serde(default)]
    pub(super) entries: Option<u64>,
}

impl Entry {
    /// For a content accepted at `accepted`.
    pub(super) fn new(file: &str, sha256: Digest, size: u64, accepted: UnixTime) -> Self {
        Self { file: file.to_owned(), sha256: sha256.to_string(), size, accepted: accepted.0, entries: None }
    }

    /// With its number of entries.
    pub(super) fn with_entries(self, entries: u64) -> Self {
        Self { entries: Some(entries), ..self }
    }
}

impl Store {
    /// Below `state_dir`. Touches nothing yet.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("lists") }
    }

    /// What is kept of a list; an empty manifest if nothing is.
    pub(super) fn manifest(&self, list: &str) -> Result<Manifest, CopyError> {
        let path = self.folder(list).join("manifest.json");
        let bytes = match read_at_most(&path, MAX_MANIFEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(error) => return Err(CopyError::io("read", &path, error)),
        };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|_| CopyError::Corrupt { path: path.clone() })?;
        // Two names cannot share a slug by accident, so this one was moved here by hand.
        if manifest.list != list { Err(CopyError::Corrupt { path }) } else { Ok(manifest) }
    }

    /// Whether anything is kept of a list.
    pub(super) fn has(&self, list: &str) -> bool {
        self.folder(list).join("manifest.json").exists()
    }

    /// A kept content, only if it is still what was kept.
    pub(super) fn content(&self, list: &str, entry: &Entry) -> Result<Vec<u8>, CopyError> {
        let path = self.content_path(list, &entry.sha256)?;
        let bytes = read_at_most(&path, entry.size).map_err(|error| CopyError::io("read", &path, error))?;
        if bytes.len() as u64 == entry.size && Digest::of(&bytes).to_string() == entry.sha256 {
            Ok(bytes)
        } else {
            Err(CopyError::Corrupt { path })
        }
    }

    /// Keeps one content, to be named by the next manifest.
    pub(super) fn keep_content(&self, list: &str, entry: &Entry, bytes: &[u8]) -> Result<(), CopyError> {
        let path = self.content_path(list, &entry.sha256)?;
        self.make(list)?;
        write_whole(&path, bytes)
    }

    /// Names the contents that make up a list from now on, then removes all others.
    pub(super) fn keep_manifest(&self, manifest: &Manifest) -> Result<(), CopyError> {
        let folder = self.make(&manifest.list)?;
        let path = folder.join("manifest.json");
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| CopyError::io("write", &path, io::Error::other(error)))?;
        write_whole(&path, &text)?;
        let used: HashSet<String> = manifest.all().map(|file| format!("{}{COPY}", file.sha256)).collect();
        for (name, path) in entries(&folder) {
            let ours = name.ends_with(COPY) || name.starts_with(TEMPORARY);
            if ours && !used.contains(&name) {
                fs::remove_file(&path).map_err(|error| CopyError::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Removes what is kept of lists that are no longer configured.
    pub(super) fn forget_others<'a>(&self, lists: impl Iterator<Item = &'a str>) -> Result<(), CopyError> {
        let used: HashSet<String> = lists.map(slug).collect();
        for (name, folder) in entries(&self.root) {
            // Only what looks like ours: the operator may have put something beside it.
            if !used.contains(&name) && folder.join("manifest.json").is_file() {
                fs::remove_dir_all(&folder).map_err(|error| CopyError::io("remove", &folder, error))?;
            }
        }
        Ok(())
    }

    /// The folder of a list.
    fn folder(&self, list: &str) -> PathBuf {
        self.root.join(slug(list))
    }

    /// The folder of a list, made if need be.
    fn make(&self, list: &str) -> Result<PathBuf, CopyError> {
        let folder = self.folder(list);
        fs::create_dir_all(&folder).map_err(|error| CopyError::io("create", &folder, error))?;
        Ok(folder)
    }

    /// Where a content lies. The hash comes from a file: only what is a hash may become part of a path.
    fn content_path(&self, list: &str, sha256: &str) -> Result<PathBuf, CopyError> {
        let folder = self.folder(list);
        if sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(folder.join(format!("{sha256}{COPY}")))
        } else {
            Err(CopyError::Corrupt { path: folder.join("manifest.json") })
        }
    }
}

/// Names and paths in a folder; what cannot be listed is as good as empty.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    listing.flatten().filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

/// The content of a file, of which at most `limit` bytes and one are read.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// [`util::write_whole`] with the path in the error.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    util::write_whole(path, bytes).map_err(|error| CopyError::io("write", path, error))
}

/// Why a copy could not be kept or used.
#[derive(Clone, Debug)]
pub enum CopyError {
    /// The system refused.
    Io {
        /// `read`, `write`, `create`, `remove`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        error: Arc<io::Error>,
    },
    /// It is not what was written.
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

impl CopyError {
    fn io(doing: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), error: Arc::new(error) }
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing: "read", path, error } => {
                write!(f, "cannot read the last good copy {}: {error}; check its owner and mode", path.display())
            }
            Self::Io { doing, path, error } => write!(
                f,
                "cannot {doing} {}: {error}; lists are enforced, but a restart while their sources are unreadable \
                 would miss this state: make room and check that state_dir is writable",
                path.display()
            ),
            Self::Corrupt { path } => {
                write!(f, "{} is damaged and ignored; it is written again with the next good list", path.display())
            }
        }
    }
}

impl std::error::Error for CopyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(store: &Store, list: &str, files: &[(&str, &[u8])]) -> Manifest {
        let entry = |(file, bytes): &(&str, &[u8])| {
            let entry = Entry::new(file, Digest::of(bytes), bytes.len() as u64, UnixTime(7));
            store.keep_content(list, &entry, bytes).expect("kept");
            entry
        };
        let files = files.iter().map(entry).collect();
        let manifest = Manifest { list: list.into(), source: "lists".into(), files, beside: None };
        store.keep_manifest(&manifest).expect("kept");
        manifest
    }

    #[test]
    fn what_was_kept_comes_back_and_what_left_the_list_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::new(dir.path());
        let list = "../Тізім/..";
        let first = kept(&store, list, &[("a", b"one"), ("b", b"two")]);
        assert_eq!(store.manifest(list).expect("read"), first);
        assert_eq!(store.content(list, &first.files[1]).expect("read"), b"two");
        let second = kept(&store, list, &[("a", b"one")]);
        assert_eq!(store.manifest(list).expect("read"), second);
        assert_eq!(entries(&store.folder(list)).len(), 2, "a manifest and one content");
        assert!(store.folder(list).starts_with(dir.path().join("lists")), "{}", slug(list));
        store.forget_others(["other"].into_iter()).expect("removed");
        assert_eq!(store.manifest(list).expect("read"), Manifest::default());
    }

    #[test]
    fn a_damaged_copy_is_never_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::new(dir.path());
        let manifest = kept(&store, "l", &[("a", b"evil.example\n")]);
        let entry = &manifest.files[0];
        for damage in [&b"good.example\n"[..], b"evil.example", b"evil.example\nmore.example\n", b""] {
            fs::write(store.content_path("l", &entry.sha256).expect("a path"), damage).expect("written");
            assert!(matches!(store.content("l", entry), Err(CopyError::Corrupt { .. })), "{damage:?}");
        }
        let outside = Entry { sha256: "../../../../etc/passwd".into(), ..entry.clone() };
        assert!(matches!(store.content("l", &outside), Err(CopyError::Corrupt { .. })));
        fs::write(store.folder("l").join("manifest.json"), b"{\"list\": 1}").expect("written");
        assert!(matches!(store.manifest("l"), Err(CopyError::Corrupt { .. })));
    }

    #[test]
    fn what_cannot_be_written_says_where_and_what_to_do() {
        let dir = tempfile::tempdir().expect("a folder");
        // A file where the folder should be fails for root too, unlike a read-only mode.
        fs::write(dir.path().join("lists"), "in the way").expect("written");
        let error = Store::new(dir.path()).keep_manifest(&Manifest::default()).expect_err("no folder").to_string();
        assert!(error.contains("lists") && error.contains("state_dir is writable"), "{error}");
    }
}
