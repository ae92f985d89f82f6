//! Hits on their way from those who answer to those who want to know: the hit log's file, statistics, streams.
//!
//! Workers put a [`Hit`] into a ring of their own and go on; one thread takes the hits out, asks the snapshot
//! that decided which rules and orders they rest on, and hands them on: to the file of JSON lines, rotated by size and age,
//! which docs/hits.md tells operators about; to one that counts them ([`Count`]); to others ([`Sink`]). A hit that cannot
//! be taken is counted all the same (its rule and form, but not who asked); a line that cannot be written is counted as
//! dropped. Nothing is waited for.

mod attribution;
mod client;
mod file;
mod line;
mod name;
mod overflow;
mod pump;
mod reason;
mod ring;
mod rotate;
mod rrtype;
mod writer;

pub use rrtype::type_name;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::event::{Attribution, Count, Form, Hit, Outcome, Sink};
use crate::util::Now;
use attribution::Attributions;
use file::LogFile;
use overflow::{Rest, Table};
use pump::Pump;
use ring::{Consumer, Producer, ring};
use writer::Writer;

/// Words of a ring, 1 MiB: 18,000 hits of ordinary names and 3,600 of the longest. At 200,000 hits a second there are 70 ms
/// from when the pump is woken (a quarter is full) to the first hit that finds no room.
const RING: usize = 1 << 17;
/// How long the hits still in the rings are written for when the log is closed.
const DRAIN: Duration = Duration::from_secs(2);
/// How long [`HitLog::close`] waits for its thread, which a hanging disk may hold in the kernel.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of who asked is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clients {
    /// The whole address.
    Full,
    /// Its /24 or /56.
    Truncate,
    /// A keyed hash; the key is made anew at each start and never written.
    Hash,
    /// Nothing.
    None,
}

/// Where and how hits are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `None` turns the log off.
    pub file: Option<PathBuf>,
    /// Privacy of clients.
    pub clients: Clients,
    /// Rotate before the file has grown past this many bytes; 0: never.
    pub max_size: u64,
    /// Rotate when the file has become this old; zero: never.
    pub max_age: Duration,
    /// How many rotated files are kept.
    pub keep: usize,
}

/// Who takes hits, beside the file.
#[derive(Default)]
pub struct Takers {
    /// Counts every one of them.
    pub count: Option<Box<dyn Count>>,
    /// Take those that find room.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// The hit log of a running server, and all else that takes hits. Dropping it closes it.
#[derive(Debug)]
pub struct HitLog {
    shared: Arc<Shared>,
    thread: Option<Running>,
}

/// The pump's thread, and how it says that it is done.
#[derive(Debug)]
struct Running {
    handle: JoinHandle<()>,
    /// In a mutex only so that a [`HitLog`] may be shared; nobody but its last owner listens.
    done: Mutex<Receiver<()>>,
}

/// What the owner, the senders and the pump all hold.
#[derive(Debug, Default)]
struct Shared {
    counters: Arc<Counters>,
    attributions: Attributions,
    /// Rings the pump has not taken over yet; `None` when it takes no more.
    new_rings: Mutex<Option<Vec<Consumer>>>,
    /// The ring of all senders that are clones.
    common: Mutex<Option<Producer>>,
    /// Whom a ring wakes.
    pump: OnceLock<Thread>,
    closing: AtomicBool,
    wants: Wants,
    /// What could only be counted and has no place in a generation's table.
    rest: Rest,
}

/// What is done with hits.
#[derive(Clone, Copy, Debug, Default)]
struct Wants {
    /// There is a file.
    lines: bool,
    /// Every hit is to be counted.
    counts: bool,
    /// Words of a ring.
    ring: usize,
}

impl Shared {
    /// A new ring, if there is somebody to read it.
    fn ring(&self) -> Option<Producer> {
        let mut rings = self.new_rings();
        let (producer, consumer) = ring(self.wants.ring, self.pump.get().cloned());
        rings.as_mut()?.push(consumer);
        Some(producer)
    }

    /// Has a hit that is explained already counted by number.
    fn count_later(&self, hit: &Hit<'_>) {
        self.count_in(&self.attributions.table(hit.generation), hit);
    }

