//! The thread that sends what waits, the oldest first.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Settings;
use super::batch::Name;
use super::server::{Server, ShipError};
use super::spool::{Next, Spool};
use super::status::{Status, write_status};
use crate::util::{Now, Throttle};

/// After a failure it is tried again after this long, then twice as long, at most the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A batch whose rows the other side cannot read is set aside after so many tries: a bad line may be to blame for some.
const TRIES: u32 = 5;
/// How often the status file is written, if something has changed.
const PERIOD: Duration = Duration::from_secs(1);

/// Everything the thread owns.
pub(super) struct Sender {
    spool: Arc<Spool>,
    server: Server,
    folder: PathBuf,
    delay: Option<Duration>,
    /// The batch whose rows were refused last, and how often.
    unreadable: Option<(Name, u32)>,
    error: Option<String>,
    arrived_at: Option<Now>,
    written: Option<(Status, Instant)>,
    warnings: Throttle,
}

impl Sender {
    /// Ready to run.
    pub(super) fn new(settings: Settings, spool: Arc<Spool>) -> Self {
        Self {
            spool,
            server: Server::new(settings.server),
            folder: settings.folder,
            delay: None,
            unreadable: None,
            error: None,
            arrived_at: None,
            written: None,
            warnings: Throttle::new(60_000),
        }
    }

    /// Sends until nothing more will come.
    pub(super) fn run(&mut self) {
        loop {
            // A try may take long; what waits meanwhile is told before it.
            self.tell(false);
            let sent = match self.spool.next(PERIOD) {
                Next::End => break,
                Next::Nothing => Ok(()),
                Next::Batch(name) => self.send(&name),
            };
            if sent.is_err() {
                self.tell(true);
            }
            if let Err(delay) = sent
                && !self.spool.pause(delay)
            {
                break;
            }
        }
        self.tell(true);
    }

    /// Sends one batch; or says how long to wait.
    fn send(&mut self, name: &Name) -> Result<(), Duration> {
        let error = match self.spool.load(name) {
            Ok(Some(batch)) => match self.server.ship(&batch) {
                Ok(()) => {
                    self.spool.arrived(name);
                    self.arrived_at = Some(Now::read());
                    self.error = None;
                    if self.delay.take().is_some() {
                        tracing::info!("ClickHouse takes hits again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            },
            Ok(None) => {
                tracing::error!("the batch {name} of hits for ClickHouse is damaged on disk; it is set aside");
                self.spool.set_aside(name);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!("the batch {name} of hits for ClickHouse is gone from the spool");
                self.spool.lost(name);
                return Ok(());
            }
            Err(error) => return Err(self.failed(&error.to_string())),
        };
        if self.is_hopeless(name, &error) {
            tracing::error!("the batch {name} of hits is set aside: {error}");
            self.spool.set_aside(name);
        }
        Err(self.failed(&error.to_string()))
    }

    /// Whether the rows of this batch were refused often enough.
    fn is_hopeless(&mut self, name: &Name, error: &ShipError) -> bool {
        if !error.is_about_the_rows() {
            return false;
        }
        let before = self.unreadable.take().filter(|(known, _)| known == name).map_or(0, |(_, tries)| tries);
        self.unreadable = Some((name.clone(), before + 1));
        before + 1 >= TRIES
    }

    /// Notes a failure, says so now and then, and waits longer each time.
    fn failed(&mut self, error: &str) -> Duration {
        super::counters::add(&self.spool.counters.failures, 1_u64);
        self.error = Some(error.to_owned());
        let delay = self.delay.map_or(RETRY.0, |delay| RETRY.1.min(delay * 2));
        self.delay = Some(delay);
        if self.warnings.pass(Now::read()).is_some() {
            let waiting = self.spool.counters.read().waiting;
            tracing::warn!("cannot send hits to ClickHouse: {error}; {waiting} wait in the spool. It is tried again");
        }
        // A fleet whose server comes back does not come all at once.
        let jitter = RandomState::new().hash_one(0) % 256;
        delay + delay.mul_f64(jitter as f64 / 1024.0)
    }

    /// Writes the status file, unless that was done a moment ago or nothing has changed.
    fn tell(&mut self, last: bool) {
        let status = Status {
            pid: std::process::id(),
            totals: self.spool.counters.read(),
            error: self.error.clone(),
            arrived_at: self.arrived_at.map(|now| now.seconds()),
        };
        let due = self.written.as_ref().is_none_or(|(_, at)| at.elapsed() >= PERIOD) || last;
        if due && self.written.as_ref().is_none_or(|(written, _)| *written != status) {
            // Nobody but people who ask misses it.
            let _ = write_status(&self.folder, &status);
            self.written = Some((status, Instant::now()));
        }
    }
}
