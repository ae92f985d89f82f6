//! The files of one list's history: names, whole writes, and the small JSON ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::HistoryError;
use super::version::{Pin, Version, whole};
use crate::util::{Digest, slug};

/// Begins the names of files that are being written.
pub(super) const TEMPORARY: &str = ".tmp-";
/// Ends the names of contents.
pub(super) const BLOB: &str = ".zst";
/// Larger JSON is not ours: it would be a folder of a million files.
const MAX_JSON: u64 = 256 << 20;

/// `state_dir/history/<slug>`. Every path below it is made of a number or a hash, never of a name from outside.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) list: String,
}

impl Folder {
    /// Of a list.
    pub(super) fn new(root: &Path, list: &str) -> Self {
        Self { path: root.join(slug(list)), list: list.to_owned() }
    }

    /// Makes it, and has its name on disk.
    pub(super) fn make(&self) -> Result<(), HistoryError> {
        if self.path.is_dir() {
            return Ok(());
        }
        // `history` itself may be new too.
        let made = fs::create_dir_all(&self.path)
            .and_then(|()| self.path.ancestors().skip(1).take(2).try_for_each(|folder| File::open(folder)?.sync_all()));
        made.map_err(|error| self.io("create", &self.path, error))
    }

    /// Where a version lies.
    pub(super) fn version_path(&self, number: u64) -> PathBuf {
        self.path.join(version_name(number))
    }

    /// Where a content lies.
    pub(super) fn blob(&self, sha256: Digest) -> PathBuf {
        self.path.join(format!("{sha256}{BLOB}"))
    }

    /// Where the pin lies.
    pub(super) fn pin_path(&self) -> PathBuf {
        self.path.join("pinned.json")
    }

    /// Whether a content is there.
    pub(super) fn has(&self, sha256: Digest) -> bool {
        fs::metadata(self.blob(sha256)).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
    }

    /// The numbers of the versions, whole or damaged, in order.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, HistoryError> {
        let mut numbers: Vec<u64> = self.names()?.iter().filter_map(|name| version_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The names of everything in it; none if it is not there.
    pub(super) fn names(&self) -> Result<Vec<String>, HistoryError> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| self.io("read", &self.path, error)),
        }
    }

    /// A version, only if it is one of this list.
    pub(super) fn version(&self, list: &str, number: u64) -> Result<Version, HistoryError> {
        let path = self.version_path(number);
        let version: Version =
            self.json(&path)?.ok_or_else(|| HistoryError::NoVersion { list: list.to_owned(), number })?;
        let wrong = if version.list != list {
            format!("it is of list {:?}", version.list)
        } else if version.number != number {
            format!("it is version {}", version.number)
        } else if version.sha256 != whole(&version.what.files) {
            "its sha256 is not that of its files".into()
        } else {
            return Ok(version);
        };
        Err(HistoryError::Damaged { path, what: wrong })
    }

    /// The newest version.
    pub(super) fn newest(&self, list: &str) -> Result<Option<Version>, HistoryError> {
        self.numbers()?.last().map(|&number| self.version(list, number)).transpose()
    }

    /// The newest version that is for all.
    pub(super) fn settled(&self, list: &str) -> Result<Option<Version>, HistoryError> {
        for number in self.numbers()?.into_iter().rev() {
            let version = self.version(list, number)?;
            if version.is_for_all() {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// The pin, if there is one.
    pub(super) fn pin(&self) -> Result<Option<Pin>, HistoryError> {
        self.json(&self.pin_path())
    }

    /// What a JSON file says; `None` if it is not there.
    fn json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, HistoryError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_JSON).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("read", path, error)),
            Ok(_) => {}
        }
        let damaged = |error: serde_json::Error| HistoryError::Damaged { path: path.into(), what: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Writes a JSON file whole.
    pub(super) fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), HistoryError> {
        self.write_whole(path, |file| {
            let mut buffered = io::BufWriter::new(file);
            serde_json::to_writer_pretty(&mut buffered, value)?;
            buffered.write_all(b"\n")?;
            buffered.flush()
        })
    }

    /// Writes beside, syncs, renames into place: a reader or a crash sees all of it or nothing.
    pub(super) fn write_whole(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), HistoryError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!("{TEMPORARY}{}-{name}", std::process::id()));
        // A list of what an authority has ordered is nothing for everybody's eyes.
        let created = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&beside);
        let written = created.and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()
        });
        let done = written.and_then(|()| fs::rename(&beside, path)).and_then(|()| self.sync());
        done.map_err(|error| {
            // Half a file on a full disk only makes it fuller.
            let _ = fs::remove_file(&beside);
            self.io("write", path, error)
        })
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, path: &Path) -> Result<(), HistoryError> {
        match fs::remove_file(path).and_then(|()| self.sync()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| self.io("remove", path, error)),
        }
    }

    /// Removes what a crash left half-written.
    pub(super) fn sweep(&self) -> Result<(), HistoryError> {
        for name in self.names()?.iter().filter(|name| name.starts_with(TEMPORARY)) {
            self.remove(&self.path.join(name))?;
        }
        Ok(())
    }

    /// Has the names in it on disk.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// What the system refused.
    pub(super) fn io(&self, doing: &'static str, path: &Path, error: io::Error) -> HistoryError {
        HistoryError::Io { doing, path: path.to_owned(), error }
    }
}

/// The name of a version's file.
fn version_name(number: u64) -> String {
    format!("v{number:06}.json")
}

/// The number in the name of a version's file; `None` if it is none.
fn version_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix('v')?.strip_suffix(".json")?.parse().ok()?;
    (version_name(number) == name).then_some(number)
}
