//! What became of each list, written down: versions into the history, events into the audit log.
//!
//! Comes after a publish, so nothing that is enforced waits for it; a disk that is full is told and tried again.

mod trials;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Cursor};
use std::sync::Arc;

pub(super) use self::trials::TrialNews;
use super::loader::Loader;
use super::report::{ListReport, State};
use crate::audit::{
    AcceptedList, By, Event, HeldEntries, ListInForce, MAX_SAMPLE, NameSet, Names, Publication, RefusedList,
    RemovedList,
};
use crate::config::{ListSettings, Settings};
use crate::gate::Held;
use crate::history::{self, Accepted, Counts, FileEntry, History, HistoryError, Version};
use crate::name::NameBuf;
use crate::rule::{FileRules, show_pattern};
use crate::util::{Digest, UnixTime};

/// Remembers what was written down last.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    lists: HashMap<String, Known>,
    generation: u64,
}

/// What was written down of a list.
#[derive(Debug, Default)]
struct Known {
    /// The newest version that was kept, or the one it is pinned to.
    version: Option<Latest>,
    /// What is in force, kept or not.
    in_force: Option<Digest>,
    /// The rules of `version`, or of what was in force when it was looked at last.
    rules: Vec<Arc<FileRules>>,
    refused: Option<String>,
    /// The version that some clients try.
    running: Option<Latest>,
    /// What was told last of the entries that are held: of which version, and their fingerprint.
    held: Option<(u64, Digest)>,
}

/// A version in the history.
#[derive(Clone, Copy, Debug)]
struct Latest {
    number: u64,
    sha256: Digest,
    entries: u64,
}

impl Latest {
    /// What is remembered of a version.
    fn of(version: &Version) -> Self {
        Self { number: version.number, sha256: version.sha256, entries: version.what.counts.entries }
    }
}

/// What came of an update: events in their order, and what could not be kept.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) events: Vec<(By, Event)>,
    pub(super) troubles: Vec<HistoryError>,
}

impl Chronicle {
    /// Writes down what has changed: `reports` is what was loaded last, `generation` what is in force.
    pub(super) fn update(
        &mut self,
        settings: &Settings,
        loader: &Loader,
        reports: &[ListReport],
        generation: u64,
        news: Vec<TrialNews>,
        now: UnixTime,
    ) -> Written {
        let mut of_lists: HashMap<String, Vec<_>> = HashMap::new();
        for (list, by, news) in news {
            of_lists.entry(list).or_default().push((by, news));
        }
        let history = History::new(&settings.state_dir, settings.history);
        let mut written = Written::default();
        for (list, report) in settings.lists.iter().zip(reports) {
            let known = self.lists.entry(report.name.clone()).or_insert_with(|| Known::of(&history, &report.name));
            let by = brought_by(list, report);
            known.refusal(report, &by, &mut written);
            // What all have comes first: a trial is told with the number of that.
            known.version(&history, loader, report, &by, now, &mut written);
            let told = of_lists.remove(&report.name).unwrap_or_default();
            known.trials((&history, list), loader, report, told, now, &mut written);
            known.held(report, &by, &mut written);
        }
        let configured: HashSet<&str> = settings.lists.iter().map(|list| list.spec.name.as_str()).collect();
        self.lists.retain(|name, known| {
            let stays = configured.contains(name.as_str());
            if !stays {
                let (version, entries) = (known.version.map(|v| v.number), known.version.map_or(0, |v| v.entries));
                let removed = RemovedList { list: name.as_str().into(), version, sha256: known.in_force, entries };
                written.events.push((By::System, Event::ListRemoved(removed)));
            }
            stays
        });
        if generation != self.generation {
            self.generation = generation;
            let lists = settings.lists.iter().map(|list| self.in_force(list)).collect();
            written.events.push((By::System, Event::SnapshotPublished(Publication { generation, lists })));
        }
        written
    }

    /// Numbers of the versions in force, by list.
    pub(super) fn versions(&self) -> HashMap<String, u64> {
        let kept = |known: &Known| known.version.filter(|version| Some(version.sha256) == known.in_force);
        self.lists.iter().filter_map(|(name, known)| Some((name.clone(), kept(known)?.number))).collect()
    }

