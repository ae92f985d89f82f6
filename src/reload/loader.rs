//! Turns configured lists into rules, and never less than the last good ones.

mod known;
mod pinned;
mod run;
mod size;
mod stage;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use self::known::Known;
use self::run::Run;
pub use self::size::size_changes;
pub(super) use self::stage::Tried;
use super::clientele::{Belonging, Clientele};
use super::file::Patience;
use super::gatekeeper::{Gatekeeper, Standing};
use super::lastgood::{CopyError, Entry, Manifest, Store};
use super::report::{Digest, GateReport, Group, ListReport, LoadError, Loaded, Missing, State, TrialReport};
use crate::config::{ListSettings, Settings};
use crate::gate::{Decisions, Pattern};
use crate::history::{FileEntry, History};
use crate::limit::Cidr;
use crate::list::{self, Spec};
use crate::rule::FileRules;
use crate::set::Part;
use crate::util::{Now, UnixTime};

/// Knows what every list held when it was last good.
#[derive(Debug, Default)]
pub struct Loader {
    store: Option<Store>,
    /// Where the history is; none for `check`.
    state_dir: Option<PathBuf>,
    quiet: Duration,
    budget: Duration,
    distrust: bool,
    lists: HashMap<String, Known>,
    parts: Vec<Part>,
    groups: Vec<Group>,
    /// What clients of each group ask is counted by.
    counted: Vec<(Vec<Cidr>, Arc<AtomicU64>)>,
    troubles: Vec<CopyError>,
    loaded: bool,
    gate: Gatekeeper,
    clientele: Clientele,
    clients: Option<Arc<Belonging>>,
}

impl Loader {
    /// `state_dir` holds last good copies and the operator's decisions; with `None` (for `check`) none are read or
    /// written.
    pub fn new(state_dir: Option<PathBuf>) -> Self {
        let mut loader = Self { store: state_dir.as_deref().map(Store::new), ..Self::default() };
        if let Some(state_dir) = state_dir {
            loader.heed_decisions(&state_dir);
            loader.state_dir = Some(state_dir);
        }
        loader
    }

    /// Reads what the operator has decided about held entries, from there.
    pub fn heed_decisions(&mut self, state_dir: &Path) {
        self.gate.decided_in(Decisions::path(state_dir));
    }

    /// Where the operator's decisions are; empty if nobody said.
    pub(super) fn decisions_path(&self) -> &Path {
        self.gate.decisions_path()
    }

    /// Which addresses are of which group, as of the last load.
    pub(super) fn clients(&self) -> Option<&Belonging> {
        self.clients.as_deref()
    }

    /// What the gate said of these entries of a list at the last load; nothing of those that do not stand in it.
    pub(super) fn standing(&self, settings: &Settings, list: &str, wanted: &[Pattern]) -> HashMap<Pattern, Standing> {
        self.gate.standing(settings, &self.parts, list, wanted)
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
    pub fn load(&mut self, settings: &Settings) -> Loaded {
        let patience = Patience::new(self.quiet, self.budget);
        self.gate.look(&settings.gate, self.distrust);
        let clients = self.clientele.look(settings, self.distrust);
        let mut loaded = Loaded { clients, ..Loaded::default() };
        for (index, list) in settings.lists.iter().enumerate() {
            let started = Instant::now();
            let (of_list, trial) = match u16::try_from(index) {
                Ok(index) => self.load_list(index, list, &patience, &mut loaded),
                Err(_) => {
                    let state = State::NotUsed { why: LoadError::TooManyLists };
                    (run::Loaded { state, files: Vec::new(), refused: None, pinned: None }, None)
                }
            };
            let report = ListReport { trial, ..report(&list.spec, of_list, started.elapsed()) };
            loaded.retry |= report.files.iter().any(|file| file.state.why().is_some_and(LoadError::passes));
            if let State::NotUsed { why } = &report.state {
                loaded.missing.push(Missing { list: report.name.clone(), why: why.clone() });
            }
            loaded.reports.push(report);
        }
        let configured: HashSet<&str> = settings.lists.iter().map(|list| list.spec.name.as_str()).collect();
        self.lists.retain(|name, _| configured.contains(name.as_str()));
        self.gate.pass(settings, &mut loaded);
        loaded.gate_troubles.extend(loaded.clients.troubles.iter().cloned());
        self.distrust = false;
        self.loaded = true;
        loaded.changed = !same(&self.parts, &loaded.parts) || !same_groups(&self.groups, &loaded.groups);
        let before = self.clients.replace(Arc::clone(&loaded.clients));
        loaded.changed |= before.is_some_and(|before| !Arc::ptr_eq(&before.prefixes, &loaded.clients.prefixes));
        self.parts.clone_from(&loaded.parts);
        self.groups.clone_from(&loaded.groups);
        let counted = |group: &Group| (group.clients.clone(), Arc::clone(&group.queries));
        self.counted = loaded.groups.iter().map(counted).collect();
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
            let good = known.files.values_mut().filter_map(|file| file.good.as_mut());
            good.chain(known.settled.iter_mut().map(|(_, good)| good)).for_each(|good| good.bytes = None);
        }
        if self.loaded {
            troubles.extend(store.forget_others(self.lists.keys().map(String::as_str)).err());
        }
        troubles
    }