    /// Counts a hit in this table, or else as one that nobody can explain.
    fn count_in(&self, table: &Weak<Table>, hit: &Hit<'_>) {
        if !table.upgrade().is_some_and(|table| table.add(hit.rule, 1)) {
            self.rest.add_unknown(hit.outcome, 1);
        }
    }

    /// The lock is only ever held for a moment.
    fn new_rings(&self) -> MutexGuard<'_, Option<Vec<Consumer>>> {
        self.new_rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HitLog {
    /// Opens the file for appending and starts the thread. With nobody who wants hits there is no thread, and every
    /// hit is taken and forgotten.
    ///
    /// # Errors
    /// The file cannot be opened, is something other than a file, or no thread can be started.
    pub fn start(settings: &Settings, takers: Takers) -> Result<Self, HitLogError> {
        Self::with_rings(settings, takers, RING)
    }

    /// The same with rings of so many words, which tests choose.
    fn with_rings(settings: &Settings, takers: Takers, ring: usize) -> Result<Self, HitLogError> {
        let wants = Wants { lines: settings.file.is_some(), counts: takers.count.is_some(), ring };
        let shared = Arc::new(Shared { wants, ..Shared::default() });
        if !wants.lines && !wants.counts && takers.sinks.is_empty() {
            return Ok(Self { shared, thread: None });
        }
        let open = |path: &PathBuf| {
            let file = LogFile::open(path, settings, Arc::clone(&shared.counters), Now::read())
                .map_err(|source| HitLogError::Open { path: path.clone(), source })?;
            Ok(Writer::new(Arc::clone(&shared.counters), file, settings.clients))
        };
        let writer = settings.file.as_ref().map(open).transpose()?;
        *shared.new_rings() = Some(Vec::new());
        let pump = Pump::new(Arc::clone(&shared), writer, takers);
        let (finished, done) = sync_channel(1);
        let run = move || {
            pump.run();
            // Nobody waiting any more is no concern of this thread.
            let _ = finished.try_send(());
        };
        let handle = std::thread::Builder::new().name("hits".into()).spawn(run).map_err(HitLogError::Thread)?;
        // Nobody can have set it before.
        let _ = shared.pump.set(handle.thread().clone());
        Ok(Self { shared, thread: Some(Running { handle, done: Mutex::new(done) }) })
    }

    /// For one worker, with a ring of its own.
    pub fn sender(&self) -> HitSender {
        let way = if self.thread.is_some() { Way::New } else { Way::Off };
        HitSender { shared: Arc::clone(&self.shared), way, table: (0, Weak::new()) }
    }

    /// Makes known who explains the hits of `generation`; the newest eight are remembered, and
    /// each for some seconds after the next. Call it before the
    /// snapshot is published, or its first hits are explained by the one before.
    pub fn announce(&self, generation: u64, attribution: Arc<dyn Attribution>) {
        // With no thread nobody asks, and nobody would forget.
        if self.thread.is_some() {
            self.shared.attributions.announce(generation, attribution);
        }
    }

    /// The counters now.
    pub fn counters(&self) -> HitLogCounters {
        self.shared.counters.read()
    }

    /// The counters for others to read, also after the log is closed.
    pub fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Hands on what is in the rings (lines for at most two seconds) and ends the thread. Stop the workers first: what
    /// they send from now on is counted as dropped.
    pub fn close(mut self) -> HitLogCounters {
        self.finish();
        self.counters()
    }

    /// See [`Self::close`]; does nothing the second time.
    fn finish(&mut self) {
        let Some(Running { handle, done }) = self.thread.take() else { return };
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.shared.closing.store(true, Ordering::Release);
        handle.thread().unpark();
        // An error here means the thread is gone, which is as good as its word.
        if done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the hit log's disk does not answer; its last lines may be missing");
            return;
        }
        if handle.join().is_err() {
            tracing::error!("the hit log's thread ended by a panic; its last lines may be missing");
        }
    }
}

impl Drop for HitLog {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A worker's way to the log. All clones share one ring and take turns there.
#[derive(Debug)]
pub struct HitSender {
    shared: Arc<Shared>,
    way: Way,
    /// Where hits are counted that find no room, and of which generation.
    table: (u64, Weak<Table>),
}

/// Where the hits of a [`HitSender`] go.
#[derive(Debug)]
enum Way {
    /// Nowhere: nobody wants them.
    Off,
    /// Into a ring that the first hit will make.
    New,
    /// Into its own ring.
    Own(Producer),
    /// Into the ring of all clones.
    Common,
    /// The log is closed.
    Closed,
}

impl Clone for HitSender {
    fn clone(&self) -> Self {
        let way = if matches!(self.way, Way::Off) { Way::Off } else { Way::Common };
        Self { shared: Arc::clone(&self.shared), way, table: (0, Weak::new()) }
    }
}

impl HitSender {
    /// Hands a hit over; false if the ring was full or the log is closed: then no line is written, and the hit is only
    /// counted.
    ///
    /// Takes no lock unless this is a clone. The first hit of a worker makes its ring, and one that fills a quarter of
    /// it wakes the pump.
    pub fn send(&mut self, hit: &Hit<'_>) -> bool {
        let taken = match &mut self.way {
            Way::Off => true,
            Way::Own(ring) => ring.push(hit),
            Way::New => {
                self.way = self.shared.ring().map_or(Way::Closed, Way::Own);
                return self.send(hit);
            }
            Way::Common => {
                let mut common = self.shared.common.lock().unwrap_or_else(PoisonError::into_inner);
                if common.is_none() {
                    *common = self.shared.ring();
                }
                common.as_mut().is_some_and(|ring| ring.push(hit))
            }
            Way::Closed => false,
        };
        if !taken {
            self.overflow(hit);
        }
        taken
    }

