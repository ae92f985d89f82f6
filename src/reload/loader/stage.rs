//! New versions of lists that only some clients get yet: which files make up which version, and who has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::control::no_such_list;
use super::super::lastgood::Entry;
use super::super::report::{Digest, FileState, Group, LoadError, Loaded, State, TrialCounts, TrialReport};
use super::super::trial::{self, Beside, Course, News, Whom};
use super::Loader;
use super::known::{Good, Known};
use super::run::{self, Run};
use crate::audit::{By, CanaryOutcome};
use crate::config::{CanarySettings, ListSettings, Settings};
use crate::history::{FileEntry, whole};
use crate::limit::Cidr;
use crate::rule::FileRules;
use crate::set::Part;
use crate::util::UnixTime;

/// Queries and hits of a trial.
#[derive(Debug)]
pub(super) struct Count {
    version: Digest,
    queries: Arc<AtomicU64>,
    /// What queries and hits stood at when it came into force.
    before: Option<(u64, u64)>,
    told: Arc<TrialCounts>,
}

impl Count {
    /// Queries and hits since it came into force, of so many hits in all.
    fn read(&self, hits: u64) -> Option<(u64, u64)> {
        let (queries_before, hits_before) = self.before?;
        let queries = self.queries.load(Ordering::Relaxed).saturating_sub(queries_before);
        let hits = hits.saturating_sub(hits_before);
        self.told.tell(queries, hits);
        Some((queries, hits))
    }
}

/// The newest version of a list, where not all have it.
#[derive(Debug)]
pub(in crate::reload) struct Tried {
    pub(in crate::reload) version: Digest,
    /// What all others have.
    pub(in crate::reload) others: Digest,
    /// Nobody has it any more, and why.
    pub(in crate::reload) withdrawn: Option<Arc<str>>,
    pub(in crate::reload) contents: Vec<(FileEntry, Arc<FileRules>)>,
}

impl Known {
    /// The hash of the newest version.
    fn version(&self) -> Digest {
        let good = self.files.values().filter_map(|held| Some((&*held.shown, held.good.as_ref()?)));
        version(good.map(|(shown, good)| file_entry(shown, good.sha256, good.size)))
    }

    /// The newest version is what all have.
    fn settle(&mut self) {
        let good = self.files.values().filter_map(|held| Some((Arc::clone(&held.shown), held.good.clone()?)));
        self.settled = good.collect();
        self.count = None;
    }

    /// Something of it is missing that all have, and not because the source says so.
    fn is_incomplete(&self, loaded: &run::Loaded) -> bool {
        let has = |shown: &Arc<str>| self.settled.iter().any(|(settled, _)| settled == shown);
        let nothing = self.files.values().all(|held| held.good.is_none());
        nothing && loaded.state.why().is_some() && !self.settled.is_empty()
            || self.files.values().any(|held| held.good.is_none() && has(&held.shown))
    }
}

