//! Hits of a fleet in ClickHouse: every hit becomes a row, rows go out in batches, and what cannot go out waits on disk.
//!
//! ```text
//! pump -> Sink: rows of a batch -> "spool" thread: state_dir/spool/<batch>-<rows>.batch -> "ship" thread: HTTP
//! ```
//! A batch counts once however often it is sent: `server.rs` says why. Nothing here waits for a server or a disk on the
//! thread that brings the hits; what there is no room for is dropped and counted. docs/clickhouse.md tells operators.

mod batch;
mod counters;
mod ddl;
mod row;
mod sender;
mod server;
mod sink;
mod spool;
mod status;
#[cfg(test)]
mod testing;
mod who;

pub use counters::{Counters, Totals};
pub use ddl::{Engine, statements};
pub use server::{Server, ShipError};
pub use sink::ShipSink;
pub use status::{Status, read_status};

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fetch::{Address, Coding, FetchError};
use crate::hits::Clients;
use crate::util::Zone;
use sender::Sender;
use spool::Spool;

/// Sealed batches on their way to the disk; their bytes are bounded too, by the sink.
const UNDER_WAY: usize = 256;
/// How long a server that stops goes on sending, if the other side takes it …
const LAST_WORDS: Duration = Duration::from_secs(2);
/// … and how long it waits for its own threads in all. What is on disk goes out after the next start.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where hits go and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The other side.
    pub server: ServerSettings,
    /// What this server calls itself there.
    pub instance: Box<str>,
    /// How much of who asked is sent.
    pub clients: Clients,
    /// The secret that the whole fleet hashes clients with; without it each server has one of its own for each start.
    pub key_file: Option<PathBuf>,
    /// A batch has at most so many rows …
    pub rows: u32,
    /// … and is at most this old when it is sealed.
    pub age: Duration,
    /// How batches are compressed.
    pub coding: Coding,
    /// The folder for what waits.
    pub folder: PathBuf,
    /// The most it may hold.
    pub spool: u64,
    /// Hits of one client and rule within such a window of the clock are one attempt.
    pub window: Duration,
    /// In which a day begins, for the hashes of clients.
    pub zone: Zone,
}

/// How the other side is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its HTTP interface.
    pub address: Address,
    /// The tables' database.
    pub database: Box<str>,
    /// Who we are.
    pub user: Box<str>,
    /// Holds the password, if there is one.
    pub password_file: Option<PathBuf>,
    /// The only authorities trusted, as PEM; without it those of Mozilla.
    pub ca_file: Option<PathBuf>,
    /// For one request.
    pub timeout: Duration,
}

/// The threads of a running server. Dropping it leaves them to end by themselves.
#[derive(Debug)]
pub struct Ship {
    spool: Arc<Spool>,
    threads: Vec<JoinHandle<()>>,
}

impl Ship {
    /// Takes over what an earlier run has left in the spool, starts the threads, and gives what hits are put into.
    ///
    /// # Errors
    /// The spool or the key cannot be used, or there are no threads to be had.
    pub fn start(settings: Settings) -> Result<(ShipSink, Self), StartError> {
        let ServerSettings { address, password_file, .. } = &settings.server;
        if address.is_plain() && password_file.is_some() {
            tracing::warn!("[stats.clickhouse] by http:// the password and the hits can be read on the way");
        }
        let counters = Arc::new(Counters::default());
        let spool = Spool::open(&settings.folder, settings.spool, Arc::clone(&counters))
            .map_err(|error| StartError::Spool(settings.folder.clone(), error))?;
        let spool = Arc::new(spool);
        let (sealed, batches) = sync_channel(UNDER_WAY);
        let sink = ShipSink::new(&settings, spool.newest().as_deref(), sealed, counters).map_err(StartError::Key)?;
        let coding = settings.coding;
        let to_disk = Arc::clone(&spool);
        let mut sender = Sender::new(settings, Arc::clone(&spool));
        let threads = [
            std::thread::Builder::new().name("spool".into()).spawn(move || {
                for batch in batches {
                    let bytes = batch.rows.len();
                    to_disk.put(batch, coding);
                    to_disk.counters.under_way.fetch_sub(bytes, Ordering::Relaxed);
                }
                to_disk.close(Instant::now() + LAST_WORDS);
            }),
            std::thread::Builder::new().name("ship".into()).spawn(move || sender.run()),
        ];
        let threads = threads.into_iter().collect::<io::Result<_>>().map_err(StartError::Thread)?;
        Ok((sink, Self { spool, threads }))
    }

    /// What became of the hits, for others to read.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.spool.counters)
    }

    /// Waits until what the sink was given is on disk, and a moment for it to go out. The sink must have been dropped.
    pub fn close(self) -> Totals {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(batches) = self.spool.only_in_memory() {
            tracing::warn!("{batches} batches of hits for ClickHouse could not be written to disk and are lost");
        }
        self.spool.counters.read()
    }
}

/// Why nothing can be shipped.
#[derive(Debug)]
pub enum StartError {
    /// The folder for what waits.
    Spool(PathBuf, io::Error),
    /// `key_file`.
    Key(FetchError),
    /// The system has no thread for us.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spool(path, error) => write!(
                f,
                "cannot use {} as the spool of [stats.clickhouse]: {error}; state_dir must be writable for the user \
                 qalqan runs as",
                path.display()
            ),
            Self::Key(error) => write!(f, "[stats.clickhouse] {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread for [stats.clickhouse]: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spool(_, error) | Self::Thread(error) => Some(error),
            Self::Key(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests;