    /// Numbers of the versions that are tried, by list.
    pub(super) fn tried(&self) -> HashMap<String, u64> {
        let number = |known: &Known| known.running.map(|running| running.number).filter(|&number| number > 0);
        self.lists.iter().filter_map(|(name, known)| Some((name.clone(), number(known)?))).collect()
    }

    /// What is in force of a list, kept or not.
    pub(super) fn digest(&self, list: &str) -> Option<Digest> {
        self.lists.get(list)?.in_force
    }

    /// A list as it is in force.
    fn in_force(&self, list: &ListSettings) -> ListInForce {
        let known = self.lists.get(&list.spec.name);
        let sha256 = known.and_then(|known| known.in_force);
        let version = known.and_then(|known| known.version).filter(|version| Some(version.sha256) == sha256);
        ListInForce {
            name: list.spec.name.as_str().into(),
            version: version.map(|version| version.number),
            sha256,
            mode: list.spec.mode.into(),
        }
    }
}

impl Known {
    /// As the history left it when the server stopped.
    fn of(history: &History, list: &str) -> Self {
        let pinned = history.pinned(list).ok().flatten().and_then(|pin| history.version(list, pin.number).ok());
        let settled = || history.settled(list).ok().flatten();
        let version = pinned.or_else(settled).map(|version| Latest::of(&version));
        Self { version, running: Self::found_running(history, list), ..Self::default() }
    }

    /// A content that was not taken.
    fn refusal(&mut self, report: &ListReport, by: &By, written: &mut Written) {
        let refused = report.refused.as_ref();
        let reason = match (refused, &report.error) {
            (Some(change), _) => Some(change.to_string()),
            (None, Some(why)) if !why.passes() => Some(why.to_string()),
            _ => None,
        };
        if self.refused == reason {
            return;
        }
        self.refused.clone_from(&reason);
        if let Some(reason) = reason {
            let sha256 = refused.and_then(|change| change.version.parse().ok());
            let (list, source) = (report.name.as_str().into(), report.source.as_str().into());
            written
                .events
                .push((by.clone(), Event::ListRefused(RefusedList { list, source, sha256, reason: reason.into() })));
        }
    }

    /// A version that is in force.
    fn version(
        &mut self,
        history: &History,
        loader: &Loader,
        report: &ListReport,
        by: &By,
        now: UnixTime,
        written: &mut Written,
    ) {
        if matches!(report.state, State::NotUsed { .. }) {
            return;
        }
        let contents = loader.contents(&report.name);
        let mut files: Vec<FileEntry> = contents.iter().map(|(file, _)| file.clone()).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        let sha256 = history::whole(&files);
        self.in_force = Some(sha256);
        let rules = contents.into_iter().map(|(_, rules)| rules).collect();
        let before = std::mem::replace(&mut self.rules, rules);
        let old = self.version;
        if let Some(pin) = &report.pinned {
            // Who pinned it has written that down.
            self.version = Some(Latest { number: pin.number, sha256, entries: report.entries });
            return;
        }
        if old.is_some_and(|version| version.sha256 == sha256) {
            return;
        }
        // After a start nothing is known of the version before but its numbers.
        let comparable = !before.is_empty() || old.is_none();
        let Change { added, removed } =
            if comparable { Change::between(&before, &self.rules) } else { Change::default() };
        // While a version is on trial, the report is about that one.
        let (entries, rejected) = loader.counts(&report.name);
        let held = if report.trial.is_none() { report.gate.held() } else { 0 };
        let counts = Counts { entries, rejected, held, added: added.count, removed: removed.count };
        let accepted = Accepted { source: report.source.clone(), by: by.to_string(), counts, files };
        let mut open = |file: &FileEntry| open(loader, &report.name, file);
        let number = match history.record(&report.name, accepted, now, &mut open) {
            Ok(version) => version.number,
            Err(error) => {
                // Tried again at the next update, against the same rules.
                self.rules = before;
                written.troubles.push(error);
                return;
            }
        };
        written.troubles.extend(history.prune(&report.name).err());
        self.version = Some(Latest { number, sha256, entries });
        let event = AcceptedList {
            list: report.name.as_str().into(),
            version: number,
            source: report.source.as_str().into(),
            before_sha256: old.map(|old| old.sha256),
            after_sha256: sha256,
            entries_before: old.map_or(0, |old| old.entries),
            entries,
            added,
            removed,
            held,
            rejected,
        };
        written.events.push((by.clone(), Event::ListAccepted(event)));
    }

