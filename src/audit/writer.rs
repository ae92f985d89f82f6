//! Writing the log: one process, whole lines, on disk before anybody is told.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::line::{self, Link, MAX_LINE};
use super::segment::{self, Segment};
use super::{By, Disturbed, Event, Head, LostEvents, RecoveredTail};
use crate::util::{Now, Throttle};

/// A failure is told again after this long, in milliseconds.
const TELL_AGAIN: i64 = 60_000;
/// Numbers of segments that may be taken before one gives up.
const MAX_TAKEN: u64 = 1000;

/// Sizes; the defaults are for everybody, tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Beyond this many bytes a new segment begins.
    pub segment: u64,
    /// Events that may wait for the disk.
    pub waiting: usize,
    /// Bytes of them.
    pub waiting_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment: 16 << 20, waiting: 10_000, waiting_bytes: MAX_LINE }
    }
}

/// Writes the log of a `state_dir`. Clones write the same log; while one lives, no other process can.
#[derive(Clone)]
pub struct Audit {
    writer: Arc<Mutex<Writer>>,
    /// Apart, so that looking never waits for a disk.
    status: Arc<Mutex<Status>>,
}

/// How the log fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The last line on disk; none before the first.
    pub head: Option<Head>,
    /// Events written since the start.
    pub written: u64,
    /// Events that wait in memory because the disk did not take them.
    pub waiting: u64,
    /// Events that were given up since the start.
    pub lost: u64,
    /// Failed attempts to write since the start.
    pub failures: u64,
    /// What the last attempt failed of; none if it did not.
    pub error: Option<String>,
}

impl Audit {
    /// Takes the log of a `state_dir` for this process. A log that cannot be written to just now is no error:
    /// events wait, and [`Self::status`] says so.
    pub fn open(state_dir: &Path, now: Now) -> Result<Self, OpenError> {
        Self::with(state_dir, Options::default(), now)
    }

    /// With other sizes.
    pub fn with(state_dir: &Path, options: Options, now: Now) -> Result<Self, OpenError> {
        let folder = super::folder(state_dir);
        let io = |path: &Path, error| OpenError::Io { path: path.to_owned(), error };
        make(&folder).map_err(|error| io(&folder, error))?;
        let path = folder.join("lock");
        // Not truncated: another process may hold it.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(&path);
        let lock = lock.map_err(|error| io(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { folder }),
            Err(TryLockError::Error(error)) => return Err(io(&path, error)),
        }
        let status = Status { head: None, written: 0, waiting: 0, lost: 0, failures: 0, error: None };
        let writer = Writer {
            folder,
            options,
            place: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost: None,
            warnings: Throttle::new(TELL_AGAIN),
            status,
            _lock: lock,
        };
        let status = Arc::new(Mutex::new(writer.status.clone()));
        let audit = Self { writer: Arc::new(Mutex::new(writer)), status };
        audit.flush(now);
        Ok(audit)
    }

    /// Writes an event, and comes back when it is on disk or waits in memory. Not for the path of a query: it
    /// writes and syncs.
    pub fn record(&self, by: By, event: Event, now: Now) {
        self.record_all([(by, event)], now);
    }

    /// Events that happened together, with one sync for all.
    pub fn record_all(&self, events: impl IntoIterator<Item = (By, Event)>, now: Now) {
        let mut writer = lock(&self.writer);
        for (by, event) in events {
            // A group of any size is written, in parts if it must be.
            if writer.is_full(0) && writer.status.error.is_none() {
                writer.write(now);
            }
            writer.take(&by, &event, now);
        }
        self.write(writer, now);
    }

