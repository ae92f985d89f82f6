//! Hits as they come, for collectors and SIEMs: dnstap, RPZ log lines, CEF, syslog, the journal, JSON lines.
//!
//! The thread that explains hits makes a *frame* of each (a dnstap message, a line, a datagram) and puts it into the
//! bounded queue of the stream; a thread of the stream's own writes whole frames out and connects again when it has to.
//! Nothing here waits on the way of a hit: what finds no room is dropped and counted. docs/streams.md tells operators
//! what a frame holds.

mod cef;
mod dnstap;
mod encode;
mod frames;
mod journald;
mod json;
mod place;
mod queue;
mod rpz;
mod said;
mod syslog;
mod tap;
mod writer;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::event::{Hit, Outcome, Sink, Why};
use crate::hits::Clients;
use crate::util::{Now, Throttle};

use encode::Encode;
use frames::Framing;
use queue::{Filler, Queue};
use writer::Writer;

/// How long [`Streams::close`] waits for threads that a hanging disk or pipe may hold in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
/// Loss is reported no more often than this, in milliseconds.
const REPORT: i64 = 60_000;

/// What frames look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// dnstap messages in Frame Streams.
    Dnstap,
    /// What BIND logs of its response policy zones.
    Rpz,
    /// ArcSight's Common Event Format.
    Cef,
    /// RFC 5424 with structured data.
    Syslog,
    /// The journal's native protocol.
    Journald,
    /// The lines of the hit log.
    Json,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Dnstap, Self::Rpz, Self::Cef, Self::Syslog, Self::Journald, Self::Json];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dnstap => "dnstap",
            Self::Rpz => "rpz",
            Self::Cef => "cef",
            Self::Syslog => "syslog",
            Self::Journald => "journald",
            Self::Json => "json",
        }
    }
}

/// Where frames go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file that is appended to and rotated.
    File(PathBuf),
    /// A socket in the file system.
    Unix(PathBuf),
    /// Somebody who listens.
    Tcp(SocketAddr),
    /// Somebody who may listen.
    Udp(SocketAddr),
    /// Standard output.
    Stdout,
}

/// One `[[stream]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What frames look like.
    pub kind: Kind,
    /// Where they go.
    pub to: Target,
    /// The same as the operator wrote it.
    pub shown: String,
    /// Privacy of clients.
    pub clients: Clients,
    /// The most bytes of frames that wait.
    pub queue: usize,
    /// Only hits of these lists; empty: all.
    pub lists: Vec<String>,
    /// Only hits of which this became; empty: all.
    pub outcomes: Vec<Outcome>,
    /// Begin a new file before this one has grown past so many bytes; 0: never.
    pub max_size: u64,
    /// Begin a new file when this one is so old; zero: never.
    pub max_age: Duration,
    /// How many rotated files are kept.
    pub keep: usize,
}

/// The streams of a running server. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Streams {
    running: Vec<Running>,
}

/// A stream's thread, and how it says that it is done.
#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    handle: Option<JoinHandle<()>>,
    /// In a mutex only so that [`Streams`] may be shared.
    done: Mutex<Receiver<()>>,
}

impl Streams {
    /// Starts them, and gives their ends for hits. Sockets nobody listens at are no error: the reader may come later.
    ///
    /// # Errors
    /// A file cannot be opened, or no thread can be started.
    pub fn start(settings: &[Settings]) -> Result<(Self, Vec<Box<dyn Sink>>), StreamError> {
        let mut streams = Self::default();
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        for settings in settings {
            let (running, sink) = start(settings)?;
            streams.running.push(running);
            sinks.push(Box::new(sink));
        }
        Ok((streams, sinks))
    }

