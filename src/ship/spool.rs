//! Batches that wait, on disk: one file each, written whole, the oldest first out and, when there are too many, first
//! to go. With a disk that takes nothing a few wait in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::{Name, Sealed, Stored};
use super::counters::{Counters, add};
use crate::fetch::Coding;
use crate::util::{Now, TEMPORARY, Throttle, write_whole};

/// Bytes of batches that are held while the disk takes none.
const MEMORY: u64 = 16 << 20;
/// Batches set aside that are kept for somebody to look at.
const ASIDE: usize = 4;
/// Ends the names of those.
const REFUSED: &str = ".refused";

/// The batches that wait. One thread puts them in, one takes them out.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limit: u64,
    pub(super) counters: Arc<Counters>,
    state: Mutex<State>,
    wake: Condvar,
    warnings: Throttle,
}

/// What waits.
#[derive(Debug, Default)]
struct State {
    /// On disk, with sizes.
    files: BTreeMap<Name, u64>,
    bytes: u64,
    /// Not on disk.
    memory: BTreeMap<Name, Stored>,
    memory_bytes: u64,
    /// The one under way, which no room is made with.
    sending: Option<Name>,
    /// Set when nothing more will come: until when it may go on.
    end: Option<Instant>,
    /// Somebody does not want to wait for the next try.
    hurried: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this one.
    Batch(Name),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

impl Spool {
    /// Takes over what is there. Halves of files that a crash has left are removed. A full disk is no reason not to serve.
    pub(super) fn open(folder: &Path, limit: u64, counters: Arc<Counters>) -> io::Result<Self> {
        let made = fs::create_dir_all(folder);
        let full = made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        let entries = if full { None } else { made.map(|()| Some(fs::read_dir(folder)))?.transpose()? };
        let mut state = State::default();
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let file = entry.file_name();
            let file = file.to_string_lossy();
            if file.starts_with(TEMPORARY) {
                let _ = fs::remove_file(entry.path());
            } else if let Some(name) = Name::parse(&file) {
                let size = entry.metadata()?.len();
                state.bytes += size;
                state.files.insert(name, size);
            }
        }
        let (folder, warnings) = (folder.to_owned(), Throttle::new(60_000));
        let spool = Self { folder, limit, counters, state: Mutex::new(state), wake: Condvar::new(), warnings };
        spool.make_room(&mut spool.lock(), 0);
        Ok(spool)
    }

    /// The id of the newest batch there is.
    pub(super) fn newest(&self) -> Option<Box<str>> {
        self.lock().files.keys().next_back().map(|name| name.id.clone())
    }

    /// Keeps a batch: on disk, or if need be in memory.
    pub(super) fn put(&self, batch: Sealed, coding: Coding) {
        let rows = batch.header.rows;
        let Ok(stored) = Stored::new(batch, coding) else { return add(&self.counters.dropped_spool, rows) };
        if let Err(failed) = self.write(stored) {
            let (stored, error) = *failed;
            let mut state = self.lock();
            state.memory_bytes += stored.body.len() as u64;
            state.memory.insert(stored.name(), stored);
            self.drop_from_memory(&mut state);
            let held = state.memory.len();
            drop(state);
            self.wake.notify_all();
            if self.warnings.pass(Now::read()).is_some() {
                tracing::warn!(
                    "cannot write to {}: {error}; {held} batches of hits for ClickHouse wait in memory",
                    self.folder.display()
                );
            }
            return;
        }
        self.wake.notify_all();
        // The disk takes files again.
        loop {
            let mut state = self.lock();
            let next = state.memory.keys().find(|name| state.sending.as_ref() != Some(name)).cloned();
            let Some(stored) = next.and_then(|name| take_from_memory(&mut state, &name)) else { return };
            drop(state);
            if let Err(failed) = self.write(stored) {
                let (stored, _) = *failed;
                let mut state = self.lock();
                state.memory_bytes += stored.body.len() as u64;
                state.memory.insert(stored.name(), stored);
                return;
            }
        }
    }

    /// Writes one file, making room for it first.
    fn write(&self, stored: Stored) -> Result<(), Box<(Stored, io::Error)>> {
        let (name, bytes) = (stored.name(), stored.to_bytes());
        let size = bytes.len() as u64;
        self.make_room(&mut self.lock(), size);
        match write_whole(&self.folder.join(name.to_string()), &bytes) {
            Ok(()) => {
                let mut state = self.lock();
                state.bytes += size;
                state.files.insert(name, size);
                self.gauge(&state);
                Ok(())
            }
            Err(error) => Err(Box::new((stored, error))),
        }
    }

