//! Turns configured lists into rules, and never less than the last good ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::{self, Patience, Seen};
use super::lastgood::{CopyError, Entry, Manifest, Store};
use super::report::{Digest, FileState, ListReport, LoadError, Loaded, Missing, State};
use crate::config::ListSettings;
use crate::list::{self, FileReport, SourceFile, Spec};
use crate::rule::FileRules;
use crate::util::{Now, UnixTime};

/// Knows what every list held when it was last good.
#[derive(Debug, Default)]
pub struct Loader {
    store: Option<Store>,
    quiet: Duration,
    budget: Duration,
    distrust: bool,
    lists: HashMap<String, Known>,
    parts: Vec<(u16, Arc<FileRules>)>,
    troubles: Vec<CopyError>,
    loaded: bool,
}

/// What is known of one list.
#[derive(Debug, Default)]
struct Known {
    source: PathBuf,
    files: BTreeMap<PathBuf, Held>,
    /// What `state_dir` names; contents are read only when they are needed.
    kept: Manifest,
    /// The contents `kept` names have been compared with their hashes, or written, by this process.
    verified: bool,
}

/// One file of a list.
#[derive(Debug)]
struct Held {
    shown: Arc<str>,
    good: Option<Good>,
    bad: Option<Bad>,
}

/// A content that was accepted.
#[derive(Debug)]
struct Good {
    seen: Option<Seen>,
    sha256: Digest,
    size: u64,
    spec: Arc<Spec>,
    rules: Arc<FileRules>,
    report: Arc<FileReport>,
    accepted: UnixTime,
    /// Until the copy in `state_dir` is written.
    bytes: Option<Vec<u8>>,
}

/// A content that was refused: it need not be parsed again to know.
#[derive(Debug)]
struct Bad {
    seen: Seen,
    sha256: Digest,
    spec: Arc<Spec>,
    why: LoadError,
}

/// What reading a file anew came to.
enum Look {
    /// The content is the one in force.
    Same(Option<Seen>),
    /// Another one, accepted.
    New(Box<Good>),
}

impl Loader {
    /// `state_dir` holds last good copies; with `None` (for `check`) none are read or written.
    pub fn new(state_dir: Option<PathBuf>) -> Self {
        Self { store: state_dir.as_deref().map(Store::new), ..Self::default() }
    }

    /// Files that were changed less than half of `quiet` ago are not taken yet (at first all are): the next load waits
    /// for them, at most `budget` in all.
    pub fn set_quiet(&mut self, quiet: Duration, budget: Duration) {
        self.quiet = quiet;
        self.budget = budget;
    }

    /// The next load reads every file, whatever its time stamps say.
    pub fn distrust(&mut self) {
        self.distrust = true;
    }

    /// Reads what changed. Blocks: for files, and for the budget of [`Self::set_quiet`].
    pub fn load(&mut self, lists: &[ListSettings]) -> Loaded {
        let patience = Patience::new(self.quiet, self.budget);
        let mut loaded = Loaded::default();
        for (index, settings) in lists.iter().enumerate() {
            let started = Instant::now();
            let (state, files) = match u16::try_from(index) {
                Ok(index) => self.load_list(index, &settings.spec, &patience, &mut loaded.parts),
                Err(_) => (State::NotUsed { why: LoadError::TooManyLists }, Vec::new()),
            };
            let report = report(&settings.spec, state, files, started.elapsed());
            loaded.retry |= report.files.iter().any(|file| file.state.why().is_some_and(LoadError::passes));
            if let State::NotUsed { why } = &report.state {
                loaded.missing.push(Missing { list: report.name.clone(), why: why.clone() });
            }
            loaded.reports.push(report);
        }
        let configured: HashSet<&str> = lists.iter().map(|list| list.spec.name.as_str()).collect();
        self.lists.retain(|name, _| configured.contains(name.as_str()));
        self.distrust = false;
        self.loaded = true;
        loaded.changed = !same(&self.parts, &loaded.parts);
        self.parts.clone_from(&loaded.parts);
        loaded
    }