    /// Counts a hit that cannot be handed over.
    #[cold]
    fn overflow(&mut self, hit: &Hit<'_>) {
        let shared = &self.shared;
        if shared.wants.lines && hit.outcome != Outcome::Excepted {
            shared.counters.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
        if !shared.wants.counts {
            return;
        }
        if self.table.0 != hit.generation || self.table.1.strong_count() == 0 {
            self.table = (hit.generation, shared.attributions.table(hit.generation));
        }
        shared.rest.add(Form::of(hit));
        shared.count_in(&self.table.1, hit);
    }
}

/// What became of the hits, as atomics.
#[derive(Debug, Default)]
pub struct Counters {
    written: AtomicU64,
    dropped_full: AtomicU64,
    dropped_write: AtomicU64,
    rotations: AtomicU64,
    rotations_failed: AtomicU64,
}

/// What became of the hits. Once the log is closed, `written + dropped_full + dropped_write` is what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitLogCounters {
    /// Whole lines the system took.
    pub written: u64,
    /// Hits that found their ring full (or the log closed).
    pub dropped_full: u64,
    /// Lines that could not be written and no longer be held.
    pub dropped_write: u64,
    /// Files rotated.
    pub rotations: u64,
    /// Tries to rotate that failed; the file grew on.
    pub rotations_failed: u64,
}

impl Counters {
    /// A copy. Each number is exact by itself; between them a hit may be under way.
    pub fn read(&self) -> HitLogCounters {
        HitLogCounters {
            written: self.written.load(Ordering::Relaxed),
            dropped_full: self.dropped_full.load(Ordering::Relaxed),
            dropped_write: self.dropped_write.load(Ordering::Relaxed),
            rotations: self.rotations.load(Ordering::Relaxed),
            rotations_failed: self.rotations_failed.load(Ordering::Relaxed),
        }
    }
}

/// Why the log could not be started.
#[derive(Debug)]
pub enum HitLogError {
    /// The file.
    Open {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The writer.
    Thread(io::Error),
}

impl fmt::Display for HitLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } => write!(
                f,
                "cannot open the hit log {}: {source}; its folder must exist and be writable for the user qalqan \
                 runs as (file = \"\" in [hits] turns the log off)",
                path.display()
            ),
            Self::Thread(source) => write!(f, "cannot start the thread that writes the hit log: {source}"),
        }
    }
}

impl std::error::Error for HitLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Thread(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests;