impl Run<'_> {
    /// Works out whom the newest version is for, and has `loaded` say so where nobody has it.
    pub(super) fn stage(
        &mut self,
        known: &mut Known,
        settings: &ListSettings,
        loaded: &mut run::Loaded,
        now_ms: i64,
    ) -> Whom {
        // A version an operator wants is for all at once.
        let tried = settings.canary.is_some() && loaded.pinned.is_none();
        if !known.met {
            known.met = true;
            if tried {
                self.resume(known);
            }
        }
        known.incomplete = tried && known.is_incomplete(loaded);
        if known.incomplete {
            known.count = None;
            if let Some(why) = loaded.state.why().or_else(|| loaded.files.iter().find_map(|file| file.state.why())) {
                self.fall_back(known, loaded, &why.clone());
            }
            return Whom::Nobody;
        }
        let empty = known.files.values().all(|held| held.good.is_none());
        let whom = known.course.look(known.version(), empty, tried, now_ms);
        match whom {
            Whom::All => known.settle(),
            Whom::Some => self.reread_settled(known),
            Whom::Nobody => {
                let reason = known.course.beside().and_then(|beside| beside.withdrawn.clone()).unwrap_or_default();
                self.fall_back(known, loaded, &LoadError::Withdrawn { version: known.version(), why: reason });
            }
        }
        whom
    }

    /// What all had when the server stopped, as `state_dir` says; without all of it, the newest version is the first.
    fn resume(&mut self, known: &mut Known) {
        let on_disk = known.on_disk.clone();
        let entries = |entries: &[Entry]| -> Option<Vec<FileEntry>> {
            entries.iter().map(|entry| Some(file_entry(&entry.file, entry.sha256.parse().ok()?, entry.size))).collect()
        };
        let Some(settled) = entries(&on_disk.files).filter(|files| !files.is_empty()) else { return };
        let beside = on_disk.beside.as_ref().and_then(|beside| {
            let withdrawn = beside.withdrawn.as_deref().map(Arc::from);
            Some(Beside { version: version(entries(&beside.files)?), started_ms: beside.started_ms, withdrawn })
        });
        let settled = version(settled);
        if settled != known.version() {
            let mut files = Vec::new();
            for entry in &on_disk.files {
                let shown: Arc<str> = entry.file.as_str().into();
                let Some(good) = self.stored(&shown, entry) else { return };
                files.push((shown, good));
            }
            known.settled = files;
        }
        known.course = Course::resumed(settled, beside);
    }

    /// Reads what all have anew where its settings have changed; what cannot be read again stays as it is.
    fn reread_settled(&mut self, known: &mut Known) {
        let changed = |(_, good): &&mut (Arc<str>, Good)| good.spec != self.spec;
        let stale: Vec<_> = known.settled.iter_mut().filter(changed).collect();
        for (shown, good) in stale {
            let entry = good.entry(shown);
            if let Some(new) = self.stored(shown, &entry) {
                *good = Good { bytes: good.bytes.take(), ..new };
            }
        }
    }

    /// What all have is in force, and `loaded` says why nothing newer.
    fn fall_back(&mut self, known: &mut Known, loaded: &mut run::Loaded, why: &LoadError) {
        self.reread_settled(known);
        let state = |(shown, good): &(Arc<str>, Good)| FileState {
            path: Arc::clone(shown),
            sha256: Some(good.sha256),
            accepted: Some(good.accepted),
            state: State::LastGood { why: why.clone(), since: good.accepted },
            report: Arc::clone(&good.report),
        };
        loaded.files = known.settled.iter().map(state).collect();
        let since = known.settled.iter().map(|(_, good)| good.accepted).max().unwrap_or_default();
        loaded.state = State::LastGood { why: why.clone(), since };
    }
}

impl Loader {
    /// Puts the rules of a list where they belong, and tells of its trial if there is one.
    pub(super) fn distribute(
        &mut self,
        index: u16,
        canary: Option<&CanarySettings>,
        known: &mut Known,
        whom: Whom,
        to: &mut Loaded,
    ) -> Option<TrialReport> {
        let part = |good: &Good| Part::new(index, Arc::clone(&good.rules));
        let newest = known.files.values().filter_map(|held| held.good.as_ref()).map(part);
        let settled = known.settled.iter().map(|(_, good)| part(good));
        let (Whom::Some, Some(canary)) = (whom, canary) else {
            known.count = None;
            to.parts.extend(if whom == Whom::All { Vec::from_iter(newest) } else { settled.collect() });
            return None;
        };
        to.parts.extend(settled);
        let group = self.group(&canary.clients, &mut to.groups);
        group.lists.push(index);
        group.parts.extend(newest);
        let Beside { version, started_ms, .. } = *known.course.trial()?;
        let same = |count: &Count| count.version == version && Arc::ptr_eq(&count.queries, &group.queries);
        let count = known.count.take().filter(same).unwrap_or_else(|| Count {
            version,
            queries: Arc::clone(&group.queries),
            before: None,
            told: Arc::default(),
        });
        let counts = Arc::clone(&known.count.insert(count).told);
        let until = UnixTime(trial::ends(canary, started_ms).div_euclid(1000));
        Some(TrialReport { version, until, clients: canary.clients.clone(), counts })
    }