    /// Writes copies of what the last load accepted, and gives what went wrong since the last call.
    ///
    /// For after the publish: it syncs to disk. What failed is tried again at the next call.
    pub fn keep(&mut self) -> Vec<CopyError> {
        let mut troubles = std::mem::take(&mut self.troubles);
        let Some(store) = &self.store else { return troubles };
        for (name, known) in &mut self.lists {
            troubles.extend(known.keep(name, store).err());
            // A list of many megabytes is not held twice because a disk is full.
            known.files.values_mut().filter_map(|held| held.good.as_mut()).for_each(|good| good.bytes = None);
        }
        if self.loaded {
            troubles.extend(store.forget_others(self.lists.keys().map(String::as_str)).err());
        }
        troubles
    }

    /// Loads one list: its rules into `parts`, and where it and each of its files stand.
    fn load_list(
        &mut self,
        index: u16,
        spec: &Spec,
        patience: &Patience,
        parts: &mut Vec<(u16, Arc<FileRules>)>,
    ) -> (State, Vec<FileState>) {
        let mut known = self.lists.remove(&spec.name).unwrap_or_else(|| self.meet(spec));
        let mut run = Run {
            store: self.store.as_ref(),
            spec: Arc::new(spec.clone()),
            patience,
            distrust: self.distrust,
            troubles: &mut self.troubles,
        };
        let (state, files) = match list::files(spec) {
            Ok(files) => run.load_files(&mut known, files),
            Err(error) => run.all_last_good(&mut known, LoadError::Source(Arc::new(error))),
        };
        let good = known.files.values().filter_map(|held| held.good.as_ref());
        parts.extend(good.map(|good| (index, Arc::clone(&good.rules))));
        self.lists.insert(spec.name.clone(), known);
        (state, files)
    }

    /// A list seen for the first time: what `state_dir` knows of it.
    fn meet(&mut self, spec: &Spec) -> Known {
        let kept = match self.store.as_ref().map(|store| store.manifest(&spec.name)) {
            Some(Ok(manifest)) => manifest,
            Some(Err(error)) => {
                self.troubles.push(error);
                Manifest::default()
            }
            None => Manifest::default(),
        };
        Known { source: spec.source.clone(), kept, ..Known::default() }
    }
}

/// One list being loaded.
struct Run<'a> {
    store: Option<&'a Store>,
    spec: Arc<Spec>,
    patience: &'a Patience,
    distrust: bool,
    troubles: &'a mut Vec<CopyError>,
}