    /// The counters of each, for others to read, also after the end.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.running.iter().map(|running| Arc::clone(running.queue.counters())).collect()
    }

    /// Writes what waits, for a second at most, and ends the threads. Finish the sinks first: hits they get from now
    /// on are counted as lost.
    pub fn close(mut self) {
        self.finish();
    }

    /// See [`Self::close`]; does nothing the second time.
    fn finish(&mut self) {
        self.running.iter().for_each(|running| running.queue.close());
        let end = Instant::now() + PATIENCE;
        for running in &mut self.running {
            let Some(handle) = running.handle.take() else { continue };
            let done = running.done.get_mut().unwrap_or_else(PoisonError::into_inner);
            let left = end.saturating_duration_since(Instant::now());
            if done.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                let name = running.queue.counters().name();
                tracing::warn!("the stream {name} does not take anything any more; its last hits may be missing");
            } else if handle.join().is_err() {
                tracing::error!("the thread of a stream ended by a panic; its last hits may be missing");
            }
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Starts one.
fn start(settings: &Settings) -> Result<(Running, Intake), StreamError> {
    let counters = Arc::new(Counters::new(settings));
    let place = place::open(settings).map_err(|source| StreamError::Open(counters.name().into(), source))?;
    let queue = Arc::new(Queue::new(settings.queue, counters));
    let writer = Writer::new(Arc::clone(&queue), place);
    let (finished, done) = sync_channel(1);
    let run = move || {
        writer.run();
        // Nobody waiting any more is no concern of this thread.
        let _ = finished.try_send(());
    };
    let name = format!("stream-{}", settings.kind.as_str());
    let handle = std::thread::Builder::new().name(name).spawn(run).map_err(StreamError::Thread)?;
    let intake = Intake {
        encoder: encode::new(settings),
        framing: Framing::of(settings.kind, &settings.to),
        filler: Filler::new(Arc::clone(&queue)),
        lists: settings.lists.clone(),
        outcomes: settings.outcomes.clone(),
        frame: Vec::new(),
        reported: 0,
        reports: Throttle::new(REPORT),
    };
    Ok((Running { queue, handle: Some(handle), done: Mutex::new(done) }, intake))
}

/// The end of a stream that takes hits.
struct Intake {
    encoder: Box<dyn Encode>,
    framing: Framing,
    filler: Filler,
    lists: Vec<String>,
    outcomes: Vec<Outcome>,
    frame: Vec<u8>,
    /// How many lost hits were reported.
    reported: u64,
    reports: Throttle,
}

impl Intake {
    /// Whether such hits belong into this stream.
    fn wants(&self, why: &Why) -> bool {
        let subject = &why.subject;
        let listed = |list: &str| self.lists.iter().any(|wanted| wanted == list);
        (self.outcomes.is_empty() || self.outcomes.contains(&subject.outcome))
            && (self.lists.is_empty() || listed(&subject.list) || subject.also.iter().any(|list| listed(list)))
    }

    /// Tells the operator of hits that were lost since the last time.
    fn report(&mut self, now: Now) {
        let counters = self.filler.counters();
        let lost = counters.read().lost();
        if lost > self.reported && self.reports.pass(now).is_some() {
            let more = lost - self.reported;
            self.reported = lost;
            tracing::warn!(
                "the stream {} lost {more} hits, {lost} since the start (they are counted)",
                counters.name()
            );
        }
    }
}

impl Sink for Intake {
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>) {
        if !self.wants(why) {
            return;
        }
        // Making a frame for which there is no room would be work for nothing.
        if !self.filler.may_have_room() {
            return self.filler.lost();
        }
        self.framing.begin(&mut self.frame);
        self.encoder.encode(hit, why, &mut self.frame);
        self.filler.push(self.framing.finish(&mut self.frame));
    }

    fn rest(&mut self, now: Now) {
        self.filler.hand_over();
        self.report(now);
    }

    fn finish(&mut self, now: Now) {
        self.rest(now);
        self.filler.close();
    }
}

/// What became of a stream's hits, as atomics.
#[derive(Debug)]
pub struct Counters {
    name: Box<str>,
    sent: AtomicU64,
    lost_full: AtomicU64,
    lost_write: AtomicU64,
    connects: AtomicU64,
    connected: AtomicBool,
}

/// What became of a stream's hits. At its end, the first three are all hits that belonged into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Whole frames the system took. What a reader had not read when it went is among them.
    pub sent: u64,
    /// Hits that found no room in the queue.
    pub lost_full: u64,
    /// Frames that could not be written: too long for a datagram, refused, or still there at the end.
    pub lost_write: u64,
    /// How often there was a new connection or file.
    pub connects: u64,
    /// Whether there is one now.
    pub connected: bool,
}

impl StreamCounters {
    /// All that was lost.
    pub fn lost(&self) -> u64 {
        self.lost_full + self.lost_write
    }
}

impl Counters {
    /// All zero.
    fn new(settings: &Settings) -> Self {
        Self {
            name: format!("{} {}", settings.kind.as_str(), settings.shown).into(),
            sent: AtomicU64::new(0),
            lost_full: AtomicU64::new(0),
            lost_write: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            connected: AtomicBool::new(false),
        }
    }

    /// Kind and target, as in `dnstap unix:/run/dnstap.sock`; no two streams have the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A copy. Each number is exact by itself; between them a hit may be under way.
    pub fn read(&self) -> StreamCounters {
        StreamCounters {
            sent: self.sent.load(Ordering::Relaxed),
            lost_full: self.lost_full.load(Ordering::Relaxed),
            lost_write: self.lost_write.load(Ordering::Relaxed),
            connects: self.connects.load(Ordering::Relaxed),
            connected: self.connected.load(Ordering::Relaxed),
        }
    }
}

/// Why a stream could not be started.
#[derive(Debug)]
pub enum StreamError {
    /// Its file.
    Open(Box<str>, io::Error),
    /// Its thread.
    Thread(io::Error),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(name, source) => write!(
                f,
                "cannot open the file of the stream {name}: {source}; its folder must exist and be writable for the \
                 user qalqan runs as"
            ),
            Self::Thread(source) => write!(f, "cannot start the thread of a stream: {source}"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_, source) | Self::Thread(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests;