    /// The group of these clients.
    fn group<'a>(&mut self, clients: &[Cidr], groups: &'a mut Vec<Group>) -> &'a mut Group {
        let at = groups.iter().position(|group| group.clients == clients).unwrap_or_else(|| {
            let counted = self.counted.iter().find(|(known, _)| known == clients);
            let queries = counted.map(|(_, queries)| Arc::clone(queries)).unwrap_or_default();
            groups.push(Group { clients: clients.to_vec(), queries, ..Group::default() });
            groups.len() - 1
        });
        &mut groups[at]
    }

    /// Begins to count for trials that are new, now that they are in force. `hits` gives all hits of versions on trial
    /// of a list. Queries under way at this moment may count or not.
    pub fn count_trials(&mut self, hits: impl Fn(&str) -> u64) {
        for (name, known) in &mut self.lists {
            if let Some(count) = known.count.as_mut().filter(|count| count.before.is_none()) {
                count.before = Some((count.queries.load(Ordering::Relaxed), hits(name)));
            }
        }
    }

    /// Ends trials that are over or out of their bounds. True: the next load changes what is in force.
    pub fn judge_trials(&mut self, settings: &Settings, now_ms: i64, hits: impl Fn(&str) -> u64) -> bool {
        let mut ended = false;
        for list in &settings.lists {
            let (Some(canary), Some(known)) = (&list.canary, self.lists.get_mut(&list.spec.name)) else { continue };
            // Without a count it is not in force: its files cannot be read at present.
            let Some(count) = &known.count else { continue };
            let counted = count.read(hits(&list.spec.name));
            if known.course.judge(canary, counted, now_ms) {
                known.ended();
                ended = true;
            }
        }
        ended
    }

    /// When the next trial is over, in milliseconds since 1970.
    pub fn next_trial_end(&self, settings: &Settings) -> Option<i64> {
        let end = |list: &ListSettings| {
            let known = self.lists.get(&list.spec.name).filter(|known| known.count.is_some())?;
            let trial = known.course.trial()?;
            Some(trial::ends(list.canary.as_ref()?, trial.started_ms))
        };
        settings.lists.iter().filter_map(end).min()
    }

    /// Gives the newest version of a list to all, from the next load on.
    ///
    /// # Errors
    /// All have it, in words.
    pub fn promote(&mut self, list: &str, reason: &str, by: By) -> Result<(), String> {
        self.operate(list, by, |course| course.promote(CanaryOutcome::Promoted, reason))
    }

    /// Takes the version of a list that is on trial back, from the next load on.
    ///
    /// # Errors
    /// There is none, in words.
    pub fn withdraw(&mut self, list: &str, reason: &str, by: By) -> Result<(), String> {
        self.operate(list, by, |course| course.withdraw(reason))
    }

    /// Has a trial ended by an operator.
    fn operate(&mut self, list: &str, by: By, act: impl FnOnce(&mut Course) -> bool) -> Result<(), String> {
        let Some(known) = self.lists.get_mut(list) else {
            let mut known: Vec<&str> = self.lists.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(no_such_list(list, known.into_iter()));
        };
        if known.incomplete {
            return Err(format!("the files of \"{list}\" cannot be read at present"));
        }
        if !act(&mut known.course) {
            return Err(format!("no version of \"{list}\" is on trial"));
        }
        known.by = Some(by);
        known.ended();
        Ok(())
    }

    /// What happened to trials since the last call, and the operator who did it.
    pub(in crate::reload) fn trial_news(&mut self, settings: &Settings) -> Vec<(String, Option<By>, News)> {
        let mut told = Vec::new();
        for list in &settings.lists {
            let Some(known) = self.lists.get_mut(&list.spec.name) else { continue };
            let by = known.by.take();
            let news = std::mem::take(&mut known.course.news).into_iter();
            told.extend(news.map(|news| (list.spec.name.clone(), by.clone(), news)));
        }
        told
    }

    /// The newest version of a list, where not all have it.
    pub(in crate::reload) fn tried(&self, list: &str) -> Option<Tried> {
        let known = self.lists.get(list)?;
        let Beside { version, withdrawn, .. } = known.course.beside()?.clone();
        let good = known.files.values().filter_map(|held| Some((&*held.shown, held.good.as_ref()?)));
        let entry = |(shown, good): (&str, &Good)| (file_entry(shown, good.sha256, good.size), Arc::clone(&good.rules));
        let contents = good.map(entry).collect();
        let settled = known.settled.iter().map(|(shown, good)| file_entry(shown, good.sha256, good.size));
        Some(Tried { version, others: self::version(settled), withdrawn, contents })
    }
}

impl Known {
    /// The trial has ended: what was on trial is what all have, unless it was withdrawn.
    fn ended(&mut self) {
        self.count = None;
        if self.course.beside().is_none() {
            self.settle();
        }
    }
}

/// The hash of a version, as the history counts it.
fn version(files: impl IntoIterator<Item = FileEntry>) -> Digest {
    whole(&Vec::from_iter(files))
}

/// One file of a version.
fn file_entry(shown: &str, sha256: Digest, size: u64) -> FileEntry {
    FileEntry { file: shown.to_owned(), sha256, size }
}

#[cfg(test)]
mod tests;