    /// Entries nobody has decided about: told whenever they are others, or of another version.
    fn held(&mut self, report: &ListReport, by: &By, written: &mut Written) {
        let of = if report.trial.is_some() { self.running } else { self.version };
        let version = of.map_or(0, |version| version.number);
        let open = || report.gate.entries.iter().filter(|held| held.is_open());
        let set = NameSet::of(open().map(|held| held.pattern.as_str()));
        // A list that never held anything need not say so.
        if self.held == Some((version, set.sha256)) || self.held.is_none() && set.count == 0 {
            return;
        }
        self.held = Some((version, set.sha256));
        let all = open().map(|Held { pattern, reason, .. }| (pattern, reason));
        written.events.push((by.clone(), Event::Held(HeldEntries::new(&report.name, version, report.gate.open, all))));
    }
}

/// Who brings the versions of a list.
fn brought_by(list: &ListSettings, report: &ListReport) -> By {
    let source = report.source.as_str().into();
    if list.fetch.is_some() { By::Feed(source) } else { By::File(source) }
}

/// The last good copy of a content.
fn open(loader: &Loader, list: &str, file: &FileEntry) -> io::Result<Box<dyn io::Read>> {
    Ok(Box::new(Cursor::new(loader.copy(list, file)?)))
}

/// What two versions differ in.
#[derive(Debug, Default)]
struct Change {
    added: Names,
    removed: Names,
}

impl Change {
    /// Compares rules by the hashes of their names and scopes: exact but for one chance in 10⁷ at a million of them.
    fn between(before: &[Arc<FileRules>], after: &[Arc<FileRules>]) -> Self {
        // What both have whole need not be compared.
        let shared = |rules: &Arc<FileRules>, others: &[Arc<FileRules>]| others.iter().any(|o| Arc::ptr_eq(o, rules));
        let old: Vec<_> = before.iter().filter(|rules| !shared(rules, after)).collect();
        let new: Vec<_> = after.iter().filter(|rules| !shared(rules, before)).collect();
        let key = RandomState::new();
        let (old_hashes, new_hashes) = (hashes(&key, &old), hashes(&key, &new));
        Self { added: only(&key, &new, &new_hashes, &old_hashes), removed: only(&key, &old, &old_hashes, &new_hashes) }
    }
}

/// Sorted hashes of all patterns, each once.
fn hashes(key: &RandomState, files: &[&Arc<FileRules>]) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(files.iter().map(|rules| rules.len()).sum());
    each(files, |rules, number, name| hashes.push(key.hash_one((name.wire(), rules.kind(number).1.scope))));
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The patterns of `files` that the `others` have not: how many, and some of them.
fn only(key: &RandomState, files: &[&Arc<FileRules>], own: &[u64], others: &[u64]) -> Names {
    let count = own.iter().filter(|hash| others.binary_search(hash).is_err()).count() as u64;
    let mut sample: Vec<String> = Vec::new();
    let wanted = MAX_SAMPLE.min(usize::try_from(count).unwrap_or(MAX_SAMPLE));
    each(files, |rules, number, name| {
        if sample.len() >= wanted {
            return;
        }
        let scope = rules.kind(number).1.scope;
        if others.binary_search(&key.hash_one((name.wire(), scope))).is_err() {
            let mut pattern = String::new();
            // Writing to a String cannot fail.
            let _ = show_pattern(name.wire(), scope, &mut pattern);
            if !sample.contains(&pattern) {
                sample.push(pattern);
            }
        }
    });
    Names::counted(count, sample)
}

/// Shows `visit` every rule of the files.
fn each(files: &[&Arc<FileRules>], mut visit: impl FnMut(&FileRules, u32, &NameBuf)) {
    let mut name = NameBuf::new();
    for rules in files {
        let mut names = rules.names();
        while let Some(number) = names.next(&mut name) {
            visit(rules, number, &name);
        }
    }
}

#[cfg(test)]
mod tests;
