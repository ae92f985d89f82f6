//! One list being loaded: every file by itself, then the list as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::file::{self, Patience, Seen};
use super::super::lastgood::{CopyError, Entry, Manifest, Store};
use super::super::report::{Digest, FileState, LoadError, State};
use super::known::{Bad, Good, Known, Tracked, dangles, take_shown};
use super::waiting::Waiting;
use crate::gate::{Decisions, SizeChange, SizeLimits};
use crate::history::Pin;
use crate::list::{self, SourceFile, Spec};
use crate::util::{Now, UnixTime};

/// Where a list and each of its files stand.
pub(super) struct Loaded {
    /// The list.
    pub(super) state: State,
    /// Its files, sorted by name.
    pub(super) files: Vec<FileState>,
    /// The version in the source, if it is not taken for its size.
    pub(super) refused: Option<Arc<SizeChange>>,
    /// The version it is kept at.
    pub(super) pinned: Option<Pin>,
}

/// What reading a file anew came to.
enum Look {
    /// The content is the one in force.
    Same(Option<Seen>),
    /// Another one, accepted.
    New(Box<Good>),
}

/// One list being loaded.
pub(super) struct Run<'a> {
    pub(super) store: Option<&'a Store>,
    pub(super) spec: Arc<Spec>,
    pub(super) limits: &'a SizeLimits,
    pub(super) decisions: &'a Decisions,
    pub(super) patience: &'a Patience,
    pub(super) distrust: bool,
    pub(super) troubles: &'a mut Vec<CopyError>,
}

impl Run<'_> {
    /// The source was listed: what is not in it any more is lifted, the rest is looked at file by file, and then the list
    /// as a whole.
    pub(super) fn load_files(&mut self, known: &mut Known, files: Vec<SourceFile>) -> Loaded {
        let mut before = std::mem::take(&mut known.files);
        let mut states = BTreeMap::new();
        for file in files {
            let tracked = before.remove(&file.path).or_else(|| take_shown(&mut before, &file.shown));
            let (tracked, state) = self.load_file(&file, tracked, &known.kept);
            states.insert(file.path.clone(), state);
            known.files.insert(file.path, tracked);
        }
        // A link whose target is gone is not a file somebody removed (a swap half done, a mount that is away).
        let same_source = known.source == self.spec.source;
        let mut lifted = Vec::new();
        for (path, tracked) in before.into_iter().filter(|(_, tracked)| tracked.good.is_some()) {
            if same_source && dangles(&path) {
                states.insert(path.clone(), tracked.last_good(LoadError::Dangling(Arc::clone(&tracked.shown))));
                known.files.insert(path, tracked);
            } else {
                lifted.push((path, tracked));
            }
        }
        let none = if lifted.is_empty() { State::Unchanged } else { State::Fresh };
        let refused = self.weigh(known, lifted, &mut states);
        known.source.clone_from(&self.spec.source);
        known.files.values_mut().for_each(|tracked| tracked.replaced = None);
        let states: Vec<FileState> = states.into_values().collect();
        let in_force = states.iter().filter(|file| file.sha256.is_some()).map(|file| file.state.clone());
        let state = match states.iter().all(|file| file.sha256.is_none()) {
            true => states.first().map_or(none, |file| file.state.clone()),
            false => in_force.fold(none, State::worse),
        };
        Loaded { state, files: states, refused, pinned: None }
    }

    /// The source itself is away: everything it held stays in force.
    pub(super) fn all_last_good(&mut self, known: &mut Known, why: LoadError) -> Loaded {
        if known.files.values().all(|held| held.good.is_none()) {
            known.files.clear();
            for entry in &known.kept.files {
                let shown: Arc<str> = entry.file.as_str().into();
                // Paths of files are only compared with each other; these yield to real ones at the next good load.
                let path = PathBuf::from(&entry.file);
                let good = self.stored(&shown, entry);
                known.files.insert(path, Tracked::new(shown, good));
            }
        }
        let states: Vec<FileState> = known.files.values().map(|held| held.last_good(why.clone())).collect();
        let none = State::NotUsed { why: why.clone() };
        let state =
            states.iter().map(|file| file.state.clone()).filter(|state| !matches!(state, State::NotUsed { .. }));
        Loaded { state: state.reduce(State::worse).unwrap_or(none), files: states, refused: None, pinned: None }
    }

    /// Looks at one file and decides what of it is in force.
    pub(super) fn load_file(
        &mut self,
        file: &SourceFile,
        held: Option<Tracked>,
        kept: &Manifest,
    ) -> (Tracked, FileState) {
        let shown = Arc::clone(&file.shown);
        let mut held = held.unwrap_or_else(|| Tracked::new(Arc::clone(&shown), None));
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
                let replaced = Some(held.good.take());
                held = Tracked { good: Some(*good), bad: None, replaced, ..held };
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
    fn look(&self, file: &SourceFile, held: &mut Tracked, entry: Option<&Entry>) -> Result<Look, LoadError> {
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
                    bytes: self.store.is_some().then(|| Arc::new(bytes)),
                })))
            }
            Err(why) => {
                let why = LoadError::Refused { path: Arc::clone(&file.shown), why: Arc::new(why) };
                held.bad = Some(Bad {
                    seen,
                    sha256,
                    spec: Arc::clone(&self.spec),
                    why: why.clone(),
                    entries: 0,
                    orders: Waiting::default(),
                });
                Err(why)
            }
        }
    }

    /// A copy from `state_dir`, if it is whole and still a list under the present settings.
    pub(super) fn stored(&mut self, shown: &Arc<str>, entry: &Entry) -> Option<Good> {
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
