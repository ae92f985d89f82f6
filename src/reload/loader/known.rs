//! What was read of a list and its files, and the copies kept of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::file::Seen;
use super::super::lastgood::{self, CopyError, Entry, Manifest, Store};
use super::super::report::{Digest, FileState, LoadError, State};
use super::super::trial::Course;
use super::stage::Count;
use super::waiting::Waiting;
use crate::audit::By;
use crate::list::{self, FileReport, SourceFile, Spec};
use crate::rule::FileRules;
use crate::util::UnixTime;

/// What is known of one list.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) source: PathBuf,
    pub(super) files: BTreeMap<PathBuf, Tracked>,
    /// What `state_dir` names of the newest version; contents are read only when they are needed.
    pub(super) kept: Manifest,
    /// All it names.
    pub(super) on_disk: Manifest,
    /// The contents `kept` names have been compared with their hashes, or written, by this process.
    pub(super) verified: bool,
    /// Whom the newest version is for.
    pub(super) course: Course,
    /// The version all have, each file with its name; the newest one, unless that is not for all.
    pub(super) settled: Vec<(Arc<str>, Good)>,
    /// `settled` is known.
    pub(super) met: bool,
    /// What the trial is counted by, while it is in force.
    pub(super) count: Option<Count>,
    /// Something that all have cannot be read in its newest version: which version that is, is unknown.
    pub(super) incomplete: bool,
    /// The operator who ended the trial, until that is told.
    pub(super) by: Option<By>,
}

/// One file of a list.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) shown: Arc<str>,
    pub(super) good: Option<Good>,
    pub(super) bad: Option<Bad>,
    /// During a load: `good` is new, and this is what it takes the place of.
    pub(super) replaced: Option<Option<Good>>,
}

/// A content that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Good {
    pub(super) seen: Option<Seen>,
    pub(super) sha256: Digest,
    pub(super) size: u64,
    pub(super) spec: Arc<Spec>,
    pub(super) rules: Arc<FileRules>,
    pub(super) report: Arc<FileReport>,
    pub(super) accepted: UnixTime,
    /// Until the copy in `state_dir` is written.
    pub(super) bytes: Option<Arc<Vec<u8>>>,
}

/// A content that was refused: it need not be parsed again to know.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) seen: Seen,
    pub(super) sha256: Digest,
    pub(super) spec: Arc<Spec>,
    pub(super) why: LoadError,
    /// How many entries it has, where it is one of several that were refused together for their size.
    pub(super) entries: u64,
    /// And the orders it names, each with how many names of it were not in force then.
    pub(super) orders: Waiting,
}

impl Good {
    /// How `state_dir` names it.
    pub(super) fn entry(&self, shown: &str) -> Entry {
        Entry::new(shown, self.sha256, self.size, self.accepted).with_entries(self.report.entries)
    }
}

impl Bad {
    /// The file by itself would do; the list as a whole was refused.
    pub(super) fn is_for_size(&self) -> bool {
        matches!(self.why, LoadError::Size(_))
    }
}

impl Tracked {
    /// Nothing is known but its name.
    pub(super) fn new(shown: Arc<str>, good: Option<Good>) -> Self {
        Self { shown, good, bad: None, replaced: None }
    }

    /// What was in force before this load.
    pub(super) fn before(&self) -> Option<&Good> {
        self.replaced.as_ref().unwrap_or(&self.good).as_ref()
    }

    /// When the content in force was accepted.
    pub(super) fn since(&self) -> UnixTime {
        self.good.as_ref().map_or(UnixTime::default(), |good| good.accepted)
    }

    /// The state of the content in force.
    pub(super) fn state(&self, state: State) -> FileState {
        let good = self.good.as_ref();
        FileState {
            path: Arc::clone(&self.shown),
            sha256: good.map(|good| good.sha256),
            accepted: good.map(|good| good.accepted),
            state,
            report: good.map(|good| Arc::clone(&good.report)).unwrap_or_default(),
        }
    }

    /// The state when the present content cannot be used.
    pub(super) fn last_good(&self, why: LoadError) -> FileState {
        match &self.good {
            Some(good) => self.state(State::LastGood { why, since: good.accepted }),
            None => {
                let report = Arc::new(why.report().cloned().unwrap_or_default());
                FileState { report, ..self.state(State::NotUsed { why }) }
            }
        }
    }
}