impl Run<'_> {
    /// The source was listed: what is not in it any more is lifted, the rest is looked at file by file.
    fn load_files(&mut self, known: &mut Known, files: Vec<SourceFile>) -> (State, Vec<FileState>) {
        let mut before = std::mem::take(&mut known.files);
        let mut states = Vec::with_capacity(files.len());
        for file in files {
            let held = before.remove(&file.path).or_else(|| take_shown(&mut before, &file.shown));
            let (held, state) = self.load_file(&file, held, &known.kept);
            states.push(state);
            known.files.insert(file.path, held);
        }
        // A link whose target is gone is not a file somebody removed (a swap half done, a mount that is away).
        let same_source = known.source == self.spec.source;
        let mut lifted = false;
        for (path, held) in before.into_iter().filter(|(_, held)| held.good.is_some()) {
            if same_source && dangles(&path) {
                states.push(held.last_good(LoadError::Dangling(Arc::clone(&held.shown))));
                known.files.insert(path, held);
            } else {
                lifted = true;
            }
        }
        known.source.clone_from(&self.spec.source);
        let none = if lifted { State::Fresh } else { State::Unchanged };
        let in_force = states.iter().filter(|file| file.sha256.is_some()).map(|file| file.state.clone());
        let state = match states.iter().all(|file| file.sha256.is_none()) {
            true => states.first().map_or(none, |file| file.state.clone()),
            false => in_force.fold(none, State::worse),
        };
        (state, states)
    }

    /// The source itself is away: everything it held stays in force.
    fn all_last_good(&mut self, known: &mut Known, why: LoadError) -> (State, Vec<FileState>) {
        if known.files.values().all(|held| held.good.is_none()) {
            known.files.clear();
            for entry in &known.kept.files {
                let shown: Arc<str> = entry.file.as_str().into();
                // Paths of files are only compared with each other; these yield to real ones at the next good load.
                let path = PathBuf::from(&entry.file);
                let good = self.stored(&shown, entry);
                known.files.insert(path, Held { shown, good, bad: None });
            }
        }
        let states: Vec<FileState> = known.files.values().map(|held| held.last_good(why.clone())).collect();
        let none = State::NotUsed { why: why.clone() };
        let state =
            states.iter().map(|file| file.state.clone()).filter(|state| !matches!(state, State::NotUsed { .. }));
        (state.reduce(State::worse).unwrap_or(none), states)
    }

    /// Looks at one file and decides what of it is in force.
    fn load_file(&mut self, file: &SourceFile, held: Option<Held>, kept: &Manifest) -> (Held, FileState) {
        let shown = Arc::clone(&file.shown);
        let mut held = held.unwrap_or(Held { shown: Arc::clone(&shown), good: None, bad: None });
        held.shown = shown;
        let entry = kept.files.iter().find(|entry| *entry.file == *file.shown);
        let why = match self.look(file, &mut held, entry) {
            Ok(Look::Same(seen)) => {
                if let Some(good) = &mut held.good {
                    good.seen = seen.or(good.seen);
                }
                held.bad = None;
                let state = held.state(State::Unchanged);
                return (held, state);
            }
            Ok(Look::New(good)) => {
                held = Held { good: Some(*good), bad: None, ..held };
                let state = held.state(State::Fresh);
                return (held, state);
            }
            Err(why) => why,
        };
        if held.good.is_none() {
            held.good = entry.and_then(|entry| self.stored(&file.shown, entry));
        }
        let state = held.last_good(why);
        (held, state)
    }

    /// Reads and parses a file, if that is needed to know what it holds.
    fn look(&self, file: &SourceFile, held: &mut Held, entry: Option<&Entry>) -> Result<Look, LoadError> {
        let insist = held.good.is_none() && entry.is_none();
        let stat = file::settled(file, self.patience, insist)?;
        if !self.distrust {
            let fits =
                |spec: &Arc<Spec>, seen: Option<Seen>| *spec == self.spec && seen.is_some_and(|s| s.proves(&stat));
            if held.good.as_ref().is_some_and(|good| fits(&good.spec, good.seen)) {
                return Ok(Look::Same(None));
            }
            if let Some(bad) = held.bad.as_ref().filter(|bad| fits(&bad.spec, Some(bad.seen))) {
                return Err(bad.why.clone());
            }
        }
        let (bytes, seen) = file::read(&self.spec, file)?;
        let sha256 = Digest::of(&bytes);
        if held.good.as_ref().is_some_and(|good| good.spec == self.spec && good.sha256 == sha256) {
            return Ok(Look::Same(Some(seen)));
        }
        if let Some(bad) = held.bad.as_mut().filter(|bad| bad.spec == self.spec && bad.sha256 == sha256) {
            bad.seen = seen;
            return Err(bad.why.clone());
        }
        match list::parse(&self.spec, &file.shown, &bytes) {
            Ok(parsed) => {
                // The same bytes again (a restart, a changed setting) were not accepted anew today.
                let known = held.good.as_ref().filter(|good| good.sha256 == sha256).map(|good| good.accepted);
                let kept =
                    entry.filter(|entry| entry.sha256 == sha256.to_string()).map(|entry| UnixTime(entry.accepted));
                Ok(Look::New(Box::new(Good {
                    seen: Some(seen),
                    sha256,
                    size: bytes.len() as u64,
                    spec: Arc::clone(&self.spec),
                    rules: parsed.rules,
                    report: Arc::new(parsed.report),
                    accepted: known.or(kept).unwrap_or_else(|| Now::read().seconds()),
                    bytes: self.store.is_some().then_some(bytes),
                })))
            }
            Err(why) => {
                let why = LoadError::Refused { path: Arc::clone(&file.shown), why: Arc::new(why) };
                held.bad = Some(Bad { seen, sha256, spec: Arc::clone(&self.spec), why: why.clone() });
                Err(why)
            }
        }
    }

    /// A copy from `state_dir`, if it is whole and still a list under the present settings.
    fn stored(&mut self, shown: &Arc<str>, entry: &Entry) -> Option<Good> {
        let bytes = match self.store?.content(&self.spec.name, entry) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.troubles.push(error);
                return None;
            }
        };
        let parsed = list::parse(&self.spec, shown, &bytes).ok()?;
        Some(Good {
            seen: None,
            sha256: Digest::of(&bytes),
            size: entry.size,
            spec: Arc::clone(&self.spec),
            rules: parsed.rules,
            report: Arc::new(parsed.report),
            accepted: UnixTime(entry.accepted),
            bytes: None,
        })
    }
}

