//! The admin listener: HTTP for whoever watches the server. Everything is bounded: one request a connection, few
//! connections, small requests, little time.

mod door;
mod pages;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::door::Door;
use super::metrics::Facts;
use crate::limit::Cidr;
use crate::net::listen_tcp;
use crate::util::{Now, Throttle};

/// Connections at once; more are closed. A scrape takes some milliseconds.
const CONNECTIONS: usize = 64;
/// Time for the request.
const REQUEST: Duration = Duration::from_secs(5);
/// Time for request and answer together, however slowly they are read.
const WHOLE: Duration = Duration::from_secs(10);
/// Octets of a request line and its headers.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// How long to wait when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(500);

/// `[admin]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Addresses; port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// Who may connect.
    pub allow_from: Vec<Cidr>,
    /// Names this server may be called by, beside its addresses.
    pub hosts: Vec<String>,
}

/// What is shown.
pub trait Watched: Send + Sync + 'static {
    /// Everything there is to say. May take some milliseconds.
    fn facts(&self) -> Facts;

    /// Whether queries are answered.
    fn health(&self) -> Health;
}

/// Whether queries are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They are.
    Serving,
    /// The server is about to end.
    Stopping,
    /// UDP workers that do not move, by number.
    Stuck(Vec<usize>),
}

/// What was turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Connections beyond those that may be open at once.
    pub limit: u64,
    /// Connections from addresses that may not connect.
    pub not_allowed: u64,
    /// Requests that came, or answers that were read, too slowly, and requests that were none.
    pub cut_off: u64,
    /// Requests under a name this server does not go by.
    pub host: u64,
}

/// Counts [`Refusals`].
#[derive(Debug, Default)]
pub struct RefusalCounts {
    limit: AtomicU64,
    not_allowed: AtomicU64,
    cut_off: AtomicU64,
    host: AtomicU64,
}

impl RefusalCounts {
    /// The counts now.
    pub fn read(&self) -> Refusals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Self { limit, not_allowed, cut_off, host } = self;
        Refusals { limit: read(limit), not_allowed: read(not_allowed), cut_off: read(cut_off), host: read(host) }
    }
}

/// One more.
fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Bound sockets, not answering yet.
#[derive(Debug)]
pub struct HttpBound {
    settings: HttpSettings,
    listeners: Vec<(StdListener, SocketAddr)>,
}

impl HttpBound {
    /// Binds every address.
    ///
    /// # Errors
    /// All addresses that could not be bound.
    pub fn bind(settings: &HttpSettings) -> Result<Self, Vec<HttpError>> {
        let (mut listeners, mut errors) = (Vec::new(), Vec::new());
        for &address in &settings.listen {
            let bound = listen_tcp(address).and_then(|listener| {
                let got = listener.local_addr()?;
                Ok((listener, got))
            });
            match bound {
                Ok(bound) => listeners.push(bound),
                Err(error) => errors.push(HttpError { address, error }),
            }
        }
        if errors.is_empty() { Ok(Self { settings: settings.clone(), listeners }) } else { Err(errors) }
    }

    /// The addresses, with the ports they got.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|&(_, address)| address).collect()
    }

    /// Starts answering on the current runtime; what is turned away is counted in `refused`.
    ///
    /// # Errors
    /// A listener cannot join the runtime.
    pub fn start(self, watched: Arc<dyn Watched>, refused: Arc<RefusalCounts>) -> io::Result<Http> {
        let door = Arc::new(Door::new(&self.settings));
        let shared = Arc::new(Shared {
            pages: pages::router(watched, Arc::clone(&door), Arc::clone(&refused)),
            door,
            refused,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            trouble: Throttle::new(60_000),
        });
        let mut tasks = Vec::new();
        for (listener, _) in self.listeners {
            tasks.push(tokio::spawn(accept(TcpListener::from_std(listener)?, Arc::clone(&shared))));
        }
        Ok(Http { tasks })
    }
}

/// The running listener. Dropping it ends it; answers under way are still given, for a moment.
#[derive(Debug)]
pub struct Http {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What all connections share.
struct Shared {
    pages: axum::Router,
    door: Arc<Door>,
    refused: Arc<RefusalCounts>,
    places: Arc<Semaphore>,
    trouble: Throttle,
}

/// Takes connections.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(held) = shared.trouble.pass(Now::read()) {
                    tracing::warn!(%error, held, "the admin listener cannot take a connection; trying again");
                }
                // Aborted connections are gone at once; out of descriptors takes time to pass.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        if !shared.door.admits(client.ip()) {
            count(&shared.refused.not_allowed);
            if let Some(held) = shared.trouble.pass(Now::read()) {
                tracing::warn!(%client, held, "HTTP connection closed: not in [admin] allow_from");
            }
            continue;
        }
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            count(&shared.refused.limit);
            if let Some(held) = shared.trouble.pass(Now::read()) {
                tracing::warn!(held, "HTTP connection closed: {CONNECTIONS} are open already");
            }
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _place = place;
            if !matches!(timeout(WHOLE, serve(stream, &shared)).await, Ok(Ok(()))) {
                count(&shared.refused.cut_off);
            }
        });
    }
}

/// Answers the one request of a connection.
async fn serve(stream: TcpStream, shared: &Shared) -> Result<(), hyper::Error> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(shared.pages.clone()))
        .await
}

/// An address that cannot be served.
#[derive(Debug)]
pub struct HttpError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        write!(f, "cannot listen on {address} (HTTP): {error}")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program has it (`ss -lntp 'sport = :{}'` shows which): stop it, or change [admin] listen, or turn it \
                 off with listen = []",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => f.write_str("; take a port from 1024 on in [admin] listen"),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("; no interface of this machine has this address: change [admin] listen")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HttpError {}

#[cfg(test)]
mod tests;
