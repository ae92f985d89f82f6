//! The list as a whole: a version that changes too much is not taken, and what was in force stays.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::super::lastgood::{Manifest, Store};
use super::super::report::{Digest, FileState, ListReport, LoadError, Loaded, State};
use super::known::{Bad, Good, Known, Tracked};
use super::run::Run;
use super::waiting::{self, Waiting};
use crate::config::{ListSettings, Settings};
use crate::gate::SizeChange;
use crate::list::{SourceFile, Spec};
use crate::rule::FileRules;

/// One version of a list: how much is in it, and what tells it from others.
#[derive(Debug, Default)]
struct Version {
    entries: u64,
    /// Each file's name and hash in hex.
    files: Vec<(String, String)>,
}

impl Version {
    /// Adds a file.
    fn add(&mut self, shown: &str, sha256: String, entries: u64) {
        self.entries += entries;
        self.files.push((shown.to_owned(), sha256));
    }

    /// What `state_dir` holds; `None` if nothing, of another source, or of a version of qalqan that did not count.
    fn kept(manifest: &Manifest, spec: &Spec) -> Option<Self> {
        if manifest.files.is_empty() || manifest.source != spec.source.to_string_lossy() {
            return None;
        }
        let mut version = Self::default();
        for entry in &manifest.files {
            version.add(&entry.file, entry.sha256.clone(), entry.entries?);
        }
        Some(version)
    }

    /// Its hash in hex: that of its only file, or of what `sha256sum` prints for its files in the order of their names.
    fn hash(&mut self) -> String {
        if let [(_, sha256)] = &self.files[..] {
            return sha256.clone();
        }
        self.files.sort();
        let lines: String = self.files.iter().map(|(shown, sha256)| format!("{sha256}  {shown}\n")).collect();
        Digest::of(lines.as_bytes()).to_string()
    }
}

/// Versions that a server with this `state_dir` would not take, because they change their list too much. Only looks.
pub fn size_changes(settings: &Settings, loaded: &Loaded) -> Vec<SizeChange> {
    let store = Store::new(&settings.state_dir);
    let change = |(report, list): (&ListReport, &ListSettings)| {
        let mut before = Version::kept(&store.manifest(&report.name).ok()?.newest(), &list.spec)?;
        let mut after = Version::default();
        for file in &report.files {
            after.add(&file.path, file.sha256?.to_string(), file.report.entries);
        }
        let version = after.hash();
        if before.hash() == version || loaded.decisions.accepts(&report.name, &version) {
            return None;
        }
        let limit = list.gate.size.broken(Some(before.entries), after.entries)?;
        Some(SizeChange {
            list: report.name.clone(),
            before: Some(before.entries),
            after: after.entries,
            limit,
            version,
            orders: Vec::new(),
        })
    };
    loaded.reports.iter().zip(&settings.lists).filter_map(change).collect()
}