    /// Waits, if need be, for the oldest batch.
    pub(super) fn next(&self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let oldest = state.files.keys().next().into_iter().chain(state.memory.keys().next()).min().cloned();
            let now = Instant::now();
            match (oldest, state.end) {
                (_, Some(end)) if now >= end => return Next::End,
                (None, Some(_)) => return Next::End,
                (Some(name), _) => {
                    state.sending = Some(name.clone());
                    return Next::Batch(name);
                }
                (None, None) if now >= until => return Next::Nothing,
                (None, None) => {
                    let waited = self.wake.wait_timeout(state, until - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Waits, but not when nothing more will come: then there is no time for it. False says that it is so.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        while state.end.is_none() {
            let now = Instant::now();
            if now >= until || std::mem::take(&mut state.hurried) {
                return true;
            }
            state = self.wake.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Ends a [`Self::pause`] early, or the next one.
    #[cfg(test)]
    pub(super) fn hurry(&self) {
        self.lock().hurried = true;
        self.wake.notify_all();
    }

    /// Reads a batch that waits; `None` if its file is damaged.
    pub(super) fn load(&self, name: &Name) -> io::Result<Option<Stored>> {
        if let Some(stored) = self.lock().memory.get(name) {
            return Ok(Some(stored.clone()));
        }
        fs::read(self.folder.join(name.to_string())).map(Stored::from_bytes)
    }

    /// Forgets a batch that has arrived.
    pub(super) fn arrived(&self, name: &Name) {
        add(&self.counters.shipped, name.rows);
        add(&self.counters.batches, 1_u64);
        self.forget(name);
    }

    /// Forgets a batch whose file somebody has taken away.
    pub(super) fn lost(&self, name: &Name) {
        add(&self.counters.dropped_spool, name.rows);
        self.forget(name);
    }

    /// Puts a batch out of the way that will never arrive. A few are kept for people to look at.
    pub(super) fn set_aside(&self, name: &Name) {
        add(&self.counters.refused, name.rows);
        let path = self.folder.join(name.to_string());
        let mut aside: Vec<PathBuf> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(REFUSED))
            .collect();
        aside.sort();
        for old in aside.iter().rev().skip(ASIDE - 1) {
            let _ = fs::remove_file(old);
        }
        // One that was only in memory has no file, and none of its kind is made.
        let _ = fs::rename(&path, self.folder.join(format!("{name}{REFUSED}")));
        self.forget(name);
    }

    /// Nothing more will come; what is there may go out until `end`.
    pub(super) fn close(&self, end: Instant) {
        self.lock().end = Some(end);
        self.wake.notify_all();
    }

    /// How many batches an end of the process would lose, if any.
    pub(super) fn only_in_memory(&self) -> Option<usize> {
        Some(self.lock().memory.len()).filter(|&batches| batches > 0)
    }

    /// Removes a batch from wherever it is.
    fn forget(&self, name: &Name) {
        let mut state = self.lock();
        take_from_memory(&mut state, name);
        if let Some(size) = state.files.remove(name) {
            state.bytes -= size;
            // A file that cannot be removed is sent again after the next start, which does no harm.
            let _ = fs::remove_file(self.folder.join(name.to_string()));
        }
        state.sending = None;
        self.gauge(&state);
    }

    /// Drops the oldest files until there is room for so many more bytes.
    fn make_room(&self, state: &mut State, more: u64) {
        while state.bytes + more > self.limit {
            let oldest = state.files.keys().find(|name| state.sending.as_ref() != Some(name)).cloned();
            let Some(name) = oldest else { break };
            state.bytes -= state.files.remove(&name).unwrap_or(0);
            let _ = fs::remove_file(self.folder.join(name.to_string()));
            add(&self.counters.dropped_spool, name.rows);
        }
        self.gauge(state);
    }

    /// Drops the oldest batches that are held beyond the bound.
    fn drop_from_memory(&self, state: &mut State) {
        while state.memory_bytes > MEMORY {
            let oldest = state.memory.keys().find(|name| state.sending.as_ref() != Some(name)).cloned();
            let Some(name) = oldest else { break };
            take_from_memory(state, &name);
            add(&self.counters.dropped_spool, name.rows);
        }
        self.gauge(state);
    }

    /// Says what waits.
    fn gauge(&self, state: &State) {
        let rows = state.files.keys().chain(state.memory.keys()).map(|name| u64::from(name.rows)).sum();
        self.counters.waiting.store(rows, Ordering::Relaxed);
        self.counters.waiting_bytes.store(state.bytes + state.memory_bytes, Ordering::Relaxed);
    }

    /// The lock is only ever held for a moment, or the removal of a file.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a batch that is held.
fn take_from_memory(state: &mut State, name: &Name) -> Option<Stored> {
    let stored = state.memory.remove(name)?;
    state.memory_bytes -= stored.body.len() as u64;
    Some(stored)
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Common, Header};
    use super::*;

    /// A batch of so many bytes; ids sort by number.
    fn batch(number: u32, bytes: usize) -> Sealed {
        let common = Common { server: "ns1".into(), key: "0123456789abcdef".into(), window: 60 };
        let header = Header::new(format!("{number:036x}").into(), 0, number + 1, &common);
        Sealed { header, rows: vec![7; bytes] }
    }

    fn open(folder: &Path, limit: u64) -> Spool {
        Spool::open(folder, limit, Arc::new(Counters::default())).expect("a spool")
    }

    /// The number of the oldest batch.
    fn oldest(spool: &Spool) -> Option<u32> {
        match spool.next(Duration::ZERO) {
            Next::Batch(name) => Some(name.rows - 1),
            Next::Nothing | Next::End => None,
        }
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).expect("listed").count()
    }

    #[test]
    fn the_oldest_goes_first_and_all_are_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("spool");
        let spool = open(&folder, 1 << 20);
        for number in [3, 1, 2] {
            spool.put(batch(number, 100), Coding::Identity);
        }
        assert_eq!(oldest(&spool), Some(1));
        drop(spool);
        fs::write(folder.join(format!("{TEMPORARY}1-half")), "half").expect("written");
        fs::write(folder.join("notes.txt"), "of the operator").expect("written");
        let spool = open(&folder, 1 << 20);
        assert_eq!(files(&folder), 4, "three batches and what is not ours");
        assert_eq!(spool.newest().as_deref(), Some(format!("{:036x}", 3).as_str()));
        for number in 1..=3 {
            let Next::Batch(name) = spool.next(Duration::ZERO) else { panic!("{number} is missing") };
            let stored = spool.load(&name).expect("read").expect("whole");
            assert_eq!((stored.body.len(), name.rows), (100, number + 1));
            spool.arrived(&name);
        }
        assert_eq!((oldest(&spool), files(&folder)), (None, 1));
        let counters = spool.counters.read();
        assert_eq!((counters.shipped, counters.waiting, counters.waiting_bytes), (9, 0, 0));
    }

    #[test]
    fn when_full_the_oldest_that_is_not_under_way_is_dropped_and_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        let spool = open(dir.path(), 5_000);
        spool.put(batch(0, 1_000), Coding::Identity);
        assert_eq!(oldest(&spool), Some(0));
        for number in 1..10 {
            spool.put(batch(number, 1_000), Coding::Identity);
            let size: u64 =
                fs::read_dir(dir.path()).expect("listed").map(|e| e.expect("e").metadata().expect("m").len()).sum();
            assert!(size <= 5_000 && size == spool.counters.read().waiting_bytes, "{size}");
        }
        // Batch 0 is under way; 3 more fit beside it.
        assert_eq!(spool.counters.read().dropped_spool, (2..=7).sum::<u64>());
        assert_eq!(spool.counters.read().waiting, 1 + 8 + 9 + 10);
        drop(spool);
        let smaller = open(dir.path(), 2_500);
        assert_eq!(smaller.counters.read().waiting, 19, "another limit holds from the start");
    }

    #[test]
    fn with_a_disk_that_takes_nothing_a_few_wait_in_memory() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("spool");
        let spool = open(&folder, 1 << 30);
        fs::remove_dir(&folder).expect("removed");
        for number in 0..20 {
            spool.put(batch(number, 1 << 20), Coding::Identity);
        }
        assert_eq!(spool.only_in_memory(), Some(16));
        assert_eq!(spool.counters.read().dropped_spool, 1 + 2 + 3 + 4);
        let Next::Batch(name) = spool.next(Duration::ZERO) else { panic!("none") };
        assert_eq!(spool.load(&name).expect("read").map(|stored| stored.header.rows), Some(5));
        fs::create_dir(&folder).expect("made");
        spool.put(batch(20, 10), Coding::Identity);
        assert_eq!(spool.only_in_memory(), Some(1), "the one under way stays where it is");
        spool.arrived(&name);
        assert_eq!((spool.only_in_memory(), files(&folder)), (None, 16));
    }