    /// Tries again what could not be written. To be called now and then, and before the end.
    pub fn flush(&self, now: Now) {
        self.write(lock(&self.writer), now);
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    fn write(&self, mut writer: MutexGuard<'_, Writer>, now: Now) {
        writer.write(now);
        let status = writer.status.clone();
        drop(writer);
        *lock(&self.status) = status;
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("status", &self.status()).finish()
    }
}

/// A writer that panicked in the middle left a state that is still one: lines are taken off only once written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that writing needs.
struct Writer {
    folder: PathBuf,
    options: Options,
    /// `None` until the end of the log was found.
    place: Option<Place>,
    /// Lines without their place in the chain, oldest first.
    waiting: VecDeque<String>,
    waiting_bytes: usize,
    /// Given up since the last line that says so.
    lost: Option<LostEvents>,
    warnings: Throttle,
    status: Status,
    /// Released when it is closed.
    _lock: File,
}

/// Where the next line goes.
struct Place {
    link: Link,
    /// `None`: a new one is needed, with a number from `next` on.
    segment: Option<Segment>,
    next: u64,
}

impl Writer {
    /// Puts an event behind those that wait, or counts it as lost.
    fn take(&mut self, by: &By, event: &Event, now: Now) {
        let said = match line::say(by, event, now) {
            Ok(said) if said.len() > MAX_LINE - 1024 => return self.lose("it is longer than a line may be", now),
            Ok(said) => said,
            Err(error) => return self.lose(&error.to_string(), now),
        };
        // The oldest stay: they tell how it began, and the order of lines is the order of events.
        if self.is_full(said.len()) {
            let why = self.status.error.clone().unwrap_or_else(|| "too many at once".into());
            return self.lose(&why, now);
        }
        self.waiting_bytes += said.len();
        self.waiting.push_back(said);
    }

    /// Whether no event of so many bytes has room among those that wait.
    fn is_full(&self, bytes: usize) -> bool {
        let full = self.waiting.len() >= self.options.waiting
            || self.waiting_bytes.saturating_add(bytes) >= self.options.waiting_bytes;
        full && !self.waiting.is_empty()
    }

    /// Gives an event up.
    fn lose(&mut self, why: &str, now: Now) {
        self.status.lost += 1;
        let since = || LostEvents { events: 0, since: line::show_time(now).into(), reason: why.into() };
        let lost = self.lost.get_or_insert_with(since);
        lost.events += 1;
        lost.reason = why.into();
    }

    /// Writes all that waits, or nothing.
    fn write(&mut self, now: Now) {
        let failed = self.status.error.is_some();
        match self.try_write(now) {
            Ok(()) => {
                self.status.error = None;
                if failed {
                    tracing::info!("the audit log {} is written again", self.folder.display());
                }
            }
            Err(error) => {
                self.status.failures += 1;
                if self.warnings.pass(now).is_some() {
                    tracing::error!(
                        "cannot write the audit log {}: {error}; lists are enforced, and events wait in memory: \
                         make room and check that state_dir is writable",
                        self.folder.display()
                    );
                }
                self.status.error = Some(error.to_string());
            }
        }
        self.status.waiting = self.waiting.len() as u64;
        self.status.head = self.place.as_ref().map(|place| place.link.head).filter(|head| head.seq > 0);
    }

    fn try_write(&mut self, now: Now) -> io::Result<()> {
        let mut notes = Vec::new();
        let mut place = match self.place.take() {
            Some(place) => place,
            None => match find(&self.folder, &mut notes) {
                Ok(place) => place,
                Err(error) => {
                    // The next attempt finds all of it again, but for what was moved aside already.
                    notes.retain(|note| matches!(note, Event::Recovered(_)));
                    self.take_notes(notes, now);
                    return Err(error);
                }
            },
        };
        let done = self.append(&mut place, &mut notes, now);
        self.place = Some(place);
        // What was noticed is noticed once, so it waits like any other event if it could not be written.
        self.take_notes(notes, now);
        done
    }

    /// Events about the log itself.
    fn take_notes(&mut self, notes: Vec<Event>, now: Now) {
        for note in notes {
            self.take(&By::System, &note, now);
        }
    }

