//! Every accepted version of every list, bounded, compressed and checked by hash.
//!
//! ```text
//! state_dir/history/<slug>/v000123.json     what a version is: when, from where, by whom, its files, counts
//! state_dir/history/<slug>/<sha256>.zst     the content of one file; versions share what did not change
//! state_dir/history/<slug>/pinned.json      the version that is in force whatever the source says
//! ```
//! Contents are on disk before the version that names them, and go after the last version that does, so a crash at
//! any point leaves whole versions only. One process writes; any may read.

mod blob;
mod diff;
mod error;
mod files;
mod prune;
mod version;

pub use blob::Content;
pub use diff::{Change, Diff, Unsorted, diff};
pub use error::HistoryError;
pub use version::{Accepted, Counts, FileEntry, Pin, Trial, Version, whole};

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::files::Folder;
use crate::util::UnixTime;

/// How much is kept of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Versions; the newest and a pinned one stay even beyond.
    pub versions: usize,
    /// Bytes of their compressed contents.
    pub bytes: u64,
}

impl Default for Limits {
    /// None.
    fn default() -> Self {
        Self { versions: usize::MAX, bytes: u64::MAX }
    }
}

/// The history below a `state_dir`. Reading takes no lock.
#[derive(Debug)]
pub struct History {
    root: PathBuf,
    limits: Limits,
    /// Held by who writes.
    writing: Mutex<()>,
}

/// The versions of a list, as far as they can be read.
#[derive(Debug, Default)]
pub struct Versions {
    /// Oldest first.
    pub whole: Vec<Version>,
    /// What is wrong with the others.
    pub damaged: Vec<HistoryError>,
}

/// What [`History::prune`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The versions that went, oldest first.
    pub versions: Vec<u64>,
    /// Contents that went with them.
    pub contents: usize,
    /// Bytes of contents that are left.
    pub bytes: u64,
}

impl History {
    /// Below `state_dir`. Touches nothing yet.
    pub fn new(state_dir: &Path, limits: Limits) -> Self {
        Self { root: state_dir.join("history"), limits, writing: Mutex::new(()) }
    }

    /// Keeps a version that is for all, unless the newest of these is the same already; gives the one that is kept. A
    /// newer one with the same contents that was tried first has passed by that.
    ///
    /// `open` is asked for the contents that are not there yet; a content that is not what its entry says is an
    /// error, and then nothing is kept. Contents that are there are believed: [`Self::content`] checks them.
    pub fn record(
        &self,
        list: &str,
        accepted: Accepted,
        now: UnixTime,
        open: &mut dyn FnMut(&FileEntry) -> io::Result<Box<dyn Read>>,
    ) -> Result<Version, HistoryError> {
        let _writing = self.lock();
        let folder = self.folder(list);
        // What cannot be read is no reason to lose this one.
        if let Ok(Some(version)) = folder.newest(list)
            && !version.is_for_all()
            && version.is(&accepted)
        {
            return mark(&folder, version, Trial::Passed);
        }
        if let Ok(Some(version)) = folder.settled(list)
            && version.is(&accepted)
        {
            return Ok(version);
        }
        keep(&folder, list, accepted, None, now, open)
    }

    /// Keeps a version that some clients get first, unless it is the newest already and was tried before.
    ///
    /// # Errors
    /// As of [`Self::record`].
    pub fn try_out(
        &self,
        list: &str,
        accepted: Accepted,
        now: UnixTime,
        open: &mut dyn FnMut(&FileEntry) -> io::Result<Box<dyn Read>>,
    ) -> Result<Version, HistoryError> {
        let _writing = self.lock();
        let folder = self.folder(list);
        if let Ok(Some(version)) = folder.newest(list)
            && !version.is_for_all()
            && version.is(&accepted)
        {
            return mark(&folder, version, Trial::Running);
        }
        keep(&folder, list, accepted, Some(Trial::Running), now, open)
    }

    /// Says what came of a version that was tried first.
    ///
    /// # Errors
    /// It is not there, or the disk is full.
    pub fn tried(&self, list: &str, number: u64, trial: Trial) -> Result<Version, HistoryError> {
        let _writing = self.lock();
        let folder = self.folder(list);
        mark(&folder, folder.version(list, number)?, trial)
    }