    #[test]
    fn damaged_and_refused_batches_are_set_aside_and_few_of_them_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let spool = open(dir.path(), 1 << 20);
        for number in 0..6 {
            spool.put(batch(number, 10), Coding::Identity);
            let Next::Batch(name) = spool.next(Duration::ZERO) else { panic!("none") };
            fs::write(dir.path().join(name.to_string()), "damaged").expect("written");
            assert_eq!(spool.load(&name).expect("read"), None);
            spool.set_aside(&name);
        }
        assert_eq!((oldest(&spool), files(dir.path())), (None, ASIDE));
        assert_eq!(spool.counters.read().refused, 21);
        assert_eq!(oldest(&open(dir.path(), 1 << 20)), None, "nor are they batches after a restart");
    }

    #[test]
    fn at_the_end_there_is_no_waiting() {
        let dir = tempfile::tempdir().expect("a folder");
        let spool = open(dir.path(), 1 << 20);
        assert!(spool.pause(Duration::ZERO));
        spool.put(batch(0, 10), Coding::Identity);
        spool.close(Instant::now() + Duration::from_secs(60));
        assert!(!spool.pause(Duration::from_secs(60)));
        let Next::Batch(name) = spool.next(Duration::from_secs(60)) else { panic!("there is time for one") };
        spool.arrived(&name);
        assert_eq!(spool.next(Duration::from_secs(60)), Next::End);
        spool.put(batch(1, 10), Coding::Identity);
        spool.close(Instant::now());
        assert_eq!(spool.next(Duration::from_secs(60)), Next::End, "there is none");
    }
}
