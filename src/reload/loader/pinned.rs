//! A list that an operator keeps at one of its versions: it comes from the history, whatever its source says.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::report::{LoadError, State};
use super::known::{Good, Known, Tracked, take_shown};
use super::run::{Loaded, Run};
use crate::history::{FileEntry, History, HistoryError, Pin, Version};
use crate::list;
use crate::util::UnixTime;

impl Run<'_> {
    /// The version the list is kept at; `None` if it follows its source.
    pub(super) fn load_pinned(&mut self, known: &mut Known, history: &History) -> Option<Loaded> {
        let list = self.spec.name.clone();
        let pin = match history.pinned(&list) {
            Ok(pin) => pin?,
            // A list nothing is known of is better followed than not enforced at all.
            Err(_) if known.files.is_empty() && known.kept.files.is_empty() => return None,
            // Where there cannot be a history, nobody has pinned anything.
            Err(HistoryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotADirectory => return None,
            Err(error) => return Some(self.unpinnable(known, error, None)),
        };
        let version = match history.version(&list, pin.number) {
            Ok(version) => version,
            Err(error) => return Some(self.unpinnable(known, error, Some(pin))),
        };
        let mut before = std::mem::take(&mut known.files);
        let (mut files, mut states, mut state) = (BTreeMap::new(), Vec::new(), State::Unchanged);
        for entry in &version.what.files {
            let tracked = take_shown(&mut before, &entry.file);
            let same = tracked.filter(|tracked| {
                tracked.good.as_ref().is_some_and(|good| good.spec == self.spec && good.sha256 == entry.sha256)
            });
            let tracked = match same {
                Some(tracked) => Tracked { bad: None, replaced: None, ..tracked },
                None => match self.kept_in(history, &version, entry) {
                    Ok(good) => {
                        state = State::Fresh;
                        Tracked::new(entry.file.as_str().into(), Some(good))
                    }
                    Err(why) => {
                        // What was in force stays so as a whole.
                        before.append(&mut files);
                        known.files = before;
                        return Some(Loaded { pinned: Some(pin), ..self.all_last_good(known, why) });
                    }
                },
            };
            states.push(tracked.state(state.clone()));
            // Paths of files are only compared with each other; these yield to real ones once the list is unpinned.
            files.insert(PathBuf::from(&entry.file), tracked);
        }
        if before.values().any(|tracked| tracked.good.is_some()) {
            state = State::Fresh;
        }
        known.files = files;
        Some(Loaded { state, files: states, refused: None, pinned: Some(pin) })
    }

    /// The history cannot say: what was in force stays so.
    fn unpinnable(&mut self, known: &mut Known, error: HistoryError, pinned: Option<Pin>) -> Loaded {
        Loaded { pinned, ..self.all_last_good(known, LoadError::History(Arc::new(error))) }
    }

    /// One file of the version.
    fn kept_in(&self, history: &History, version: &Version, entry: &FileEntry) -> Result<Good, LoadError> {
        let bytes = history.bytes(&self.spec.name, entry).map_err(|error| LoadError::History(Arc::new(error)))?;
        let shown: Arc<str> = entry.file.as_str().into();
        let parsed = list::parse(&self.spec, &shown, &bytes)
            .map_err(|why| LoadError::Refused { path: Arc::clone(&shown), why: Arc::new(why) })?;
        Ok(Good {
            seen: None,
            sha256: entry.sha256,
            size: entry.size,
            spec: Arc::clone(&self.spec),
            rules: parsed.rules,
            report: Arc::new(parsed.report),
            accepted: UnixTime(version.accepted.as_second()),
            bytes: Some(Arc::new(bytes)),
        })
    }
}