    /// The versions of a list; none if nothing is kept of it.
    pub fn versions(&self, list: &str) -> Result<Versions, HistoryError> {
        let folder = self.folder(list);
        let mut found = Versions::default();
        for number in folder.numbers()? {
            match folder.version(list, number) {
                Ok(version) => found.whole.push(version),
                Err(error) => found.damaged.push(error),
            }
        }
        Ok(found)
    }

    /// The newest version of a list, if anything is kept of it; all need not have it.
    pub fn newest(&self, list: &str) -> Result<Option<Version>, HistoryError> {
        self.folder(list).newest(list)
    }

    /// The newest version of a list that is for all.
    pub fn settled(&self, list: &str) -> Result<Option<Version>, HistoryError> {
        self.folder(list).settled(list)
    }

    /// One version of a list.
    pub fn version(&self, list: &str, number: u64) -> Result<Version, HistoryError> {
        self.folder(list).version(list, number)
    }

    /// A content of a version, uncompressed as it is read. It ends with an error if it is not what was kept, so
    /// nothing of it may be used before its end was reached.
    pub fn content(&self, list: &str, file: &FileEntry) -> Result<Content, HistoryError> {
        self.folder(list).open_blob(file)
    }

    /// A content of a version as a whole, checked.
    pub fn bytes(&self, list: &str, file: &FileEntry) -> Result<Vec<u8>, HistoryError> {
        let folder = self.folder(list);
        let mut bytes = Vec::new();
        match folder.open_blob(file)?.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(folder.bad_blob(file, error)),
        }
    }

    /// Keeps a list at a version; replaces an older pin.
    pub fn pin(&self, list: &str, pin: &Pin) -> Result<Version, HistoryError> {
        let _writing = self.lock();
        let folder = self.folder(list);
        let version = folder.version(list, pin.number)?;
        folder.write_json(&folder.pin_path(), pin)?;
        Ok(version)
    }

    /// Lets a list follow its source again; gives the pin there was.
    pub fn unpin(&self, list: &str) -> Result<Option<Pin>, HistoryError> {
        let _writing = self.lock();
        let folder = self.folder(list);
        let pin = folder.pin();
        // One that cannot be read can be removed all the same.
        folder.remove(&folder.pin_path())?;
        pin
    }

    /// The version a list is kept at, if any.
    pub fn pinned(&self, list: &str) -> Result<Option<Pin>, HistoryError> {
        self.folder(list).pin()
    }

    /// Removes what is beyond the limits: the oldest first, never the newest, the newest for all nor a pinned version,
    /// and never a content that another version has.
    pub fn prune(&self, list: &str) -> Result<Pruned, HistoryError> {
        let _writing = self.lock();
        prune::prune(&self.folder(list), list, self.limits)
    }

    /// Where a list's history lies.
    fn folder(&self, list: &str) -> Folder {
        Folder::new(&self.root, list)
    }

    /// A writer that panicked leaves whole files only.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a new version.
fn keep(
    folder: &Folder,
    list: &str,
    accepted: Accepted,
    trial: Option<Trial>,
    now: UnixTime,
    open: &mut dyn FnMut(&FileEntry) -> io::Result<Box<dyn Read>>,
) -> Result<Version, HistoryError> {
    let newest = folder.numbers()?.last().copied();
    folder.make()?;
    folder.sweep()?;
    for file in &accepted.files {
        if !folder.has(file.sha256) {
            let from = open(file).map_err(|error| folder.io("read", &folder.blob(file.sha256), error))?;
            folder.write_blob(file, from)?;
        }
    }
    let version = Version::new(list, newest.unwrap_or(0).saturating_add(1), accepted, trial, now);
    folder.write_json(&folder.version_path(version.number), &version)?;
    Ok(version)
}

/// Writes what came of a version.
fn mark(folder: &Folder, version: Version, trial: Trial) -> Result<Version, HistoryError> {
    if version.trial == Some(trial) {
        return Ok(version);
    }
    let version = Version { trial: Some(trial), ..version };
    folder.write_json(&folder.version_path(version.number), &version)?;
    Ok(version)
}

#[cfg(test)]
mod tests;