    /// What of a list is in force for all: what each file is, and its rules.
    pub(super) fn contents(&self, list: &str) -> Vec<(FileEntry, Arc<FileRules>)> {
        let files = self.lists.get(list).into_iter().flat_map(|known| &known.settled);
        let entry = |(shown, good): &(Arc<str>, known::Good)| {
            let entry = FileEntry { file: shown.to_string(), sha256: good.sha256, size: good.size };
            (entry, Arc::clone(&good.rules))
        };
        files.map(entry).collect()
    }

    /// Entries of what is in force for all, and how many could not be used.
    pub(super) fn counts(&self, list: &str) -> (u64, u64) {
        let files = self.lists.get(list).into_iter().flat_map(|known| &known.settled);
        files.fold((0, 0), |(entries, rejected), (_, good)| {
            (entries + good.report.entries, rejected + good.report.rejected)
        })
    }

    /// The hashes of the same.
    pub(super) fn digests(&self, list: &str) -> Vec<Digest> {
        let files = self.lists.get(list).into_iter().flat_map(|known| &known.settled);
        files.map(|(_, good)| good.sha256).collect()
    }

    /// The last good copy of a content.
    pub(super) fn copy(&self, list: &str, file: &FileEntry) -> io::Result<Vec<u8>> {
        let store = self.store.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let entry = Entry::new(&file.file, file.sha256, file.size, UnixTime::default());
        store.content(list, &entry).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Loads one list: its rules into `parts`, and where it and each of its files stand.
    fn load_list(
        &mut self,
        index: u16,
        settings: &ListSettings,
        patience: &Patience,
        to: &mut Loaded,
    ) -> (run::Loaded, Option<TrialReport>) {
        let spec = &settings.spec;
        let mut known = self.lists.remove(&spec.name).unwrap_or_else(|| self.meet(spec));
        let decisions = self.gate.decisions();
        let mut run = Run {
            store: self.store.as_ref(),
            spec: Arc::new(spec.clone()),
            limits: &settings.gate.size,
            decisions: &decisions,
            patience,
            distrust: self.distrust,
            troubles: &mut self.troubles,
        };
        // Limits are for who writes.
        let history =
            self.state_dir.as_deref().map(|state_dir| History::new(state_dir, crate::history::Limits::default()));
        let mut loaded = match history.and_then(|history| run.load_pinned(&mut known, &history)) {
            Some(pinned) => pinned,
            None => match list::files(spec) {
                Ok(files) => run.load_files(&mut known, files),
                Err(error) => run.all_last_good(&mut known, LoadError::Source(Arc::new(error))),
            },
        };
        let whom = run.stage(&mut known, settings, &mut loaded, Now::read().unix_ms);
        let trial = self.distribute(index, settings.canary.as_ref(), &mut known, whom, to);
        self.lists.insert(spec.name.clone(), known);
        (loaded, trial)
    }

    /// A list seen for the first time: what `state_dir` knows of it.
    fn meet(&mut self, spec: &Spec) -> Known {
        let on_disk = match self.store.as_ref().map(|store| store.manifest(&spec.name)) {
            Some(Ok(manifest)) => manifest,
            Some(Err(error)) => {
                self.troubles.push(error);
                Manifest::default()
            }
            None => Manifest::default(),
        };
        Known { source: spec.source.clone(), kept: on_disk.newest(), on_disk, ..Known::default() }
    }
}

/// The same rules of the same lists in the same order, and the same of them held.
fn same(a: &[Part], b: &[Part]) -> bool {
    let alike = |(x, y): (&Part, &Part)| x.list == y.list && Arc::ptr_eq(&x.rules, &y.rules) && x.held == y.held;
    a.len() == b.len() && a.iter().zip(b).all(alike)
}

/// The same clients, with the same rules of the same lists.
fn same_groups(a: &[Group], b: &[Group]) -> bool {
    let alike = |(x, y): (&Group, &Group)| {
        x.clients == y.clients && x.lists == y.lists && Arc::ptr_eq(&x.queries, &y.queries) && same(&x.parts, &y.parts)
    };
    a.len() == b.len() && a.iter().zip(b).all(alike)
}

/// Sums up a list.
fn report(spec: &Spec, loaded: run::Loaded, took: Duration) -> ListReport {
    let run::Loaded { state, files, refused, pinned } = loaded;
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
        refused,
        trial: None,
        pinned,
        gate: GateReport::default(),
        took,
    }
}

#[cfg(test)]
mod tests;