impl Run<'_> {
    /// Looks at what changed as a whole. A version that is refused leaves everything as it was before, `lifted` files
    /// included, and `states` say so.
    pub(super) fn weigh(
        &mut self,
        known: &mut Known,
        lifted: Vec<(PathBuf, Tracked)>,
        states: &mut BTreeMap<PathBuf, FileState>,
    ) -> Option<Arc<SizeChange>> {
        let refused_before = |tracked: &Tracked| tracked.bad.as_ref().is_some_and(Bad::is_for_size);
        let changed = |tracked: &Tracked| tracked.replaced.is_some() || refused_before(tracked);
        if lifted.is_empty() && !known.files.values().any(changed) {
            return None;
        }
        if let Some(change) = self.change(known, &lifted)
            && let Some(change) = self.revert(known, lifted, states, change)
        {
            return Some(change);
        }
        // What was refused with an earlier version is taken now: its rules were not kept for that.
        let again: Vec<PathBuf> =
            known.files.iter().filter(|(_, tracked)| refused_before(tracked)).map(|(path, _)| path.clone()).collect();
        for path in again {
            let Some(mut tracked) = known.files.remove(&path) else { continue };
            tracked.bad = None;
            let file = SourceFile { path: path.clone(), shown: Arc::clone(&tracked.shown) };
            let (tracked, state) = self.load_file(&file, Some(tracked), &known.kept);
            states.insert(path.clone(), state);
            known.files.insert(path, tracked);
        }
        None
    }

    /// The change the source asks for, if it is too large and nobody has accepted it.
    fn change(&self, known: &Known, lifted: &[(PathBuf, Tracked)]) -> Option<SizeChange> {
        let mut after = Version::default();
        for tracked in known.files.values() {
            match (&tracked.bad, &tracked.good) {
                (Some(bad), _) if bad.is_for_size() => after.add(&tracked.shown, bad.sha256.to_string(), bad.entries),
                (_, Some(good)) => after.add(&tracked.shown, good.sha256.to_string(), good.report.entries),
                _ => {}
            }
        }
        let version = after.hash();
        let mut before = self.before(known, lifted);
        if before.as_mut().is_some_and(|before| before.hash() == version) {
            return None;
        }
        let before = before.map(|before| before.entries);
        let limit = self.limits.broken(before, after.entries)?;
        if self.decisions.accepts(&self.spec.name, &version) {
            return None;
        }
        let list = self.spec.name.clone();
        Some(SizeChange { list, before, after: after.entries, limit, version, orders: Vec::new() })
    }

    /// The version before; `None` if there is none, or the operator has changed what the list is.
    fn before(&self, known: &Known, lifted: &[(PathBuf, Tracked)]) -> Option<Version> {
        if known.source != self.spec.source {
            return None;
        }
        let tracked = known.files.values().chain(lifted.iter().map(|(_, tracked)| tracked));
        let mut version = Version::default();
        for (good, shown) in tracked.filter_map(|tracked| Some((tracked.before()?, &tracked.shown))) {
            if good.spec != self.spec {
                return None;
            }
            version.add(shown, good.sha256.to_string(), good.report.entries);
        }
        if version.files.is_empty() { Version::kept(&known.kept, &self.spec) } else { Some(version) }
    }

    /// Puts everything back as it was, and says which orders wait. `None`, with nothing done: what was in force is not to
    /// be had any more.
    fn revert(
        &mut self,
        known: &mut Known,
        lifted: Vec<(PathBuf, Tracked)>,
        states: &mut BTreeMap<PathBuf, FileState>,
        mut change: SizeChange,
    ) -> Option<Arc<SizeChange>> {
        let fresh_start = lifted.is_empty() && known.files.values().all(|tracked| tracked.before().is_none());
        let mut stored: HashMap<String, Good> = HashMap::new();
        if fresh_start && change.before.is_some() {
            for entry in &known.kept.files {
                let good = self.stored(&entry.file.as_str().into(), entry)?;
                stored.insert(entry.file.clone(), good);
            }
        }
        let before = known.files.values().chain(lifted.iter().map(|(_, tracked)| tracked)).filter_map(Tracked::before);
        let in_force: Vec<&FileRules> = before.chain(stored.values()).map(|good| &*good.rules).collect();
        let mut waiting: HashMap<PathBuf, Waiting> = HashMap::new();
        for (path, tracked) in &known.files {
            let orders = match (&tracked.bad, &tracked.good) {
                (Some(bad), _) if bad.is_for_size() => Waiting::clone(&bad.orders),
                (_, Some(new)) if tracked.replaced.is_some() => waiting::orders(&new.rules, &in_force),
                _ => continue,
            };
            change.orders.extend(orders.iter().cloned());
            waiting.insert(path.clone(), orders);
        }
        let change = Arc::new(change);
        let why = LoadError::Size(Arc::clone(&change));
        for (path, tracked) in &mut known.files {
            if let Some(old) = tracked.replaced.take() {
                let new = std::mem::replace(&mut tracked.good, old.or_else(|| stored.remove(&*tracked.shown)));
                tracked.bad = new.and_then(|new| {
                    let (entries, orders) = (new.report.entries, waiting.remove(path).unwrap_or_default());
                    Some(Bad { seen: new.seen?, sha256: new.sha256, spec: new.spec, why: why.clone(), entries, orders })
                });
                states.insert(path.clone(), tracked.last_good(why.clone()));
            } else if let Some(bad) = tracked.bad.as_mut().filter(|bad| bad.is_for_size()) {
                bad.why = why.clone();
                states.insert(path.clone(), tracked.last_good(why.clone()));
            }
        }
        for (path, tracked) in lifted {
            states.insert(path.clone(), tracked.last_good(why.clone()));
            known.files.insert(path, tracked);
        }
        for (shown, good) in stored {
            // As in `all_last_good`: such paths are only compared with each other.
            let (path, tracked) = (PathBuf::from(&shown), Tracked::new(shown.into(), Some(good)));
            states.insert(path.clone(), tracked.state(State::LastGood { why: why.clone(), since: tracked.since() }));
            known.files.insert(path, tracked);
        }
        Some(change)
    }
}