    /// Appends what waits and `notes`, which are emptied if that worked.
    fn append(&mut self, place: &mut Place, notes: &mut Vec<Event>, now: Now) -> io::Result<()> {
        if let Some(segment) = &place.segment
            && let Some(what) = segment.disturbed()?
        {
            notes.push(Event::Disturbed(Disturbed { file: segment.name().into(), what: what.into() }));
            place.segment = None;
        }
        let mut after: Vec<String> = Vec::new();
        let lost = self.lost.clone().map(Event::Lost);
        for event in notes.iter().chain(&lost) {
            after.push(line::say(&By::System, event, now).map_err(io::Error::other)?);
        }
        if self.waiting.is_empty() && after.is_empty() {
            return Ok(());
        }
        if place.segment.as_ref().is_some_and(|segment| segment.len >= self.options.segment) {
            place.segment = None;
        }
        let segment = match &mut place.segment {
            Some(segment) => segment,
            empty => empty.insert(create(&self.folder, &mut place.next)?),
        };
        let (mut link, mut lines) = (place.link, Vec::new());
        for said in self.waiting.iter().chain(&after) {
            link.append(said, &mut lines);
        }
        segment.append(&lines)?;
        self.status.written += (self.waiting.len() + after.len()) as u64;
        place.link = link;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.lost = None;
        notes.clear();
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.waiting.is_empty() {
            let waiting = self.waiting.len();
            tracing::error!("{waiting} events of the audit log {} were never written", self.folder.display());
        }
    }
}

/// Makes the folder, and has its name on disk.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    folder.parent().map_or(Ok(()), segment::sync_folder)
}

/// A new segment with the first free number.
fn create(folder: &Path, next: &mut u64) -> io::Result<Segment> {
    // It may have been removed while we ran.
    make(folder)?;
    for _ in 0..MAX_TAKEN {
        let created = Segment::create(folder, *next);
        let taken = matches!(&created, Err(error) if error.kind() == io::ErrorKind::AlreadyExists);
        if created.is_ok() || taken {
            *next = next.saturating_add(1);
        }
        if !taken {
            return created;
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", segment::name(*next))))
}

/// Looks for the end of the log. What a crash left behind it is moved aside, what somebody left is left there and a
/// new segment begins; both are noted.
fn find(folder: &Path, notes: &mut Vec<Event>) -> io::Result<Place> {
    let numbers = segment::numbers(folder)?;
    let last = numbers.last().copied();
    let mut place = Place { link: Link::START, segment: None, next: last.map_or(1, |last| last.saturating_add(1)) };
    for &number in numbers.iter().rev() {
        let file = segment::name(number);
        let mut end = segment::end(&folder.join(&file))?;
        let behind = end.len - end.whole;
        if behind > 0 && end.torn && Some(number) == last {
            let aside = segment::set_aside(folder, number, end.whole)?;
            let (file, moved_to) = (file.into(), aside.name.into());
            notes.push(Event::Recovered(RecoveredTail { file, moved_to, bytes: behind, sha256: aside.sha256 }));
            end.len = end.whole;
        } else if behind > 0 {
            let what = format!("it ends with {behind} bytes that are no lines of this log; they stay there");
            notes.push(Event::Disturbed(Disturbed { file: file.into(), what: what.into() }));
        }
        if Some(number) == last && end.len == end.whole {
            place.segment = Some(Segment::open(folder, number, end.len)?);
        }
        if let Some(link) = end.link {
            place.link = link;
            break;
        }
    }
    Ok(place)
}

/// Why the log cannot be had.
#[derive(Debug)]
pub enum OpenError {
    /// Another process writes it.
    Locked {
        /// The log's folder.
        folder: PathBuf,
    },
    /// The system refused.
    Io {
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { folder } => write!(
                f,
                "the audit log {} is written by another process; end that one, or give this one a state_dir of its own",
                folder.display()
            ),
            Self::Io { path, error } => {
                write!(f, "cannot open the audit log {}: {error}; check that state_dir is writable", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {}