impl Known {
    /// Brings the copies of one list up to what is in force.
    pub(super) fn keep(&mut self, name: &str, store: &Store) -> Result<(), CopyError> {
        if !self.kept.files.is_empty() && !store.has(name) {
            // Somebody emptied the state folder.
            self.kept = Manifest::default();
            self.on_disk = Manifest::default();
        }
        let kept = |held: &Tracked| self.kept.files.iter().find(|entry| *entry.file == *held.shown).cloned();
        let entry = |held: &Tracked| match &held.good {
            Some(good) => Some(good.entry(&held.shown)),
            // A copy that is no list under the present settings may be one again when they are mended.
            None => kept(held),
        };
        let mut wanted: Vec<Entry> = self.files.values().filter_map(entry).collect();
        let named = |sha256: &str| self.on_disk.all().any(|kept| kept.sha256 == sha256);
        // A copy of what all have that was never written cannot be any more, when even memory has let it go: then the
        // newest version is all there is to come back to.
        let whole = |(_, good): &(Arc<str>, Good)| good.bytes.is_some() || named(&good.sha256.to_string());
        let beside = self.course.beside().filter(|_| self.settled.iter().all(whole));
        let settled: Option<Vec<Entry>> =
            beside.map(|_| self.settled.iter().map(|(shown, good)| good.entry(shown)).collect());
        let apart = |files: &[Entry]| {
            let beside = beside?;
            let withdrawn = beside.withdrawn.as_deref().map(str::to_owned);
            Some(lastgood::Beside { files: files.to_vec(), started_ms: beside.started_ms, withdrawn })
        };
        let same = self.on_disk.files == *settled.as_ref().unwrap_or(&wanted) && self.on_disk.beside == apart(&wanted);
        let nothing = wanted.is_empty() && settled.is_none();
        if same && (self.verified || nothing) {
            return Ok(());
        }
        let mut damaged = None;
        for (shown, good) in beside.iter().flat_map(|_| &self.settled) {
            let entry = good.entry(shown);
            if let Some(bytes) = good.bytes.as_ref().filter(|_| !named(&entry.sha256)) {
                store.keep_content(name, &entry, bytes)?;
            }
        }
        for (path, held) in &self.files {
            let (Some(good), Some(entry)) = (&held.good, entry(held)) else { continue };
            let there = named(&entry.sha256);
            if there {
                match (self.verified, store.content(name, &entry)) {
                    (true, _) | (_, Ok(_)) => continue,
                    (false, Err(error)) => damaged = Some(error),
                }
            }
            match &good.bytes {
                Some(bytes) => store.keep_content(name, &entry, bytes)?,
                // An earlier attempt failed and let the bytes go: the source may still hold them.
                None => match reread(&good.spec, path, &held.shown, good.sha256) {
                    Some(bytes) => store.keep_content(name, &entry, &bytes)?,
                    None => wanted.retain(|other| other.file != entry.file),
                },
            }
        }
        let beside = apart(&wanted);
        let manifest = Manifest {
            list: name.to_owned(),
            source: self.source.to_string_lossy().into_owned(),
            files: settled.unwrap_or(wanted),
            beside,
        };
        store.keep_manifest(&manifest)?;
        self.kept = manifest.newest();
        self.on_disk = manifest;
        self.verified = true;
        damaged.map_or(Ok(()), Err)
    }
}

/// The bytes of a file, if they are still the accepted ones.
fn reread(spec: &Spec, path: &Path, shown: &Arc<str>, sha256: Digest) -> Option<Vec<u8>> {
    let file = SourceFile { path: path.to_owned(), shown: Arc::clone(shown) };
    list::read(spec, &file).ok().filter(|bytes| Digest::of(bytes) == sha256)
}

/// A file known by its shown name only, as one that came from `state_dir` is.
pub(super) fn take_shown(files: &mut BTreeMap<PathBuf, Tracked>, shown: &str) -> Option<Tracked> {
    let path = files.iter().find(|(_, held)| *held.shown == *shown)?.0.clone();
    files.remove(&path)
}

/// A symbolic link that leads nowhere.
pub(super) fn dangles(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) && !path.exists()
}