impl Held {
    /// The state of the content in force.
    fn state(&self, state: State) -> FileState {
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
    fn last_good(&self, why: LoadError) -> FileState {
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
    fn keep(&mut self, name: &str, store: &Store) -> Result<(), CopyError> {
        if !self.kept.files.is_empty() && !store.has(name) {
            // Somebody emptied the state folder.
            self.kept = Manifest::default();
        }
        let kept = |held: &Held| self.kept.files.iter().find(|entry| *entry.file == *held.shown).cloned();
        let entry = |held: &Held| match &held.good {
            Some(good) => Some(Entry::new(&held.shown, good.sha256, good.size, good.accepted)),
            // A copy that is no list under the present settings may be one again when they are mended.
            None => kept(held),
        };
        let mut wanted: Vec<Entry> = self.files.values().filter_map(entry).collect();
        if wanted == self.kept.files && (self.verified || wanted.is_empty()) {
            return Ok(());
        }
        let mut damaged = None;
        for (path, held) in &self.files {
            let (Some(good), Some(entry)) = (&held.good, entry(held)) else { continue };
            let there = self.kept.files.iter().any(|kept| kept.sha256 == entry.sha256);
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
        let manifest =
            Manifest { list: name.to_owned(), source: self.source.to_string_lossy().into_owned(), files: wanted };
        store.keep_manifest(&manifest)?;
        self.kept = manifest;
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
fn take_shown(files: &mut BTreeMap<PathBuf, Held>, shown: &str) -> Option<Held> {
    let path = files.iter().find(|(_, held)| *held.shown == *shown)?.0.clone();
    files.remove(&path)
}

/// A symbolic link that leads nowhere.
fn dangles(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) && !path.exists()
}

/// The same rules of the same lists in the same order.
fn same(a: &[(u16, Arc<FileRules>)], b: &[(u16, Arc<FileRules>)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((i, x), (j, y))| i == j && Arc::ptr_eq(x, y))
}

/// Sums up a list.
fn report(spec: &Spec, state: State, files: Vec<FileState>, took: Duration) -> ListReport {
    let in_force = || files.iter().filter(|file| file.sha256.is_some());
    ListReport {
        name: spec.name.clone(),
        source: spec.shown.clone(),
        role: spec.role,
        mode: spec.mode,
        entries: in_force().map(|file| file.report.entries).sum(),
        rejected: in_force().map(|file| file.report.rejected).sum(),
        error: state.why().or_else(|| files.iter().find_map(|file| file.state.why())).cloned(),
        state,
        files,
        took,
    }
}

#[cfg(test)]
mod tests;
